"""One trial: a configuration, its results and its state."""

from __future__ import annotations

import json
import math
import numbers
import os
import pickle
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol, cast

from ctune import _ctune
from ctune._checkpoint import Checkpoint, TrainingResult
from ctune._config import CheckpointConfig
from ctune._encode import brief, check_text
from ctune._environment import environment_number
from ctune._files import LOCAL, Files
from ctune._storage import StorageContext
from ctune._unpickle import read_pickle
from ctune._work import Care
from ctune.error import TuneError
from ctune.experiment import _state
from ctune.result import (
    CONFIG,
    DATE,
    DONE,
    EXPR_ERROR_FILE,
    EXPR_ERROR_PICKLE_FILE,
    HOSTNAME,
    NODE_IP,
    PID,
    TIMESTAMP,
    TRIAL_ID,
)
from ctune.utils.serialization import FALLBACK
from ctune.utils.util import flatten_dict, is_nan

if TYPE_CHECKING:
    from ctune._plan import Plan
    from ctune.execution.placement_groups import PlacementGroupFactory
    from ctune.trainable.trainable import Trainable

__all__ = ["DEBUG_PRINT_INTERVAL", "ExportFormat", "TRIAL_STATE_FILENAME", "Trial"]

DEBUG_PRINT_INTERVAL = 5
TRIAL_STATE_FILENAME = "trial_metadata.json"


class ExportFormat:
    """Formats that `Trainable.export_model` may be asked for."""

    CHECKPOINT = "checkpoint"
    MODEL = "model"
    ONNX = "onnx"
    H5 = "h5"

    @staticmethod
    def validate(formats: list[str]) -> None:
        """Checks a list of formats, and writes them in their usual form into it.

        Raises:
            TuneError: One is unknown.
        """
        known = (
            ExportFormat.CHECKPOINT,
            ExportFormat.MODEL,
            ExportFormat.ONNX,
            ExportFormat.H5,
        )
        for place, name in enumerate(formats):
            formats[place] = name.strip().lower()
            if formats[place] not in known:
                raise TuneError(f"export_formats: {name!r} is unknown; use {', '.join(known)}.")


class TrialView(Protocol):
    """What the engine shows of a trial of a run; see `_ctune.TrialView`."""

    index: int
    experiment: int
    trial_id: str
    status: str
    config: dict[str, Any]
    evaluated_params: dict[str, Any]
    experiment_tag: str
    name: str
    path: str | None
    last_result: dict[str, Any]
    num_failures: int
    error_file: str | None
    start_time: float
    last_result_time: float
    results: int
    pid: int
    resources: dict[str, float]
    source: tuple[str, dict[str, Any], int] | None

    def newest(self) -> dict[str, list[float]]: ...
    def metric_names(self) -> tuple[str, ...]: ...
    def metric_analysis(self) -> dict[str, dict[str, float]]: ...
    def checkpoints(self) -> list[tuple[str, dict[str, Any], int]]: ...
    def resize(self, amounts: dict[str, float]) -> None: ...


class RunFacts:
    """What all trials of an experiment have in common. Made once per run.

    Args:
        storage: Of the experiment.
        trainable_name: Name of the trainable.
        trainable: Its class, or None.
        checkpoint_config: Of the run.
        max_failures: Retries per trial.
        stopping_criterion: Thresholds by metric.
        named: Whether trial names come from the user.
        bundles: What each trial asks for, if the run says so in bundles.
        care: Its log files, export formats and first checkpoint.
    """

    def __init__(
        self,
        storage: StorageContext,
        trainable_name: str,
        trainable: type[Trainable] | None = None,
        checkpoint_config: CheckpointConfig | None = None,
        max_failures: int = 0,
        stopping_criterion: Mapping[str, Any] | None = None,
        named: bool = False,
        bundles: PlacementGroupFactory | None = None,
        care: Care | None = None,
    ) -> None:
        self.storage = storage
        self.trainable_name = trainable_name
        self.trainable = trainable
        self.checkpoint_config = checkpoint_config or CheckpointConfig()
        self.max_failures = max_failures
        self.stopping_criterion = dict(stopping_criterion or {})
        self.named = named
        self.bundles = bundles
        self.care = care or Care()


# Attributes that the engine answers while a trial belongs to a run.
_FROM_VIEW = frozenset(
    (
        "config",
        "evaluated_params",
        "experiment_tag",
        "num_failures",
        "start_time",
        "status",
        "trial_id",
    )
)


