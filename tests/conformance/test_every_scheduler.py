"""What every scheduler must do, whatever its algorithm. A new one is a line in MAKERS."""

import copy
import inspect
import math
import pickle
import random

import numpy as np
import pytest

import ctune
from ctune.schedulers import (
    PB2,
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)


def explored(config):
    """A function that pickle finds."""
    return config


def population(**options):
    return PopulationBasedTraining(
        "training_iteration",
        perturbation_interval=3,
        hyperparam_mutations={"lr": ctune.uniform(0, 1), "layers": [1, 2, 3]},
        custom_explore_fn=explored,
        log_config=False,
        **options,
    )


MAKERS = {
    "fifo": FIFOScheduler,
    "asha": lambda: AsyncHyperBandScheduler(max_t=27, reduction_factor=3),
    "asha, three brackets": lambda: AsyncHyperBandScheduler(
        max_t=27, reduction_factor=3, brackets=3
    ),
    "asha, best go on": lambda: AsyncHyperBandScheduler(
        max_t=27, reduction_factor=3, stop_last_trials=False
    ),
    "asha, promotion": lambda: AsyncHyperBandScheduler(
        max_t=27, reduction_factor=3, promotion=True
    ),
    "hyperband": lambda: HyperBandScheduler("training_iteration", max_t=27),
    "hyperband for bohb": lambda: HyperBandForBOHB("training_iteration", max_t=27),
    "median rule": lambda: MedianStoppingRule("training_iteration", grace_period=3),
    "pbt": population,
    "pbt, synch": lambda: population(synch=True),
    "pb2": lambda: PB2(
        "training_iteration",
        perturbation_interval=14,  # each exploit fits a model
        hyperparam_bounds={"lr": [0, 1]},
        log_config=False,
    ),
}
DECISIONS = {"CONTINUE", "PAUSE", "STOP", "NOOP"}

pytestmark = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


class Trial:
    def __init__(self, number):
        self.trial_id = f"trial_{number:05d}"
        self.status = "PENDING"
        self.time = 0
        self.is_saving = False
        self.config, self.evaluated_params, self.last_result = {"lr": 0.5}, {}, {}
        self.experiment_tag, self.checkpoint = "tag", None

    def is_finished(self):
        return self.status in ("TERMINATED", "ERROR")

    def set_config(self, config):
        self.config = config

    def set_experiment_tag(self, tag):
        self.experiment_tag = tag


class Controller:
    """The little that a scheduler may ask of a run, with every call counted."""

    search_alg = None

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.trials = []

    def pause_trial(self, trial, should_checkpoint=True):
        trial.status = "PAUSED"

    def _schedule_trial_save(self, trial, result=None):
        trial.checkpoint = "saved"
        return trial.checkpoint

    def get_trials(self):
        return self.trials

    def get_live_trials(self):
        return [t for t in self.trials if t.status != "TERMINATED"]

    def stop_trial(self, trial):
        if trial.status == "RUNNING":
            self.scheduler.on_trial_complete(self, trial, {})
        else:
            self.scheduler.on_trial_remove(self, trial)
        trial.status = "TERMINATED"


def prepared(make):
    scheduler = make()
    assert scheduler.set_search_properties("score", "max") is True
    return scheduler, Controller(scheduler)


def result_of(rng, trial, values=None):
    trial.time += 1
    value = rng.gauss(0, 1) if values is None else rng.choice(values)
    return {"training_iteration": trial.time, "time_total_s": trial.time * 2.5, "score": value}


def drive(scheduler, controller, seed, trials=40, values=None):
    """Runs trials four at a time until none is left; returns all that was decided."""
    rng = random.Random(seed)
    np.random.seed(seed)
    random.seed(seed)
    said = []
    for number in range(trials):
        controller.trials.append(Trial(number))
        scheduler.on_trial_add(controller, controller.trials[-1])
    for _ in range(20_000):
        running = [t for t in controller.trials if t.status == "RUNNING"]
        chosen = scheduler.choose_trial_to_run(controller)
        if chosen is not None and len(running) < 4:
            assert chosen.status in ("PENDING", "PAUSED")
            chosen.status = "RUNNING"
            said.append(chosen.trial_id)
            continue
        if not running:
            break
        trial = rng.choice(running)
        result = result_of(rng, trial, values)
        if trial.time >= 30:  # its training is over
            scheduler.on_trial_complete(controller, trial, result)
            trial.status = "TERMINATED"
            continue
        decision = scheduler.on_trial_result(controller, trial, result)
        assert decision in DECISIONS
        said.append(decision)
        if decision == "STOP":
            scheduler.on_trial_complete(controller, trial, result)
            trial.status = "TERMINATED"
        elif decision == "PAUSE":
            trial.status = "PAUSED"
    assert all(t.status == "TERMINATED" for t in controller.trials)
    return said


