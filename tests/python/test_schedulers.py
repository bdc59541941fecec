"""The schedulers' Python face: alone, with any objects as trials and controllers."""

import copy
import gc
import gzip
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

import ctune
from ctune.schedulers import (
    ASHAScheduler,
    AsyncHyperBandScheduler,
    FIFOScheduler,
    TrialScheduler,
    create_scheduler,
)

RECORDED = Path(__file__).parents[1] / "reference" / "asha.json.gz"


class Trial:
    def __init__(self, name, status="PENDING"):
        self.trial_id = str(name)
        self.status = status


class Controller:
    def __init__(self, *trials):
        self.trials = list(trials)

    def get_trials(self):
        return self.trials


def asha(**options):
    return AsyncHyperBandScheduler(**{"metric": "m", "mode": "max", **options})


def results(scheduler, *steps):
    """Adds a trial per step (time, value) and returns the decisions."""
    decisions = []
    for n, (time, value) in enumerate(steps):
        trial = Trial(f"{n}")
        scheduler.on_trial_add(None, trial)
        result = {"training_iteration": time, "m": value}
        decisions.append(scheduler.on_trial_result(None, trial, result))
    return decisions


# ---- recorded decisions of the reference ----


def replay(case):
    scheduler = AsyncHyperBandScheduler(**case["options"])
    trials = {}
    np.random.seed(case["seed"])
    for i, (method, n, result, answer) in enumerate(case["steps"]):
        if method == "debug":
            got = scheduler.debug_string()
        else:
            trial = trials.setdefault(n, Trial(f"t{n}"))
            args = [None, trial] + ([] if result is None else [result])
            try:
                got = getattr(scheduler, method)(*args)
            except KeyError:
                got = "!KeyError"
        assert got == answer, f"step {i}: {method} {n} {result}"
    return scheduler


def recorded_cases():
    with gzip.open(RECORDED) as f:
        return json.load(f)


@pytest.mark.parametrize("number", range(60))
def test_decisions_equal_the_recorded_ones_of_the_reference(number):
    case = recorded_cases()[number]
    stopped = sum(s[3] == "STOP" for s in case["steps"])
    assert replay(case).num_stopped == stopped


def test_the_record_covers_all_kinds_of_cases():
    cases = recorded_cases()
    options = [c["options"] for c in cases]
    assert {o["mode"] for o in options} == {"min", "max"}
    assert {o["stop_last_trials"] for o in options} == {True, False}
    assert max(o["brackets"] for o in options) > 3
    answers = [s[3] for c in cases for s in c["steps"]]
    assert min(answers.count(a) for a in ("CONTINUE", "STOP", "!KeyError")) > 100


def test_a_case_goes_on_the_same_after_save_and_restore(tmp_path):
    case = next(c for c in recorded_cases() if c["options"]["brackets"] == 3)
    first = {**case, "steps": case["steps"][:150]}
    scheduler = replay(first)
    scheduler.save(str(tmp_path / "state"))
    restored = AsyncHyperBandScheduler(metric="other", mode="min", max_t=5)
    restored.restore(str(tmp_path / "state"))
    assert restored.debug_string() == scheduler.debug_string()
    assert restored.num_stopped == scheduler.num_stopped
    assert restored.metric == scheduler.metric
    state = np.random.get_state()
    for method, n, result, answer in case["steps"][150:]:
        if method == "debug":
            assert restored.debug_string() == answer
            continue
        args = [None, Trial(f"t{n}")] + ([] if result is None else [result])
        try:
            got = getattr(restored, method)(*args)
        except KeyError:
            got = "!KeyError"
        assert got == answer
    assert not np.array_equal(np.random.get_state()[2], state[2])  # brackets were drawn
    assert [p.name for p in tmp_path.iterdir()] == ["state"]  # nothing left beside it


# ---- ASHA ----


def test_one_global_draw_per_added_trial():
    for brackets in (1, 3):
        np.random.seed(7)
        expected = np.random.random_sample(4)[3]
        np.random.seed(7)
        scheduler = asha(brackets=brackets)
        for n in range(3):
            scheduler.on_trial_add(None, Trial(n))
        assert np.random.random_sample() == expected


