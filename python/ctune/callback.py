"""Hooks into a run, for logging and for reactions of one's own."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING, Any

from ctune._encode import dumps, loads

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


class CallbackList:
    """Calls the same hook of several callbacks, in order.

    Args:
        callbacks: The callbacks; the list is used as it is.
    """

    IS_CALLBACK_CONTAINER = True
    CKPT_FILE_TMPL = "callback-states-{}.pkl"

    def __init__(self, callbacks: list[Callback]) -> None:
        self._callbacks = callbacks

    def __len__(self) -> int:
        return len(self._callbacks)

    def __getitem__(self, i: int) -> Callback:
        return self._callbacks[i]

    def _each(self, hook: str, info: dict[str, Any]) -> None:
        for callback in self._callbacks:
            getattr(callback, hook)(**info)

    def setup(self, **info: Any) -> None:
        """Calls it."""
        self._each("setup", info)

    def on_step_begin(self, **info: Any) -> None:
        """Calls it."""
        self._each("on_step_begin", info)

    def on_step_end(self, **info: Any) -> None:
        """Calls it."""
        self._each("on_step_end", info)

    def on_trial_start(self, **info: Any) -> None:
        """Calls it."""
        self._each("on_trial_start", info)

    def on_trial_restore(self, **info: Any) -> None:
        """Calls it."""
        self._each("on_trial_restore", info)

    def on_trial_save(self, **info: Any) -> None:
        """Calls it."""
        self._each("on_trial_save", info)

    def on_trial_result(self, **info: Any) -> None:
        """Calls it."""
        self._each("on_trial_result", info)

    def on_trial_complete(self, **info: Any) -> None:
        """Calls it."""
        self._each("on_trial_complete", info)

    def on_trial_recover(self, **info: Any) -> None:
        """Calls it."""
        self._each("on_trial_recover", info)

    def on_trial_error(self, **info: Any) -> None:
        """Calls it."""
        self._each("on_trial_error", info)

    def on_checkpoint(self, **info: Any) -> None:
        """Calls it."""
        self._each("on_checkpoint", info)

    def on_experiment_end(self, **info: Any) -> None:
        """Calls it."""
        self._each("on_experiment_end", info)

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

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Writes the states to a file of a directory; nothing if there are none."""
        state = self.get_state()
        if state:
            path = os.path.join(checkpoint_dir, self.CKPT_FILE_TMPL.format(session_str))
            with open(path, "wb") as file:
                file.write(dumps(state))

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Takes the states from the newest such file of a directory.

        Raises:
            RuntimeError: There is none.
        """
        path = self._newest(checkpoint_dir)
        if path is None:
            raise RuntimeError(
                f"checkpoint_dir: {checkpoint_dir!r} has no file "
                f"{self.CKPT_FILE_TMPL.format('*')}; ask can_restore() before."
            )
        with open(path, "rb") as file:
            self.set_state(loads(file.read()))

    def can_restore(self, checkpoint_dir: str) -> bool:
        """Returns whether a directory has such a file."""
        return self._newest(checkpoint_dir) is not None

    def _newest(self, folder: str) -> str | None:
        found = glob.glob(os.path.join(glob.escape(folder), self.CKPT_FILE_TMPL.format("*")))
        return max(found, default=None)
