"""How fast schedulers decide when they are driven alone."""

from __future__ import annotations

import random
import statistics
import time
from types import SimpleNamespace
from typing import Any

from ctune.schedulers import create_scheduler
from ctune.search.sample import loguniform

__all__ = ["NAMES", "measure"]

# Name -> arguments of its constructor. All trials report 27 times unless they are stopped.
NAMES: dict[str, dict[str, Any]] = {
    "fifo": {},
    "async_hyperband": {"max_t": 27, "grace_period": 1, "reduction_factor": 3},
    "hyperband": {"max_t": 27, "reduction_factor": 3},
    "median_stopping_rule": {"time_attr": "training_iteration", "grace_period": 3},
    "pbt": {
        "time_attr": "training_iteration",
        "perturbation_interval": 3,
        "hyperparam_mutations": {"lr": loguniform(1e-4, 1e-1), "layers": [1, 2, 3, 4]},
        "log_config": False,
    },
}
_TAKES_TURNS = {"pbt"}  # schedulers that pause trials while others wait
_WORKERS = 64  # for them
_EPOCHS = 27
_DECISIONS = 200_000  # of a round at most
_CHOICES = 1_000


class _Trial:
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
        self.run_metadata = SimpleNamespace(checkpoint_manager=SimpleNamespace())

    def set_config(self, config: dict[str, Any]) -> None:
        self.config = config

    def set_experiment_tag(self, tag: str) -> None:
        self.experiment_tag = tag


class _Controller:
    """Stops trials that wait, as a run does."""

    search_alg = None

    def __init__(self, scheduler: Any, trials: list[_Trial]) -> None:
        self.scheduler, self.trials, self.live = scheduler, trials, list(trials)

    def get_trials(self) -> list[_Trial]:
        return self.trials

    def get_live_trials(self) -> list[_Trial]:
        return self.live

    def end(self, trial: _Trial) -> None:
        trial.status = "TERMINATED"
        last = self.live.pop()  # takes the place of the one that ended
        if last is not trial:
            last.place = trial.place
            self.live[last.place] = last

    def stop_trial(self, trial: _Trial) -> None:
        self.scheduler.on_trial_remove(self, trial)
        self.end(trial)

    def pause_trial(self, trial: _Trial, should_checkpoint: bool = True) -> None:
        trial.status = "PAUSED"

    def _schedule_trial_save(self, trial: _Trial, result: Any = None) -> Any:
        trial.checkpoint = "saved"
        return trial.checkpoint


def _turns(scheduler: Any, controller: _Controller, seed: int) -> tuple[int, float]:
    """Number of decisions and seconds for them, when a few workers serve all trials.

    A worker goes on with its trial until that pauses, and then with the one that the
    scheduler chooses, until all have reported as often as elsewhere or it is enough.
    """
    draw = random.Random(seed).random
    decide = scheduler.on_trial_result
    running: list[_Trial] = []
    count, took = 0, 0.0
    while count < 2 * _DECISIONS:
        while len(running) < _WORKERS:
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
            if trial.time >= _EPOCHS:
                scheduler.on_trial_complete(controller, trial, result)
                controller.end(trial)
        running = [t for t in running if t.status == "RUNNING"]
    return count, took


def _epochs(scheduler: Any, controller: _Controller, seed: int) -> tuple[int, float]:
    """Number of decisions and seconds for them.

    Every trial reports epoch 1, then every trial that is left epoch 2, and so on: as many
    results as a real experiment of this size has, in an order that a cluster may produce.
    """
    trials = controller.trials
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
                controller.end(trial)
        _resume(scheduler, controller, trials)
    return count, took


def _round(name: str, size: int, seed: int) -> tuple[float, float]:
    """Decisions and choices per second."""
    options = dict(NAMES[name])
    if name != "fifo":
        options |= {"metric": "loss", "mode": "min"}
    scheduler = create_scheduler(name, **options)
    trials = [_Trial(n) for n in range(size)]
    controller = _Controller(scheduler, trials)
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    count, took = (_turns if name in _TAKES_TURNS else _epochs)(scheduler, controller, seed)
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
    _round(name, min(size, 256), 0)  # what is imported at first need is there now
    made = [_round(name, size, seed) for seed in range(rounds * _repeats(size))]
    return statistics.median(m[0] for m in made), statistics.median(m[1] for m in made)


def _repeats(size: int) -> int:
    """Rounds with few trials are over too soon to be measured well."""
    return max(1, 2_000 // size)
