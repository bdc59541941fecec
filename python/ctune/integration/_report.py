"""What the callbacks of training libraries share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ctune._checkpoint import Checkpoint
from ctune._session import report

__all__ = ["Reporter", "deprecated", "picked"]

Metrics = str | list[str] | dict[str, str] | None


def picked(metrics: Metrics, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values to report.

    Args:
        metrics: A name, names, or reported name -> name; None: all values.
        values: Name -> value.

    Raises:
        KeyError: A value is missing.
    """
    if not metrics:
        return dict(values)
    names = {metrics: metrics} if isinstance(metrics, str) else metrics
    pairs: Iterable[tuple[str, str]]
    pairs = names.items() if isinstance(names, dict) else ((name, name) for name in names)
    try:
        return {name: values[source] for name, source in pairs}
    except KeyError as error:
        raise KeyError(
            f"metrics: there is no value {error.args[0]!r}; there are {', '.join(values)}."
        ) from None


class Reporter:
    """Reports metrics after each boosting round, now and then with the model.

    Args:
        metrics: What to report: a name, names, or reported name -> name. None: everything.
        filename: Of the model in a checkpoint.
        frequency: Rounds from checkpoint to checkpoint; 0: none but the last.
        checkpoint_at_end: Whether the last round has a checkpoint.
        results_postprocessing_fn: Makes the reported dict of the metrics.
    """

    def __init__(
        self,
        metrics: Metrics,
        filename: str,
        frequency: int,
        checkpoint_at_end: bool,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None,
    ) -> None:
        self._metrics = metrics
        self._filename = filename
        self._frequency = frequency
        self._checkpoint_at_end = checkpoint_at_end
        self._results_postprocessing_fn = results_postprocessing_fn

    def _is_due(self, iteration: int) -> bool:
        """Whether the round of this number, from 0, has a checkpoint in any case."""
        return self._frequency > 0 and (iteration + 1) % self._frequency == 0

    def _report(self, values: Mapping[str, Any], model: Any = None) -> None:
        """Reports; with a checkpoint, if there is a model."""
        metrics = picked(self._metrics, values)
        if self._results_postprocessing_fn is not None:
            metrics = self._results_postprocessing_fn(metrics)
        if model is None:
            report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            model.save_model(os.path.join(folder, self._filename))
            report(metrics, checkpoint=Checkpoint.from_directory(folder))


def deprecated(module: str) -> type[Any]:
    """Returns the class TuneReportCallback of a module, which cannot be made any more."""

    class TuneReportCallback:
        """Gone: use `TuneReportCheckpointCallback`."""

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            raise DeprecationWarning(
                f"{module}.TuneReportCallback is gone: use TuneReportCheckpointCallback."
            )

    TuneReportCallback.__module__ = module
    TuneReportCallback.__qualname__ = "TuneReportCallback"
    return TuneReportCallback
