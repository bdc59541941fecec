"""Stoppers, called as documented."""

import copy
import datetime
import gc
import logging
import math
import pickle
import subprocess
import sys

import pytest

from ctune.stopper import (
    CombinedStopper,
    FunctionStopper,
    MaximumIterationStopper,
    NoopStopper,
    Stopper,
    TimeoutStopper,
)


def twin(stopper):
    return pickle.loads(pickle.dumps(stopper))


class Named(Stopper):
    """Answers what it is told, and counts."""

    def __init__(self, answer, all_answer=False):
        self.answer, self.all_answer, self.calls = answer, all_answer, 0

    def __call__(self, trial_id, result):
        self.calls += 1
        return self.answer

    def stop_all(self):
        self.calls += 1
        return self.all_answer


def test_the_base_asks_for_both_methods():
    with pytest.raises(NotImplementedError, match="__call__"):
        Stopper()("a", {})
    with pytest.raises(NotImplementedError, match="stop_all"):
        Stopper().stop_all()


def test_noop_never_stops():
    assert NoopStopper()("a", {}) is False
    assert NoopStopper()(trial_id="a", result={}) is False
    assert NoopStopper().stop_all() is False
    with pytest.raises(TypeError):
        NoopStopper()("a")


def test_iterations_count_per_trial():
    stopper = MaximumIterationStopper(3)
    assert [stopper("a", {}) for _ in range(4)] == [False, False, True, True]
    assert stopper("b", {}) is False
    assert stopper.stop_all() is False
    assert MaximumIterationStopper(max_iter=1)("a", {}) is True


def test_iterations_survive_pickling_with_the_attributes_of_a_subclass():
    stopper = Subclass(2)
    stopper.note = "kept"
    stopper("a", {})
    for copied in (twin(stopper), copy.deepcopy(stopper)):
        assert copied.note == "kept"
        assert copied("a", {}) is True
        assert copied("b", {}) is False
    assert stopper("b", {}) is False


class Subclass(MaximumIterationStopper):
    pass


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-5, ValueError),
        (-(10**30), ValueError),
        (1.5, TypeError),
        ("3", TypeError),
        (None, TypeError),
    ],
)
def test_a_bad_max_iter_is_named(value, error):
    with pytest.raises(error, match="max_iter"):
        MaximumIterationStopper(value)


def test_a_timeout_of_zero_stops_at_once_and_logs_once(caplog):
    stopper = TimeoutStopper(0)
    with caplog.at_level(logging.INFO, logger="ctune.stopper"):
        assert stopper("a", {}) is False
        assert stopper.stop_all() is True
        assert stopper.stop_all() is True
    assert len(caplog.records) == 1


def test_a_long_timeout_does_not_stop():
    for timeout in (3600, 3600.5, datetime.timedelta(hours=1), math.inf):
        stopper = TimeoutStopper(timeout)
        assert stopper.stop_all() is False
        assert twin(stopper).stop_all() is False


def test_a_copied_timeout_keeps_the_rest_and_not_the_clock():
    stopper = TimeoutStopper(100)
    stopper.stop_all()
    state = stopper.__getstate__()
    assert state[0] == 100 and state[1] <= 100
    stopper.__setstate__((100.0, 0.0, {}))
    assert stopper.stop_all() is True


@pytest.mark.parametrize("value", [-1, math.nan, "10", None, datetime.timedelta(days=-1)])
def test_a_bad_timeout_is_named(value):
    with pytest.raises(ValueError, match="timeout"):
        TimeoutStopper(value)


def test_a_function_decides_on_id_and_result():
    stopper = FunctionStopper(lambda trial_id, result: result["x"] > 1 and trial_id)
    assert stopper("a", {"x": 2}) == "a"
    assert stopper("a", {"x": 1}) is False
    assert stopper.stop_all() is False
    with pytest.raises(KeyError):
        stopper("a", {})
    with pytest.raises(TypeError, match="function"):
        FunctionStopper(3)


def test_valid_functions_are_told_from_stoppers():
    assert FunctionStopper.is_valid_function(lambda i, r: True)
    assert not FunctionStopper.is_valid_function(NoopStopper())
    assert not FunctionStopper.is_valid_function(5)

    class Almost:
        def __call__(self, trial_id, result):
            return True

        def stop_all(self):
            return True

    with pytest.raises(ValueError, match="stop_all"):
        FunctionStopper.is_valid_function(Almost())


def test_any_of_several_stops_and_asks_no_further():
    last = Named(True, True)
    stopper = CombinedStopper(Named(0), Named("yes", [1]), last)
    assert stopper("a", {}) is True
    assert stopper.stop_all() is True
    assert last.calls == 0
    assert CombinedStopper(Named(""), NoopStopper())("a", {}) is False
    assert CombinedStopper()("a", {}) is False
    assert CombinedStopper().stop_all() is False


def test_combining_passes_errors_on_and_refuses_other_things():
    class Broken(Stopper):
        def __call__(self, trial_id, result):
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        CombinedStopper(NoopStopper(), Broken())("a", {})
    with pytest.raises(NotImplementedError):
        CombinedStopper(Broken()).stop_all()
    with pytest.raises(ValueError, match="Stopper"):
        CombinedStopper(NoopStopper(), len)


def test_combined_stoppers_can_be_pickled():
    stopper = twin(CombinedStopper(MaximumIterationStopper(2), FunctionStopper(print)))
    assert stopper("a", {}) is False
    assert stopper("a", {}) is True


def test_a_subclass_without_super_init_gets_a_clear_error():
    for cls in (MaximumIterationStopper, FunctionStopper, CombinedStopper):
        lazy = type("Lazy", (cls,), {"__init__": lambda self: None})()
        with pytest.raises(RuntimeError, match="super"):
            lazy("a", {})
    lazy = type("Lazy", (TimeoutStopper,), {"__init__": lambda self: None})()
    with pytest.raises(RuntimeError, match="super"):
        lazy.stop_all()


def test_stoppers_are_collected_when_they_refer_to_themselves():
    class Mine(FunctionStopper):
        pass

    mine = Mine(print)
    mine.me = CombinedStopper(mine)
    del mine
    gc.collect()
    assert not any(isinstance(o, Mine) for o in gc.get_objects())


def test_the_same_calls_again_and_again_leave_no_memory_behind():
    code = """
import gc, pickle, sys
from ctune.stopper import *
def use():
    s = CombinedStopper(MaximumIterationStopper(5), TimeoutStopper(1e9), NoopStopper(),
                        FunctionStopper(max), FunctionStopper(print))
    try: s("a", {})
    except TypeError: pass
    s.stop_all()
    pickle.loads(pickle.dumps(s)).stop_all()
    for bad in (lambda: TimeoutStopper(-1), lambda: MaximumIterationStopper(0),
                lambda: CombinedStopper(3), lambda: NoopStopper()(1)):
        try: bad()
        except (ValueError, TypeError): pass
for _ in range(1000): use()
gc.collect()
before = sys.getallocatedblocks()
for _ in range(4000): use()
gc.collect()
grown = sys.getallocatedblocks() - before
assert grown < 2000, grown  # one block per round would be 4000
"""
    subprocess.run([sys.executable, "-c", code], check=True)
