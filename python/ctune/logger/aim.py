"""Aim: a logger."""

from __future__ import annotations

import importlib.util
import logging
import math
from typing import TYPE_CHECKING, Any

from ctune.logger._background import Background, Target, settled
from ctune.logger.logger import LoggerCallback
from ctune.logger.tensorboardx import VALID_SUMMARY_TYPES, TBXLoggerCallback
from ctune.result import (
    CONFIG,
    PID,
    TIME_TOTAL_S,
    TIMESTAMP,
    TIMESTEPS_TOTAL,
    TRAINING_ITERATION,
)
from ctune.utils.util import flatten_dict

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial

__all__ = ["VALID_SUMMARY_TYPES", "AimLoggerCallback"]

logger = logging.getLogger("ctune")


_SKIPPED = frozenset((CONFIG, PID, TIMESTAMP, TIME_TOTAL_S, TRAINING_ITERATION))


class AimLoggerCallback(LoggerCallback):
    """Logs each trial as a run of Aim: what was sampled, and numbers named `ray/tune/<key>`.

    A result's keys `epoch` and `context`, if it has them, are Aim's. A thread of its own
    writes; the end of the run waits for it.

    Args:
        repo: Aim's repository, or the directory of one. Default: the experiment's directory.
        experiment_name: Default: the name of the experiment's directory.
        metrics: Flattened keys to log. None: all.
        **aim_run_kwargs: Further arguments of `aim.Run`. What Aim would track of the driver
            (`system_tracking_interval`, `capture_terminal_logs`) is off unless it is given.

    Raises:
        AssertionError: Aim is missing.
        ValueError: `metrics` is empty.
    """

    VALID_HPARAMS = TBXLoggerCallback.VALID_HPARAMS
    VALID_NP_HPARAMS = TBXLoggerCallback.VALID_NP_HPARAMS

    def __init__(
        self,
        repo: Any = None,
        experiment_name: str | None = None,
        metrics: list[str] | None = None,
        **aim_run_kwargs: Any,
    ) -> None:
        if importlib.util.find_spec("aim") is None:
            raise AssertionError('Aim is needed: pip install "ctune[aim]"')
        if metrics is not None and not metrics:
            raise ValueError("metrics: must name at least one key, or be None for all; got none.")
        self._repo_path = repo
        self._experiment_name = experiment_name
        self._metrics = metrics
        self._aim_run_kwargs = {
            "system_tracking_interval": None,
            "capture_terminal_logs": False,
            **aim_run_kwargs,
        }
        self._runs = Background("Aim's runs", self._target)

    def _target(self) -> Target:
        return _Runs(self._metrics, self._aim_run_kwargs)

    def log_trial_start(self, trial: Trial) -> None:
        """Starts a run for the trial; one that it has is closed."""
        facts: dict[str, Any] = {"trial_id": trial.trial_id, "trial_log_dir": trial.path}
        if trial.node_ip:
            facts["trial_ip"] = trial.node_ip
        if trial.evaluated_params:
            facts["hparams"] = self._hparams(trial)
        repo = self._repo_path or trial.local_experiment_path
        name = self._experiment_name or trial.experiment_dir_name
        self._runs.send("start", trial.trial_id, repo, name, facts)

    def _hparams(self, trial: Trial) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in flatten_dict(trial.evaluated_params, delimiter="/").items():
            if isinstance(value, self.VALID_NP_HPARAMS):
                kept[key] = value.tolist()
            elif isinstance(value, self.VALID_HPARAMS):
                kept[key] = value
            else:
                logger.info("Aim cannot show the parameter %r, a %s.", key, type(value))
        return kept

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Logs the numbers of a result."""
        self._runs.send("result", trial.trial_id, settled(result))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Closes the trial's run."""
        self._runs.send("end", trial.trial_id)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Waits until everything is written."""
        self._runs.end()


class _Runs(Target):
    def __init__(self, metrics: list[str] | None, kwargs: dict[str, Any]) -> None:
        from aim.sdk import Run

        self._make = Run
        self._metrics = metrics
        self._kwargs = kwargs
        self._open: dict[str, Any] = {}

    def start(self, trial: str, repo: Any, experiment: str, facts: dict[str, Any]) -> None:
        if trial in self._open:
            self.end(trial)
        run = self._open[trial] = self._make(repo=repo, experiment=experiment, **self._kwargs)
        for key, value in facts.items():
            run[key] = value

    def result(self, trial: str, result: dict[str, Any]) -> None:
        run = self._open[trial]
        step = result.get(TIMESTEPS_TOTAL) or result[TRAINING_ITERATION]
        context = result.pop("context", None)
        epoch = result.pop("epoch", None)
        kept = {key: value for key, value in result.items() if key not in _SKIPPED}
        for key, value in flatten_dict(kept, delimiter="/").items():
            if self._metrics is not None and key not in self._metrics:
                continue
            if isinstance(value, VALID_SUMMARY_TYPES) and math.isfinite(value):
                run.track(value, name=f"ray/tune/{key}", epoch=epoch, step=step, context=context)

    def end(self, trial: str) -> None:
        self._open.pop(trial).close()

    def close(self) -> None:
        for trial in list(self._open):  # of an experiment that was interrupted
            self.end(trial)
