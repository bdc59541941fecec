"""Each file of tests begins without a runtime, whatever the file before left."""

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