def test_every_trial_comes_to_an_end_and_equal_seeds_decide_alike(make):
    assert drive(*prepared(make), seed=1) == drive(*prepared(make), seed=1)


def test_nan_and_infinite_metrics_are_survived(make):
    drive(*prepared(make), seed=2, values=[math.nan])
    drive(*prepared(make), seed=3, values=[math.inf, -math.inf])
    drive(*prepared(make), seed=4, values=[math.nan, math.inf, -math.inf, 0.0, 1, -1e308])


def test_asking_for_a_choice_changes_nothing(make):
    scheduler, controller = prepared(make)
    for number in range(5):
        controller.trials.append(Trial(number))
        scheduler.on_trial_add(controller, controller.trials[-1])
    chosen = scheduler.choose_trial_to_run(controller)
    text = scheduler.debug_string()
    for _ in range(10):
        assert scheduler.choose_trial_to_run(controller) is chosen
    assert scheduler.debug_string() == text
    for trial in controller.trials:
        trial.status = "RUNNING"
    assert scheduler.choose_trial_to_run(controller) is None


def test_an_error_before_a_retry_is_survived(make):
    scheduler, controller = prepared(make)
    rng = random.Random(0)
    trial = Trial(0)
    controller.trials.append(trial)
    for _ in range(3):
        scheduler.on_trial_add(controller, trial)
        trial.status = "RUNNING"
        assert scheduler.on_trial_result(controller, trial, result_of(rng, trial)) in DECISIONS
        scheduler.on_trial_error(controller, trial)
        trial.status = "PENDING"
    scheduler.on_trial_add(controller, trial)
    assert scheduler.choose_trial_to_run(controller) is trial
    controller.stop_trial(trial)
    assert scheduler.choose_trial_to_run(controller) is None


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_a_copy_in_the_middle_of_a_run_goes_on_alike(make, way):
    scheduler, controller = prepared(make)
    drive(scheduler, controller, seed=5)
    twin = pickle.loads(pickle.dumps(scheduler)) if way == "pickle" else copy.deepcopy(scheduler)
    assert twin.debug_string() == scheduler.debug_string()
    assert drive(scheduler, Controller(scheduler), seed=6) == drive(twin, Controller(twin), seed=6)
    assert twin.debug_string() == scheduler.debug_string()


def test_a_subclass_may_override_any_method_and_call_super(make):
    base = type(make())
    calls = []

    def spy(name):
        def method(self, *args):
            calls.append(name)
            return getattr(base, name)(self, *args)

        return method

    names = (
        "on_trial_add",
        "on_trial_result",
        "on_trial_complete",
        "choose_trial_to_run",
        "debug_string",
    )
    spied = type("Spied", (base,), {name: spy(name) for name in names})
    plain, controller = prepared(make)
    expected = drive(plain, controller, seed=7)
    other = spied.__new__(spied)
    other.__setstate__(make().__getstate__())
    other.set_search_properties("score", "max")
    assert drive(other, Controller(other), seed=7) == expected
    assert other.debug_string() == plain.debug_string()
    assert set(calls) == set(names)


def test_the_public_face_is_complete(make):
    scheduler = make()
    assert isinstance(scheduler, TrialScheduler)
    assert isinstance(scheduler.debug_string(), str)
    assert isinstance(scheduler.supports_buffered_results, bool)
    assert inspect.getdoc(type(scheduler)) != inspect.getdoc(TrialScheduler)
    for parameter in inspect.signature(type(scheduler)).parameters.values():
        assert parameter.default is not inspect.Parameter.empty, parameter
