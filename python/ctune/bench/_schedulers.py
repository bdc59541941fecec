"""How fast schedulers decide when they are driven alone."""

from __future__ import annotations

import statistics
import time

from ctune.bench._drive import OPTIONS, drive
from ctune.schedulers import create_scheduler

__all__ = ["NAMES", "measure"]

NAMES = tuple(OPTIONS)
_CHOICES = 1_000


def _round(name: str, size: int, seed: int) -> tuple[float, float]:
    """Decisions and choices per second."""
    options = dict(OPTIONS[name])
    if name != "fifo":
        options |= {"metric": "loss", "mode": "min"}
    scheduler = create_scheduler(name, **options)
    count, took, controller = drive(name, scheduler, size, seed)
    choices = min(_CHOICES, max(20, 20_000_000 // (size * size)))
    scheduler.choose_trial_to_run(controller)  # forgets who has started meanwhile
    start = time.perf_counter()
    for _ in range(choices):
        scheduler.choose_trial_to_run(controller)
    return count / took, choices / (time.perf_counter() - start)


def measure(name: str, size: int, rounds: int) -> tuple[float, float]:
    """Medians of decisions and choices per second, with so many trials."""
    _round(name, min(size, 256), 0)  # what is imported at first need is there now
    made = [_round(name, size, seed) for seed in range(rounds * _repeats(size))]
    return statistics.median(m[0] for m in made), statistics.median(m[1] for m in made)


def _repeats(size: int) -> int:
    """Rounds with few trials are over too soon to be measured well."""
    return max(1, 2_000 // size)
