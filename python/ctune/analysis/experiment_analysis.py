"""What a finished experiment can tell."""

from __future__ import annotations

import logging
import math
import os
import posixpath
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ctune._checkpoint import Checkpoint
from ctune._files import LOCAL, Files, arrow, locate
from ctune._storage import StorageContext
from ctune.experiment._state import read_results, read_state
from ctune.experiment.trial import Trial
from ctune.result import (
    CONFIG_PREFIX,
    DEFAULT_METRIC,
    EXPR_PROGRESS_FILE,
    EXPR_RESULT_FILE,
    TRAINING_ITERATION,
    TRIAL_ID,
)
from ctune.utils.util import flatten_dict, is_nan, is_nan_or_inf, unflattened_lookup

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ExperimentAnalysis"]

logger = logging.getLogger("ctune")

_SCOPES = ("all", "last", "avg", "last-5-avg", "last-10-avg")


class ExperimentAnalysis:
    """The trials of an experiment and questions about them.

    run() returns one. One of an earlier run, of ctune or of Ray Tune, is opened by its
    directory: no trainable needs to be registered, Ray need not be installed, and nothing is
    written. Objects that cannot be read are placeholders that say why.

    Args:
        experiment_checkpoint_path: Directory of the experiment, or its state file
            `experiment_state-*.json`: a local path or a URI.
        storage_filesystem: A `pyarrow.fs.FileSystem`; the path is a bare path on it then.
        trials: The trials; default: those on disk.
        default_metric: Metric for questions that name none. With a mode alone: "_metric".
        default_mode: "max" or "min", likewise.

    Raises:
        ValueError: `default_mode` is something else, or the path is no experiment's.
        TypeError: `storage_filesystem` is none.
        ImportError: The files are not local, and pyarrow is not installed.
        OSError: The files cannot be read.
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
        if default_metric is None and default_mode is not None:
            default_metric = DEFAULT_METRIC
        given = os.fspath(experiment_checkpoint_path)
        filesystem, path = locate("experiment_checkpoint_path", given, storage_filesystem)
        if trials is None:
            path, trials = _opened(filesystem, path)
        self._filesystem = filesystem
        self.trials = trials
        self.default_metric = default_metric
        self.default_mode = default_mode
        self._path = path
        self._frames: dict[str, pd.DataFrame] | None = None

    @property
    def experiment_path(self) -> str:
        """Directory of the experiment, a bare path on its file system."""
        return self._path

    @property
    def filesystem(self) -> Any:
        """The file system of `experiment_path` as pyarrow knows it. Needs pyarrow."""
        return self._filesystem or local_filesystem("ExperimentAnalysis.filesystem")

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
        return self.get_best_checkpoint(self._best())

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
        return self.trial_dataframes[self._best().trial_id]

    @property
    def best_result_df(self) -> pd.DataFrame:
        """The last result of the best trial as a row. Needs pandas."""
        self._need_defaults("best_result_df", "results_df")
        best = self._best()
        return _pandas().DataFrame.from_records(
            [{**_flat(best.last_result), "trial_id": best.trial_id}], index="trial_id"
        )

    def _need_defaults(self, name: str, instead: str) -> None:
        if not self.default_metric or not self.default_mode:
            missing = "metric" if not self.default_metric else "mode"
            raise ValueError(
                f"{missing}: {name} needs a metric and a mode. Give run() both, or use {instead}."
            )

    def _best(self) -> Trial:
        best = self.best_trial
        if best is None:
            raise ValueError(
                f"metric: there is no best trial, as none has a finite value of "
                f"{self.default_metric!r}. Ask for another metric."
            )
        return best

    # All of them.

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """Trial id -> last result."""
        return {trial.trial_id: trial.last_result for trial in self.trials}

    @property
    def results_df(self) -> pd.DataFrame:
        """The last results, one row per trial, indexed by trial id. Needs pandas."""
        rows = [{**_flat(trial.last_result), "trial_id": trial.trial_id} for trial in self.trials]
        return _pandas().DataFrame.from_records(rows, index="trial_id" if rows else None)

    @property
    def trial_dataframes(self) -> dict[str, pd.DataFrame]:
        """Trial id -> all its results, one row each. Needs pandas.

        They are read from the result files, once, when they are first asked for.
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
                key: _pandas().DataFrame() if frame is None else frame
                for key, frame in frames.items()
            }
        return self._frames

    def dataframe(self, metric: str | None = None, mode: str | None = None) -> pd.DataFrame:
        """Returns one row per trial, with its configuration. Needs pandas.

        Args:
            metric: With `mode`: each trial's row is its best one by this metric.
                Otherwise, and for trials that never had it, the last one.
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
            row.update(_flat_config(trial.config))
            row["logdir"] = trial.trial_id
            rows.append(row)
        return _pandas().DataFrame(rows)

    def _row(self, trial: Trial, metric: str | None, mode: str | None) -> dict[str, Any] | None:
        frame = self.trial_dataframes[trial.trial_id]
        if frame.empty:  # no results, or no files of them
            return _flat(trial.last_result) or None if metric is None else None
        if metric is None or mode is None or metric not in frame:
            index = len(frame) - 1
        else:
            column = frame[metric]
            if column.isna().all():
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
            trial.trial_id: _flat_config(trial.config) if prefix else trial.config
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
        for path, metrics, _ in trial._best_checkpoints():
            value = unflattened_lookup(metric, metrics, default=None)
            if value is None or is_nan(value):
                continue
            if best is None or (value > best_value if mode == "max" else value < best_value):
                best, best_value = path, value
        if best is None:
            logger.error("Trial %s has no checkpoint with a value of %r.", trial, metric)
            return None
        return trial._checkpoint_at(best)

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


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError('pandas is needed for tables: pip install "ctune[analysis]"') from None
    return pandas


def _flat(result: dict[str, Any]) -> dict[str, Any]:
    return flatten_dict(result, os.environ.get("TUNE_RESULT_DELIM", "/"))


def _flat_config(config: dict[str, Any]) -> dict[str, Any]:
    return {f"{CONFIG_PREFIX}/{key}": value for key, value in flatten_dict(config).items()}


def _opened(filesystem: Any, path: str) -> tuple[str, list[Trial]]:
    """Returns the directory of an experiment and its trials, from a path as users give it."""
    if filesystem is None:
        path, stored = read_state(path)
        return path, [Trial._of_stored(one) for one in stored]
    directory = posixpath.dirname(path) if path.endswith(".json") else path
    experiment = StorageContext(*posixpath.split(directory), None, filesystem)
    directory, stored = read_state(path, experiment.reader())
    return directory, [Trial._of_stored(one, experiment=experiment) for one in stored]


def local_filesystem(name: str) -> Any:
    """Returns pyarrow's file system of this machine, for an attribute of this name."""
    return arrow(name).LocalFileSystem()


