"""A callback of XGBoost that reports."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ctune._checkpoint import Checkpoint
from ctune.integration._report import Metrics, Reporter, deprecated

if TYPE_CHECKING:
    TrainingCallback = object
else:
    try:
        from xgboost.callback import TrainingCallback
    except ImportError:  # told when it is used
        TrainingCallback = object

__all__ = ["TuneReportCallback", "TuneReportCheckpointCallback"]

TuneReportCallback = deprecated(__name__)


class TuneReportCheckpointCallback(Reporter, TrainingCallback):
    """Reports after each round of `xgboost.train()`; now and then with the model.

    Metrics are named "<data set>-<metric>". A checkpoint at the end comes with the metrics of
    the last round, once more.

    Args:
        metrics: What to report: a name, names, or reported name -> name. None: everything.
        filename: Of the model in a checkpoint.
        frequency: Rounds from checkpoint to checkpoint; 0: none but the last.
        checkpoint_at_end: Whether the model is reported after the last round.
        results_postprocessing_fn: Makes the reported dict of the metrics.

    Raises:
        ImportError: XGBoost is missing.

    Example:
        >>> xgboost.train(  # doctest: +SKIP
        ...     config, train, evals=[(test, "test")], callbacks=[TuneReportCheckpointCallback()]
        ... )
    """

    CHECKPOINT_NAME = "model.ubj"

    def __init__(
        self,
        metrics: Metrics = None,
        filename: str = CHECKPOINT_NAME,
        frequency: int = 0,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        if TrainingCallback is object:
            raise ImportError('XGBoost is needed: pip install "ctune[xgboost]"')
        super().__init__(metrics, filename, frequency, checkpoint_at_end, results_postprocessing_fn)
        self._values: dict[str, Any] = {}
        self._saved_iteration: int | None = None

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = CHECKPOINT_NAME) -> Any:
        """Returns the `xgboost.Booster` of a checkpoint."""
        import xgboost

        model = xgboost.Booster()
        with checkpoint.as_directory() as folder:
            model.load_model(os.path.join(folder, filename))
        return model

    def after_iteration(
        self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, list[Any]]]
    ) -> bool:
        """Called by XGBoost after each round. Returns False: training goes on."""
        self._values = {
            f"{data}-{metric}": values[-1]
            for data, metrics in evals_log.items()
            for metric, values in metrics.items()
        }
        if self._is_due(epoch):
            self._saved_iteration = epoch
            self._report(self._values, model)
        else:
            self._report(self._values)
        return False

    def after_training(self, model: Any) -> Any:
        """Called by XGBoost at the end. Returns the model."""
        saved = self._saved_iteration
        if self._checkpoint_at_end and saved != model.num_boosted_rounds() - 1:
            self._report(self._values, model)
        return model
