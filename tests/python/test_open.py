"""Opening experiments from disk: those of Ray Tune, without Ray, and our own."""

import importlib.util
import json
import re
import sys
import tarfile
from pathlib import Path

import pytest

from ctune import ExperimentAnalysis
from ctune.result_grid import ResultGrid

pytest.importorskip("pandas")

REFERENCE = Path(__file__).parent.parent / "reference"


def load_recorder():
    spec = importlib.util.spec_from_file_location("recorder", REFERENCE / "record_experiment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECORDER = load_recorder()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The folders that the reference wrote, and what it said of them."""
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(REFERENCE / "experiment.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder, json.loads((folder / "answers.json").read_text())


def told(folder, name):
    analysis = ExperimentAnalysis(folder / name)
    return RECORDER.tell(analysis, ResultGrid(analysis), RECORDER.error_name)


@pytest.mark.parametrize("name", ["functions", "classes"])
def test_an_experiment_of_the_reference_tells_what_it_told_there(recorded, name):
    folder, answers = recorded
    got, expected = json.loads(json.dumps(told(folder, name))), answers[name]
    for mine, theirs in zip(got.pop("trials"), expected.pop("trials"), strict=True):
        # A worker's exception comes as it was raised, not in a wrapper.
        theirs["repr"] = re.sub(r"RayTaskError\((\w+)\)", r"\1", theirs["repr"])
        for key in theirs:
            assert mine[key] == theirs[key], (mine["id"], key)
    for key in expected:
        assert got[key] == expected[key], key
    assert "ray" not in sys.modules