def table_of(folder: str, files: Files = LOCAL) -> pd.DataFrame | None:
    """Returns the results in a trial's directory, one row each, from result.json or else
    progress.csv; None if it has neither. Nested keys are joined by "/". Needs pandas.

    Raises:
        OSError, ValueError: The file cannot be read.
    """
    pandas = _pandas()
    frame: pd.DataFrame
    if files.exists(os.path.join(folder, EXPR_RESULT_FILE)):
        results = list(read_results(folder, files))
        frame = pandas.json_normalize(results, sep="/")
        # A key that contains a slash wins over a path of the same spelling.
        for key in {key for result in results for key in result if "/" in key}:
            pairs = zip(results, frame[key], strict=True)
            frame[key] = [result.get(key, nested) for result, nested in pairs]
    elif files.exists(os.path.join(folder, EXPR_PROGRESS_FILE)):
        try:
            with files.open(os.path.join(folder, EXPR_PROGRESS_FILE)) as file:
                # Ids such as 1e5 are no numbers.
                frame = pandas.read_csv(file, dtype={TRIAL_ID: str})
        except pandas.errors.EmptyDataError:
            frame = pandas.DataFrame()
    else:
        return None
    return frame


def _read_results(trial: Trial) -> pd.DataFrame | None:
    """Returns the table of a trial; None if there should be one and it cannot be read."""
    found = trial._files()
    if found is None:
        return None
    files, folder = found
    try:
        frame = table_of(folder, files)
    except (OSError, ValueError):
        return None
    if frame is None or frame.empty:
        return None if trial.has_reported_at_least_once else _pandas().DataFrame()
    return frame
