"""Lets the reporters of a run speak: at its start, now and then, and at its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ctune._display import Block, Running, RunningDriver, say
from ctune.experiment.trial import Trial
from ctune.experimental.output import ProgressReporter, TuneTerminalReporter
from ctune.logger.tensorboardx import TBXLoggerCallback
from ctune.utils.log import Verbosity, has_verbosity

if TYPE_CHECKING:
    from ctune._plan import Plan

__all__ = ["Progress"]

logger = logging.getLogger("ctune")

_FAILURES_TOLD = 20  # whole; of those after that a line


class Progress:
    """What is said about one run.

    Args:
        plan: The run.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._old = plan.progress_reporter
        self._new = None
        if self._old is None:
            new = [c for c in plan.callbacks if isinstance(c, ProgressReporter)]
            self._new = new[0] if new else None
        self._running: Running | None = None
        self._failures = 0
        self._began = 0.0
        self._took = 0.0

    @property
    def wanted(self) -> bool:
        """Whether anything is to be said while the run goes on."""
        if self._old is not None:
            return self._plan.verbose >= 1
        return self._new is not None and self._new.verbosity >= 1

    @property
    def draws(self) -> bool:
        """Whether there will be a live block, which would be drawn over what others print."""
        ours = isinstance(self._new, TuneTerminalReporter)
        return ours and self.wanted and Block().possible

    def print_above(self, lines: Iterable[tuple[str, str]]) -> None:
        """Prints lines of workers, each with whose it is, above the block. From any thread."""
        block = None if self._new is None else self._new._block
        (block or Block()).print_above(lines)

    def hooks(self) -> dict[str, Callable[..., None]]:
        """Returns note -> what hears it."""
        return {"TRIAL_FAILURE": self._failure} if self.wanted else {}

    def start(self, driver: RunningDriver) -> None:
        """Says what is going to run.

        Raises:
            ValueError: A reporter has a metric of its own, and the run has one, too.
        """
        plan = self._plan
        running = Running(driver)
        self._began = time.time()
        if self._old is not None:
            self._old.setup(
                start_time=self._began,
                total_samples=plan.total_samples,
                # Several metrics have no best trial.
                metric=plan.metric if isinstance(plan.metric, str) else None,
                mode=plan.mode if isinstance(plan.metric, str) else None,
            )
            if _is_ours(self._old):
                self._old._running = running
        if self._new is not None:
            self._new.setup(start_time=self._began, total_samples=plan.total_samples)
            self._new._watch(running)
        self._running = running
        if self._new is not None:
            boards = any(isinstance(c, TBXLoggerCallback) for c in plan.callbacks)
            self._new.experiment_started(
                experiment_name=plan.name,
                experiment_path=plan.experiments[0].storage.place,
                searcher_str=_searcher_name(plan.search_alg),
                scheduler_str=type(plan.scheduler).__name__,
                total_num_samples=plan.total_samples,
                tensorboard_path=plan.experiment_dir if boards else None,
            )

    def heartbeat(self) -> None:
        """Lets a reporter report, if it wants to."""
        assert self._running is not None
        if self._old is not None:
            self._report(done=False)
        elif self._new is not None:
            self._beat()

    def end(self) -> None:
        """Lets the reporter report for the last time."""
        if self._running is None:
            return
        self._took = time.time() - self._began
        try:
            if self.wanted and self._old is not None:
                self._report(done=True)
            elif self.wanted:
                self._beat(force=True)
        finally:
            if self._new is not None:
                self._new._unwatch()
            if _is_ours(self._old):
                self._old._running = None
            self._running = None

    def conclude(self) -> None:
        """Logs how long the run has taken, if the older reporters speak."""
        if self._old is not None and has_verbosity(Verbosity.V1_EXPERIMENT):
            logger.info(
                "The run took %.2f seconds, %.2f of them while trials ran.",
                time.time() - self._plan.started,
                self._took,
            )

    def _beat(self, force: bool = False) -> None:
        assert self._new is not None and self._running is not None
        # To make the objects of all trials would cost; ours asks the engine instead.
        asks = isinstance(self._new, TuneTerminalReporter)
        asks = asks and type(self._new).print_heartbeat is ProgressReporter.print_heartbeat
        trials: list[Trial] = [] if asks else self._running.driver.trials
        self._new.print_heartbeat(trials, self._running.resources(), force=force)

    def _report(self, done: bool) -> None:
        assert self._running is not None
        trials = self._running.driver.trials
        if self._old.should_report(trials, done=done):
            self._old.report(
                trials, done, self._running.driver.describe(), self._running.resources()
            )

    def _failure(self, trial: Trial, error: str = "", **info: Any) -> None:
        text = error.strip() or "no reason was given"
        self._failures += 1
        if not self._plan.log_trial_errors or self._failures > _FAILURES_TOLD:
            text = text.splitlines()[-1]
        say(f"\nTrial {trial} failed:", *(f"  {line}" for line in text.splitlines()))


def _is_ours(reporter: Any) -> bool:
    """Whether a reporter takes answers of the engine instead of walking over the trials."""
    return hasattr(type(reporter), "_running")


def _searcher_name(search_alg: Any) -> str:
    inner = getattr(search_alg, "searcher", None)
    return type(search_alg).__name__ if inner is None else _searcher_name(inner)
