"""Stop a trial whose metric does not move any more."""

from __future__ import annotations

from ctune import _ctune
from ctune.stopper.stopper import Stopper

__all__ = ["TrialPlateauStopper"]


class TrialPlateauStopper(_ctune.TrialPlateauStopper, Stopper):
    """Stop a trial when its metric's last values lie close together.

    A trial stops with a result once it has reported at least `grace_period` and
    `num_results` times and the standard deviation (of the population) of its last
    `num_results` values is below `std`. A NaN, or a result without the metric, has no
    deviation: while it is among the last values the trial goes on.

    During a run the engine keeps the values, and starts without any.

    Args:
        metric: Name of the metric; `"a/b"` during a run is key b of the nested dict a.
        std: Standard deviation below which a metric stands still, in its unit.
        num_results: Number of last results that are looked at. At least 1.
        grace_period: Number of results before which no trial stops.
        metric_threshold: Stop only while the last value is at most (mode "min") or at
            least (mode "max") this. None: at any value.
        mode: "min" or "max". Needed with `metric_threshold`.

    Raises:
        ValueError: An argument is of another type or out of range, or
            `metric_threshold` comes without `mode`.
    """

    def __init__(
        self,
        metric: str,
        std: float = 0.01,
        num_results: int = 4,
        grace_period: int = 4,
        metric_threshold: float | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(metric, std, num_results, grace_period, metric_threshold, mode)
