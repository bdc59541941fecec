"""Replays the recorded streams of the reference's searchers (tests/reference/searchers.py)."""

import gzip
import importlib.metadata
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import ctune
from ctune.search import ConcurrencyLimiter, Repeater, Searcher
from ctune.search.bayesopt import BayesOptSearch
from ctune.search.hyperopt import HyperOptSearch
from ctune.search.optuna import OptunaSearch

REFERENCE = Path(__file__).parents[1] / "reference"
sys.path.insert(0, str(REFERENCE))
import searchers  # noqa: E402

API = SimpleNamespace(
    tune=ctune,
    Searcher=Searcher,
    OptunaSearch=OptunaSearch,
    HyperOptSearch=HyperOptSearch,
    BayesOptSearch=BayesOptSearch,
    ConcurrencyLimiter=ConcurrencyLimiter,
    Repeater=Repeater,
)
RECORDED = json.loads(gzip.decompress((REFERENCE / "searchers.json.gz").read_bytes()))


def cases(searcher, fast=99):
    """The recorded cases of a searcher: what to pass to `check`. Only so many are fast."""
    found = [case for case in RECORDED["cases"] if case[0]["searcher"] == searcher]
    return [
        pytest.param(case, id=f"{n}-{case[0]['space']}", marks=[pytest.mark.slow] * (n >= fast))
        for n, case in enumerate(found)
    ]


def check(recorded):
    case, suggested, heard = recorded
    package, apart = searchers.LIBRARIES.get(case["searcher"], (None, 0))
    if package and importlib.metadata.version(package) != RECORDED["versions"][package]:
        pytest.skip(f"recorded with {package} {RECORDED['versions'][package]}: record again")
    ours, we_heard = searchers.play(case, API)
    assert len(ours) == len(suggested) >= 8
    for number, (one, other) in enumerate(zip(ours, suggested, strict=True)):
        assert same(one, other, apart), f"suggestion {number}: {one}, recorded {other}"
    assert same(we_heard, heard, apart)


def same(one, other, apart):
    """Equal, but numbers may be so far apart, relatively."""
    if isinstance(other, dict):
        return (
            isinstance(one, dict)
            and one.keys() == other.keys()
            and all(same(one[key], other[key], apart) for key in other)
        )
    if isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other, [apart] * len(one)))
    if isinstance(other, float):
        return one == pytest.approx(other, rel=apart)
    return type(one) is type(other) and one == other
