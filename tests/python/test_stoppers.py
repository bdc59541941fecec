"""Stoppers, called as documented."""

import copy
import datetime
import gc
import logging
import math
import os
import pickle
import subprocess
import sys

import pytest

from ctune.stopper import (
    CombinedStopper,
    ExperimentPlateauStopper,
    FunctionStopper,
    MaximumIterationStopper,
    NoopStopper,
    Stopper,
    TimeoutStopper,
    TrialPlateauStopper,
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


# --- plateaus: facts found by asking the reference -----------------------------------------


def answers(stopper, values, trial="a"):
    return [stopper(trial, {"m": value}) for value in values]


def test_a_trial_stops_on_its_plateau_only():
    stopper = TrialPlateauStopper("m")
    assert answers(stopper, [9.0, 1.0, 1.0, 1.0, 1.0]) == [False] * 4 + [True]
    assert answers(stopper, [1.0] * 4, "b") == [False] * 3 + [True]
    assert stopper.stop_all() is False
    patient = TrialPlateauStopper("m", num_results=2, grace_period=5)
    assert answers(patient, [1] * 6) == [False] * 4 + [True] * 2
    exact = TrialPlateauStopper("m", std=0.5, num_results=2, grace_period=0)
    assert answers(exact, [0.0, 1.0]) == [False, False]  # the deviation is 0.5, not below


def test_values_without_a_deviation_keep_a_trial_going():
    stopper = TrialPlateauStopper("m", num_results=2, grace_period=0)
    assert answers(stopper, [1.0, math.nan, 1.0, 1.0]) == [False, False, False, True]
    assert answers(stopper, [math.inf] * 3, "b") == [False] * 3
    assert answers(stopper, ["text", 1.0, 1.0], "c") == [False, False, True]
    assert [stopper("d", {}) for _ in range(3)] == [False] * 3


def test_a_threshold_needs_a_mode_and_holds_back():
    with pytest.raises(ValueError, match="mode"):
        TrialPlateauStopper("m", metric_threshold=1.0)
    low = TrialPlateauStopper("m", num_results=2, grace_period=0, metric_threshold=1.0, mode="min")
    assert answers(low, [2.0, 2.0, 1.0, 1.0]) == [False, False, False, True]
    high = TrialPlateauStopper("m", num_results=2, grace_period=0, metric_threshold=3, mode="max")
    assert answers(high, [2.0, 2.0, 3.0, 3.0]) == [False, False, False, True]


def test_the_experiment_stops_when_the_best_values_stand_still():
    stopper = ExperimentPlateauStopper("m", top=3)
    assert answers(stopper, [5.0, 1.0, 9.0, 1.0, 9.0]) == [False] * 5
    assert stopper.has_plateaued() is False and stopper.stop_all() is False
    assert answers(stopper, [1.0], "b") == [True]
    assert stopper.has_plateaued() is True and stopper.stop_all() is True
    highest = ExperimentPlateauStopper("m", top=2, mode="max", patience=2)
    assert answers(highest, [7.0, 1.0, 7.0, 0.0]) == [False, False, False, True]
    with pytest.raises(KeyError, match="m"):
        highest("a", {"other": 1})


def test_a_nan_is_never_one_of_the_best():
    stopper = ExperimentPlateauStopper("m", top=2)
    assert answers(stopper, [math.nan, 1.0, math.nan, 1.0]) == [False, False, False, True]


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrialPlateauStopper("m", num_results=3, grace_period=2),
        lambda: ExperimentPlateauStopper("m", top=3, patience=2),
    ],
)
def test_a_plateau_stopper_cut_anywhere_goes_on_as_if_it_had_not_been(make):
    values = [3.0, 1.0, math.nan, 1.0, 1.0, 1.0, 4.0, 1.0, 1.0, 1.0, 1.0]
    whole = answers(make(), values)
    assert True in whole and False in whole
    for cut in range(len(values)):
        stopper = make()
        stopper.note = "kept"
        before = answers(stopper, values[:cut])
        for after in (twin(stopper), copy.deepcopy(stopper)):
            assert after.note == "kept"
            assert before + answers(after, values[cut:]) == whole


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"metric": 3}, "metric"),
        ({"metric": ""}, "metric"),
        ({"std": "a"}, "std"),
        ({"std": math.nan}, "std"),
        ({"num_results": 0}, "num_results"),
        ({"num_results": 2.5}, "num_results"),
        ({"grace_period": None}, "grace_period"),
        ({"metric_threshold": "a", "mode": "min"}, "metric_threshold"),
        ({"metric_threshold": 1.0, "mode": "MIN"}, "mode"),
    ],
)
def test_bad_arguments_of_a_trial_plateau_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        TrialPlateauStopper(**{"metric": "m", **arguments})


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"metric": None}, "metric"),
        ({"mode": "up"}, "mode"),
        ({"mode": None}, "mode"),
        ({"top": 1}, "top"),
        ({"top": 2.0}, "top"),
        ({"patience": -1}, "patience"),
        ({"patience": 0.5}, "patience"),
        ({"std": 0.0}, "std"),
        ({"std": -0.1}, "std"),
        ({"std": 1}, "std"),
        ({"std": math.nan}, "std"),
    ],
)
def test_bad_arguments_of_an_experiment_plateau_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        ExperimentPlateauStopper(**{"metric": "m", **arguments})


def test_plateau_stoppers_need_their_init():
    class Forgets(TrialPlateauStopper):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="Forgets"):
        Forgets()("a", {"m": 1.0})


def test_the_number_of_results_that_an_array_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="num_results"):
        TrialPlateauStopper("m", num_results=2**62)
    with pytest.raises(ValueError, match="top"):
        ExperimentPlateauStopper("m", top=2**62)


def run_inline(stop, step):
    import ctune

    class Job(ctune.Trainable):
        def setup(self, config):
            self.i = 0

        def step(self):
            self.i += 1
            return step(self.i, self.config["x"])

    return ctune.run(
        Job, config={"x": ctune.grid_search([1, 2])}, stop=stop, verbose=0, storage_path=os.getcwd()
    )


@pytest.fixture
def inline(tmp_path, monkeypatch):
    monkeypatch.setenv("CTUNE_EXECUTOR", "inline")
    monkeypatch.chdir(tmp_path)


def test_plateaus_stop_a_run(inline):
    def settles(i, x):
        return {"a": {"loss": max(0, 5 * x - i)}}

    analysis = run_inline(TrialPlateauStopper("a/loss"), settles)
    assert [t.last_result["training_iteration"] for t in analysis.trials] == [8, 13]
    stopper = ExperimentPlateauStopper("a/loss", top=3)
    analysis = run_inline(stopper, settles)
    assert stopper.has_plateaued()
    assert analysis.trials[0].last_result["training_iteration"] == 7
    assert analysis.trials[1].last_result is None or (
        analysis.trials[1].last_result.get("training_iteration", 0) <= 7
    )


def test_an_overridden_plateau_is_asked_in_a_run(inline):
    class Counts(TrialPlateauStopper):
        calls = 0

        def __call__(self, trial_id, result):
            self.calls += 1
            return super().__call__(trial_id, result)

    stopper = Counts("loss")
    run_inline(stopper, lambda i, x: {"loss": 1.0})
    assert stopper.calls == 8