def test_the_third_trial_stops_below_the_median_of_two():
    decisions = results(asha(reduction_factor=2), (1, 2), (1, 4), (1, 1))
    assert decisions == ["CONTINUE", "CONTINUE", "STOP"]


def test_numbers_of_any_kind_are_accepted():
    np_values = [np.float32(2), np.float64(4), np.int64(1), True]
    scheduler = asha(reduction_factor=2)
    assert results(scheduler, *((np.int32(1), v) for v in np_values)) == [
        "CONTINUE",
        "CONTINUE",
        "STOP",
        "STOP",
    ]
    trial = Trial("huge")
    scheduler.on_trial_add(None, trial)
    result = {"training_iteration": 10**400, "m": -(10**400)}
    assert scheduler.on_trial_result(None, trial, result) == "STOP"


def test_a_result_may_be_any_mapping():
    class Result:
        def __contains__(self, key):
            return key in ("training_iteration", "m")

        def __getitem__(self, key):
            return 100

    assert asha().on_trial_result(None, Trial(1), Result()) == "STOP"
    assert asha(metric="other").on_trial_result(None, Trial(1), Result()) == "CONTINUE"


def test_a_result_without_a_number_is_a_type_error_that_names_the_key():
    scheduler = asha()
    for bad in (None, "fast", [1]):
        with pytest.raises(TypeError, match="'m'"):
            scheduler.on_trial_result(None, Trial(1), {"training_iteration": 1, "m": bad})


def test_trials_and_controllers_may_be_mocks():
    scheduler = asha(reduction_factor=2)
    trials = [MagicMock() for _ in range(3)]
    decisions = []
    for trial, value in zip(trials, (2, 4, 1), strict=True):
        scheduler.on_trial_add(MagicMock(), trial)
        result = {"training_iteration": 1, "m": value}
        decisions.append(scheduler.on_trial_result(MagicMock(), trial, result))
    assert decisions == ["CONTINUE", "CONTINUE", "STOP"]


def test_trials_are_known_by_their_id():
    scheduler = asha()
    scheduler.on_trial_add(None, Trial("a"))
    result = {"training_iteration": 1, "m": 1}
    assert scheduler.on_trial_result(None, Trial("a"), result) == "CONTINUE"
    with pytest.raises(KeyError, match="b"):
        scheduler.on_trial_result(None, Trial("b"), result)
    scheduler.on_trial_complete(None, Trial("a"), result)
    with pytest.raises(KeyError):
        scheduler.on_trial_remove(None, Trial("a"))
    with pytest.raises(AttributeError):
        scheduler.on_trial_add(None, object())
    trial = Trial("x")
    trial.trial_id = []
    with pytest.raises(TypeError):
        scheduler.on_trial_add(None, trial)


def test_a_completed_trial_without_its_metric_stays_known():
    scheduler = asha()
    scheduler.on_trial_add(None, Trial("a"))
    scheduler.on_trial_complete(None, Trial("a"), {})
    scheduler.on_trial_remove(None, Trial("a"))


def test_metric_and_mode_may_come_from_the_run_but_only_once():
    scheduler = AsyncHyperBandScheduler()
    with pytest.raises(ValueError, match="metric"):
        scheduler.on_trial_add(None, Trial(1))
    assert scheduler.set_search_properties("loss", "min", more=1) is True
    assert scheduler.metric == "loss"
    assert scheduler.set_search_properties("other", None) is False
    assert scheduler.set_search_properties(None, "max") is False
    assert scheduler.set_search_properties(metric=None, mode=None) is True
    assert scheduler.metric == "loss"
    trials = [Trial(n) for n in range(3)]
    decisions = []
    for trial, value in zip(trials, (4, 2, 9), strict=True):
        scheduler.on_trial_add(None, trial)
        result = {"training_iteration": 1, "loss": value}
        decisions.append(scheduler.on_trial_result(None, trial, result))
    assert decisions == ["CONTINUE", "CONTINUE", "STOP"]


def test_a_mode_alone_means_the_anonymous_metric():
    scheduler = AsyncHyperBandScheduler()
    assert scheduler.set_search_properties(None, "max") is True
    assert scheduler.metric == "_metric"
    with pytest.raises(TypeError, match="metric and mode"):
        scheduler.set_search_properties("x")
    with pytest.raises(ValueError, match="mode"):
        AsyncHyperBandScheduler().set_search_properties("x", "maximum")


