"""Results, trials and settings answer as the reference's do; see reference/results.py."""

import importlib.util
import json
import sys
import warnings
from pathlib import Path

import pytest

import ctune
import ctune.compat

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
sys.path.insert(0, str(REFERENCE))

import results  # noqa: E402

RECORDED = json.loads((REFERENCE / "results.json").read_text())
# Each of these stands in docs/differences.md.
OTHERWISE = {
    "RunConfig local_dir": "RunConfig",
    "get_best_checkpoint 1 nothing max": None,
    "get_best_checkpoint 1 nothing min": None,
    "name not registered": "<TuneError>",
    "result best min": 3,
    "tune_config of a wrong type": "<ValueError>",
}


@pytest.fixture(scope="module")
def answers():
    ctune.compat.install()
    ctune.init(executor="inline")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of local_dir
            found = results.ask(results.make())
        yield found
    finally:
        ctune.shutdown()
        ctune.compat.uninstall()


def test_every_question_was_put_to_the_reference():
    assert set(results.QUESTIONS) == set(RECORDED) and set(OTHERWISE) <= set(RECORDED)


@pytest.mark.parametrize("name", results.QUESTIONS)
def test_the_answer_is_the_references(answers, name):
    if "filesystem" in name and importlib.util.find_spec("pyarrow") is None:
        assert answers[name] == "<ImportError>"
    elif name in OTHERWISE:
        assert answers[name] == OTHERWISE[name] != RECORDED[name]
    else:
        assert answers[name] == RECORDED[name]
