"""Stop the experiment when its time is used up."""

from __future__ import annotations

import datetime

from ctune import _ctune
from ctune.stopper.stopper import Stopper

__all__ = ["TimeoutStopper"]


class TimeoutStopper(_ctune.TimeoutStopper, Stopper):
    """Stop all trials after a time budget.

    The clock starts when `stop_all()` is asked first. A copy, or a pickled and restored
    stopper, keeps what is left of the budget; its clock starts anew.

    Args:
        timeout: Seconds, or a `datetime.timedelta`. At least 0.

    Raises:
        ValueError: `timeout` is negative or neither a number nor a timedelta.
    """

    def __init__(self, timeout: float | datetime.timedelta) -> None:
        if isinstance(timeout, datetime.timedelta):
            timeout = timeout.total_seconds()
        super().__init__(timeout)
