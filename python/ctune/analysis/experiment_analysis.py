"""What a finished experiment can tell."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ctune._checkpoint import Checkpoint
from ctune.analysis._files import flat_config, pandas, read_results, table
from ctune.experiment.trial import Trial
from ctune.result import (
    DEFAULT_METRIC,
    TRAINING_ITERATION,
)
from ctune.utils.util import flatten_dict, is_nan, is_nan_or_inf, unflattened_lookup

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ExperimentAnalysis"]

logger = logging.getLogger("ctune")

_SCOPES = ("all", "last", "avg", "last-5-avg", "last-10-avg")


class ExperimentAnalysis:
    """The trials of an experiment and questions about them.

    run() returns one.

    Args:
        experiment_checkpoint_path: Directory of the experiment.
        storage_filesystem: Only None, the local file system.
        trials: The trials.
        default_metric: Metric for questions that name none.
        default_mode: "max" or "min", likewise.

    Raises:
        ValueError: `default_mode` is something else.
        NotImplementedError: `trials` is missing, or `storage_filesystem` given.
    """

    def __init__(
        self,
        experiment_checkpoint_path: str | os.PathLike[str],
        *,
        storage_filesystem: Any = None,
        trials: list[Trial] | None = None,
        default_metric: str | None = None,
        default_mode: str | None = None,
    ) -> None:
        if default_mode is not None and default_mode not in ("max", "min"):
            raise ValueError(f'default_mode: must be "max", "min" or None, got {default_mode!r}.')
        if storage_filesystem is not None:
            raise NotImplementedError(
                "storage_filesystem: only local experiments are supported, got "
                f"{type(storage_filesystem).__name__}. Leave it out."
            )
        if trials is None:
            raise NotImplementedError(
                "trials: an experiment cannot be loaded from its directory alone. Give "
                "its trials, as run() does."
            )
        if default_metric is None and default_mode is not None:
            default_metric = DEFAULT_METRIC
        self.trials = trials
        self.default_metric = default_metric
        self.default_mode = default_mode
        self._path = os.fspath(experiment_checkpoint_path)
        self._frames: dict[str, pd.DataFrame] | None = None

    @property
    def experiment_path(self) -> str:
        """Directory of the experiment."""
        return self._path

    # The best, by the default metric and mode.

    @property
    def best_trial(self) -> Trial | None:
        """The trial whose last value of the metric is best."""
        self._need_defaults("best_trial", "get_best_trial(metric, mode)")
        return self.get_best_trial()

    @property
    def best_config(self) -> dict[str, Any] | None:
        """The configuration of the best trial."""
        self._need_defaults("best_config", "get_best_config(metric, mode)")
        return self.get_best_config()

    @property
    def best_checkpoint(self) -> Checkpoint | None:
        """The best checkpoint of the best trial."""
        self._need_defaults("best_checkpoint", "get_best_checkpoint(trial, metric, mode)")
        best = self.best_trial
        return self.get_best_checkpoint(best) if best is not None else None

    @property
    def best_result(self) -> dict[str, Any] | None:
        """The last result of the best trial."""
        self._need_defaults("best_result", "get_best_trial(metric, mode).last_result")
        best = self.best_trial
        return best.last_result if best is not None else None

    @property
    def best_dataframe(self) -> pd.DataFrame:
        """All results of the best trial, one row each. Needs pandas."""
        self._need_defaults(
            "best_dataframe", "trial_dataframes[get_best_trial(metric, mode).trial_id]"
        )
        best = self.best_trial
        assert best is not None
        return self.trial_dataframes[best.trial_id]

    @property
    def best_result_df(self) -> pd.DataFrame:
        """The last result of the best trial as a row. Needs pandas."""
        self._need_defaults("best_result_df", "results_df")
        best = self.best_trial
        assert best is not None
        return pandas().DataFrame.from_records(
            [{**_flat(best.last_result), "trial_id": best.trial_id}], index="trial_id"
        )

    def _need_defaults(self, name: str, instead: str) -> None:
        if not self.default_metric or not self.default_mode:
            missing = "metric" if not self.default_metric else "mode"
            raise ValueError(
                f"{missing}: {name} needs a metric and a mode. Give run() both, or use {instead}."
            )

    # All of them.

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """Trial id -> last result."""
        return {trial.trial_id: trial.last_result for trial in self.trials}

    @property
    def results_df(self) -> pd.DataFrame:
        """The last results, one row per trial, indexed by trial id. Needs pandas."""
        rows = [{**_flat(trial.last_result), "trial_id": trial.trial_id} for trial in self.trials]
        return pandas().DataFrame.from_records(rows, index="trial_id" if rows else None)

    @property
    def trial_dataframes(self) -> dict[str, pd.DataFrame]:
        """Trial id -> all its results, one row each. Needs pandas.

        They are read from the result files, once.
        """
        if self._frames is None:
            frames = {t.trial_id: _read_results(t) for t in self.trials}
            unread = [key for key, frame in frames.items() if frame is None]
            if unread:
                logger.warning(
                    "The results of %d of %d trials could not be read; their tables are empty: %s",
                    len(unread),
                    len(frames),
                    ", ".join(unread[:5]) + (", ..." if len(unread) > 5 else ""),
                )
            self._frames = {
                key: pandas().DataFrame() if frame is None else frame
                for key, frame in frames.items()
            }
        return self._frames

    def dataframe(self, metric: str | None = None, mode: str | None = None) -> pd.DataFrame:
        """Returns one row per trial, with its configuration. Needs pandas.

        Args:
            metric: With `mode`: each trial's row is its best one by this metric.
                Otherwise its last one.
            mode: "max" or "min".

        Raises:
            ValueError: `mode` is something else, or is given without `metric`.
        """
        _check_mode(mode, optional=True)
        if mode is not None and metric is None:
            raise ValueError(f"metric: must be given with mode={mode!r}.")
        rows = []
        for trial in self.trials:
            row = self._row(trial, metric, mode)
            if row is None:
                continue
            for key, value in flat_config(trial.config).items():
                row.setdefault(key, value)
            row["logdir"] = trial.trial_id
            rows.append(row)
        return pandas().DataFrame(rows)

    def _row(self, trial: Trial, metric: str | None, mode: str | None) -> dict[str, Any] | None:
        frame = self.trial_dataframes[trial.trial_id]
        if frame.empty:
            return _flat(trial.last_result) if metric is None else None
        if metric is None or mode is None:
            index = len(frame) - 1
        else:
            column = frame[metric] if metric in frame else None
            if column is None or column.isna().all():
                logger.warning(
                    "Trial %s is left out: it has no value of %r that is a number.",
                    trial,
                    metric,
                )
                return None
            best = column.max() if mode == "max" else column.min()
            index = int((column == best).to_numpy().argmax())
        row: dict[str, Any] = frame.iloc[index].to_dict()
        return row

    def get_all_configs(self, prefix: bool = False) -> dict[str, dict[str, Any]]:
        """Returns trial id -> configuration.

        Args:
            prefix: Flatten them, and put "config/" before each key.
        """
        return {
            trial.trial_id: flat_config(trial.config) if prefix else trial.config
            for trial in self.trials
        }

    def get_best_trial(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Trial | None:
        """Returns the best trial; None, with a warning, if none has the metric.

        With a single trial it is that one, without further questions. Among equals it
        is the first. Cost: O(trials).

        Args:
            metric: Result key, flattened; default: that of the experiment.
            mode: "max" or "min"; default: that of the experiment.
            scope: Which value of a trial counts: "last", "all" (its best), "avg",
                "last-5-avg" or "last-10-avg".
            filter_nan_and_inf: Whether trials with such values are left out.

        Raises:
            ValueError: One of these is missing or unknown.
        """
        if len(self.trials) == 1:
            return self.trials[0]
        metric = self._metric(metric)
        mode = self._mode(mode)
        if scope not in _SCOPES:
            raise ValueError(f"scope: must be one of {', '.join(_SCOPES)}, got {scope!r}.")
        key = mode if scope == "all" else scope
        better: Callable[[float, float], bool] = float.__gt__ if mode == "max" else float.__lt__
        best: Trial | None = None
        best_value = math.nan
        for trial in self.trials:
            stats = trial.metric_analysis.get(metric)
            if stats is None:
                continue
            value = float(stats[key])
            if filter_nan_and_inf and is_nan_or_inf(value):
                continue
            # NaN is worse than any number, and never better than another NaN.
            first = best is None or (is_nan(best_value) and not is_nan(value))
            if first or better(value, best_value):
                best, best_value = trial, value
        if best is None:
            logger.warning(
                "No trial has a value of the metric %r%s. Check its spelling.",
                metric,
                " that is a finite number" if filter_nan_and_inf else "",
            )
        return best

    def get_best_config(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
    ) -> dict[str, Any] | None:
        """Returns the configuration of the best trial; see get_best_trial()."""
        best = self.get_best_trial(metric, mode, scope)
        return best.config if best is not None else None

    def get_best_checkpoint(
        self, trial: Trial, metric: str | None = None, mode: str | None = None
    ) -> Checkpoint | None:
        """Returns the best checkpoint that a trial still has.

        Args:
            trial: One of `trials`.
            metric: Result key; nested ones as "a/b". Default: that of the experiment,
                else `training_iteration`.
            mode: "max" or "min"; default: that of the experiment.

        Returns:
            None, with an error in the log, if it has none with that metric.
        """
        metric = metric or self.default_metric or TRAINING_ITERATION
        mode = self._mode(mode)
        best: str | None = None
        best_value: Any = None
        for path, metrics, _ in trial._all_checkpoints():
            value = unflattened_lookup(metric, metrics, default=None)
            if value is None or is_nan(value):
                continue
            if best is None or (value > best_value if mode == "max" else value < best_value):
                best, best_value = path, value
        if best is None:
            logger.error("Trial %s has no checkpoint with a value of %r.", trial, metric)
            return None
        return Checkpoint(best)

    def get_last_checkpoint(
        self,
        trial: Trial | None = None,
        metric: str = TRAINING_ITERATION,
        mode: str = "max",
    ) -> Checkpoint | None:
        """Returns the newest checkpoint of a trial.

        Args:
            trial: Default: the best trial by `metric` and `mode`.
            metric, mode: Which trial, and which of its checkpoints counts as newest.
        """
        trial = trial or self.get_best_trial(metric, mode)
        if trial is None:
            return None
        return self.get_best_checkpoint(trial, TRAINING_ITERATION, "max")

    def _metric(self, metric: str | None) -> str:
        chosen = metric or self.default_metric
        if not chosen:
            raise ValueError("metric: is needed, as the experiment was run without one.")
        return chosen

    def _mode(self, mode: str | None) -> str:
        _check_mode(mode, optional=True)
        chosen = mode or self.default_mode
        if not chosen:
            raise ValueError('mode: is needed: "max" or "min".')
        return chosen

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_frames"] = None
        return state


def _check_mode(mode: str | None, optional: bool = False) -> None:
    if mode not in ("max", "min") and not (optional and mode is None):
        raise ValueError(f'mode: must be "max" or "min", got {mode!r}.')


def _flat(result: dict[str, Any]) -> dict[str, Any]:
    return flatten_dict(result, os.environ.get("TUNE_RESULT_DELIM", "/"))


def _read_results(trial: Trial) -> pd.DataFrame | None:
    """Reads a trial's results; None if they cannot be."""
    if trial.path is None:
        return None
    try:
        results = read_results(trial.path)
    except (OSError, ValueError):
        return None
    return None if results is None else table(results)
