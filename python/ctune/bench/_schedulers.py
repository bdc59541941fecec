"""How fast schedulers decide when they are driven alone."""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

from ctune.schedulers import create_scheduler

__all__ = ["NAMES", "measure"]

# Name -> arguments of its constructor. All trials report 27 times unless they are stopped.
NAMES: dict[str, dict[str, Any]] = {
    "fifo": {},
    "async_hyperband": {"max_t": 27, "grace_period": 1, "reduction_factor": 3},
    "hyperband": {"max_t": 27, "reduction_factor": 3},
    "median_stopping_rule": {"time_attr": "training_iteration", "grace_period": 3},
}
_EPOCHS = 27
_DECISIONS = 200_000  # of a round at most
_CHOICES = 1_000


class _Trial:
    __slots__ = ("is_saving", "number", "status", "trial_id")

    def __init__(self, number: int) -> None:
        self.number = number
        self.trial_id = f"{number:08x}"
        self.status = "PENDING"
        self.is_saving = False


class _Controller:
    """Stops trials that wait, as a run does."""

    def __init__(self, scheduler: Any, trials: list[_Trial]) -> None:
        self.scheduler, self.trials = scheduler, trials

    def get_trials(self) -> list[_Trial]:
        return self.trials

    get_live_trials = get_trials

    def stop_trial(self, trial: _Trial) -> None:
        self.scheduler.on_trial_remove(self, trial)
        trial.status = "TERMINATED"


def _round(name: str, size: int, seed: int) -> tuple[float, float]:
    """Decisions and choices per second.

    Every trial reports epoch 1, then every trial that is left epoch 2, and so on: as many
    results as a real experiment of this size has, in an order that a cluster may produce.
    """
    options = dict(NAMES[name])
    if name != "fifo":
        options |= {"metric": "loss", "mode": "min"}
    scheduler = create_scheduler(name, **options)
    trials = [_Trial(n) for n in range(size)]
    controller = _Controller(scheduler, trials)
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    draw = random.Random(seed).random
    decide = scheduler.on_trial_result
    count, took = 0, 0.0
    for epoch in range(1, _EPOCHS + 1):
        going = [t for t in trials if t.status in ("PENDING", "RUNNING")]
        if not going or count >= _DECISIONS:
            break
        for trial in going:
            trial.status = "RUNNING"
        results = [{"training_iteration": epoch, "loss": draw()} for _ in going]
        answers = []
        start = time.perf_counter()
        for trial, result in zip(going, results, strict=True):
            answer = decide(controller, trial, result)
            if answer == "PAUSE":  # what a bracket decides depends on it
                trial.status = "PAUSED"
            answers.append(answer)
        took += time.perf_counter() - start
        count += len(going)
        for trial, result, answer in zip(going, results, answers, strict=True):
            if answer == "STOP" and trial.status == "RUNNING":
                scheduler.on_trial_complete(controller, trial, result)
                trial.status = "TERMINATED"
        _resume(scheduler, controller, trials)
    choices = min(_CHOICES, max(20, 20_000_000 // (size * size)))
    scheduler.choose_trial_to_run(controller)  # forgets who has started meanwhile
    start = time.perf_counter()
    for _ in range(choices):
        scheduler.choose_trial_to_run(controller)
    return count / took, choices / (time.perf_counter() - start)


def _resume(scheduler: Any, controller: _Controller, trials: list[_Trial]) -> None:
    """Trials that paused and may go on run again."""
    if all(t.status != "PAUSED" for t in trials):
        return
    while (trial := scheduler.choose_trial_to_run(controller)) is not None:
        trial.status = "RUNNING"


def measure(name: str, size: int, rounds: int) -> tuple[float, float]:
    """Medians of decisions and choices per second, with so many trials."""
    made = [_round(name, size, seed) for seed in range(rounds)]
    return statistics.median(m[0] for m in made), statistics.median(m[1] for m in made)
