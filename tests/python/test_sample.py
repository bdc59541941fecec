"""Domains and samplers alone: draws, checks, texts."""

import copy
import gzip
import importlib.util
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctune.search import sample
from ctune.search.sample import (
    Categorical,
    Domain,
    Float,
    Function,
    Integer,
    Quantized,
    Sampler,
    Uniform,
    choice,
    lograndint,
    loguniform,
    qlograndint,
    qrandint,
    qrandn,
    quniform,
    randint,
    randn,
    sample_from,
    uniform,
)

REFERENCE = Path(__file__).parents[1] / "reference"


def _load(name):
    spec = importlib.util.spec_from_file_location(name, REFERENCE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


spaces = _load("spaces")
RECORDED = json.loads(gzip.decompress((REFERENCE / "spaces.json.gz").read_bytes()))


def state(kind, seed):
    if kind in ("seed", "generator"):  # one stream for all draws
        return np.random.default_rng(seed)
    if kind == "legacy":
        return np.random.RandomState(seed)
    np.random.seed(seed)
    return None


def close(want, got):
    """Equal, floats within one unit in the last place."""
    if isinstance(want, float) and isinstance(got, float):
        return want == got or abs(want - got) <= np.spacing(abs(want))
    if isinstance(want, list) and isinstance(got, list):
        return len(want) == len(got) and all(map(close, want, got))
    return type(want) is type(got) and want == got


@pytest.mark.parametrize("name", spaces.domains(sample))
def test_draws_are_those_of_the_reference(name):
    _, make = spaces.domains(sample)[name]
    assert len(RECORDED["domains"][name]) == 8
    for key, want in RECORDED["domains"][name].items():
        kind, seed = key.rsplit("-", 1)
        source = state(kind, int(seed))
        domain = make()
        got = [
            spaces.plain(domain.sample(config={}, random_state=source)) for _ in range(spaces.DRAWS)
        ]
        assert close(want, got), (key, want, got)


def test_a_seed_draws_what_a_new_generator_of_that_seed_draws():
    for domain in (uniform(0, 1), randint(0, 99), randn(), choice("abc")):
        generator = np.random.default_rng(3)
        assert domain.sample(random_state=3) == domain.sample(random_state=generator)


def test_the_global_stream_is_used_without_a_random_state_and_may_be_replaced():
    np.random.seed(5)
    got = [uniform(0, 1).sample(), randint(0, 10).sample(), randn().sample()]
    np.random.seed(5)
    assert got == [np.random.uniform(0, 1), np.random.randint(0, 10), np.random.normal()]
    before = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(1))
        got = uniform(0, 1).sample()
        np.random.set_bit_generator(np.random.PCG64(1))
        assert got == np.random.uniform(0, 1)
    finally:
        np.random.set_bit_generator(before)


def test_other_draws_from_the_same_stream_interleave():
    ours, theirs = np.random.RandomState(1), np.random.RandomState(1)
    assert randn().sample(random_state=ours) == theirs.normal()
    assert ours.normal() == theirs.normal()  # the second of a pair
    assert uniform(0, 1).sample(random_state=ours) == theirs.uniform(0, 1)
    ours, theirs = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(5):
        assert randint(0, 10).sample(random_state=ours) == theirs.integers(0, 10)
        assert ours.integers(0, 10) == theirs.integers(0, 10)  # half words are kept


def test_several_values_come_as_an_array_or_a_list():
    assert uniform(0, 1).sample(size=3, random_state=1).shape == (3,)
    assert randint(0, 9).sample(size=3, random_state=1).tolist() == [4, 4, 6]
    assert choice(["a", "b"]).sample(size=3, random_state=1) == ["a", "b", "b"]
    assert quniform(0, 1, 0.5).sample(size=3, random_state=1) == [0.5, 1.0, 0.0]
    assert sample_from(lambda c: c + 1).sample(config=[1, 2], size=2) == [2, 3]
    assert sample_from(lambda c: c).sample(config=[1, 2]) == [1, 2]
    assert sample_from(lambda: 7).sample(size=2) == [7, 7]


