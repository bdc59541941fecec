"""Each file of tests begins without a runtime, whatever the file before left; a small disk."""

import os
import subprocess

import pytest

import ctune


@pytest.fixture(scope="session", autouse=True)
def staging_of_the_tests(tmp_path_factory):
    """Experiments in remote storage are staged elsewhere than the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CTUNE_STAGING_DIR", str(tmp_path_factory.mktemp("staging")))
        yield


@pytest.fixture(scope="module", autouse=True)
def no_runtime_left():
    yield
    ctune.shutdown()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB; read-only when remounted so."""
    where = tmp_path / "disk"
    where.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(where)], capture_output=True
    )
    if done.returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)
