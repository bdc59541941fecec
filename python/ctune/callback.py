"""Hooks into a run, for logging and for reactions of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctune._checkpoint import Checkpoint
    from ctune.experiment.trial import Trial

__all__ = ["Callback", "CallbackList"]


class Callback:
    """Base class of what is told as a run goes on.

    Override the hooks you need; the others cost nothing. All arguments are given by
    keyword, so take `**info` for those to come. Hooks run in the driver, between two
    events: what takes long there holds up the run. An exception ends the run, except in
    `on_checkpoint`, where it is logged.

    Example:
        >>> class Best(Callback):
        ...     def on_trial_result(self, iteration, trials, trial, result, **info):
        ...         print(trial, result["loss"])
        >>> run(train, callbacks=[Best()])  # doctest: +SKIP
    """

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Called once, before the first trial starts.

        Args:
            stop: The stop conditions as run() was given them.
            num_samples: As run() was given it.
            total_num_samples: Number of trials to come.
            **info: `time_budget_s`.
        """

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Called before events are handled."""

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Called after events were handled."""

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called when a trial's worker has started, also after a pause or a failure."""

    def on_trial_restore(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Part of the interface; never called."""

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called after a checkpoint of a trial was taken in."""

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Called with each result, `done` included, before `trial.last_result` is it."""

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called when a trial has ended well or was stopped."""

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called when a trial has failed and will be tried again."""

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called when a trial has failed for good."""

    def on_checkpoint(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        checkpoint: Checkpoint,
        **info: Any,
    ) -> None:
        """Called with each new checkpoint."""

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Called once, when no trial runs any more, also after a failure."""

    def get_state(self) -> dict[str, Any] | None:
        """Returns what `set_state` needs when an experiment is resumed, or None."""
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` returned."""


_HOOKS = (
    "setup",
    "on_step_begin",
    "on_step_end",
    "on_trial_start",
    "on_trial_restore",
    "on_trial_save",
    "on_trial_result",
    "on_trial_complete",
    "on_trial_recover",
    "on_trial_error",
    "on_checkpoint",
    "on_experiment_end",
)


class CallbackList:
    """Calls the same hook of several callbacks, in order.

    Args:
        callbacks: The callbacks; the list is used as it is.
    """

    IS_CALLBACK_CONTAINER = True

    def __init__(self, callbacks: list[Callback]) -> None:
        self._callbacks = callbacks

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in _HOOKS:
            raise AttributeError(f"CallbackList has no attribute {name!r}")

        def call(**info: Any) -> None:
            for callback in self._callbacks:
                getattr(callback, name)(**info)

        return call

    def __len__(self) -> int:
        return len(self._callbacks)

    def get_state(self) -> dict[int, dict[str, Any]] | None:
        """Returns position -> state of those callbacks that have one, or None."""
        states = {}
        for position, callback in enumerate(self._callbacks):
            state = callback.get_state()
            if state:
                states[position] = state
        return states or None

    def set_state(self, state: dict[int, dict[str, Any]]) -> None:
        """Hands each callback the state of its position."""
        for position, callback in enumerate(self._callbacks):
            if position in state:
                callback.set_state(state[position])
