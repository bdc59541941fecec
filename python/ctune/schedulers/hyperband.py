"""HyperBand: brackets of successive halving."""

from __future__ import annotations

from ctune import _ctune
from ctune.schedulers._native import NativeScheduler

__all__ = ["HyperBandScheduler"]


class HyperBandScheduler(_ctune.HyperBandScheduler, NativeScheduler):
    """Give many trials a little and few trials much, in brackets that trade one for the other.

    With `R = max_t`, `eta = reduction_factor` and `S = round(log(R) / log(eta)) + 1`,
    bracket s = 0 … S-1 has `ceil(S / (s + 1) * eta**s)` trials, which run to the milestone
    `int(R * eta**-s)`. There a trial pauses until all of its bracket have come so far; the
    best 1/eta of them go on to the next milestone, eta times as far, the others stop. New
    trials fill bracket after bracket; S brackets are a round, after which the next begins.
    Equal scores keep the order in which the trials came, and NaN is worse than any number.

    Trials pause, so they must be able to save and load their state; otherwise they start from
    the beginning each time. A result costs O(1), and O(n log n) at the end of a round in the
    number n of the bracket's trials.

    Args:
        time_attr: Result key that measures progress and only grows.
        metric, mode: Result key to compare, and "min" or "max". Default: those given to
            `run()`.
        max_t: Progress, in units of `time_attr`, at which a trial is stopped. At least 1.
        reduction_factor: Eta: one in this many trials gets past a milestone. Above 1.
        stop_last_trials: Whether trials stop at `max_t`. Otherwise those that got so far go
            on.

    Attributes:
        num_stopped: How many trials were stopped at a milestone.

    Raises:
        ValueError: A parameter is out of range. The message names it, its value and the
            remedy. `on_trial_add` raises it while metric or mode are unknown.
        TypeError: A parameter has the wrong type, or a result holds something else than a
            number under `time_attr` or `metric`.
        KeyError: A result of a trial that was never added, one that lacks `time_attr`, or at
            a milestone `metric`.

    Source: Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter
    Optimization", JMLR 18, 2018, algorithm 1.
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 81,
        reduction_factor: float = 3,
        stop_last_trials: bool = True,
    ) -> None:
        super().__init__(time_attr, metric, mode, max_t, reduction_factor, stop_last_trials)
