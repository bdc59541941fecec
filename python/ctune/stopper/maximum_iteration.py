"""Stop each trial after a number of results."""

from __future__ import annotations

from ctune import _ctune
from ctune.stopper.stopper import Stopper

__all__ = ["MaximumIterationStopper"]


class MaximumIterationStopper(_ctune.MaximumIterationStopper, Stopper):
    """Stop a trial with its max_iter-th result.

    Results are counted here, per trial id; `training_iteration` is not looked at. During a
    run the count is kept by the engine, and starts at 0 with each run.

    Args:
        max_iter: Number of results. At least 1.

    Raises:
        ValueError: `max_iter` is below 1.
        TypeError: `max_iter` is not an int.
    """

    def __init__(self, max_iter: int) -> None:
        super().__init__(max_iter)
