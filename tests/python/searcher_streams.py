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
    ConcurrencyLimiter=ConcurrencyLimiter,
    Repeater=Repeater,
)
RECORDED = json.loads(gzip.decompress((REFERENCE / "searchers.json.gz").read_bytes()))


def cases(searcher):
    """The recorded cases of a searcher: what to pass to `check`."""
    found = [case for case in RECORDED["cases"] if case[0]["searcher"] == searcher]
    return [pytest.param(case, id=f"{n}-{case[0]['space']}") for n, case in enumerate(found)]


def check(recorded):
    case, suggested, heard = recorded
    version = RECORDED["versions"].get(case["searcher"])
    if version and importlib.metadata.version(case["searcher"]) != version:
        pytest.skip(f"recorded with {case['searcher']} {version}: record again")
    ours, we_heard = searchers.play(case, API)
    assert len(ours) == len(suggested) >= 30
    for number, (one, other) in enumerate(zip(ours, suggested, strict=True)):
        assert same(one, other), f"suggestion {number}: {one}, recorded {other}"
    assert same(we_heard, heard)


def same(one, other):
    """Equal but for the last digits, in which processors and releases of NumPy differ."""
    if isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in other)
    if isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(other, float):
        return one == pytest.approx(other, rel=1e-9)
    return type(one) is type(other) and one == other