BAD_OPTIONS = [
    ("max_t", 0, ValueError),
    ("max_t", -1, ValueError),
    ("max_t", math.nan, ValueError),
    ("max_t", math.inf, ValueError),
    ("max_t", "100", TypeError),
    ("max_t", None, TypeError),
    ("grace_period", 0, ValueError),
    ("grace_period", 101, ValueError),
    ("grace_period", math.nan, ValueError),
    ("grace_period", [], TypeError),
    ("reduction_factor", 1, ValueError),
    ("reduction_factor", 0.5, ValueError),
    ("reduction_factor", 1 + 1e-12, ValueError),
    ("reduction_factor", "4", TypeError),
    ("brackets", 0, ValueError),
    ("brackets", -3, ValueError),
    ("brackets", 10**30, ValueError),
    ("brackets", -(10**30), ValueError),
    ("brackets", 1.5, TypeError),
    ("mode", "maximum", ValueError),
    ("mode", "", ValueError),
    ("mode", 1, ValueError),
    ("metric", 1, TypeError),
    ("metric", ["a"], TypeError),
    ("time_attr", None, TypeError),
    ("time_attr", 5, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), BAD_OPTIONS)
def test_a_bad_option_is_named(name, value, error):
    with pytest.raises(error, match=name):
        asha(**{name: value})


def test_a_subclass_that_overrides_one_decision_keeps_the_rest():
    class Patient(AsyncHyperBandScheduler):
        asked = 0

        def on_trial_result(self, controller, trial, result):
            self.asked += 1
            decision = super().on_trial_result(controller, trial, result)
            return TrialScheduler.CONTINUE if self.asked < 4 else decision

    scheduler = Patient(metric="m", mode="max", reduction_factor=2)
    decisions = results(scheduler, (1, 2), (1, 4), (1, 1), (1, 0))
    assert decisions == ["CONTINUE", "CONTINUE", "CONTINUE", "STOP"]
    assert scheduler.num_stopped == 2


def test_a_subclass_without_super_init_gets_a_clear_error():
    class Lazy(AsyncHyperBandScheduler):
        def __init__(self):
            pass

    for use in (
        lambda s: s.on_trial_add(None, Trial(1)),
        lambda s: s.on_trial_result(None, Trial(1), {}),
        lambda s: s.debug_string(),
        lambda s: s.num_stopped,
        lambda s: s.set_search_properties("a", "min"),
        lambda s: s.__getstate__(),
    ):
        with pytest.raises(RuntimeError, match="super"):
            use(Lazy())


class Marked(AsyncHyperBandScheduler):
    pass


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_copies_decide_alike_and_keep_attributes_of_subclasses(way):
    scheduler = Marked(metric="m", mode="max", reduction_factor=2)
    scheduler.note = [1, 2]
    results(scheduler, (1, 2), (1, 4), (1, 1))
    twin = pickle.loads(pickle.dumps(scheduler)) if way == "pickle" else copy.deepcopy(scheduler)
    assert twin.note == [1, 2]
    assert twin.debug_string() == scheduler.debug_string()
    result = {"training_iteration": 2, "m": 3}
    for n in range(3):
        assert twin.on_trial_result(None, Trial(n), result) == scheduler.on_trial_result(
            None, Trial(n), result
        )


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"metric": None, "attributes": {}},
        {"options": (), "trials": {}, "numbers": 0, "engine": {}},
        {"options": (1,) * 8, "trials": {}, "numbers": 0, "engine": {}},
    ],
)
def test_state_of_something_else_is_refused(state, tmp_path):
    path = tmp_path / "state"
    path.write_bytes(pickle.dumps(state))
    with pytest.raises((ValueError, TypeError)):
        asha().restore(str(path))


def test_state_with_wild_trial_numbers_is_refused():
    scheduler = asha()
    scheduler.on_trial_add(None, Trial(1))
    for wild in (7, -1, 2**80, "x"):
        state = scheduler.__getstate__()
        state["trials"][0][1] = wild
        with pytest.raises(ValueError):
            scheduler.__setstate__(state)


