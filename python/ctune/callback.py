"""Hooks into a run, for logging and for reactions of one's own."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ctune._encode import dumps, loads

if TYPE_CHECKING:
    from ctune._checkpoint import Checkpoint
    from ctune.experiment.trial import Trial

__all__ = ["Callback", "CallbackList"]

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


class Callback:
    """Base class of what is told as a run goes on.

    Override the hooks you need; the others cost nothing. All arguments are given by
    keyword, so take `**info` for those to come. Hooks run in the driver, between two
    events: what takes long there holds up the run. An exception ends the run, except in
    `on_checkpoint`, where it is logged: `run()` raises a TuneError with its traceback, but
    what `setup` and `on_experiment_end` raise as it is.

    A class that says `IS_CALLBACK_CONTAINER = True` stands for several callbacks and must
    define all hooks.

    Raises:
        TypeError: A container lacks a hook; when its class is defined.

    Example:
        >>> class Best(Callback):
        ...     def on_trial_result(self, iteration, trials, trial, result, **info):
        ...         print(trial, result["loss"])
        >>> run(train, callbacks=[Best()])  # doctest: +SKIP
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).get("IS_CALLBACK_CONTAINER"):
            missing = [hook for hook in _HOOKS if hook not in vars(cls)]
            if missing:
                raise TypeError(
                    f"{cls.__qualname__} is a container of callbacks and must define "
                    f"{', '.join(missing)}, too."
                )

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Called once, before the first trial starts.

        Args:
            stop: Metric -> threshold at which a trial ends; {} without such conditions.
            num_samples: As run() was given it; `sys.maxsize` for endless.
            total_num_samples: Number of trials to come.
            **info: `time_budget_s`, as run() was given it.
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
        """Returns what `set_state` needs when an experiment is resumed, or None.

        It is pickled and written when the run begins, every 10 s and at the end: after a
        kill, a callback may have heard of results that its state does not know.
        """
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` returned, before `setup`, when an experiment is resumed."""


def _each(name: str) -> Callable[..., None]:
    def call(self: CallbackList, **info: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, name)(**info)

    call.__name__ = name
    call.__doc__ = f"Calls `{name}` of each callback."
    return call


class CallbackList(Callback):
    """Calls the same hook of several callbacks, in order.

    Args:
        callbacks: The callbacks; the list is used as it is.
    """

    IS_CALLBACK_CONTAINER = True
    CKPT_FILE_TMPL = "callback-states-{}.pkl"

    def __init__(self, callbacks: list[Callback]) -> None:
        self._callbacks = callbacks

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Calls `setup` of each callback; without arguments where it takes none."""
        info |= {
            "stop": stop, "num_samples": num_samples, "total_num_samples": total_num_samples
        }  # fmt: skip
        for callback in self._callbacks:
            try:
                callback.setup(**info)
            except TypeError as error:
                if "argument" not in str(error):
                    raise
                warnings.warn(
                    f"{type(callback).__name__}.setup() should take stop, num_samples, "
                    "total_num_samples and **info, as Callback.setup() does; it is called "
                    "without arguments.",
                    FutureWarning,
                    stacklevel=2,
                )
                callback.setup()

    on_step_begin = _each("on_step_begin")
    on_step_end = _each("on_step_end")
    on_trial_start = _each("on_trial_start")
    on_trial_restore = _each("on_trial_restore")
    on_trial_save = _each("on_trial_save")
    on_trial_result = _each("on_trial_result")
    on_trial_complete = _each("on_trial_complete")
    on_trial_recover = _each("on_trial_recover")
    on_trial_error = _each("on_trial_error")
    on_checkpoint = _each("on_checkpoint")
    on_experiment_end = _each("on_experiment_end")

    def __len__(self) -> int:
        return len(self._callbacks)

    def __getitem__(self, place: int) -> Callback:
        return self._callbacks[place]

    def get_state(self) -> dict[int, dict[str, Any] | None] | None:  # type: ignore[override]
        """Returns place -> state of each callback; None if none has one."""
        states = {place: each.get_state() for place, each in enumerate(self._callbacks)}
        return states if any(states.values()) else None

    def set_state(self, state: dict[int, Any]) -> None:  # type: ignore[override]
        """Hands each callback the state of its place, if there is one."""
        for place, callback in enumerate(self._callbacks):
            if state.get(place):
                callback.set_state(state[place])

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Writes the states, if any, to `callback-states-<session>.pkl` in a directory."""
        states = self.get_state()
        if states is None:
            return
        path = os.path.join(checkpoint_dir, self.CKPT_FILE_TMPL.format(session_str))
        with open(path + ".tmp", "wb") as file:
            file.write(dumps(states))
        os.replace(path + ".tmp", path)

    def can_restore(self, checkpoint_dir: str) -> bool:
        """Returns whether states were written to a directory."""
        return bool(self._saved(checkpoint_dir))

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Sets the states that were written to a directory last, by the names of the files.

        The file is a pickle: open only directories that you trust.

        Raises:
            RuntimeError: There are none.
        """
        paths = self._saved(checkpoint_dir)
        if not paths:
            raise RuntimeError(
                f"checkpoint_dir: there are no states of callbacks in {checkpoint_dir!r}; ask "
                "can_restore() before."
            )
        with open(max(paths), "rb") as file:
            self.set_state(loads(file.read()))

    def _saved(self, directory: str) -> list[str]:
        return glob.glob(os.path.join(glob.escape(directory), self.CKPT_FILE_TMPL.format("*")))
