"""Bases of loggers: callbacks, and the older classes with an object for each trial."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ctune._encode import SafeFallbackEncoder
from ctune.callback import Callback
from ctune.result import AUTO_RESULT_KEYS, CONFIG

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial

__all__ = ["LegacyLoggerCallback", "Logger", "LoggerCallback", "pretty_print"]


class LoggerCallback(Callback):
    """Base class for loggers: the hooks of a callback, sorted by what loggers do.

    Override `log_trial_start`, `log_trial_result` and `log_trial_end`.
    """

    def log_trial_start(self, trial: Trial) -> None:
        """Called when a trial starts, also after a pause or a failure."""

    def log_trial_restore(self, trial: Trial) -> None:
        """Part of the interface; never called."""

    def log_trial_save(self, trial: Trial) -> None:
        """Called when a trial was saved."""

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Called with each result."""

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Called when a trial has ended.

        Args:
            trial: The trial.
            failed: Whether it ended with an error.
        """

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Calls `log_trial_start`."""
        self.log_trial_start(trial)

    def on_trial_restore(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Calls `log_trial_restore`."""
        self.log_trial_restore(trial)

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Calls `log_trial_save`."""
        self.log_trial_save(trial)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Calls `log_trial_result`."""
        self.log_trial_result(iteration, trial, result)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Calls `log_trial_end`."""
        self.log_trial_end(trial, failed=False)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Calls `log_trial_end` with failed=True."""
        self.log_trial_end(trial, failed=True)


class Logger:
    """Base class of the older loggers: one object for each trial.

    Hand classes of them to `LegacyLoggerCallback`; new ones are better a `LoggerCallback`.
    Override `on_result`, and `_init` for what is to be done once.

    Args:
        config: The trial's config.
        logdir: The trial's directory.
        trial: The trial.
    """

    def __init__(self, config: dict[str, Any], logdir: str, trial: Trial | None = None) -> None:
        self.config = config
        self.logdir = logdir
        self.trial = trial
        self._init()

    def _init(self) -> None:
        pass

    def on_result(self, result: dict[str, Any]) -> None:
        """Called with each result.

        Raises:
            NotImplementedError: The class does not override it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define on_result().")

    def update_config(self, config: dict[str, Any]) -> None:
        """Called with a new config of the trial."""

    def close(self) -> None:
        """Called when the trial has ended."""

    def flush(self) -> None:
        """Called when the trial was saved."""


def deprecated(kind: Logger, instead: str) -> None:
    """Warns that a class of older loggers should not be used for new code."""
    warnings.warn(
        f"{type(kind).__name__} is deprecated: use {instead}.", DeprecationWarning, stacklevel=4
    )


class LegacyLoggerCallback(LoggerCallback):
    """Makes an object of each older logger class for each trial, and hands it the results.

    Args:
        logger_classes: Subclasses of `Logger`. With `JsonLogger`, `CSVLogger` or `TBXLogger`
            among them run() leaves out its own logger of that kind.
    """

    def __init__(self, logger_classes: Iterable[type[Logger]]) -> None:
        self.logger_classes = list(logger_classes)
        self._loggers: dict[Trial, list[Logger]] = {}

    def log_trial_start(self, trial: Trial) -> None:
        """Makes the loggers of a trial that has none yet."""
        if trial not in self._loggers:
            trial.init_local_path()
            self._loggers[trial] = [
                kind(trial.config, str(trial.local_path), trial) for kind in self.logger_classes
            ]

    def log_trial_restore(self, trial: Trial) -> None:
        """Flushes the trial's loggers."""
        self.log_trial_save(trial)

    def log_trial_save(self, trial: Trial) -> None:
        """Flushes the trial's loggers."""
        for each in self._loggers.get(trial, ()):
            each.flush()

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Hands the result to the trial's loggers."""
        for each in self._loggers.get(trial, ()):
            each.on_result(result)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Closes the trial's loggers."""
        for each in self._loggers.pop(trial, ()):
            each.close()


def pretty_print(result: Mapping[str, Any], exclude: Iterable[str] | None = None) -> str:
    """Returns a result as YAML: the user's keys first, then the automatic ones.

    Args:
        result: A result; `config`, `hist_stats` and keys without a value are left out.
        exclude: Further keys to leave out.
    """
    hidden = {CONFIG, "hist_stats", *(exclude or ())}
    shown = {k: v for k, v in result.items() if k not in hidden and v is not None}
    automatic = [k for k in AUTO_RESULT_KEYS if k in shown]
    own = [k for k in shown if k not in automatic]
    return "\n".join(_lines({k: shown[k] for k in (*own, *automatic)}, "")) + "\n"


def _lines(node: Mapping[str, Any], indent: str) -> Iterable[str]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_yaml(str(key))}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{_yaml(str(key))}: {_yaml(value)}"


def _yaml(value: Any) -> str:
    """A value on one line. JSON is YAML; words need no quotes."""
    if isinstance(value, str) and _WORD.fullmatch(value) and value.lower() not in _NO_WORDS:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}[str(float(value))]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_yaml, value))}]"
    return json.dumps(value, cls=SafeFallbackEncoder, ensure_ascii=False)


_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NO_WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))
