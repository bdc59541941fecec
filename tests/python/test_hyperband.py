"""HyperBand and the median rule: formulas, properties, real runs, bad input."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ctune
from ctune import Trainable
from ctune.schedulers import (
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    create_scheduler,
)

NAMES = ["hyperband", "hb_bohb", "median_stopping_rule", "medianstopping"]


class Trial:
    def __init__(self, n):
        self.trial_id = f"t{n}"
        self.status = "PENDING"
        self.iteration = 0


class Lab:
    """Runs trials on a scheduler until nothing is left to start."""

    def __init__(self, scheduler, count, score, step=1, workers=3):
        self.scheduler, self.score, self.step, self.workers = scheduler, score, step, workers
        self.search_alg = self.searcher = self
        self.trials = [Trial(n) for n in range(count)]
        self.results = 0
        for trial in self.trials:
            scheduler.on_trial_add(self, trial)

    def on_pause(self, trial_id):
        pass

    on_unpause = on_pause

    def get_trials(self):
        return self.trials

    def get_live_trials(self):
        return [t for t in self.trials if t.status not in ("TERMINATED", "ERROR")]

    def stop_trial(self, trial):
        assert trial.status == "PAUSED"
        self.scheduler.on_trial_remove(self, trial)
        trial.status = "TERMINATED"

    def report(self, trial):
        trial.iteration += self.step
        result = {"training_iteration": trial.iteration, "m": self.score(trial)}
        answer = self.scheduler.on_trial_result(self, trial, result)
        self.results += 1
        if answer == "PAUSE":
            trial.status = "PAUSED"
        elif answer == "STOP" or trial.iteration > 400:
            self.scheduler.on_trial_complete(self, trial, result)
            trial.status = "TERMINATED"

    def run(self):
        while True:
            running = [t for t in self.trials if t.status == "RUNNING"]
            for _ in range(self.workers - len(running)):
                trial = self.scheduler.choose_trial_to_run(self)
                assert trial is self.scheduler.choose_trial_to_run(self)  # asking changes nothing
                if trial is not None:
                    assert trial.status in ("PENDING", "PAUSED")
                    trial.status = "RUNNING"
                    running.append(trial)
            if not running:
                return self
            for trial in running:
                self.report(trial)


def by_number(trial):
    return float(trial.trial_id[1:])


def hyperband(**options):
    return HyperBandScheduler(metric="m", mode="max", **options)


def test_the_brackets_are_those_of_the_paper():
    scheduler = hyperband(max_t=81, reduction_factor=3)
    lab = Lab(scheduler, 143, by_number)
    sizes = [line.split("(")[2:4] for line in scheduler.debug_string().splitlines()[2:]]
    found = [tuple(int(part.split("=")[1].split(",")[0]) for part in line) for line in sizes]
    assert found == [(5, 81), (8, 27), (15, 9), (34, 3), (81, 1)]
    lab.run()
    assert scheduler.state() == {"num_brackets": 5, "num_stopped": scheduler.num_stopped}
    assert all(t.status == "TERMINATED" for t in lab.trials)


@pytest.mark.parametrize(("count", "eta", "kept"), [(9, 3, 3), (8, 2, 4)])
def test_a_milestone_lets_one_in_eta_pass(count, eta, kept):
    scheduler = HyperBandForBOHB(metric="m", mode="max", max_t=count, reduction_factor=eta)
    lab = Lab(scheduler, count, by_number, workers=count)
    for trial in lab.trials:
        trial.status = "RUNNING"
        lab.report(trial)
    going_on = [t for t in lab.trials if t.status != "TERMINATED"]
    assert going_on == lab.trials[-kept:]


@settings(max_examples=120, deadline=None)
@given(
    max_t=st.one_of(st.integers(1, 120), st.floats(1, 120)),
    eta=st.one_of(st.integers(2, 6), st.floats(1.5, 6)),
    count=st.integers(1, 60),
    step=st.integers(1, 9),
    workers=st.integers(1, 70),
    bohb=st.booleans(),
    stop_last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_no_combination_of_options_hangs_or_raises(
    max_t, eta, count, step, workers, bohb, stop_last, seed
):
    cls = HyperBandForBOHB if bohb else HyperBandScheduler
    scheduler = cls(
        metric="m", mode="min", max_t=max_t, reduction_factor=eta, stop_last_trials=stop_last
    )
    lab = Lab(
        scheduler, count, lambda t: hash((t.trial_id, t.iteration, seed)), step, workers
    ).run()
    assert {t.status for t in lab.trials} == {"TERMINATED"}


@settings(max_examples=60, deadline=None)
@given(bad=st.sets(st.integers(0, 8), max_size=8), mode=st.sampled_from(["min", "max"]))
def test_nan_never_passes_before_a_number(bad, mode):
    scheduler = HyperBandForBOHB(metric="m", mode=mode, max_t=9, reduction_factor=3)
    lab = Lab(scheduler, 9, lambda t: math.nan if int(t.trial_id[1:]) in bad else 1.0, workers=9)
    for trial in lab.trials:
        trial.status = "RUNNING"
        lab.report(trial)
    passed = {n for n, t in enumerate(lab.trials) if t.status != "TERMINATED"}
    assert len(passed) == 3
    assert len(passed & bad) == max(0, 3 - (9 - len(bad)))


def test_trials_do_not_wait_for_one_that_ended_after_the_first_milestone():
    """The documented scheduler forgets them."""
    scheduler = HyperBandForBOHB(metric="m", mode="max", max_t=9, reduction_factor=3)
    lab = Lab(scheduler, 9, by_number, workers=9)
    for trial in lab.trials:
        trial.status = "RUNNING"
        lab.report(trial)
    last, *others = [t for t in lab.trials if t.status != "TERMINATED"]
    for trial in others:
        trial.status = "RUNNING"
        while trial.status == "RUNNING":
            lab.report(trial)
    last.status = "RUNNING"
    scheduler.on_trial_error(lab, last)
    last.status = "ERROR"
    lab.run()
    assert all(t.status == "TERMINATED" for t in others)


@pytest.mark.parametrize("executor", ["inline", "process"])
@pytest.mark.parametrize("kind", ["class", "function"])
@pytest.mark.parametrize("name", ["hyperband", "median_stopping_rule"])
def test_a_real_run_ends_every_trial(executor, kind, name, tmp_path, runtime):
    runtime(executor)
    options = {"max_t": 9} if name == "hyperband" else {"grace_period": 2}
    analysis = ctune.run(
        Counter if kind == "class" else count,
        config={"level": ctune.grid_search(list(range(12)))},
        metric="m",
        mode="max",
        scheduler=create_scheduler(name, time_attr="training_iteration", **options),
        stop={"training_iteration": 9},
        storage_path=str(tmp_path),
        verbose=0,
    )
    trials = analysis.trials
    assert all(t.status == "TERMINATED" for t in trials)
    assert analysis.best_config["level"] == 11 or name == "hyperband"
    iterations = [t.last_result["training_iteration"] for t in trials]
    assert max(iterations) == 9
    assert min(iterations) < 9
    for trial in trials:  # paused trials went on where they were
        seen = trial.last_result["total"]
        assert seen == sum(range(1, trial.last_result["training_iteration"] + 1))


class Counter(Trainable):
    def setup(self, config):
        self.total = 0

    def step(self):
        self.total += self.iteration + 1
        return {"m": self.config["level"], "total": self.total}

    def save_checkpoint(self, checkpoint_dir):
        return {"total": self.total}

    def load_checkpoint(self, checkpoint):
        self.total = checkpoint["total"]


def count(config):
    import json
    import os
    import tempfile

    total, start = 0, 0
    checkpoint = ctune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder, open(os.path.join(folder, "x.json")) as f:
            start, total = json.load(f)
    for i in range(start + 1, 100):
        total += i
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "x.json"), "w") as f:
                json.dump([i, total], f)
            ctune.report(
                {"m": config["level"], "total": total},
                checkpoint=ctune.Checkpoint.from_directory(folder),
            )


@pytest.fixture
def runtime():
    ctune.shutdown()
    yield lambda executor: ctune.init(executor=executor, num_cpus=2)
    ctune.shutdown()


def test_a_scheduler_serves_one_run_at_a_time(tmp_path, runtime):
    runtime("inline")
    scheduler = hyperband(max_t=4)

    class Nested(Counter):
        def step(self):
            ctune.run(Counter, scheduler=scheduler, storage_path=str(tmp_path), verbose=0)

    with pytest.raises(ctune.TuneError):
        ctune.run(Nested, scheduler=scheduler, storage_path=str(tmp_path), verbose=0)


def test_it_answers_for_its_trials_after_the_run(tmp_path, runtime):
    runtime("inline")
    scheduler = hyperband(max_t=4)
    ctune.run(
        Counter,
        config={"level": 1},
        num_samples=3,
        scheduler=scheduler,
        storage_path=str(tmp_path),
        verbose=0,
    )
    assert "{TERMINATED: " in scheduler.debug_string()
    assert "PENDING" not in scheduler.debug_string()


@pytest.mark.parametrize("cls", [HyperBandScheduler, HyperBandForBOHB, MedianStoppingRule])
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"mode": "best"}, ValueError, "mode"),
        ({"metric": 3}, TypeError, "metric"),
        ({"time_attr": None}, TypeError, "time_attr"),
        ({"max_t": 0}, ValueError, "max_t"),
        ({"max_t": math.nan}, ValueError, "max_t"),
        ({"max_t": 0.5}, ValueError, "max_t"),
        ({"max_t": "many"}, TypeError, "max_t"),
        ({"reduction_factor": 1}, ValueError, "reduction_factor"),
        ({"reduction_factor": 1.000001}, ValueError, "reduction_factor"),
        ({"grace_period": -1}, ValueError, "grace_period"),
        ({"min_samples_required": math.nan}, ValueError, "min_samples_required"),
        ({"min_time_slice": "x"}, TypeError, "min_time_slice"),
    ],
)
def test_bad_arguments_are_named(cls, options, error, words):
    import inspect

    if not set(options) <= set(inspect.signature(cls).parameters):
        pytest.skip("not an argument of this class")
    with pytest.raises(error, match=words):
        cls(**options)


@pytest.mark.parametrize("name", NAMES)
def test_metric_and_mode_must_be_known_and_are_set_once(name):
    scheduler = create_scheduler(name)
    assert isinstance(scheduler, FIFOScheduler)
    with pytest.raises(ValueError, match="no metric"):
        scheduler.on_trial_add(None, Trial(0))
    assert scheduler.set_search_properties("m", "max")
    assert not scheduler.set_search_properties("m", None)
    assert not scheduler.set_search_properties(None, "min")
    scheduler.on_trial_add(None, Trial(0))
    assert scheduler.metric == "m"


def test_results_that_cannot_be_judged_are_errors():
    scheduler = hyperband(max_t=1)
    trial = Trial(0)
    with pytest.raises(KeyError, match="t0"):
        scheduler.on_trial_result(None, trial, {"training_iteration": 1, "m": 1})
    scheduler.on_trial_add(None, trial)
    with pytest.raises(KeyError, match="training_iteration"):
        scheduler.on_trial_result(None, trial, {"m": 1})
    with pytest.raises(ValueError, match="time_attr"):
        scheduler.on_trial_result(None, trial, {"training_iteration": -1, "m": 1})
    with pytest.raises(TypeError, match="'m'"):
        scheduler.on_trial_result(None, trial, {"training_iteration": 1, "m": "x"})
    two = hyperband(max_t=3, reduction_factor=3)
    lab = Lab(two, 4, by_number)
    with pytest.raises(KeyError, match="metric"):
        for t in lab.trials[2:]:
            t.status = "RUNNING"
            two.on_trial_result(lab, t, {"training_iteration": 1})
            t.status = "PAUSED"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"scheduler": "MedianStoppingRule"}'])
def test_a_file_of_another_kind_is_refused_and_changes_nothing(text, tmp_path):
    scheduler = hyperband(max_t=9)
    scheduler.on_trial_add(None, Trial(0))
    before = scheduler.debug_string()
    path = tmp_path / "state"
    path.write_text(text)
    with pytest.raises(ValueError, match="saved state"):
        scheduler.restore(str(path))
    assert scheduler.debug_string() == before


def test_damage_anywhere_in_a_saved_state_is_refused(tmp_path):
    scheduler = hyperband(max_t=9)
    Lab(scheduler, 20, by_number).run()
    state = scheduler.__getstate__()

    def damaged(value):
        if isinstance(value, list):
            for i, item in enumerate(value):
                for other in damaged(item):
                    yield value[:i] + [other] + value[i + 1 :]
        yield "damage"

    checked = 0
    for engine in damaged(state["engine"]):
        with pytest.raises((ValueError, RuntimeError), match="saved"):
            hyperband().__setstate__({**state, "engine": engine})
        checked += 1
    assert checked > 50
