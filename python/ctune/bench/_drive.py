"""Drives a scheduler as an experiment would, any scheduler with Ray Tune's interface.

Imports nothing of ctune: benchmarks run it on other libraries as well.
"""

from __future__ import annotations

import math
import random
import time
from types import SimpleNamespace
from typing import Any

__all__ = ["EPOCHS", "OPTIONS", "Controller", "Trial", "drive"]

EPOCHS = 27  # results of a trial that is not stopped
DECISIONS = 200_000  # of one drive at most; twice that when trials take turns
WORKERS = 64  # when trials take turns

# Name -> arguments of the constructor.
OPTIONS: dict[str, dict[str, Any]] = {
    "fifo": {},
    "async_hyperband": {"max_t": EPOCHS, "grace_period": 1, "reduction_factor": 3},
    "hyperband": {"max_t": EPOCHS, "reduction_factor": 3},
    "median_stopping_rule": {"time_attr": "training_iteration", "grace_period": 1},
    "pbt": {
        "time_attr": "training_iteration",
        "perturbation_interval": 3,
        "hyperparam_mutations": {"lr": lambda: random.uniform(1e-4, 1e-1), "layers": [1, 2, 3, 4]},
        "log_config": False,
    },
}
_TAKES_TURNS = ("pbt",)  # schedulers that pause trials while others wait


class Trial:
    """Has what the schedulers may ask for."""

    __slots__ = (
        "checkpoint",
        "config",
        "evaluated_params",
        "experiment_tag",
        "is_saving",
        "last_result",
        "number",
        "place",
        "run_metadata",
        "status",
        "temporary_state",
        "time",
        "trial_id",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.trial_id = f"{number:08x}"
        self.status = "PENDING"
        self.is_saving = False
        self.time = 0
        self.place = number  # among the live trials
        self.config = {"lr": 0.01, "layers": 2}
        self.evaluated_params: dict[str, Any] = {}
        self.last_result: dict[str, Any] = {}
        self.experiment_tag = "tag"
        self.checkpoint: Any = None
        self.run_metadata = SimpleNamespace(
            checkpoint_manager=SimpleNamespace(checkpoint_config=SimpleNamespace(num_to_keep=None))
        )
        self.temporary_state = SimpleNamespace(saving_to=None)

    def is_finished(self) -> bool:
        return self.status in ("TERMINATED", "ERROR")

    def set_config(self, config: dict[str, Any]) -> None:
        self.config = config

    def set_experiment_tag(self, tag: str) -> None:
        self.experiment_tag = tag


class Controller:
    """Stops trials that wait, as a run does."""

    search_alg = None

    def __init__(self, scheduler: Any, trials: list[Trial]) -> None:
        self.scheduler, self.trials, self.live = scheduler, trials, list(trials)

    def get_trials(self) -> list[Trial]:
        return self.trials

    def get_live_trials(self) -> list[Trial]:
        return self.live

    def end(self, trial: Trial) -> None:
        trial.status = "TERMINATED"
        last = self.live.pop()  # takes the place of the one that ended
        if last is not trial:
            last.place = trial.place
            self.live[last.place] = last

    def stop_trial(self, trial: Trial) -> None:
        self.scheduler.on_trial_remove(self, trial)
        self.end(trial)

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        trial.status = "PAUSED"

    def _schedule_trial_save(self, trial: Trial, result: Any = None) -> Any:
        trial.checkpoint = "saved"
        return trial.checkpoint


def turns(
    scheduler: Any, controller: Controller, seed: int, seconds: float = math.inf
) -> tuple[int, float]:
    """Number of decisions and seconds for them, when a few workers serve all trials.

    A worker goes on with its trial until that pauses, and then with the one that the
    scheduler chooses, until all have reported as often as elsewhere or it is enough.
    """
    draw = random.Random(seed).random
    decide = scheduler.on_trial_result
    running: list[Trial] = []
    count, took = 0, 0.0
    end = time.perf_counter() + 20 * seconds
    while count < 2 * DECISIONS and took < seconds and time.perf_counter() < end:
        while len(running) < WORKERS:
            trial = scheduler.choose_trial_to_run(controller)
            if trial is None:
                break
            trial.status = "RUNNING"
            running.append(trial)
        if not running:
            break
        for trial in running:
            trial.time += 1
        results = [{"training_iteration": t.time, "loss": draw()} for t in running]
        start = time.perf_counter()
        for trial, result in zip(running, results, strict=True):
            if decide(controller, trial, result) == "PAUSE":
                trial.status = "PAUSED"
        took += time.perf_counter() - start
        count += len(running)
        for trial, result in zip(running, results, strict=True):
            if trial.time >= EPOCHS:
                scheduler.on_trial_complete(controller, trial, result)
                controller.end(trial)
        running = [t for t in running if t.status == "RUNNING"]
    return count, took


def epochs(
    scheduler: Any, controller: Controller, seed: int, seconds: float = math.inf
) -> tuple[int, float]:
    """Number of decisions and seconds for them.

    Every trial reports epoch 1, then every trial that is left epoch 2, and so on: as many
    results as a real experiment of this size has, in an order that a cluster may produce.
    """
    trials = controller.trials
    draw = random.Random(seed).random
    decide = scheduler.on_trial_result
    end = time.perf_counter() + 20 * seconds  # what is not measured takes its time, too
    count, took = 0, 0.0
    for epoch in range(1, EPOCHS + 1):
        going = [t for t in trials if t.status in ("PENDING", "RUNNING")]
        if not going or count >= DECISIONS or time.perf_counter() > end:
            break
        for trial in going:
            trial.status = "RUNNING"
        results = [{"training_iteration": epoch, "loss": draw()} for _ in going]
        answers = []
        for first in range(0, len(going), 1000):
            part = slice(first, first + 1000)
            start = time.perf_counter()
            for trial, result in zip(going[part], results[part], strict=True):
                answer = decide(controller, trial, result)
                if answer == "PAUSE":  # what a bracket decides depends on it
                    trial.status = "PAUSED"
                answers.append(answer)
            took += time.perf_counter() - start
            if took > seconds:
                return count + len(answers), took
        count += len(going)
        for trial, result, answer in zip(going, results, answers, strict=True):
            if answer == "STOP" and trial.status == "RUNNING":
                scheduler.on_trial_complete(controller, trial, result)
                controller.end(trial)
        _resume(scheduler, controller, trials, end)
    return count, took


def _resume(scheduler: Any, controller: Controller, trials: list[Trial], end: float) -> None:
    """Trials that paused and may go on run again."""
    if all(t.status != "PAUSED" for t in trials):
        return
    while (trial := scheduler.choose_trial_to_run(controller)) is not None:
        trial.status = "RUNNING"
        if time.perf_counter() > end:
            break


def drive(
    name: str, scheduler: Any, size: int, seed: int = 0, seconds: float = math.inf
) -> tuple[int, float, Controller]:
    """Adds so many trials and lets them report.

    Args:
        name: A key of OPTIONS.
        scheduler: Made with those options, metric "loss" and mode "min".
        size: Number of trials.
        seed: Of the losses.
        seconds: Ends after so much time in decisions.

    Returns:
        Decisions, seconds spent in them, and the controller.
    """
    trials = [Trial(n) for n in range(size)]
    controller = Controller(scheduler, trials)
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    run = turns if name in _TAKES_TURNS else epochs
    count, took = run(scheduler, controller, seed, seconds)
    return count, took, controller
