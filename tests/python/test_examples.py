"""The reference's own example scripts, run without Ray.

They are read from its wheel, which pip downloads into a cache; nothing of them is kept here.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WHEEL = "ray==2.24.0"
FOLDER = "ray/tune/examples/"
# Those that download no data and need no further library.
EXAMPLES = [
    "async_hyperband_example",
    "custom_func_checkpointing",
    "hyperband_example",
    "hyperband_function_example",
    "logging_example",
    "pbt_example",
    "pbt_function",
    "tune_basic_example",
]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    cache = Path(os.environ.get("CTUNE_WHEELS", tmp_path_factory.mktemp("wheels")))
    if not list(cache.glob("ray-*.whl")):
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), WHEEL],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"the reference's wheel cannot be downloaded: {done.stderr[-200:]}")
    return zipfile.ZipFile(next(cache.glob("ray-*.whl")))


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_runs_to_its_end(wheel, tmp_path, name):
    script = tmp_path / f"{name}.py"
    script.write_bytes(wheel.read(f"{FOLDER}{name}.py"))
    done = subprocess.run(
        [sys.executable, "-m", "ctune.compat", str(script), "--smoke-test"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
    )
    assert done.returncode == 0, done.stderr
    assert "best" in done.stdout.lower()
