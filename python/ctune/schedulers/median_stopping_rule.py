"""The median stopping rule."""

from __future__ import annotations

from ctune import _ctune
from ctune.schedulers._native import NativeScheduler

__all__ = ["MedianStoppingRule"]


class MedianStoppingRule(_ctune.MedianStoppingRule, NativeScheduler):
    """Stop a trial whose best value is worse than the median of the others' running means.

    At progress t the others are the trials whose latest result is at t or later; each counts
    with the mean of its results from `grace_period` to t. A result that lacks `time_attr` or
    `metric` decides nothing.

    A decision costs O(log n) in the number n of trials when trials report at the same values
    of `time_attr`, as iterations are, and O(n) when each value is new, as seconds are.

    Args:
        time_attr: Result key that measures progress and only grows.
        metric, mode: Result key to compare, and "min" or "max". Default: those given to
            `run()`.
        grace_period: Progress, in units of `time_attr`, before which no trial is stopped, and
            whose results count in no mean. Not negative.
        min_samples_required: So many other trials must have come as far. Not negative.
        min_time_slice: While they have not, a trial pauses for trials that wait, each time
            after more than this progress. Not negative.
        hard_stop: Whether such trials stop. Otherwise they pause, and later go on to their
            end.

    Attributes:
        num_stopped: How many trials were found to be worse.

    Raises:
        ValueError: A parameter is out of range. The message names it, its value and the
            remedy. `on_trial_add` raises it while metric or mode are unknown.
        TypeError: A parameter has the wrong type, or a result holds something else than a
            number under `time_attr` or `metric`.

    Source: Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017,
    section 3.2.2.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        grace_period: float = 60.0,
        min_samples_required: int = 3,
        min_time_slice: int = 0,
        hard_stop: bool = True,
    ) -> None:
        super().__init__(
            time_attr,
            metric,
            mode,
            grace_period,
            min_samples_required,
            min_time_slice,
            hard_stop,
        )
