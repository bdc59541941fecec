"""Base of logger callbacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ctune.callback import Callback
from ctune.result import AUTO_RESULT_KEYS

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial

__all__ = ["LoggerCallback", "pretty_print"]


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


def pretty_print(result: Mapping[str, Any], exclude: Iterable[str] | None = None) -> str:
    """Returns a result as indented lines for people: "key: value".

    Args:
        result: A result; `config` and keys without a value are left out.
        exclude: Further keys to leave out.
    """
    hidden = {"config", *(exclude or ())}
    shown = {k: v for k, v in result.items() if k not in hidden and v is not None}
    automatic = [k for k in AUTO_RESULT_KEYS if k in shown]
    own = [k for k in shown if k not in automatic]
    return "\n".join(_lines({k: shown[k] for k in (*own, *automatic)}, "")) + "\n"


def _lines(node: Mapping[str, Any], indent: str) -> Iterable[str]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{key}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{key}: {value}"
