"""Weights & Biases: a logger, and a function that starts a run in a trial."""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import numbers
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ctune.air.integrations._trial import current_trial
from ctune.logger._background import Background, Target, settled
from ctune.logger.logger import LoggerCallback
from ctune.result import CONFIG
from ctune.utils.util import flatten_dict

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial

__all__ = [
    "WANDB_ENV_VAR",
    "WANDB_GROUP_ENV_VAR",
    "WANDB_MODE_ENV_VAR",
    "WANDB_POPULATE_RUN_LOCATION_HOOK",
    "WANDB_PROCESS_RUN_INFO_HOOK",
    "WANDB_PROJECT_ENV_VAR",
    "WANDB_SETUP_API_KEY_HOOK",
    "WandbLoggerCallback",
    "setup_wandb",
]

logger = logging.getLogger("ctune")

WANDB_ENV_VAR = "WANDB_API_KEY"
WANDB_PROJECT_ENV_VAR = "WANDB_PROJECT_NAME"
WANDB_GROUP_ENV_VAR = "WANDB_GROUP_NAME"
WANDB_MODE_ENV_VAR = "WANDB_MODE"
# Each names a function as package.module.function:
WANDB_SETUP_API_KEY_HOOK = "WANDB_SETUP_API_KEY_HOOK"  # returns the API key
WANDB_POPULATE_RUN_LOCATION_HOOK = "WANDB_POPULATE_RUN_LOCATION_HOOK"  # sets the two names above
WANDB_PROCESS_RUN_INFO_HOOK = "WANDB_PROCESS_RUN_INFO_HOOK"  # is called with each run

_INSTALL = 'Weights & Biases is needed: pip install "ctune[wandb]"'


