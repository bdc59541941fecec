"""Comet: a logger."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any

from ctune.logger._background import Background, Target, settled
from ctune.logger.logger import LoggerCallback
from ctune.result import CONFIG, TRAINING_ITERATION
from ctune.utils.util import flatten_dict

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial

__all__ = ["CometLoggerCallback"]

# What Comet would log of the driver, not of the trial.
_OFF = (
    "auto_output_logging",
    "log_git_metadata",
    "log_git_patch",
    "log_env_cpu",
    "log_env_gpu",
)
_EXCLUDED = ("done", "should_checkpoint")
_SYSTEM = ("node_ip", "hostname", "pid", "date")
_OTHER = ("trial_id", "experiment_id", "experiment_tag")
_CURVES = ("hist_stats/episode_reward", "hist_stats/episode_lengths")


class CometLoggerCallback(LoggerCallback):
    """Logs each trial as an experiment of Comet.

    A thread of its own talks to Comet; the end of the run waits for it. Offline, each trial
    leaves an archive that `comet upload` sends later.

    Args:
        online: Whether to log to Comet's servers; else to archives, in `offline_directory`.
        tags: For every experiment.
        save_checkpoints: Whether checkpoints are stored as artifacts. Only online.
        **experiment_kwargs: Arguments of `comet_ml.Experiment` or `OfflineExperiment`, such as
            `project_name`. What Comet would log of the process (`auto_output_logging`,
            `log_git_metadata`, `log_git_patch`, `log_env_cpu`, `log_env_gpu`) is off unless
            it is given here.

    Raises:
        RuntimeError: Comet's client is missing.
        ValueError: `save_checkpoints` offline. There is no API key; when the run begins.
    """

    def __init__(
        self,
        online: bool = True,
        tags: list[str] | None = None,
        save_checkpoints: bool = False,
        **experiment_kwargs: Any,
    ) -> None:
        os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")
        if importlib.util.find_spec("comet_ml") is None:
            raise RuntimeError('Comet is needed: pip install "ctune[comet]"')
        if save_checkpoints and not online:
            raise ValueError("save_checkpoints: Comet stores artifacts only with online=True.")
        self.online = online
        self.tags = tags
        self.save_checkpoints = save_checkpoints
        self.experiment_kwargs = {**dict.fromkeys(_OFF, False), **experiment_kwargs}
        self._experiments = Background("Comet's experiments", self._target)

    def _target(self) -> Target:
        return _Experiments(self.online, list(self.tags or ()), self.experiment_kwargs)

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Checks that Comet can be used.

        Raises:
            ValueError: There is no API key.
        """
        from comet_ml.config import get_api_key, get_config

        if self.online and not get_api_key(self.experiment_kwargs.get("api_key"), get_config()):
            raise ValueError(
                "api_key: Comet has none. Give CometLoggerCallback(api_key=...), set "
                "COMET_API_KEY, or log offline with online=False."
            )

    def log_trial_start(self, trial: Trial) -> None:
        """Starts the trial's experiment, unless it has one, and logs its config."""
        self._experiments.send("start", trial.trial_id, str(trial), settled(trial.config))

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Logs a result."""
        self._experiments.send("result", trial.trial_id, settled(result))

    def log_trial_save(self, trial: Trial) -> None:
        """Stores the newest checkpoint, if that is wanted."""
        if self.save_checkpoints and trial.checkpoint is not None:
            self._experiments.send("save", trial.trial_id, str(trial), trial.checkpoint.staged_path)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Ends the trial's experiment."""
        self._experiments.send("end", trial.trial_id)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Waits until everything is logged."""
        self._experiments.end()


class _Experiments(Target):
    def __init__(self, online: bool, tags: list[str], kwargs: dict[str, Any]) -> None:
        import comet_ml
        from comet_ml.config import set_global_experiment

        self._make = comet_ml.Experiment if online else comet_ml.OfflineExperiment
        self._artifact = comet_ml.Artifact
        self._forget = set_global_experiment
        self._tags = tags
        self._kwargs = kwargs
        self._open: dict[str, Any] = {}
        self._configs: dict[str, Any] = {}

    def start(self, trial: str, name: str, config: dict[str, Any]) -> None:
        experiment = self._open.get(trial)
        if experiment is None:
            experiment = self._open[trial] = self._make(**self._kwargs)
            self._forget(None)  # Comet allows several in one process only so
            experiment.set_name(name)
            if self._tags:
                experiment.add_tags(self._tags)
            experiment.log_other("Created from", "ctune")
        self._log_config(trial, config, None)

    def _log_config(self, trial: str, config: dict[str, Any], step: int | None) -> None:
        shown = {key: value for key, value in config.items() if key != "callbacks"}
        if shown != self._configs.get(trial):
            self._configs[trial] = shown
            self._open[trial].log_parameters(flatten_dict(shown, delimiter="/"), step=step)

    def result(self, trial: str, result: dict[str, Any]) -> None:
        experiment = self._open[trial]
        step = result[TRAINING_ITERATION]
        self._log_config(trial, result.pop(CONFIG, {}), step)
        others = {}
        metrics = {}
        for key, value in flatten_dict(result, delimiter="/").items():
            if _is(key, _EXCLUDED):
                continue
            if _is(key, _OTHER):
                others[key] = value
            elif _is(key, _SYSTEM):
                experiment.log_system_info(key, value)
            elif _is(key, _CURVES):
                experiment.log_curve(key, x=list(range(len(value))), y=value, step=step)
            elif isinstance(value, str) or value is None:
                others[key] = value  # Comet warns of metrics that are texts
            else:
                metrics[key] = value
        experiment.log_others(others)
        experiment.log_metrics(metrics, step=step)

    def save(self, trial: str, name: str, folder: str) -> None:
        artifact = self._artifact(name=f"checkpoint_{name}", artifact_type="model")
        for root, _, files in os.walk(folder):
            for file in sorted(files):
                path = os.path.join(root, file)
                artifact.add(path, logical_path=os.path.relpath(path, folder))
        self._open[trial].log_artifact(artifact)

    def end(self, trial: str) -> None:
        self._configs.pop(trial, None)
        self._open.pop(trial).end()

    def close(self) -> None:
        for trial in list(self._open):  # of an experiment that was interrupted
            self.end(trial)


def _is(key: str, names: tuple[str, ...]) -> bool:
    """Whether a flattened key is one of the names, or below one."""
    return any(key == name or key.startswith(name + "/") for name in names)
