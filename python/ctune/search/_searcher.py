"""The interface of algorithms that suggest configurations."""

from __future__ import annotations

import functools
import glob
import logging
import os
import uuid
import warnings
from collections.abc import Iterable
from typing import Any, Literal

from ctune import _ctune
from ctune.result import DONE

__all__ = ["Searcher"]

logger = logging.getLogger(__name__)


class Searcher(_ctune.Searcher):
    """Suggests configurations and learns from their results. Subclass it.

    A subclass implements `suggest` and `on_trial_complete`; all else is optional. Calls
    come from the thread that runs the experiment, one at a time.

    Args:
        metric: Result key to optimise, or a list of keys. None: that of the run.
        mode: "min" or "max"; for a list of metrics a list of "min", "max" or "obs".

    Raises:
        AssertionError: metric and mode are given and do not go together.
        ValueError: mode is neither a str nor a list.

    Example:
        >>> class Always(Searcher):
        ...     def suggest(self, trial_id):
        ...         return {"lr": 0.1}
        ...     def on_trial_complete(self, trial_id, result=None, error=False):
        ...         pass
    """

    FINISHED = "FINISHED"
    CKPT_FILE_TMPL = "searcher-state-{}.pkl"

    def __init__(
        self,
        metric: str | list[str] | None = None,
        mode: str | list[str] | None = None,
    ) -> None:
        self._metric = metric
        self._mode = mode
        if not metric or not mode:
            return
        if type(metric) is not type(mode):
            raise AssertionError(
                f"metric and mode: must both be a str or both a list, got {metric!r} and {mode!r}."
            )
        if not isinstance(mode, (str, list)):
            raise ValueError(f'mode: must be "min" or "max", or a list, got {mode!r}.')
        if isinstance(mode, str):
            if mode not in ("min", "max"):
                raise AssertionError(f'mode: must be "min" or "max", got {mode!r}.')
            return
        if len(mode) != len(metric):
            raise AssertionError(f"mode: needs one entry per metric, got {mode!r} for {metric!r}.")
        if not all(m in ("min", "max", "obs") for m in mode):
            raise AssertionError(f'mode: entries must be "min", "max" or "obs", got {mode!r}.')

    @property
    def metric(self) -> Any:
        """The result key that is optimised, or None."""
        return getattr(self, "_metric", None)

    @property
    def mode(self) -> Any:
        """Whether small ("min") or large ("max") values are good, or None."""
        return getattr(self, "_mode", None)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Takes over the settings of a run.

        Args:
            metric, mode: Result key to optimise, and "min" or "max"; None: not given.
            config: The search space.
            **spec: `stop`, `num_samples` and `time_budget_s` of the run.

        Returns:
            True if the space was taken over. False if the searcher has one of its own;
            then the run's config must hold nothing to search.
        """
        return False

    def suggest(self, trial_id: str) -> dict[str, Any] | Literal["FINISHED"] | None:
        """Suggests a configuration for a new trial.

        Args:
            trial_id: How the trial is called later on. After None the next call comes
                with another one.

        Returns:
            The configuration, which is merged into the run's; None if there is none now;
            `Searcher.FINISHED` if there will never be one again.
        """
        raise NotImplementedError(f"{type(self).__name__}.suggest() is missing.")

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Hears a result, as a flat dict. May lack the metric, or hold NaN."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Hears that a trial ended.

        Args:
            trial_id: The id given to `suggest`.
            result: Its last result, as a flat dict; None if it had none.
            error: Whether it failed.
        """
        raise NotImplementedError(f"{type(self).__name__}.on_trial_complete() is missing.")

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learns from a configuration that was evaluated elsewhere.

        Args:
            parameters: The configuration.
            value: Its final metric.
            error: Whether it failed.
            pruned: Whether it was stopped early.
            intermediate_values: The metric after each iteration.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot learn from evaluated points: it has no "
            "add_evaluated_point()."
        )

    def add_evaluated_trials(self, trials_or_analysis: Any, metric: str) -> None:
        """Learns from the trials of an earlier run.

        Args:
            trials_or_analysis: A Trial, a list of them, or an ExperimentAnalysis. Trials
                without the metric are skipped.
            metric: Result key of the value. A warning says if no completed trial has it.

        Raises:
            NotImplementedError: The searcher has no `add_evaluated_point`, or it is something
                else.
        """
        if getattr(type(self), "add_evaluated_point", None) is Searcher.add_evaluated_point:
            raise NotImplementedError(
                f"{type(self).__name__} cannot learn from evaluated trials: it has no "
                "add_evaluated_point()."
            )
        completed = False
        for trial in _trials_of(trials_or_analysis):
            result = trial.last_result or {}
            ended = trial.status == "TERMINATED"
            done = bool(result.get(DONE, False))
            if metric not in result:
                continue
            completed = completed or (ended and done)
            self.add_evaluated_point(
                parameters=trial.config,
                value=result[metric],
                error=trial.status == "ERROR",
                pruned=ended and not done,
                intermediate_values=None,
            )
        if not completed:
            warnings.warn(f"metric: no completed trial has the key {metric!r}.", stacklevel=2)

    def save(self, checkpoint_path: str) -> None:
        """Saves the state to a file."""
        raise NotImplementedError(f"{type(self).__name__}.save() is missing.")

    def restore(self, checkpoint_path: str) -> None:
        """Restores the state from a file that `save` wrote."""
        raise NotImplementedError(f"{type(self).__name__}.restore() is missing.")

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Limits how many trials may be live at once.

        Returns:
            True if the searcher sees to it; False leaves it to a `ConcurrencyLimiter`.
        """
        return False

    def get_state(self) -> dict[str, Any]:
        """Returns the state as a dict; wrappers leave out the searcher inside."""
        raise NotImplementedError(f"{type(self).__name__}.get_state() is missing.")

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` returned."""
        raise NotImplementedError(f"{type(self).__name__}.set_state() is missing.")

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Saves the state as `searcher-state-<session_str>.pkl`, whole or not at all.

        A searcher without `save` is skipped, with a warning.
        """
        aside = os.path.join(checkpoint_dir, f".{uuid.uuid4().hex}-tmp-searcher")
        try:
            self.save(aside)
        except NotImplementedError:
            _warn_once(f"{type(self).__name__} has no save(); its state is not kept.")
            return
        if os.path.exists(aside):  # it may have nothing to save
            os.replace(aside, os.path.join(checkpoint_dir, self.CKPT_FILE_TMPL.format(session_str)))

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Restores the newest state of the directory, by name.

        Raises:
            RuntimeError: It holds none.
        """
        pattern = self.CKPT_FILE_TMPL.format("*")
        found = glob.glob(os.path.join(glob.escape(checkpoint_dir), pattern))
        if not found:
            raise RuntimeError(f"No searcher state ({pattern}) in {checkpoint_dir}.")
        self.restore(max(found))


@functools.cache
def _warn_once(text: str) -> None:
    logger.warning(text)


def _trials_of(given: Any) -> Iterable[Any]:
    if isinstance(given, (list, tuple)):
        return given
    if hasattr(given, "last_result") and hasattr(given, "status"):
        return [given]
    if hasattr(given, "trials"):
        found: Iterable[Any] = given.trials
        return found
    raise NotImplementedError(
        "trials_or_analysis: must be a Trial, a list of trials or an ExperimentAnalysis, "
        f"got {type(given).__name__}."
    )