def test_importing_and_making_schedulers_does_not_import_numpy():
    code = (
        "import sys; from ctune.schedulers import ASHAScheduler; "
        "s = ASHAScheduler(metric='m', mode='max'); s.debug_string(); "
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_schedulers_are_collected_when_they_refer_to_themselves():
    gc.collect()
    scheduler = Marked(metric="m", mode="max")
    scheduler.me = scheduler
    trial = Trial("a")
    trial.trial_id = (scheduler,)  # a key in its table of trials
    scheduler.on_trial_add(None, trial)
    del scheduler, trial
    assert gc.collect() > 0
    assert not any(isinstance(o, Marked) for o in gc.get_objects())


def test_the_same_calls_again_and_again_leave_no_memory_behind():
    code = """
import gc, sys
from ctune.schedulers import ASHAScheduler, FIFOScheduler
class Trial:
    trial_id = "a"; status = "PENDING"
class Controller:
    def get_trials(self): return [trial]
trial, controller = Trial(), Controller()
def use():
    s = ASHAScheduler(metric="m", mode="max", brackets=3)
    s.on_trial_add(None, trial)
    for t in range(1, 101, 3):
        s.on_trial_result(None, trial, {"training_iteration": t, "m": 1.5})
    s.on_trial_error(None, trial)
    s.debug_string(), s.metric, s.num_stopped, s.supports_buffered_results
    ASHAScheduler().__setstate__(s.__getstate__())
    s.on_trial_complete(None, trial, {"training_iteration": 1, "m": 1.5})
    for bad in (dict(max_t=0), dict(mode="x"), dict(brackets="x"), dict(metric=3)):
        try: ASHAScheduler(**bad)
        except (ValueError, TypeError): pass
    for call in (s.on_trial_remove, s.on_trial_add):
        try: call(None, trial)
        except KeyError: pass
    f = FIFOScheduler()
    f.choose_trial_to_run(controller), f.on_trial_result(None, trial, {})
    f.set_search_properties("a", None), f.metric
for _ in range(1000): use()
gc.collect()
before = sys.getallocatedblocks()
for _ in range(4000): use()
gc.collect()
grown = sys.getallocatedblocks() - before
assert grown < 2000, grown  # one block per round would be 4000
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- FIFO and the base ----


def test_fifo_starts_pending_before_paused_trials():
    running, paused, pending = Trial(1, "RUNNING"), Trial(2, "PAUSED"), Trial(3)
    fifo = FIFOScheduler()
    assert fifo.choose_trial_to_run(Controller(running, paused, pending)) is pending
    assert fifo.choose_trial_to_run(Controller(running, paused)) is paused
    assert fifo.choose_trial_to_run(Controller(running)) is None
    assert fifo.choose_trial_to_run(Controller()) is None
    assert fifo.debug_string() == "Using FIFO scheduling algorithm."


def test_choosing_passes_errors_of_the_controller_on():
    class Broken:
        def get_trials(self):
            yield Trial(1, "RUNNING")
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        FIFOScheduler().choose_trial_to_run(Broken())
    with pytest.raises(AttributeError):
        FIFOScheduler().choose_trial_to_run(None)
    with pytest.raises(AttributeError):
        FIFOScheduler().choose_trial_to_run(Controller(object()))


def test_the_base_asks_for_every_abstract_method():
    base = TrialScheduler()
    calls = {
        "on_trial_add": 2,
        "on_trial_error": 2,
        "on_trial_result": 3,
        "on_trial_complete": 3,
        "on_trial_remove": 2,
        "choose_trial_to_run": 1,
        "debug_string": 0,
        "save": 1,
        "restore": 1,
    }
    for name, n in calls.items():
        with pytest.raises(NotImplementedError, match=name):
            getattr(base, name)(*[None] * n)
    for name in ("save", "restore"):
        with pytest.raises(NotImplementedError):
            getattr(FIFOScheduler(), name)("path")


def test_the_base_keeps_a_metric_and_ignores_the_mode():
    base = TrialScheduler()
    assert base.metric is None
    assert base.set_search_properties(None, "nonsense") is True
    assert base.metric == "_metric"
    assert base.set_search_properties("loss", None) is False
    other = TrialScheduler()
    assert other.set_search_properties("loss", "min") is True
    assert other.metric == "loss"


def test_subclasses_may_keep_their_metric_and_buffering_in_the_class():
    class Mine(TrialScheduler):
        _metric = "own"
        _supports_buffered_results = False

        def __init__(self, anything, more=1):
            self.anything = anything

    mine = Mine(1, more=2)
    assert (mine.metric, mine.supports_buffered_results) == ("own", False)
    assert mine.set_search_properties("loss", "min") is False
    assert TrialScheduler().supports_buffered_results is True


def test_constants_are_their_own_names():
    for word in ("CONTINUE", "PAUSE", "STOP", "NOOP"):
        assert getattr(TrialScheduler, word) == word


def test_wrong_numbers_of_arguments_are_type_errors():
    with pytest.raises(TypeError, match="on_trial_result"):
        asha().on_trial_result(None, Trial(1))
    with pytest.raises(TypeError, match="on_trial_add"):
        FIFOScheduler().on_trial_add(None)
    with pytest.raises(TypeError, match="argument"):
        FIFOScheduler(1)


# ---- by name ----


@pytest.mark.parametrize("name", ["async_hyperband", "asynchyperband", "AsyncHyperBand"])
def test_asha_by_name_drops_arguments_that_it_does_not_have(name):
    scheduler = create_scheduler(name, metric="m", mode="min", max_t=9, synch=True)
    assert type(scheduler) is ASHAScheduler
    assert scheduler.metric == "m"
    assert scheduler.debug_string().startswith("Using AsyncHyperBand: num_stopped=0\n")


def test_fifo_by_name():
    assert type(create_scheduler("FIFO", metric="m")) is FIFOScheduler


def test_unknown_names_are_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match="async_hyperband.*did you mean 'async_hyperband'"):
        create_scheduler("async_hyperbnad")
    with pytest.raises(ValueError, match="must be one of"):
        create_scheduler("zzz")
    with pytest.raises(TypeError, match="None"):
        create_scheduler(None)


@pytest.mark.parametrize("executor", ["inline", "process"])
@pytest.mark.parametrize("through_trial", [False, True])
def test_a_python_scheduler_gives_a_paused_trial_other_resources(executor, through_trial, tmp_path):
    class Grow(FIFOScheduler):
        def __init__(self):
            super().__init__()
            self.grown = set()

        def on_trial_result(self, controller, trial, result):
            return "PAUSE" if result["training_iteration"] == 2 else "CONTINUE"

        def choose_trial_to_run(self, controller):
            for trial in controller.get_trials():
                if trial.status == "PAUSED" and trial.trial_id not in self.grown:
                    self.grown.add(trial.trial_id)
                    if through_trial:
                        trial.update_resources({"cpu": 2})
                    else:
                        controller.resize_trial(trial, {"cpu": 2})
            return super().choose_trial_to_run(controller)

    class Sees(ctune.Trainable):
        def step(self):
            return {"cpus": self.trial_resources.required_resources["CPU"]}

        def save_checkpoint(self, checkpoint_dir):
            return {}

        def load_checkpoint(self, checkpoint):
            pass

    ctune.shutdown()
    ctune.init(executor=executor, num_cpus=2)
    try:
        analysis = ctune.run(
            Sees,
            num_samples=3,
            scheduler=Grow(),
            stop={"training_iteration": 4},
            storage_path=str(tmp_path),
            verbose=0,
        )
    finally:
        ctune.shutdown()
    for trial in analysis.trials:
        assert trial.status == "TERMINATED"
        assert trial.last_result["cpus"] == 2
        assert trial.placement_group_factory.required_resources == {"CPU": 2}


def test_resources_that_cannot_be_given_end_the_run_with_their_name(tmp_path):
    class Greedy(FIFOScheduler):
        def on_trial_result(self, controller, trial, result):
            return "PAUSE"

        def choose_trial_to_run(self, controller):
            for trial in controller.get_trials():
                if trial.status == "PAUSED":
                    controller.resize_trial(trial, {"cpu": 99})
            return super().choose_trial_to_run(controller)

    ctune.shutdown()
    ctune.init(executor="inline", num_cpus=2)
    try:
        with pytest.raises((ctune.TuneError, ValueError), match="99 CPU"):
            ctune.run(
                lambda config: ctune.report({"a": 1}),
                scheduler=Greedy(),
                storage_path=str(tmp_path),
                verbose=0,
            )
    finally:
        ctune.shutdown()
