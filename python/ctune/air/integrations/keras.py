"""A callback of Keras that reports."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ctune._checkpoint import Checkpoint
from ctune._session import report
from ctune.integration._report import picked

if TYPE_CHECKING:
    Callback = object
else:
    try:
        from keras.callbacks import Callback
    except ImportError:
        try:
            from tensorflow.keras.callbacks import Callback
        except ImportError:  # told when it is used
            Callback = object

__all__ = ["ReportCheckpointCallback"]

_MODEL = "model.keras"
_TIMES = tuple(
    f"{what}_{when}"
    for what in (
        "epoch",
        "train_batch",
        "test_batch",
        "predict_batch",
        "train",
        "test",
        "predict",
    )
    for when in ("begin", "end")
)


class ReportCheckpointCallback(Callback):
    """Reports Keras's logs at the times given, with the model where that is wanted.

    Args:
        checkpoint_on: When the model is reported with the metrics, as `model.keras`: one
            or several of "epoch_end", "epoch_begin", "train_end", "train_batch_end" and so on.
        report_metrics_on: When metrics are reported; the same names.
        metrics: What to report: a name, names, or reported name -> name. None: everything.

    Raises:
        ValueError: A time is unknown.
        ImportError: Keras is missing.
    """

    def __init__(
        self,
        checkpoint_on: str | list[str] = "epoch_end",
        report_metrics_on: str | list[str] = "epoch_end",
        metrics: str | list[str] | dict[str, str] | None = None,
    ) -> None:
        if Callback is object:
            raise ImportError("Keras is needed: pip install keras and one of its backends")
        super().__init__()
        self._checkpoint_on = _times("checkpoint_on", checkpoint_on)
        self._on = self._checkpoint_on | _times("report_metrics_on", report_metrics_on)
        self._metrics = metrics

    def _handle(self, logs: Mapping[str, Any] | None, when: str) -> None:
        metrics = picked(self._metrics, logs or {})
        if when not in self._checkpoint_on:
            report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            self.model.save(os.path.join(folder, _MODEL))  # type: ignore[attr-defined]
            report(metrics, checkpoint=Checkpoint.from_directory(folder))


def _times(parameter: str, given: str | list[str]) -> set[str]:
    times = {given} if isinstance(given, str) else set(given)
    for time in sorted(times - set(_TIMES)):
        raise ValueError(f"{parameter}: must be among {', '.join(_TIMES)}, got {time!r}.")
    return times


def _hook(when: str) -> Callable[..., None]:
    def call(self: ReportCheckpointCallback, *args: Any, **kwargs: Any) -> None:
        # Called with the number of the epoch or batch, if there is one, and the logs.
        if when in self._on:
            self._handle(kwargs.get("logs", args[-1] if args else None), when)

    call.__name__ = f"on_{when}"
    return call


for _time in _TIMES:
    setattr(ReportCheckpointCallback, f"on_{_time}", _hook(_time))