class WandbLoggerCallback(LoggerCallback):
    """Logs each trial as a run of Weights & Biases.

    A thread of its own talks to it; the end of the run waits for it. With WANDB_MODE=offline
    each trial leaves a folder `wandb` in its directory, which `wandb sync` sends later.

    Args:
        project: The project. Default: WANDB_PROJECT_NAME.
        group: Default: WANDB_GROUP_NAME, else the name of the experiment's directory.
        api_key_file: A file whose first line is the API key.
        api_key: The API key. Default: WANDB_API_KEY, or that of `wandb login`.
        excludes: Flattened keys that are not logged, with all below them.
        log_config: Whether each result's `config` is logged, too.
        upload_checkpoints: Whether checkpoints are stored as artifacts.
        save_checkpoints: Deprecated name of that.
        upload_timeout: The longest that the end of the run waits, in seconds.
        **kwargs: Further arguments of `wandb.init()`.

    Raises:
        RuntimeError: wandb is missing.
        ValueError: There is no project or no API key; when the run begins.
    """

    AUTO_CONFIG_KEYS = [
        "trial_id",
        "experiment_tag",
        "node_ip",
        "experiment_id",
        "hostname",
        "pid",
        "date",
    ]
    _exclude_results = ["done", "should_checkpoint"]

    def __init__(
        self,
        project: str | None = None,
        group: str | None = None,
        api_key_file: str | None = None,
        api_key: str | None = None,
        excludes: list[str] | None = None,
        log_config: bool = False,
        upload_checkpoints: bool = False,
        save_checkpoints: bool = False,
        upload_timeout: int = 1800,
        **kwargs: Any,
    ) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise RuntimeError(_INSTALL)
        if save_checkpoints:
            warnings.warn(
                "save_checkpoints is deprecated: use upload_checkpoints.",
                DeprecationWarning,
                stacklevel=2,
            )
            upload_checkpoints = True
        self.project = project
        self.group = group
        self.api_key_path = api_key_file
        self.api_key = api_key
        self.excludes = excludes or []
        self.log_config = log_config
        self.upload_checkpoints = upload_checkpoints
        self.kwargs = kwargs
        self._upload_timeout = upload_timeout
        self._runs = Background("Runs of Weights & Biases", self._target)

    def _target(self) -> Target:
        excluded = [*self._exclude_results, *self.excludes]
        return _Runs(excluded if self.log_config else [*excluded, CONFIG], self.AUTO_CONFIG_KEYS)

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Finds API key, project and group.

        Raises:
            ValueError: There is no API key or no project.
        """
        _set_api_key(self.api_key_path, self.api_key)
        self.project = _project(self.project)
        if not self.project:
            raise ValueError(
                "project: Weights & Biases needs one. Give WandbLoggerCallback(project=...) or "
                f"set {WANDB_PROJECT_ENV_VAR}."
            )
        self.group = self.group or os.environ.get(WANDB_GROUP_ENV_VAR)

    def log_trial_start(self, trial: Trial) -> None:
        """Starts the trial's run, unless it has one."""
        hidden = {"callbacks", *self.excludes}
        config = {key: value for key, value in trial.config.items() if key not in hidden}
        arguments = {
            "id": trial.trial_id,
            "name": str(trial),
            "allow_val_change": True,
            "group": self.group or trial.experiment_dir_name,
            "project": self.project,
            "config": settled(config),
            "dir": trial.local_path,
            **self.kwargs,
        }
        self._runs.send("start", trial.trial_id, trial.local_path, arguments)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Logs a result."""
        self._runs.send("result", trial.trial_id, settled(result))

    def log_trial_save(self, trial: Trial) -> None:
        """Stores the newest checkpoint, if that is wanted."""
        if self.upload_checkpoints and trial.checkpoint is not None:
            self._runs.send("save", trial.trial_id, str(trial), trial.checkpoint.staged_path)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Ends the trial's run."""
        self._runs.send("end", trial.trial_id)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Waits until everything is logged, at most `upload_timeout`."""
        if not self._runs.end(self._upload_timeout):
            logger.warning(
                "Weights & Biases has not taken everything after %s s (upload_timeout); what "
                "is missing is in the folders `wandb` of the trials.",
                self._upload_timeout,
            )


class _Runs(Target):
    """The runs of trials. All live in this process; wandb sends them from one of its own."""

    def __init__(self, excluded: Sequence[str], to_config: Sequence[str]) -> None:
        import wandb

        self._wandb = wandb
        self._excluded = excluded
        self._to_config = to_config
        self._open: dict[str, Any] = {}
        self._configs: dict[str, dict[str, Any]] = {}

    def start(self, trial: str, folder: str, arguments: dict[str, Any]) -> None:
        if trial in self._open:
            return
        arguments = {
            # What the driver prints is not the trial's.
            "settings": self._wandb.Settings(console="off", silent=True),
            "reinit": "create_new",
            **arguments,
            "config": _loggable(arguments["config"]),
        }
        run = self._open[trial] = self._wandb.init(**arguments)
        run.config.update({"trial_log_path": folder}, allow_val_change=True)
        if run.url:
            logger.info("%s in Weights & Biases: %s", run.name, run.url)
        _call_hook(WANDB_PROCESS_RUN_INFO_HOOK, run)

    def result(self, trial: str, result: dict[str, Any]) -> None:
        run = self._open[trial]
        config = dict(result.get(CONFIG) or {})
        config.pop("callbacks", None)
        log = {}
        for key, value in flatten_dict(_loggable(result), delimiter="/").items():
            if _is(key, self._excluded):
                continue
            if _is(key, self._to_config):
                config[key] = value
            elif _is_shown(value):
                log[key] = value
        if config != self._configs.get(trial):
            self._configs[trial] = config
            run.config.update(_loggable(config), allow_val_change=True)
        run.log(log)

    def save(self, trial: str, name: str, folder: str) -> None:
        artifact = self._wandb.Artifact(name=f"checkpoint_{name}", type="model")
        artifact.add_dir(folder)
        self._open[trial].log_artifact(artifact)

    def end(self, trial: str) -> None:
        self._configs.pop(trial, None)
        self._open.pop(trial).finish()

    def close(self) -> None:
        for trial in list(self._open):  # of an experiment that was interrupted
            self.end(trial)


def _is(key: str, names: Sequence[str]) -> bool:
    """Whether a flattened key is one of the names, or below one."""
    return any(key == name or key.startswith(name + "/") for name in names)


def _is_shown(value: Any) -> bool:
    """Whether a value can be a point of a chart, or is one of wandb's own kinds."""
    from wandb.sdk.data_types.base_types.wb_value import WBValue

    if isinstance(value, np.ndarray):
        return value.size == 1 and isinstance(value.item(), numbers.Number)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return len(value) > 0 and isinstance(value[0], WBValue)
    return isinstance(value, (numbers.Number, WBValue))


