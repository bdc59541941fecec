"""ASHA, HyperBand, HyperBand for BOHB, the median rule and PBT decide as the reference recorded."""

import json
import random
import sys
from pathlib import Path

import pytest

import ctune
from ctune.schedulers import (
    ASHAScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
)

REFERENCE = Path(__file__).parent.parent / "reference"
sys.path.insert(0, str(REFERENCE))
import streams  # noqa: E402

CLASSES = {
    "hyperband": HyperBandScheduler,
    "hb_bohb": HyperBandForBOHB,
    "median": MedianStoppingRule,
    "async_hyperband": ASHAScheduler,
    "pbt": PopulationBasedTraining,
}


def cases(name):
    return streams.load(REFERENCE / f"{name}.json.gz")


def stream_of(name, case):
    style = streams.styles(name)[case["style"]]
    scheduler = streams.construct(name, CLASSES[name], case["options"], ctune)
    return streams.Stream(scheduler, case["number"], case["options"], style)


@pytest.mark.parametrize("name", CLASSES)
def test_every_decision_is_that_of_the_reference(name):
    decisions = 0
    recorded = cases(name)
    for number, case in enumerate(recorded):
        tokens = case["tokens"].split()
        stream = stream_of(name, case)
        stream.play(tokens)
        at = len(stream.tokens) - 1
        assert stream.tokens == tokens, f"case {number} {case['options']}: at {at}"
        assert stream.scheduler.debug_string() == case["debug"], number
        decisions += sum(t[0] in "rc" for t in tokens)
    assert len(recorded) >= 500
    assert decisions >= 100_000


def test_replays_follow_their_policy_as_the_reference(tmp_path):
    recorded = streams.load(REFERENCE / "pbt_replay.json.gz")
    assert len(recorded) >= 500
    for number, said in enumerate(recorded):
        future = streams.Future
        assert streams.replay(PopulationBasedTrainingReplay, future, number, tmp_path) == said


@pytest.mark.parametrize("name", CLASSES)
def test_a_stream_goes_on_the_same_after_a_restore_at_any_place(name, tmp_path):
    rng = random.Random(7)
    for number, case in list(enumerate(cases(name)))[::9]:
        tokens = case["tokens"].split()
        cut = rng.randrange(1, len(tokens))
        while tokens[cut][0] in "spukzg":  # what one event brought about belongs together
            cut -= 1
        stream = stream_of(name, case)
        stream.play(tokens[:cut])
        stream.scheduler.save(str(tmp_path / "state.json"))
        json.loads((tmp_path / "state.json").read_text())
        other = {k: v for k, v in case["options"].items() if k == "mutations"}
        other |= {"metric": "other", "mode": "min"}
        restored = streams.construct(name, CLASSES[name], other, ctune)
        restored.restore(str(tmp_path / "state.json"))
        assert restored.metric == case["options"]["metric"]
        stream.scheduler = stream.controller.scheduler = restored
        stream.play(tokens)
        assert stream.tokens == tokens, f"case {number}, cut at {cut}"
        assert restored.debug_string() == case["debug"]
