"""A callback of LightGBM that reports."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ctune._checkpoint import Checkpoint
from ctune.integration._report import Metrics, Reporter, deprecated

__all__ = ["TuneReportCallback", "TuneReportCheckpointCallback"]

TuneReportCallback = deprecated(__name__)


class TuneReportCheckpointCallback(Reporter):
    """Reports after each round of `lightgbm.train()`; now and then with the model.

    Metrics are named "<data set>-<metric>"; those of `lightgbm.cv()` end in "-mean" and
    "-stdv".

    Args:
        metrics: What to report: a name, names, or reported name -> name. None: everything.
        filename: Of the model in a checkpoint.
        frequency: Rounds from checkpoint to checkpoint; 0: none but the last.
        checkpoint_at_end: Whether the last round has a checkpoint.
        results_postprocessing_fn: Makes the reported dict of the metrics.

    Example:
        >>> lightgbm.train(  # doctest: +SKIP
        ...     config, train_set, valid_sets=[test_set], callbacks=[TuneReportCheckpointCallback()]
        ... )
    """

    CHECKPOINT_NAME = "model.txt"

    def __init__(
        self,
        metrics: Metrics = None,
        filename: str = CHECKPOINT_NAME,
        frequency: int = 0,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(metrics, filename, frequency, checkpoint_at_end, results_postprocessing_fn)

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = CHECKPOINT_NAME) -> Any:
        """Returns the `lightgbm.Booster` of a checkpoint."""
        import lightgbm

        with checkpoint.as_directory() as folder:
            return lightgbm.Booster(model_file=os.path.join(folder, filename))

    def __call__(self, env: Any) -> None:
        """Called by LightGBM after each round."""
        values = {}
        for data, metric, value, *more in env.evaluation_result_list:
            name = f"{data}-{metric}"
            if len(more) > 1:
                values[f"{name}-mean"] = value
                values[f"{name}-stdv"] = more[1]
            else:
                values[name] = value
        last = env.iteration == env.end_iteration - 1
        due = self._is_due(env.iteration) or (last and self._checkpoint_at_end)
        self._report(values, env.model if due else None)
