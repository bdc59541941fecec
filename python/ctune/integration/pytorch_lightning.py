"""Callbacks of PyTorch Lightning that report."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ctune._checkpoint import Checkpoint
from ctune._session import report

if TYPE_CHECKING:
    Callback = object
else:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback
        except ImportError:  # told when it is used
            Callback = object

__all__ = ["TuneCallback", "TuneReportCallback", "TuneReportCheckpointCallback"]

logger = logging.getLogger("ctune")

_HOOKS = frozenset(
    name for name in dir(Callback) if name.startswith("on_") and callable(getattr(Callback, name))
)


class TuneCallback(Callback):
    """Base of callbacks that do something at hooks that are given by name.

    Override `_handle(trainer, pl_module)`.

    Args:
        on: Names of hooks of `lightning.pytorch.Callback`, without "on_".

    Raises:
        ValueError: There is no such hook.
        ImportError: Lightning is missing.
    """

    def __init__(self, on: str | list[str] = "validation_end") -> None:
        if Callback is object:
            raise ImportError("PyTorch Lightning is needed: pip install lightning")
        self._on = {f"on_{name}" for name in ([on] if isinstance(on, str) else on)}
        unknown = sorted(self._on - _HOOKS)
        if unknown:
            raise ValueError(
                f"on: Lightning has no hook {unknown[0][3:]!r}; it has "
                f"{', '.join(sorted(hook[3:] for hook in _HOOKS))}."
            )

    def _handle(self, trainer: Any, pl_module: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define _handle().")


def _hook(name: str) -> Callable[..., None]:
    def call(self: TuneCallback, trainer: Any, *args: Any, **kwargs: Any) -> None:
        if name in self._on:
            self._handle(trainer, args[0] if args else kwargs.get("pl_module"))

    call.__name__ = name
    return call


for _name in _HOOKS:
    setattr(TuneCallback, _name, _hook(_name))


class TuneReportCheckpointCallback(TuneCallback):
    """Reports the trainer's metrics, with a checkpoint of it.

    Args:
        metrics: Which of `trainer.callback_metrics` to report: a name, names, or reported
            name -> name. None: all. What is missing is left out, with a warning.
        filename: Of Lightning's checkpoint in the reported one.
        save_checkpoints: Whether there is a checkpoint.
        on: Names of hooks of `lightning.pytorch.Callback`, without "on_".

    Raises:
        ValueError: There is no such hook.
        ImportError: Lightning is missing.
    """

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        filename: str = "checkpoint",
        save_checkpoints: bool = True,
        on: str | list[str] = "validation_end",
    ) -> None:
        super().__init__(on)
        self._metrics = [metrics] if isinstance(metrics, str) else metrics
        self._filename = filename
        self._save_checkpoints = save_checkpoints

    def _picked(self, trainer: Any) -> dict[str, float]:
        values = trainer.callback_metrics
        names = self._metrics or list(values)
        pairs = names if isinstance(names, dict) else {name: name for name in names}
        for missing in sorted(set(pairs.values()) - set(values)):
            logger.warning("The trainer has no metric %r; it is not reported.", missing)
        return {name: values[own].item() for name, own in pairs.items() if own in values}

    def _handle(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking:
            return
        metrics = self._picked(trainer)
        if not metrics:
            return
        if not self._save_checkpoints:
            report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            trainer.save_checkpoint(os.path.join(folder, self._filename))
            report(metrics, checkpoint=Checkpoint.from_directory(folder))


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports the trainer's metrics. Deprecated: use `TuneReportCheckpointCallback`.

    Args:
        metrics: As there.
        on: As there.
    """

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        on: str | list[str] = "validation_end",
    ) -> None:
        warnings.warn(
            "TuneReportCallback is deprecated: use "
            "TuneReportCheckpointCallback(save_checkpoints=False).",
            DeprecationWarning,
            stacklevel=2,
        )
        super().__init__(metrics, save_checkpoints=False, on=on)
