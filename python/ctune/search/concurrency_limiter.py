"""A searcher that lets only so many trials live at once."""

from __future__ import annotations

import copy
from typing import Any

from ctune import _ctune
from ctune.search._searcher import Searcher
from ctune.search._texts import set_search_properties

__all__ = ["ConcurrencyLimiter"]

# What get_state() calls the fields that the engine keeps.
_FIELDS = (
    "max_concurrent",
    "batch",
    "live_trials",
    "num_unfinished_live_trials",
    "cached_results",
    "_limit_concurrency",
)


class ConcurrencyLimiter(_ctune.ConcurrencyLimiter, Searcher):
    """Limits how many suggestions of a searcher are live at once.

    While `max_concurrent` trials are live, `suggest` returns None. A trial is live from
    its suggestion until it completes, well or with an error. A searcher that looks after
    its concurrency itself (its `set_max_concurrency` returns True) is left to do so, with
    this limit.

    Args:
        searcher: The searcher to limit.
        max_concurrent: Trials that may be live at once. At least 1.
        batch: Hold completions back until all live trials have completed, then hand them
            to the searcher in order of completion. No slot frees up before that.

    Attributes:
        searcher, max_concurrent, batch: As given.
        live_trials: Ids of live trials, as a new set.

    Raises:
        AssertionError: `max_concurrent` is not an int greater than 0, or a trial id is
            suggested for while it is live.
        RuntimeError: `searcher` is not a `Searcher`.

    Example:
        >>> search_alg = ConcurrencyLimiter(MySearcher(), max_concurrent=4)  # doctest: +SKIP
    """

    def __init__(self, searcher: Searcher, max_concurrent: int, batch: bool = False) -> None:
        _ctune.ConcurrencyLimiter.__init__(self, searcher, max_concurrent, batch)
        Searcher.__init__(self, metric=searcher.metric, mode=searcher.mode)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Hands the settings of the run, and the limit, to the searcher."""
        self._hand_over()
        accepted = set_search_properties(
            self.searcher.set_search_properties, metric, mode, config, **spec
        )
        # What wraps this one, such as a Repeater, asks it for them.
        self._metric, self._mode = self.searcher.metric, self.searcher.mode
        return accepted

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Hands the point to the searcher."""
        self.searcher.add_evaluated_point(parameters, value, error, pruned, intermediate_values)

    def save(self, checkpoint_path: str) -> None:
        """Saves the searcher's state. The limiter's own is `get_state()`."""
        self.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restores the searcher's state."""
        self.searcher.restore(checkpoint_path)

    def get_state(self) -> dict[str, Any]:
        """Returns a deep copy of everything but the searcher."""
        state = dict(vars(self))
        for name in _FIELDS:
            state[name] = getattr(self, name)
        return copy.deepcopy(state)

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` returned. Missing entries stay as they are."""
        self._take_state(self.searcher, {**self.get_state(), **state})

    def _take_state(self, searcher: Searcher, state: dict[str, Any]) -> None:
        self._put_state(
            searcher,
            state["max_concurrent"],
            state["batch"],
            state["live_trials"],
            state["cached_results"],
            state["_limit_concurrency"],
        )
        vars(self).update((k, v) for k, v in state.items() if k not in _FIELDS)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        state.update((name, getattr(self, name)) for name in _FIELDS)
        state["searcher"] = self.searcher
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._take_state(state.pop("searcher"), state)

    def on_pause(self, trial_id: str) -> None:
        """Tells the searcher that a trial was paused (BOHB)."""
        self.searcher.on_pause(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Tells the searcher that a paused trial goes on (BOHB)."""
        self.searcher.on_unpause(trial_id)
