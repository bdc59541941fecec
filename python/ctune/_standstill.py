"""Says why a run stands still: nothing runs, or what the run itself called does not return."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctune import _ctune
    from ctune._plan import Plan

__all__ = ["Standstills", "Watch"]

logger = logging.getLogger("ctune")

_OWN_FILES = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Standstills:
    """Logs why nothing runs, once for each cause."""

    def __init__(self, plan: Plan) -> None:
        self._limit = plan.stands_still_s
        self._who = (
            f"scheduler: {type(plan.scheduler).__name__}, "
            f"searcher: {type(plan.search_alg).__name__}"
        )
        self._told: set[str] = set()

    def __call__(self, why: str) -> None:
        if why not in self._told:
            self._told.add(why)
            logger.warning("Nothing has run for %g s: %s (%s).", self._limit, why, self._who)


class Watch:
    """A thread that looks whether the thread of the run comes back from what it called.

    A scheduler, searcher, stopper or callback that does not return, or a file system that
    does not answer, holds up the whole run, and the run itself cannot say so.

    Args:
        driver: The run, about to begin in this thread.
        limit_s: Seconds that a turn may take before it is named, once; 0: any.
    """

    def __init__(self, driver: _ctune.Driver, limit_s: float) -> None:
        self._driver = driver
        self._limit = limit_s
        self._over = threading.Event()
        self._watched = threading.get_ident()
        self._thread = threading.Thread(target=self._look, name="ctune-watch", daemon=True)

    def __enter__(self) -> None:
        if self._limit > 0:
            self._thread.start()

    def __exit__(self, *exc: Any) -> None:
        self._over.set()

    def _look(self) -> None:
        seen = told = 0
        since = time.monotonic()
        while not self._over.wait(self._limit / 4):
            turn = self._driver.turn
            now = time.monotonic()
            if turn != seen:
                seen, since = turn, now
            elif turn not in (0, told) and now - since >= self._limit:
                told = turn
                logger.warning(
                    "The run has stood still for %g s: %s. Until then no result is taken and no "
                    "trial starts.",
                    self._limit,
                    self._whom(),
                )

    def _whom(self) -> str:
        """What the run waits for: the first call that is not ours, and where it is now."""
        frame = sys._current_frames().get(self._watched)
        call: CodeType | None = None
        at = ""
        while frame is not None and not _is_run(frame):
            code = frame.f_code
            if not code.co_filename.startswith(_OWN_FILES):
                call = code
                at = at or f"line {frame.f_lineno} of {code.co_filename}"
            frame = frame.f_back
        if call is None:
            return "a turn of its own is not over, perhaps because storage does not answer"
        return f"{getattr(call, 'co_qualname', call.co_name)}() has not returned; it is at {at}"


def _is_run(frame: FrameType) -> bool:
    return frame.f_code.co_filename == _OWN_FILES + "_run.py"