def _loggable(value: Any) -> Any:
    """A value as wandb takes it: arrays of 3 or 4 dimensions as images, of 5 as videos, and
    what has no JSON as a number, if it reads like one, or as its text."""
    import wandb

    if isinstance(value, dict):
        return {key: _loggable(item) for key, item in value.items()}
    if isinstance(value, (list, set)):
        return [_loggable(item) for item in value]
    if isinstance(value, tuple):
        return tuple(map(_loggable, value))
    if isinstance(value, np.ndarray) and value.ndim == 3:
        return wandb.Image(value)
    if isinstance(value, np.ndarray) and value.ndim in (4, 5):
        kind = wandb.Image if value.ndim == 4 else wandb.Video
        return kind(value[0]) if len(value) == 1 else [kind(item) for item in value]
    if _is_shown(value):
        return value
    try:
        json.dumps(value)
        return value
    except (TypeError, ValueError):
        pass
    if isinstance(value, np.ndarray):
        return value.tolist()
    text = str(value)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _call_hook(variable: str, *arguments: Any) -> Any:
    """What the function returns that an environment variable names; None without it. An
    error is logged."""
    path = os.environ.get(variable)
    if not path:
        return None
    try:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)(*arguments)
    except Exception:
        logger.exception("%s: the function %r failed.", variable, path)
        return None


def _project(project: str | None) -> str | None:
    if not project and not os.environ.get(WANDB_PROJECT_ENV_VAR):
        _call_hook(WANDB_POPULATE_RUN_LOCATION_HOOK)
    return project or os.environ.get(WANDB_PROJECT_ENV_VAR)


def _set_api_key(api_key_file: str | None, api_key: str | None) -> None:
    """Sets WANDB_API_KEY, unless wandb needs none or has one.

    Raises:
        ValueError: There is none.
    """
    if os.environ.get(WANDB_MODE_ENV_VAR) in ("offline", "disabled"):
        return
    if api_key_file:
        if api_key:
            raise ValueError("api_key, api_key_file: give one of them, not both.")
        with open(os.path.expanduser(api_key_file), encoding="utf-8") as file:
            api_key = file.readline().strip()
    if not api_key and not os.environ.get(WANDB_ENV_VAR):
        import wandb

        if wandb.api.api_key:
            return
        api_key = _call_hook(WANDB_SETUP_API_KEY_HOOK)
    if api_key:
        os.environ[WANDB_ENV_VAR] = api_key
    elif not os.environ.get(WANDB_ENV_VAR):
        raise ValueError(
            f"api_key: Weights & Biases has none. Set {WANDB_ENV_VAR}, give api_key or "
            f"api_key_file, run `wandb login`, or log offline with {WANDB_MODE_ENV_VAR}=offline."
        )


def setup_wandb(
    config: dict[str, Any] | None = None,
    api_key: str | None = None,
    api_key_file: str | None = None,
    rank_zero_only: bool = True,
    **kwargs: Any,
) -> Any:
    """Starts a run of Weights & Biases in the trial that calls this.

    wandb has one current run in a process. Trials that run inline share the process: give
    them `reinit="create_new"` and log with the run that is returned.

    Args:
        config: The run's config.
        api_key: The API key. Default: WANDB_API_KEY, or that of `wandb login`.
        api_key_file: A file whose first line is the API key.
        rank_zero_only: No effect: a trial is one process.
        **kwargs: Further arguments of `wandb.init()`. Default: `id` and `name` are those of
            the trial (or `trial_id` and `trial_name`, if given), `group` that of the
            experiment, `project` WANDB_PROJECT_NAME.

    Returns:
        The `wandb.Run`.

    Raises:
        RuntimeError: wandb is missing.
        ValueError: There is no API key.
    """
    try:
        import wandb
    except ImportError:
        raise RuntimeError(_INSTALL) from None
    _set_api_key(api_key_file, api_key)
    trial = current_trial()
    trial_id = kwargs.pop("trial_id", None) or (trial.trial_id if trial else None)
    trial_name = kwargs.pop("trial_name", None) or (trial.trial_name if trial else None)
    group = kwargs.pop("group", None) or (
        trial.experiment_name if trial else os.environ.get(WANDB_GROUP_ENV_VAR)
    )
    arguments = {
        "id": trial_id,
        "name": trial_name,
        "resume": "allow",
        "reinit": "finish_previous",
        "allow_val_change": True,
        "config": _loggable(config or {}),
        "project": _project(kwargs.pop("project", None)),
        "group": group,
        **kwargs,
    }
    run = wandb.init(**arguments)
    _call_hook(WANDB_PROCESS_RUN_INFO_HOOK, run)
    return run