def test_types_are_pythons():
    assert type(uniform(0, 1).sample()) is float
    assert type(randint(0, 5).sample()) is int
    assert type(qrandint(0, 5, 2).sample()) is int
    assert type(qrandn(0, 1, 1).sample()) is float
    thing = object()
    assert choice([thing]).sample() is thing
    assert choice([np.float32(1.5)]).sample().dtype == np.float32


def test_multiples_of_q_are_equally_likely_and_include_the_upper_bound():
    generator = np.random.default_rng(0)
    drawn = [qrandint(1, 7, 2).sample(random_state=generator) for _ in range(3000)]
    counts = [drawn.count(v) for v in (2, 4, 6)]
    assert sum(counts) == 3000 and min(counts) > 850
    drawn = {qlograndint(2, 10, 2).sample(random_state=generator) for _ in range(500)}
    assert drawn == {2, 4, 6, 8, 10}
    assert quniform(3, 3, 3).sample() == 3.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: uniform(None, 1), "lower"),
        (lambda: uniform(0, math.inf), "upper"),
        (lambda: loguniform(0, 1), "lower.*0.*logarithm"),
        (lambda: loguniform(-5, -1), "lower"),
        (lambda: loguniform(1, math.inf), "upper"),
        (lambda: loguniform(1, 10, base=1), "base"),
        (lambda: lograndint(0, 3), "lower"),
        (lambda: quniform(1, 2, 3), "multiple of q = 3, got 1"),
        (lambda: quniform(0, 1, 0), "q: must be greater than 0"),
        (lambda: qrandint(0, 10, -1), "q: must be greater than 0"),
        (lambda: randn(0, 0), "sd"),
        (lambda: randn(0, -1), "sd"),
        (lambda: randint(0.5, 3), "lower: must be a whole number"),
        (lambda: randint(0, None), "upper: must be a whole number"),
        (lambda: randint(0, math.inf), "upper: must be a whole number"),
        (lambda: uniform(1, 0).sample(), "swap"),
        (lambda: uniform(-1e308, 1e308).sample(), "too wide"),
        (lambda: randint(3, 3).sample(), "less than"),
        (lambda: qrandint(1, 2, 5).sample(), "no multiple"),
        (lambda: choice([]).sample(), "nothing to choose"),
        (lambda: Float(0, 1).normal().sample(), "without bounds"),
        (lambda: uniform(0, 1).sample(size=-1), "size"),
        (lambda: sample_from(lambda a, b: 1), "func"),
    ],
)
def test_bad_arguments_are_refused_by_name(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: uniform("a", 1),
        lambda: choice(5),
        lambda: sample_from(3),
        lambda: uniform(0, 1).sample(random_state="seed"),
        lambda: uniform(0, 1).sample(random_state=1.5),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(make):
    with pytest.raises(TypeError):
        make()


def test_integers_beyond_64_bits_are_refused():
    with pytest.raises(OverflowError):
        randint(0, 2**63).sample()


def test_a_sampler_is_chosen_once():
    domain = Float(0, 1).uniform()
    with pytest.raises(ValueError, match="allow_override"):
        domain.loguniform() if domain.lower else domain.uniform()
    domain.set_sampler(Uniform(), allow_override=True)
    assert 0 <= domain.sample() < 1
    base = Integer(0, 5)
    derived = base.uniform()
    assert base.sampler is None and derived.sampler is not None


def test_texts_of_domains_and_samplers():
    assert uniform(0, 1).domain_str == "(0, 1)"
    assert randn().domain_str == "(-inf, inf)"
    assert choice([1, "a"]).domain_str == "[1, 'a']"
    assert sample_from(len).domain_str == f"{len}()"
    assert Domain().domain_str == "(unknown)"
    assert str(uniform(0, 1).sampler) == "Uniform"
    assert str(loguniform(1, 2).sampler) == "LogUniform"
    assert str(randn().sampler) == "Normal"
    assert str(sample_from(len).get_sampler()) == "Base"


def test_is_valid_counts_both_bounds():
    assert uniform(0, 1).is_valid(1) and not uniform(0, 1).is_valid(1.1)
    assert randint(0, 3).is_valid(3) and not randint(0, 3).is_valid(4)
    assert choice([1, 2]).is_valid(2) and not choice([1, 2]).is_valid(3)
    assert sample_from(len).is_valid("anything")
    with pytest.raises(NotImplementedError):
        Domain().is_valid(1)


def test_what_kind_a_domain_is():
    assert Categorical([1]).grid().is_grid() and not choice([1]).is_grid()
    assert sample_from(len).is_function() and not uniform(0, 1).is_function()
    assert len(choice("ab")) == 2 and choice("ab")[1] == "b"
    assert choice({"a": 1, "b": 2}).categories == ["a", "b"]
    assert isinstance(quniform(0, 1, 0.5).get_sampler(), Quantized)
    with pytest.raises(RuntimeError):
        Categorical([1]).grid().sample()


def test_functions_written_for_a_spec_still_work(caplog):
    assert sample_from(lambda spec: spec.config.x).sample(config={"x": 3}) == 3
    assert "deprecated" in caplog.text
    assert Function(lambda *a: len(a)).sample(config={}) == 1
    with pytest.raises(ZeroDivisionError):
        sample_from(lambda: 1 / 0).sample()


class _Squares(Sampler):
    def sample(self, domain, config=None, size=1, random_state=None):
        values = random_state.integers(domain.lower, domain.upper, size=size) ** 2
        return values[0] if size == 1 else values


@pytest.mark.parametrize("seed", [3, np.random.RandomState(3), np.random.default_rng(3), None])
def test_samplers_of_ones_own_draw_from_the_same_streams(seed):
    domain = Integer(2, 4)
    domain.set_sampler(_Squares())
    assert domain.sample(random_state=seed) in (4, 9)
    assert set(domain.sample(size=20, random_state=seed)) <= {4, 9}
    wide = Integer(2, 11)
    wide.set_sampler(_Squares())
    assert wide.quantized(3).sample(random_state=seed) in (9, 15, 24, 36, 48, 63)
    assert set(wide.quantized(3).sample(size=9, random_state=seed)) <= {9, 15, 24, 36, 48, 63}


def test_domains_can_be_copied_and_pickled():
    for make in (lambda: uniform(0, 1), lambda: qrandint(0, 8, 2), lambda: choice([1, "a"])):
        domain = make()
        for other in (copy.deepcopy(domain), pickle.loads(pickle.dumps(domain))):
            assert other.sample(random_state=1) == domain.sample(random_state=1)


@settings(max_examples=100, deadline=None)
@given(
    st.floats(-1e6, 1e6),
    st.floats(0, 1e6),
    st.integers(0, 2**32 - 1),
)
def test_floats_stay_within_their_bounds(lower, width, seed):
    upper = lower + width
    assert lower <= uniform(lower, upper).sample(random_state=seed) <= upper
    if lower > 1e-9:
        assert lower <= loguniform(lower, upper).sample(random_state=seed) <= upper


@settings(max_examples=100, deadline=None)
@given(
    st.integers(-(2**40), 2**40),
    st.integers(1, 2**40),
    st.integers(2, 50),
    st.integers(0, 2**32 - 1),
)
def test_integers_stay_within_their_bounds(lower, width, q, seed):
    upper = lower + width
    assert lower <= randint(lower, upper).sample(random_state=seed) < upper
    if lower > 0:
        assert lower <= lograndint(lower, upper).sample(random_state=seed) < upper
    if upper // q * q >= lower:
        drawn = qrandint(lower, upper, q).sample(random_state=seed)
        assert lower <= drawn <= upper and drawn % q == 0


def test_sampling_leaks_nothing():
    code = """
import gc, sys
import numpy as np
from ctune.search.sample import *
domains = [uniform(0, 1), randn(), qrandint(0, 9, 2), choice(["a", object()]), lograndint(1, 9)]
streams = [None, 1, np.random.RandomState(1), np.random.default_rng(1)]
def work(n):
    for _ in range(n):
        for d in domains:
            for s in streams:
                d.sample(random_state=s)
        try:
            randint(3, 3).sample()
        except ValueError:
            pass
        try:
            uniform(0, 1).sample(random_state="x")
        except TypeError:
            pass
work(200)
gc.collect(); before = sys.getallocatedblocks()
work(1000)
gc.collect(); after = sys.getallocatedblocks()
assert after - before < 500, after - before  # caches still settle; a leak is 1000 or more
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_does_not_import_numpy():
    code = "import sys, ctune.search.sample; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
