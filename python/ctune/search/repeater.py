"""A searcher that has each suggestion tried several times."""

from __future__ import annotations

import logging
import math
from typing import Any

from ctune.search._searcher import Searcher
from ctune.search._texts import set_search_properties

__all__ = ["TRIAL_INDEX", "Repeater"]

logger = logging.getLogger(__name__)

TRIAL_INDEX = "__trial_index__"  # key of the config: which of the repetitions a trial is


class _Group:
    """The trials of one suggestion. The searcher knows the first one only."""

    def __init__(self, first: str, config: Any, repeat: int) -> None:
        self.first = first
        self.config = config
        self.scores: dict[str, float | None] = {}
        self._repeat = repeat

    def full(self) -> bool:
        return len(self.scores) == self._repeat

    def done(self) -> bool:
        return self.full() and all(score is not None for score in self.scores.values())


class Repeater(Searcher):
    """Tries each suggestion of a searcher several times, which gets the mean of the results.

    For objectives that depend on chance, such as the seed of a neural network. Trials of a run
    beyond a multiple of `repeat` are never reported to the searcher. Do not put it into a
    ConcurrencyLimiter, but limit the searcher in it.

    Args:
        searcher: Makes the suggestions.
        repeat: How often each is tried.
        set_index: Give each trial its number, 0 to repeat - 1, as the parameter
            `__trial_index__`, for use as a seed.
    """

    def __init__(self, searcher: Searcher, repeat: int = 1, set_index: bool = True) -> None:
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self.searcher = searcher
        self.repeat = repeat
        self._set_index = set_index
        self._groups: list[_Group] = []
        self._group_of: dict[str, _Group] = {}

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Hands the settings of the run to the searcher."""
        accepted = set_search_properties(
            self.searcher.set_search_properties, metric, mode, config, **spec
        )
        self._metric, self._mode = self.searcher.metric, self.searcher.mode
        return accepted

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Hands the limit to the searcher."""
        return self.searcher.set_max_concurrency(max_concurrent)

    def suggest(self, trial_id: str) -> Any:
        """Returns the suggestion at hand, or a new one after `repeat` trials of the last.

        None and FINISHED of the searcher are passed on.
        """
        group = self._groups[-1] if self._groups else None
        if group is None or group.full():
            config = self.searcher.suggest(trial_id)
            if config is None or config == Searcher.FINISHED:
                return config
            group = _Group(trial_id, config, self.repeat)
            self._groups.append(group)
        index = len(group.scores)
        group.scores[trial_id] = None
        self._group_of[trial_id] = group
        config = dict(group.config)
        if self._set_index:
            config[TRIAL_INDEX] = index
        return config

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,
        error: bool = False,
        **kwargs: Any,
    ) -> None:
        """Keeps the trial's result; the last one of a group has the mean told.

        Results without the metric, also those of failed trials, do not count in the mean.
        Further arguments mean nothing.

        Raises:
            KeyError: The trial is unknown.
        """
        if trial_id not in self._group_of:
            logger.error("Trial %s was not suggested by this Repeater.", trial_id)
            raise KeyError(trial_id)
        group = self._group_of[trial_id]
        score = (result or {}).get(self.metric)
        group.scores[trial_id] = math.nan if score is None else float(score)
        if not group.done():
            return
        known = [s for s in group.scores.values() if s is not None and not math.isnan(s)]
        mean = sum(known) / len(known) if known else math.nan
        self.searcher.on_trial_complete(group.first, result={self.metric: mean}, error=error)
        for trial in group.scores:
            self._group_of.pop(trial)
        self._groups.remove(group)

    def get_state(self) -> dict[str, Any]:
        """Returns everything but the searcher."""
        return {key: value for key, value in vars(self).items() if key != "searcher"}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` returned."""
        vars(self).update(state)

    def save(self, checkpoint_path: str) -> None:
        """Saves the searcher's state; the repeater's own is `get_state()`."""
        self.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restores the searcher's state."""
        self.searcher.restore(checkpoint_path)
