"""Asynchronous successive halving."""

from __future__ import annotations

from ctune import _ctune
from ctune.schedulers._native import NativeScheduler

__all__ = ["ASHAScheduler", "AsyncHyperBandScheduler"]


class AsyncHyperBandScheduler(_ctune.AsyncHyperBandScheduler, NativeScheduler):
    """Stop a trial that, on reaching a rung, is below the rung's upper 1/reduction_factor.

    Rungs lie at `grace_period * reduction_factor**k` up to `max_t`. A trial that reaches one
    is compared with the trials recorded there before it, and is then recorded itself: it
    waits for nobody. Ties go on, and so does a trial whose metric is NaN; a NaN counts in no
    later comparison. A result that lacks `time_attr` or `metric` decides nothing.

    A decision costs O(log n) in the number n of recorded trials, and a trial 12 bytes or so
    of the engine's memory per rung that it reached.

    Args:
        time_attr: Result key that measures progress and only grows.
        metric, mode: Result key to compare, and "min" or "max". Default: those given to
            `run()`.
        max_t: Progress, in units of `time_attr`, at which a trial is stopped. Above 0.
        grace_period: Progress before which no trial is stopped. Above 0, at most `max_t`.
        reduction_factor: One in this many trials gets past a rung. Above 1.
        brackets: Number of brackets; bracket s has its first rung at
            `grace_period * reduction_factor**s`. At least 1. Each added trial draws its
            bracket with one number of `numpy.random`'s global stream, so seed that for
            decisions that can be repeated.
        stop_last_trials: Whether trials stop at `max_t`. Otherwise those that got past the
            last rung go on.
        promotion: The form of the paper: a trial pauses at each rung that it reaches, and
            whenever a worker is free, the best 1/reduction_factor of a rung go on, from the
            highest rung down; only when none may, a new trial starts. Trials that are never
            promoted stop when nothing else is left to do. Trainables must be able to save
            and load their state. Default: trials never pause, as documented for Ray Tune.

    Attributes:
        num_stopped: How many times it answered STOP.

    Raises:
        ValueError: A parameter is out of range. The message names it, its value and the
            remedy. `on_trial_add` raises it while metric or mode are unknown.
        TypeError: A parameter has the wrong type, or a result holds something else than a
            number under `time_attr` or `metric`.
        KeyError: A result of a trial that was never added, or was completed or removed.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020,
    algorithm 2.
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 100,
        grace_period: float = 1,
        reduction_factor: float = 4,
        brackets: int = 1,
        stop_last_trials: bool = True,
        promotion: bool = False,
    ) -> None:
        super().__init__(
            time_attr,
            metric,
            mode,
            max_t,
            grace_period,
            reduction_factor,
            brackets,
            stop_last_trials,
            promotion,
        )


ASHAScheduler = AsyncHyperBandScheduler
