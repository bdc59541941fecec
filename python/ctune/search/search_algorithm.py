"""The interface of whatever makes trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial

__all__ = ["SearchAlgorithm"]


class SearchAlgorithm:
    """Makes the trials of an experiment, one at a time, and hears how they go.

    Most search algorithms are easier to write as a `Searcher`, which only suggests
    configurations. A subclass of this class makes whole trials.
    """

    _finished = False
    _metric: str | None = None

    @property
    def metric(self) -> str | None:
        """The result key that is optimised, or None."""
        return self._metric

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Takes over the settings of a run.

        Args:
            metric, mode: Result key to optimise, and "min" or "max"; None: not given.
            config: The search space.
            **spec: `stop`, `num_samples` and `time_budget_s` of the run.

        Returns:
            False if a metric was set before and another one is given now.
        """
        if self._metric and metric:
            return False
        if metric:
            self._metric = metric
        return True

    @property
    def total_samples(self) -> int:
        """How many trials it will make; 0: unknown."""
        return 0

    def add_configurations(self, experiments: Any) -> None:
        """Tells it what to make trials of: an Experiment, a list, or dicts by name."""
        raise NotImplementedError(f"{type(self).__name__}.add_configurations() is missing.")

    def next_trial(self) -> Trial | None:
        """Returns the next trial, or None if there is none now."""
        raise NotImplementedError(f"{type(self).__name__}.next_trial() is missing.")

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Hears a result, as a flat dict."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Hears that a trial ended, with its last result if there is one."""

    def is_finished(self) -> bool:
        """Returns whether no further trial will come."""
        return self._finished

    def set_finished(self) -> None:
        """Ends the search: no further trial will come."""
        self._finished = True

    def has_checkpoint(self, dirpath: str) -> bool:
        """Returns whether the directory holds a state to restore."""
        return False

    def save_to_dir(self, dirpath: str, **kwargs: Any) -> None:
        """Saves the state to the directory."""

    def restore_from_dir(self, dirpath: str) -> None:
        """Restores the newest state of the directory."""
