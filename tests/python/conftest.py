"""Each file of tests begins without a runtime, whatever the file before left."""

import pytest

import ctune


@pytest.fixture(scope="module", autouse=True)
def no_runtime_left():
    yield
    ctune.shutdown()