class Trial:
    """One trial of an experiment.

    In a run its state is the engine's, and reading an attribute looks there. Built by
    itself it is a plain object that holds what it was given.

    Trials are compared and hashed by identity.

    Attributes:
        trainable_name: Name of what is trained.
        trial_id: For example "a1b2c_00000".
        config: The configuration.
        evaluated_params: Path -> value of what was sampled.
        experiment_tag: For example "0_lr=0.1".
        status: PENDING, RUNNING, PAUSED, TERMINATED or ERROR.
        placement_group_factory: The resources that the trial asks for.
        stopping_criterion: Metric -> threshold at which the trial ends.
        max_failures: How often it is tried again.
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    TERMINATED = "TERMINATED"
    ERROR = "ERROR"

    trainable_name: str
    trial_id: str
    config: dict[str, Any]
    evaluated_params: dict[str, Any]
    experiment_tag: str
    status: str
    stopping_criterion: dict[str, Any]
    log_to_file: tuple[str | None, str | None]
    max_failures: int
    export_formats: list[str]
    restore_path: str | None
    start_time: float | None
    num_failures: int
    num_failures_after_restore: int
    custom_trial_name: str | None
    custom_dirname: str | None
    storage: StorageContext | None
    stub: bool
    run_metadata: Any
    temporary_state: SimpleNamespace

    _view: TrialView | None = None
    _facts: RunFacts | None = None

    def __init__(
        self,
        trainable_name: str,
        *,
        config: dict[str, Any] | None = None,
        trial_id: str | None = None,
        storage: StorageContext | None = None,
        evaluated_params: dict[str, Any] | None = None,
        experiment_tag: str = "",
        placement_group_factory: PlacementGroupFactory | None = None,
        stopping_criterion: dict[str, Any] | None = None,
        checkpoint_config: CheckpointConfig | None = None,
        export_formats: list[str] | None = None,
        restore_path: str | None = None,
        trial_name_creator: Callable[[Trial], str] | None = None,
        trial_dirname_creator: Callable[[Trial], str] | None = None,
        log_to_file: str | tuple[str | None, str | None] | None = None,
        max_failures: int = 0,
        stub: bool = False,
        _setup_default_resource: bool = True,
    ) -> None:
        self.trainable_name = trainable_name
        self.trial_id = trial_id or Trial.generate_id()
        self.config = config or {}
        self.evaluated_params = evaluated_params or {}
        self.experiment_tag = experiment_tag
        self.status = Trial.PENDING
        self.stopping_criterion = stopping_criterion or {}
        if isinstance(log_to_file, str):
            self.log_to_file = (log_to_file, log_to_file)
        else:
            self.log_to_file = log_to_file or (None, None)
        self.max_failures = max_failures
        self.export_formats = export_formats or []
        self.restore_path = restore_path
        self.storage = storage
        self.stub = stub
        self.start_time = None
        self.num_failures = 0
        self.num_failures_after_restore = 0
        self._checkpoint_config = checkpoint_config or CheckpointConfig()
        self._resources = placement_group_factory
        self._last_result: dict[str, Any] = {}
        self._metric_analysis: dict[str, dict[str, float]] = {}
        self._checkpoints: list[tuple[str, dict[str, Any], int]] = []
        self._path: str | None = None
        self._error_file: str | None = None
        self.temporary_state = SimpleNamespace(saving_to=None)
        self.run_metadata = SimpleNamespace(
            checkpoint_manager=SimpleNamespace(
                checkpoint_config=self._checkpoint_config, _latest_checkpoint_result=None
            )
        )
        self.custom_trial_name = None
        self.custom_dirname = None
        if trial_name_creator is not None:
            self.custom_trial_name = trial_name_creator(self)
        if trial_dirname_creator is not None:
            self.custom_dirname = checked_dirname(trial_dirname_creator(self))

    @classmethod
    def _of_view(cls, view: TrialView, facts: RunFacts) -> Trial:
        """Returns the trial of a run that `view` shows."""
        trial = cls.__new__(cls)
        trial.__dict__["_facts"] = facts
        trial.__dict__["_view"] = view
        return trial

    @classmethod
    def _attached(cls, plan: Plan) -> Callable[[TrialView], Trial]:
        """Returns what makes the trials of a run from the engine's views of them."""
        facts = [
            RunFacts(
                one.storage,
                one.trainable_name,
                one.trainable,
                plan.checkpoint_config,
                one.max_failures,
                one.thresholds,
                one.trial_name_creator is not None,
                one.bundles,
                one.care,
            )
            for one in plan.experiments
        ]
        return lambda view: cls._of_view(view, facts[view.experiment])

    def __getattr__(self, name: str) -> Any:
        # Only for names that are no plain attribute: those of a trial in a run.
        view = self.__dict__.get("_view")
        if view is not None:
            if name in _FROM_VIEW:
                return getattr(view, name)
            if name in _IN_RUN:
                return _IN_RUN[name](self)
        elif name == "run_metadata" and "trial_id" in self.__dict__:
            return RunMetadata(self)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FROM_VIEW and self.__dict__.get("_view") is not None:
            raise TuneError(
                f"{name}: the trial {self} belongs to a run, whose engine keeps its "
                "state. Schedulers answer PAUSE or STOP instead of setting it."
            )
        super().__setattr__(name, value)

    # State.

    @property
    def last_result(self) -> dict[str, Any]:
        """The newest result, nested as it was reported.

        Before the first: who will report, once the trial has started, and {} before that.
        """
        if self._view is not None:
            return self._view.last_result or self._first_facts(self._view)
        given = getattr(self.__dict__.get("run_metadata"), "last_result", None)
        found: dict[str, Any] = self.__dict__.get("_last_result", {}) if given is None else given
        return found

    def _first_facts(self, view: TrialView) -> dict[str, Any]:
        if not view.pid:
            return {}
        hostname, address, _ = _ctune.host()
        started = datetime.fromtimestamp(view.start_time)
        return {
            TRIAL_ID: view.trial_id,
            DATE: started.strftime("%Y-%m-%d_%H-%M-%S"),
            TIMESTAMP: int(view.start_time),
            PID: view.pid,
            HOSTNAME: hostname,
            NODE_IP: address,
            CONFIG: view.config,
        }

    @property
    def metric_analysis(self) -> dict[str, dict[str, float]]:
        """Metric -> max, min, avg, last, last-5-avg and last-10-avg of its values."""
        if self._view is not None:
            return self._view.metric_analysis()
        found: dict[str, dict[str, float]] | None = self.__dict__.get("_metric_analysis")
        if found is None:
            found = _state.resolve(self.__dict__.get("_run", {}).get("metric_analysis")) or {}
            self.__dict__["_metric_analysis"] = found
        return found

    @property
    def metric_n_steps(self) -> dict[str, dict[str, list[float]]]:
        """Metric -> "5" and "10" -> that many of its newest values."""
        if self._view is None:
            run = self.__dict__.get("_run", {})
            stored = run["metric_n_steps"] = _state.resolve(run.get("metric_n_steps")) or {}
            newest = {name: list(kept["10"]) for name, kept in stored.items()}
        else:
            newest = self._view.newest()
        return {name: {"5": values[-5:], "10": values} for name, values in newest.items()}

    @property
    def placement_group_factory(self) -> PlacementGroupFactory | None:
        """The resources that the trial asks for."""
        from ctune.execution.placement_groups import PlacementGroupFactory

        found: PlacementGroupFactory | None = self.__dict__.get("_resources")
        if self._view is None:
            stored = self.__dict__.pop("_bundles", None)
            if stored is not None:
                try:
                    found = PlacementGroupFactory(*stored)
                except (ValueError, TypeError):
                    found = None
                self.__dict__["_resources"] = found
            return found

        # The engine knows amounts; the bundles are those that were given for them.
        amounts = self._view.resources
        if found is None:
            found = self.__dict__["_resources"] = self._declared_bundles()
        if found is None or not _same_amounts(found.required_resources, amounts):
            found = PlacementGroupFactory([dict(amounts)])
        return found

    @placement_group_factory.setter
    def placement_group_factory(self, value: PlacementGroupFactory | None) -> None:
        self.__dict__["_resources"] = value

    def _declared_bundles(self) -> PlacementGroupFactory | None:
        """Returns what a trial of a run asked for at first, if that was said in bundles."""
        from ctune.execution.placement_groups import PlacementGroupFactory

        facts = _facts_of(self)
        if facts.bundles is not None or facts.trainable is None:
            return facts.bundles
        declared = facts.trainable.default_resource_request(self.config)
        return declared if isinstance(declared, PlacementGroupFactory) else None

    @property
    def node_ip(self) -> str | None:
        """Address of the machine that the newest result came from."""
        return self.last_result.get(NODE_IP)

    @property
    def has_reported_at_least_once(self) -> bool:
        """Whether there is a result."""
        return bool(self.last_result if self._view is None else self._view.last_result)

    def is_finished(self) -> bool:
        """Returns whether the trial ended, well or with an error."""
        return self.status in (Trial.TERMINATED, Trial.ERROR)

    def should_stop(self, result: Mapping[str, Any]) -> bool:
        """Returns whether a flattened result meets the trial's stopping criterion.

        Raises:
            TuneError: The result lacks a metric of the criterion.
        """
        if result.get(DONE):
            return True
        for metric, threshold in self.stopping_criterion.items():
            if metric not in result:
                raise TuneError(
                    f"stop: the result of trial {self} has no metric {metric!r}. It "
                    f"has: {', '.join(sorted(map(str, result)))}."
                )
            if result[metric] >= threshold:
                return True
        return False

    def set_status(self, status: str) -> None:
        """Sets the status; only outside of a run."""
        self.status = status

    def set_config(self, config: dict[str, Any]) -> None:
        """Sets the configuration; only outside of a run."""
        self.config = config

    def set_experiment_tag(self, experiment_tag: str) -> None:
        """Sets the tag; only outside of a run."""
        self.experiment_tag = experiment_tag

    def update_resources(self, resources: dict[str, float] | PlacementGroupFactory) -> None:
        """Changes the resources that the trial asks for.

        Raises:
            ValueError: The trial is running.
        """
        if self.status == Trial.RUNNING:
            raise ValueError(
                f"resources: cannot be changed while trial {self} is RUNNING. Pause it first."
            )
        if isinstance(resources, dict):
            from ctune.execution.placement_groups import resource_dict_to_pg_factory

            resources = resource_dict_to_pg_factory(resources)
        if self._view is not None:
            required = resources.required_resources
            self._view.resize({name: float(amount) for name, amount in required.items()})
        self.placement_group_factory = resources

    # Checkpoints.

    def _all_checkpoints(self) -> list[tuple[str, dict[str, Any], int]]:
        if self._view is not None:
            return self._view.checkpoints()
        self._read_checkpoints()
        kept: list[tuple[str, dict[str, Any], int]] = self.__dict__.get("_checkpoints", [])
        return kept

    def _read_checkpoints(self) -> None:
        """Reads the stored checkpoints of a trial from disk, when they are first asked for."""
        run = self.__dict__.get("_run")
        if run is not None and "_checkpoints" not in self.__dict__:
            found = self._files()
            files, path = (LOCAL, None) if found is None else found
            self._checkpoints, self._checkpoint_config = _state.checkpoints_of(run, path, files)

    def _best_checkpoints(self) -> list[tuple[str, dict[str, Any], int]]:
        """Returns the checkpoints that are kept for their score, the best one last."""
        kept = self._all_checkpoints()
        config = self._kept_config()
        if config.checkpoint_score_attribute is not None:
            sign = 1.0 if config.checkpoint_score_order == "max" else -1.0
            name = config.checkpoint_score_attribute
            kept = sorted(kept, key=lambda checkpoint: _score(checkpoint[1], name, sign))
        return kept if config.num_to_keep is None else kept[-config.num_to_keep :]

    def _own_manager(self) -> Any:
        """Returns what a scheduler outside of a run may have set a checkpoint on."""
        return getattr(self.__dict__.get("run_metadata"), "checkpoint_manager", None)

    @property
    def latest_checkpoint_result(self) -> TrainingResult | None:
        """The newest checkpoint and the result it belongs to."""
        given = getattr(self._own_manager(), "_latest_checkpoint_result", None)
        if given is not None:
            return cast("TrainingResult", given)
        kept = self._all_checkpoints()
        if self._view is not None and self._view.source is not None:
            kept = [self._view.source]
        if not kept:
            # Where trials start from, until they have one of their own.
            first = self.restore_path
            return None if first is None else TrainingResult(Checkpoint(first), {})
        path, metrics, _ = kept[-1]
        return TrainingResult(self._checkpoint_at(path), metrics)

    def _checkpoint_at(self, path: str) -> Checkpoint:
        """Returns the checkpoint of a path that the engine or a stored trial names."""
        storage = self.storage
        if storage is None or not storage.remote:
            return Checkpoint(path)
        return Checkpoint._staged(storage.staged(storage.in_storage(path)), storage)

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint."""
        latest = self.latest_checkpoint_result
        return latest.checkpoint if latest is not None else None

    def has_checkpoint(self) -> bool:
        """Returns whether there is one to continue from."""
        return self.checkpoint is not None

    @property
    def checkpoint_freq(self) -> int:
        """Iterations between checkpoints; 0: none."""
        return self._kept_config().checkpoint_frequency

    @property
    def checkpoint_at_end(self) -> bool:
        """Whether the trial is saved when it ends."""
        return bool(self._kept_config().checkpoint_at_end)

    def _kept_config(self) -> CheckpointConfig:
        if self._facts is not None:
            return self._facts.checkpoint_config
        self._read_checkpoints()
        own: CheckpointConfig = self.__dict__.get("_checkpoint_config") or (CheckpointConfig())
        return own

    @property
    def is_saving(self) -> bool:
        """Whether a checkpoint is being written; the engine keeps that to itself."""
        return False

    @property
    def is_restoring(self) -> bool:
        """Whether a checkpoint is being loaded; the engine keeps that to itself."""
        return False

    # Files.

    @property
    def path(self) -> str | None:
        """The trial's directory in storage; None before it has one."""
        if self._view is not None:
            path = self._view.path
            return None if path is None else _facts_of(self).storage.in_storage(path)
        own: str | None = self.__dict__.get("_path")
        if own is None and self.__dict__.get("storage") is not None:
            assert self.storage is not None
            return os.path.join(self.storage.experiment_fs_path, self.relative_logdir)
        return own

    @property
    def local_path(self) -> str | None:
        """The directory to which this machine writes; the same if storage is local."""
        if self._view is not None:
            return self._view.path
        path, storage = self.path, self.__dict__.get("storage")
        return path if path is None or storage is None else storage.staged(path)

    def _files(self) -> tuple[Files, str] | None:
        """Returns what reads the trial's directory, and its path there."""
        path, storage = self.path, self.storage
        if path is None:
            return None
        return (LOCAL, path) if storage is None else storage.files(path)

    @property
    def local_dir(self) -> str | None:
        """The directory of the experiment."""
        return self.local_experiment_path

    @property
    def local_experiment_path(self) -> str | None:
        """The directory of the experiment on this machine."""
        path = self.local_path
        return os.path.dirname(path) if path is not None else None

    @property
    def remote_experiment_path(self) -> str | None:
        """The directory of the experiment in storage."""
        path = self.path
        return os.path.dirname(path) if path is not None else None

    @property
    def experiment_dir_name(self) -> str | None:
        """The name of the experiment's directory."""
        path = self.local_experiment_path
        return os.path.basename(path) if path is not None else None

    @property
    def relative_logdir(self) -> str:
        """The name of the trial's directory."""
        if self._view is not None:
            return os.path.basename(self._view.path or "")
        storage = self.__dict__.get("storage")
        if storage is not None and storage.trial_dir_name:
            return str(storage.trial_dir_name)
        return self._generate_dirname()

    def init_local_path(self) -> None:
        """Makes the trial's directory on this machine."""
        path = self.local_path
        if path is None:
            raise TuneError(f"storage: the trial {self} has none, so it has no directory.")
        os.makedirs(path, exist_ok=True)

    @property
    def logdir(self) -> str:
        """Gone; see `path`."""
        raise DeprecationWarning("Trial.logdir is gone: use Trial.path.")

    def init_logdir(self) -> None:
        """Gone; see init_local_path()."""
        raise DeprecationWarning("Trial.init_logdir() is gone: use init_local_path().")

    @property
    def error_file(self) -> str | None:
        """Path of error.txt after a failure."""
        if self._view is not None:
            return self._view.error_file
        own: str | None = self.__dict__.get("_error_file")
        return own

    @property
    def pickled_error_file(self) -> str | None:
        """Path of the pickled exception of the last failure."""
        found = self._beside_error(EXPR_ERROR_PICKLE_FILE)
        return found[1] if found is not None and found[0].exists(found[1]) else None

    def _beside_error(self, name: str) -> tuple[Files, str] | None:
        """Returns what reads a file beside error.txt, and its path; None before a failure."""
        error = self.error_file
        if error is None:
            return None
        found = self._files()
        if found is None or os.path.exists(error):
            return LOCAL, os.path.join(os.path.dirname(error), name)
        return found[0], os.path.join(found[1], name)

    def _read_beside_error(self, name: str) -> bytes | None:
        found = self._beside_error(name)
        if found is None or not found[0].exists(found[1]):
            return None
        with found[0].open(found[1]) as file:
            return file.read()

    def get_error(self) -> str | None:
        """Returns the text of the trial's error file; None if there is none."""
        text = self._read_beside_error(EXPR_ERROR_FILE)
        return None if text is None else text.decode("utf-8", "replace")

    def get_pickled_error(self) -> BaseException | None:
        """Returns the exception of the last failure, if it could be pickled."""
        data = self._read_beside_error(EXPR_ERROR_PICKLE_FILE)
        if data is None:
            return None
        try:
            # What a run of this process wrote may be trusted; other files may not.
            error = read_pickle(data) if self._view is None else pickle.loads(data)
        except Exception:
            return None
        return error if isinstance(error, BaseException) else None

    # Names.

    @classmethod
    def generate_id(cls) -> str:
        """Returns a new id of 8 hexadecimal digits."""
        return uuid.uuid4().hex[:8]

    def _default_name(self) -> str:
        label = self.trainable_name
        if "env" in self.config:
            env = self.config["env"]
            label = f"{label}_{env.__name__ if isinstance(env, type) else env}"
        return f"{label}_{self.trial_id}".replace("/", "_")

    def _generate_dirname(self) -> str:
        from ctune.utils.util import date_str

        if self.custom_dirname:
            name = self.custom_dirname
        else:
            limit = environment_number("TUNE_MAX_LEN_IDENTIFIER", 130)
            tag = f"_{self.experiment_tag}" if self.experiment_tag else ""
            name = f"{self}{tag}"[:limit] + f"_{date_str()}"
        return re.sub("[/()]", "_", name)

    def __str__(self) -> str:
        if self._view is not None:
            # Until it is named, the namer itself may ask.
            return self._view.name or self._default_name()
        return self.__dict__.get("custom_trial_name") or self._default_name()

    __repr__ = __str__

    # On disk.

    def _stored(self) -> _state.Stored:
        """Returns the trial as it is written to disk."""
        path, view = self.path, self._view
        resources = self.placement_group_factory
        error = self.error_file
        analysis = self.metric_analysis
        if view is None:
            newest = {name: kept["10"] for name, kept in self.metric_n_steps.items()}
        else:
            newest = view.newest()
        state = {
            "stub": False,
            "trainable_name": self.trainable_name,
            "trial_id": self.trial_id,
            "config": self.config,
            "evaluated_params": self.evaluated_params,
            "experiment_tag": self.experiment_tag,
            "status": self.status,
            "stopping_criterion": self.stopping_criterion,
            "log_to_file": self.log_to_file,
            "max_failures": self.max_failures,
            "export_formats": self.export_formats,
            "restore_path": self.restore_path,
            "relative_logdir": None if path is None else os.path.basename(path),
            "custom_trial_name": self._given_name(),
            "custom_dirname": self.custom_dirname,
            "bundles": [{"CPU": 1.0}] if resources is None else resources.bundles,
            "strategy": "PACK" if resources is None else resources.strategy,
        }
        run = {
            "start_time": self.start_time,
            "num_failures": self.num_failures,
            "num_failures_after_restore": self.num_failures_after_restore,
            "error_filename": None if error is None else os.path.basename(error),
            "pickled_error_filename": (
                None if self.pickled_error_file is None else EXPR_ERROR_PICKLE_FILE
            ),
            "last_result": self.last_result,
            "last_result_time": self._last_result_time(),
            "metric_analysis": analysis,
            "metric_n_steps": {name: {"10": values} for name, values in newest.items()},
            "checkpoint_config": _state.kept_settings(self._kept_config()),
            "checkpoints": [
                (os.path.basename(directory), metrics)
                for directory, metrics, _ in self._best_checkpoints()
            ],
        }
        return _state.Stored(path, state, run)

    def _given_name(self) -> str | None:
        name = str(self)
        return None if name == self._default_name() else name

    def _last_result_time(self) -> float | None:
        if self._view is not None:
            return self._view.last_result_time
        found: float | None = self.__dict__.get("_run", {}).get("last_result_time")
        return found

    def get_json_state(self) -> tuple[str, str]:
        """Returns two JSON texts: what the trial is, and how it went.

        Objects in them stand as `ctune.utils.serialization` says.
        """
        return _state.pair_of(self._stored(), _state.StateEncoder())

    @classmethod
    def _of_stored(
        cls, stored: _state.Stored, stub: bool = True, experiment: StorageContext | None = None
    ) -> Trial:
        """Returns a trial as it stands on disk. One that was running waits to go on.

        Args:
            stored: What is known of it.
            stub: Whether its trainable need not be registered.
            experiment: Where its experiment stands, if that is remote storage.
        """
        trial = cls.__new__(cls)
        state, path = stored.state, stored.path
        status = state["status"]
        trial.__dict__.update(
            trainable_name=state["trainable_name"],
            trial_id=state["trial_id"],
            config=_state.config_of(stored),
            evaluated_params=_state.resolve(state.get("evaluated_params")) or {},
            experiment_tag=state.get("experiment_tag") or "",
            status=cls.PENDING if status == cls.RUNNING else status,
            stopping_criterion=_state.resolve(state.get("stopping_criterion")) or {},
            log_to_file=tuple(state.get("log_to_file") or (None, None)),
            max_failures=state.get("max_failures") or 0,
            export_formats=state.get("export_formats") or [],
            restore_path=state.get("restore_path"),
            custom_trial_name=state.get("custom_trial_name"),
            custom_dirname=state.get("custom_dirname"),
            stub=stub or bool(state.get("stub")),
            storage=None if path is None else _storage_at(path, experiment),
            temporary_state=SimpleNamespace(saving_to=None),
            _path=path,
            _bundles=_bundles_of(state),
        )
        trial._put_run(stored)
        return trial

    def _put_run(self, stored: _state.Stored) -> None:
        run, path = stored.run, stored.path
        error = run.get("error_filename")
        for of_before in ("_checkpoints", "_metric_analysis"):
            self.__dict__.pop(of_before, None)
        self.__dict__.update(
            start_time=run.get("start_time"),
            num_failures=run.get("num_failures") or 0,
            num_failures_after_restore=run.get("num_failures_after_restore") or 0,
            _last_result=_state.last_result_of(stored),
            _error_file=os.path.join(path, error) if error and path is not None else None,
            _run=run,
        )

    @classmethod
    def from_json_state(cls, json_state: str, stub: bool = False) -> Trial:
        """Returns the trial that the first text of get_json_state() tells of.

        Args:
            json_state: The text.
            stub: Whether its trainable need not be registered.

        Raises:
            TuneError: No trainable of that name is registered, and `stub` is False.
            ValueError: The text is no trial.
        """
        try:
            trial = cls._of_stored(_state.Stored(None, json.loads(json_state)), stub)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"json_state: is not the state of a trial: {error!r}.") from None
        trial.get_trainable_cls()
        return trial

    def restore_run_metadata(self, run_metadata: str) -> None:
        """Takes over what the second text of get_json_state() tells.

        Raises:
            ValueError: The text is no JSON object.
        """
        run = json.loads(run_metadata)
        if not isinstance(run, dict):
            raise ValueError(f"run_metadata: must be a JSON object, got {run_metadata[:40]!r}.")
        self._put_run(_state.Stored(self.path, {}, run))

    @classmethod
    def from_directory(cls, path: str | os.PathLike[str], stub: bool = False) -> Trial:
        """Returns the trial of a directory, as far as the files in it tell.

        Args:
            path: The trial's directory.
            stub: Whether its trainable need not be registered.

        Raises:
            FileNotFoundError: There is no such directory, or it is no trial's.
            TuneError: No trainable of that name is registered, and `stub` is False.
        """
        folder = os.path.abspath(os.path.expanduser(os.fspath(path)))
        stored = _state.of_folder(folder)
        if stored is None:
            raise FileNotFoundError(
                f"path: {folder} is not the directory of a trial: it has no params.json, "
                "result.json, progress.csv or error.txt."
            )
        trial = cls._of_stored(stored, stub)
        trial.get_trainable_cls()
        return trial

    # Copies.

    def reset(self) -> Trial:
        """Returns a new trial of the same configuration, without results."""
        return Trial(
            self.trainable_name,
            config=self.config,
            evaluated_params=self.evaluated_params,
            experiment_tag=self.experiment_tag,
            placement_group_factory=self.placement_group_factory,
            stopping_criterion=self.stopping_criterion,
            checkpoint_config=self._kept_config(),
            export_formats=self.export_formats,
            restore_path=self.restore_path,
            log_to_file=self.log_to_file,
            max_failures=self.max_failures,
            storage=self.storage,
            stub=self.stub,
        )

    def get_trainable_cls(self) -> type[Trainable] | None:
        """Returns the class that is trained; None for a stub.

        Raises:
            TuneError: No trainable of that name is registered.
        """
        if self._facts is not None and self._facts.trainable is not None:
            return self._facts.trainable
        if self.__dict__.get("stub"):
            return None
        from ctune.registry import get_trainable_cls

        return get_trainable_cls(self.trainable_name)

    def __getstate__(self) -> dict[str, Any]:
        """A trial of a run is pickled as the plain trial that it looks like."""
        if self._view is None:
            return self.__dict__.copy()
        view = self._view
        last = view.last_result
        return {
            "trainable_name": self.trainable_name,
            "trial_id": view.trial_id,
            "config": view.config,
            "evaluated_params": view.evaluated_params,
            "experiment_tag": view.experiment_tag,
            "status": view.status,
            "stopping_criterion": self.stopping_criterion,
            "log_to_file": self.log_to_file,
            "max_failures": self.max_failures,
            "export_formats": self.export_formats,
            "restore_path": self.restore_path,
            "storage": self.storage,
            "stub": True,
            "start_time": view.start_time,
            "num_failures": view.num_failures,
            "num_failures_after_restore": 0,
            "custom_trial_name": self.custom_trial_name,
            "custom_dirname": self.custom_dirname,
            "_checkpoint_config": self._kept_config(),
            "_resources": self.placement_group_factory,
            "_last_result": last,
            "_metric_analysis": view.metric_analysis(),
            "_checkpoints": view.checkpoints(),
            "_path": self.path,
            "_error_file": view.error_file,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class RunMetadata:
    """How a trial went: a view of the trial, by the names that the parts have on disk."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def __getattr__(self, name: str) -> Any:
        if name in _METADATA:
            return getattr(self._trial, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def last_result_time(self) -> float | None:
        """When the last result came, in seconds since the epoch."""
        return self._trial._last_result_time()

    @property
    def error_filename(self) -> str | None:
        """Name of error.txt after a failure."""
        path = self._trial.error_file
        return None if path is None else os.path.basename(path)

    @property
    def pickled_error_filename(self) -> str | None:
        """Name of error.pkl, if there is one."""
        path = self._trial.pickled_error_file
        return None if path is None else os.path.basename(path)

    @property
    def checkpoint_manager(self) -> SimpleNamespace:
        """The checkpoints, as (checkpoint, metrics) objects."""
        results = [
            TrainingResult(self._trial._checkpoint_at(path), metrics)
            for path, metrics, _ in self._trial._best_checkpoints()
        ]
        return SimpleNamespace(
            checkpoint_config=self._trial._kept_config(),
            latest_checkpoint_result=self._trial.latest_checkpoint_result,
            best_checkpoint_result=results[-1] if results else None,
            best_checkpoint_results=results,
        )


_METADATA = frozenset(
    (
        "last_result",
        "metric_analysis",
        "metric_n_steps",
        "num_failures",
        "num_failures_after_restore",
        "start_time",
    )
)


def _score(metrics: Mapping[str, Any], name: str, sign: float) -> tuple[bool, float]:
    """Returns by what checkpoints are ordered: NaN before minus infinity before numbers."""
    value = flatten_dict(metrics).get(name)
    score = sign * float(value) if isinstance(value, numbers.Real) else -math.inf
    return (False, -math.inf) if is_nan(score) else (True, score)


def _bundles_of(state: Mapping[str, Any]) -> tuple[list[dict[str, float]], str]:
    """Returns the bundles and the strategy that a stored trial asks for."""
    if "bundles" in state:
        return state["bundles"], state.get("strategy", "PACK")
    form = {"_type": FALLBACK, "value": state.get("placement_group_factory")}
    found = _state.resolve(form)
    return getattr(found, "_bundles", [{"CPU": 1.0}]), getattr(found, "_strategy", "PACK")


def _facts_of(trial: Trial) -> RunFacts:
    facts = trial._facts
    assert facts is not None
    return facts


def _same_amounts(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    """Whether they are the same to the engine, which counts in 1/10,000."""
    return a.keys() == b.keys() and all(abs(a[k] - b[k]) < 1e-4 for k in a)


def _storage_of(trial: Trial) -> StorageContext | None:
    path = trial.local_path
    if path is None:
        return None
    return _facts_of(trial).storage.of_trial(os.path.basename(path))


def _storage_at(path: str, experiment: StorageContext | None) -> StorageContext:
    if experiment is None:
        return StorageContext.of_trial_dir(path)
    return experiment.of_trial(os.path.basename(path))


# Further attributes of a trial in a run.
_IN_RUN: dict[str, Callable[[Trial], Any]] = {
    "trainable_name": lambda trial: _facts_of(trial).trainable_name,
    "stopping_criterion": lambda trial: _facts_of(trial).stopping_criterion,
    "max_failures": lambda trial: _facts_of(trial).max_failures,
    "num_failures_after_restore": lambda trial: 0,
    "custom_trial_name": lambda trial: str(trial) if _facts_of(trial).named else None,
    "custom_dirname": lambda trial: None,
    "log_to_file": lambda trial: _facts_of(trial).care.log_files,
    "export_formats": lambda trial: list(_facts_of(trial).care.export_formats),
    "restore_path": lambda trial: _facts_of(trial).care.restore,
    "storage": _storage_of,
    "stub": lambda trial: False,
    "temporary_state": lambda trial: SimpleNamespace(saving_to=None),
    "run_metadata": RunMetadata,
}


# Longest name of a file on the usual file systems, in bytes.
MAX_NAME = 255


def checked_dirname(name: Any) -> str:
    """Returns a directory name that the user's function made, if it is one.

    Raises:
        ValueError: It is no text, empty, too long, or a path to elsewhere.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(
            "trial_dirname_creator: must return a name of one character or more, got "
            f"{brief(name)}."
        )
    check_text("trial_dirname_creator", name)
    if os.path.sep in name:
        raise ValueError(
            f"trial_dirname_creator: returned {name!r}, which contains the path "
            f"separator {os.path.sep!r}. Return the name of one directory."
        )
    if name in (".", "..") or "\0" in name:
        raise ValueError(
            f"trial_dirname_creator: returned {name!r}, which is no name that a directory "
            "in the experiment's can have."
        )
    if len(os.fsencode(name)) > MAX_NAME:
        raise ValueError(
            f"trial_dirname_creator: returned {name[:60]!r}..., which is too long with "
            f"{len(name)} characters; at most {MAX_NAME} bytes fit."
        )
    return name
