"""What to run and how often: the settled form of one experiment."""

from __future__ import annotations

import copy
import inspect
import math
import numbers
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ctune._config import CheckpointConfig, SyncConfig, instead_of_local_dir
from ctune._encode import brief, check_text
from ctune._environment import environment_number
from ctune._storage import StorageContext
from ctune.error import TuneError
from ctune.stopper import CombinedStopper, FunctionStopper, Stopper, TimeoutStopper
from ctune.trainable.trainable import Trainable
from ctune.trainable.util import function_name

if TYPE_CHECKING:
    from ctune.execution.placement_groups import PlacementGroupFactory
    from ctune.experiment.trial import Trial

__all__ = ["Experiment"]


class Experiment:
    """One experiment: a trainable, its search space and how its trials are treated.

    run() makes one of its arguments; made by hand it can be given to run() in their place,
    and to run_experiments(). All arguments are checked at once.

    Args:
        name: Name of the experiment's directory; None: the trainable's name and the date.
        run: A function of the config, a Trainable class, or a registered name.
        stop, time_budget_s, config, resources_per_trial, num_samples, storage_path,
            storage_filesystem, sync_config, checkpoint_config, trial_name_creator,
            trial_dirname_creator, log_to_file, export_formats, max_failures, restore,
            local_dir: As for run(). `sync_config` and `checkpoint_config` may be dicts.

    Attributes:
        name: Name of its directory.
        spec: The arguments, settled, by name.
        storage: Where its files are.

    Raises:
        ValueError, TypeError, TuneError: An argument is wrong; the message begins with its
            name.
        NotImplementedError: It is documented but not implemented.
    """

    PUBLIC_KEYS = frozenset(("stop", "num_samples", "time_budget_s"))

    def __init__(
        self,
        name: str | None,
        run: str | Callable[..., Any] | type[Trainable],
        *,
        stop: Any = None,
        time_budget_s: float | timedelta | None = None,
        config: dict[str, Any] | None = None,
        resources_per_trial: Mapping[str, Any] | PlacementGroupFactory | None = None,
        num_samples: int = 1,
        storage_path: str | os.PathLike[str] | None = None,
        storage_filesystem: Any = None,
        sync_config: SyncConfig | dict[str, Any] | None = None,
        checkpoint_config: CheckpointConfig | dict[str, Any] | None = None,
        trial_name_creator: Callable[[Trial], str] | None = None,
        trial_dirname_creator: Callable[[Trial], str] | None = None,
        log_to_file: bool | str | Sequence[str] = False,
        export_formats: Sequence[str] | None = None,
        max_failures: int = 0,
        restore: str | None = None,
        local_dir: str | None = None,
    ) -> None:
        storage_path = instead_of_local_dir(storage_path, local_dir)
        if config is not None and not isinstance(config, dict):
            raise ValueError(f"config: must be a dict of parameters, got {shown(config)}.")
        syncs = _made(SyncConfig, "sync_config", sync_config)
        checkpoints = _made(CheckpointConfig, "checkpoint_config", checkpoint_config)
        _check_namer("trial_name_creator", trial_name_creator)
        _check_namer("trial_dirname_creator", trial_dirname_creator)
        self.trainable, self._run_identifier = _trainable(run)
        self.is_function = _is_function(self.trainable)
        _check_function_checkpoints(self.is_function, checkpoints)
        self.criteria = criteria(stop)
        self.budget_s = seconds(time_budget_s)
        self.storage = StorageContext.of(_storage_path(storage_path), "", storage_filesystem, syncs)
        self.name = _experiment_name(name, self._run_identifier, self.storage)
        self.storage.experiment_dir_name = self.name
        self.spec: dict[str, Any] = {
            "run": self._run_identifier,
            "stop": self.criteria if isinstance(self.criteria, dict) else {},
            "time_budget_s": time_budget_s,
            "config": config or {},
            "resources_per_trial": resources_per_trial,
            "num_samples": samples(num_samples),
            "checkpoint_config": checkpoints,
            "trial_name_creator": trial_name_creator,
            "trial_dirname_creator": _checked_namer(trial_dirname_creator),
            "log_to_file": _log_files(log_to_file),
            "export_formats": _formats(export_formats),
            "max_failures": integer("max_failures", max_failures),
            "restore": _start_checkpoint(restore),
            "storage": self.storage,
        }

    @classmethod
    def from_json(cls, name: str, spec: dict[str, Any]) -> Experiment:
        """Makes an experiment of a dict of arguments, which is left as it is.

        Args:
            name: Its name.
            spec: The arguments by name. `run` is needed. `env` becomes a parameter of the
                config; `sync_config` and `checkpoint_config` may be dicts.

        Raises:
            TuneError: `run` is missing, or an argument is wrong.
        """
        if not isinstance(spec, Mapping):
            raise TuneError(
                f"experiments: the spec of {name!r} must be a dict of arguments, got {shown(spec)}."
            )
        if "run" not in spec:
            raise TuneError(
                f"experiments: the spec of {name!r} does not say what to run; it needs the key "
                f"'run' with a trainable. It has: {', '.join(map(repr, spec)) or 'nothing'}."
            )
        arguments = {
            key: value if key == "run" else copy.deepcopy(value) for key, value in spec.items()
        }
        if "env" in arguments:
            arguments.setdefault("config", {})["env"] = arguments.pop("env")
        try:
            return cls(name, **arguments)
        except Exception as error:
            raise TuneError(
                f"experiments: the spec of {name!r}, {brief(dict(spec), 2000)}, "
                f"makes no experiment: {error}"
            ) from error

    @property
    def run_identifier(self) -> str:
        """Name of the trainable."""
        return self._run_identifier

    @classmethod
    def get_trainable_name(cls, run_object: str | Callable[..., Any] | type[Any]) -> str:
        """Returns the name under which a trainable appears.

        Raises:
            TuneError: It is none.
        """
        return run_object if isinstance(run_object, str) else function_name(_callable(run_object))

    @classmethod
    def register_if_needed(cls, run_object: str | Callable[..., Any] | type[Any]) -> str:
        """Registers a trainable under its own name, unless it is a name already.

        Returns:
            The name.

        Raises:
            TuneError: It is no trainable.
        """
        from ctune.registry import register_trainable

        if not isinstance(run_object, str):
            name = cls.get_trainable_name(run_object)
            register_trainable(name, run_object)
            return name
        return run_object

    @property
    def stopper(self) -> Stopper | None:
        """What ends trials and the experiment, besides thresholds; None if nothing does."""
        found: list[Stopper] = []
        if isinstance(self.criteria, list):
            found += self.criteria
        elif isinstance(self.criteria, Stopper):
            found.append(self.criteria)
        elif callable(self.criteria):
            found.append(FunctionStopper(self.criteria))
        if self.budget_s is not None:
            found.append(TimeoutStopper(self.budget_s))
        if len(found) > 1:
            return CombinedStopper(*found)
        return found[0] if found else None

    @property
    def public_spec(self) -> dict[str, Any]:
        """What searchers and schedulers are told: stop, num_samples and time_budget_s."""
        return {key: value for key, value in self.spec.items() if key in self.PUBLIC_KEYS}

    @property
    def checkpoint_config(self) -> CheckpointConfig:
        """When trials are saved, and what is kept."""
        found: CheckpointConfig = self.spec["checkpoint_config"]
        return found

    @property
    def path(self) -> str:
        """The experiment's directory in storage."""
        return self.storage.experiment_fs_path

    remote_path = path

    @property
    def local_path(self) -> str:
        """The directory to which this machine writes; the same if storage is local."""
        return self.storage.experiment_local_path

    @property
    def local_dir(self) -> str:
        """Gone; see `local_path`."""
        raise DeprecationWarning("Experiment.local_dir is gone: use Experiment.local_path.")

    @property
    def checkpoint_dir(self) -> str:
        """Gone; see `local_path`."""
        raise DeprecationWarning("Experiment.checkpoint_dir is gone: use Experiment.local_path.")


def _convert_to_experiment_list(
    experiments: Experiment | list[Experiment] | dict[str, Any] | None,
) -> list[Experiment]:
    """Returns what run_experiments() takes as a list.

    Raises:
        TuneError: It is neither an Experiment, nor a list of them, nor a dict of specs.
    """
    if experiments is None:
        return []
    if isinstance(experiments, Experiment):
        return [experiments]
    if type(experiments) is dict:
        return [Experiment.from_json(name, spec) for name, spec in experiments.items()]
    if isinstance(experiments, list) and all(isinstance(e, Experiment) for e in experiments):
        return experiments
    raise TuneError(
        "experiments: Invalid argument: must be an Experiment, a list of them, or a dict "
        f"name -> arguments, got {shown(experiments)}."
    )


# --- one argument each ---------------------------------------------------------------


def refuse_what_is_missing(**arguments: Any) -> None:
    """Raises NotImplementedError for the first argument that is not None."""
    for parameter, value in arguments.items():
        if value is not None:
            raise NotImplementedError(
                f"{parameter}: is not implemented, got {brief(value)}. Leave it out."
            )


def _made(kind: type[Any], parameter: str, given: Any) -> Any:
    """A configuration object: the default, as it is, or made of a dict."""
    if given is None:
        return kind()
    if isinstance(given, dict):
        try:
            return kind(**given)
        except TypeError as error:
            raise ValueError(f"{parameter}: {brief(given)} does not fit: {error}.") from None
    if not isinstance(given, kind):
        raise ValueError(f"{parameter}: must be a {kind.__name__}, got {brief(given)}.")
    return given


def shown(value: Any) -> str:
    """A value that does not fit, with its type, for a message."""
    return f"{brief(value)} of type {type(value).__name__}"


def integer(parameter: str, value: Any) -> int:
    """Returns an integer. Raises ValueError with the parameter's name otherwise."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{parameter}: must be an integer, got {brief(value)}.")
    return int(value)


def at_least(parameter: str, value: Any, least: int) -> int:
    """Returns an integer that is at least so much. Raises ValueError otherwise."""
    number = integer(parameter, value)
    if number < least:
        raise ValueError(f"{parameter}: must be at least {least}, got {brief(value)}.")
    return number


def _check_namer(parameter: str, value: Any) -> None:
    if value is not None and not (callable(value) and takes(value, 1)):
        raise ValueError(
            f"{parameter}: must be a function of a trial, got {brief(value)}. It is called "
            "as f(trial)."
        )


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with that many arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except ValueError:
        return True  # built-in without a signature: the call will tell
    except TypeError:
        return False
    return True


def _checked_namer(
    creator: Callable[[Trial], str] | None,
) -> Callable[[Trial], str] | None:
    if creator is None:
        return None
    from ctune.experiment.trial import checked_dirname

    return lambda trial: checked_dirname(creator(trial))


def _log_files(given: Any) -> tuple[str | None, str | None]:
    """The names of the files for stdout and stderr."""
    if not given:
        return None, None
    if given is True:
        return "stdout", "stderr"
    if isinstance(given, str):
        return _file_name(given), _file_name(given)
    if not isinstance(given, Sequence):
        raise ValueError(
            "log_to_file: must be True, the name of a file for stdout and stderr, or a pair "
            f"of names, got {shown(given)}."
        )
    if len(given) != 2:
        raise ValueError(
            "log_to_file: takes two names, of the files for stdout and stderr, got "
            f"{len(given)}: {brief(given)}."
        )
    return _file_name(given[0]), _file_name(given[1])


def _file_name(given: Any) -> str | None:
    if given is None or (isinstance(given, str) and given and "\0" not in given):
        return given
    raise ValueError(
        f"log_to_file: {brief(given)} is not the name of a file. Give a text, relative to the "
        "trial's directory; None: no file."
    )


def _formats(given: Any) -> list[str]:
    if not given:
        return []
    if not isinstance(given, Sequence) or not all(isinstance(one, str) for one in given):
        raise ValueError(
            f'export_formats: must be a list of names, such as ["model"], got {brief(given)}.'
        )
    return [given] if isinstance(given, str) else list(given)


def _start_checkpoint(restore: Any) -> str | None:
    """The absolute path of the checkpoint that trials start from."""
    if not restore:
        return None
    if not isinstance(restore, (str, os.PathLike)):
        raise ValueError(f"restore: must be the path of a checkpoint, got {shown(restore)}.")
    path = os.path.abspath(os.path.expanduser(os.fspath(restore)))
    if not os.path.isdir(path):
        raise ValueError(
            f"restore: {path!r} is not a directory. Give the path of a checkpoint, as in "
            "`result.checkpoint.path`; to go on with an experiment, use resume=."
        )
    return path


def _trainable(run: Any) -> tuple[type[Trainable], str]:
    """The class that trains, and its name."""
    from ctune.registry import as_trainable_class, get_trainable_cls

    if isinstance(run, str):
        registered = get_trainable_cls(run)
        _check_methods(registered)
        return registered, run
    trainable = as_trainable_class(_callable(run))
    _check_methods(trainable)
    return trainable, function_name(run)


def _callable(run: Any) -> Any:
    if not inspect.isclass(run) and not callable(run):
        raise TuneError(
            f"run_or_experiment: Improper 'run': must be a function, a Trainable class or "
            f"a registered name, got {shown(run)}."
        )
    return run


def _check_methods(trainable: type[Trainable]) -> None:
    """Checks what the workers will call, as far as the class shows it."""
    if trainable.step is Trainable.step and trainable.train is Trainable.train:
        raise ValueError(
            f"trainable: {trainable.__name__} has no step(self), which trains for one "
            "iteration and returns a dict of metrics. Define it."
        )
    for name, call, count in (("setup", "setup(config)", 2), ("step", "step()", 1)):
        method = inspect.getattr_static(trainable, name)
        if inspect.isfunction(method) and not takes(method, count):
            raise ValueError(
                f"trainable: {trainable.__name__}.{name}{inspect.signature(method)} "
                f"cannot be called as {call}, which is how it will be called. Bind "
                "further arguments with with_parameters()."
            )


def _is_function(trainable: type[Trainable]) -> bool:
    module = sys.modules.get("ctune.trainable.function_trainable")
    return module is not None and issubclass(trainable, module.FunctionTrainable)


def _check_function_checkpoints(is_function: bool, config: CheckpointConfig) -> None:
    if not is_function:
        return
    for attribute in ("checkpoint_at_end", "checkpoint_frequency"):
        if getattr(config, attribute):
            raise ValueError(
                f"{attribute}: a function decides itself when it is saved, so this must "
                f"stay off, got {brief(getattr(config, attribute))}. Report a checkpoint with "
                "report(metrics, checkpoint=...)."
            )


def criteria(stop: Any) -> Any:
    """Returns stop conditions as None, thresholds, a Stopper, a list of these, or a function.

    Raises:
        ValueError: They are none of these.
    """
    if stop is None or (isinstance(stop, (dict, list)) and not stop):
        return None
    if isinstance(stop, Mapping):
        return _thresholds(stop)
    if isinstance(stop, list):
        if not all(isinstance(item, Stopper) for item in stop):
            kinds = ", ".join(type(item).__name__ for item in stop)
            raise ValueError(f"stop: a list must hold Stoppers only, got {kinds}.")
        return list(stop)
    if isinstance(stop, Stopper):
        return stop
    if isinstance(stop, type) or not callable(stop):
        raise ValueError(
            "stop: must be a dict of thresholds, a Stopper, a list of Stoppers or a "
            f"function (trial_id, result) -> bool, got {brief(stop)}."
        )
    if hasattr(stop, "stop_all"):
        raise ValueError(
            f"stop: {brief(stop)} has stop_all() but is no Stopper; derive its class from "
            "ctune.Stopper."
        )
    if not takes(stop, 2):
        raise ValueError(
            f"stop: {brief(stop)} cannot be called as f(trial_id, result). A stop function "
            "takes these two and returns whether the trial ends."
        )
    return stop


def _thresholds(stop: Mapping[Any, Any]) -> dict[str, float]:
    for key, value in stop.items():
        if not isinstance(key, str):
            raise ValueError(f"stop: keys are names of metrics, got {brief(key)}.")
        check_text("stop", key)
        if isinstance(value, Mapping):
            inner = next(iter(value), "metric")
            raise ValueError(
                f"stop: {key!r} holds a dict. Name nested metrics by their path: "
                f"{{'{key}/{inner}': ...}}."
            )
        if not isinstance(value, numbers.Real) or math.isnan(value):
            raise ValueError(
                f"stop: the threshold of {key!r} must be a number, got {brief(value)}. A "
                "trial stops when the metric is at least that."
            )
    return dict(stop)


def seconds(time_budget_s: Any) -> float | None:
    """Returns a time budget in seconds. Raises ValueError if it is none."""
    if time_budget_s is None:
        return None
    if isinstance(time_budget_s, timedelta):
        time_budget_s = time_budget_s.total_seconds()
    if (
        isinstance(time_budget_s, bool)
        or not isinstance(time_budget_s, numbers.Real)
        or math.isnan(time_budget_s)
        or time_budget_s < 0
    ):
        raise ValueError(
            "time_budget_s: must be a number of seconds, 0 or more, or a timedelta, got "
            f"{brief(time_budget_s)}."
        )
    return float(time_budget_s)


def samples(num_samples: Any) -> int:
    """Returns a number of samples; `sys.maxsize` for endless. Raises ValueError."""
    samples = integer("num_samples", num_samples)
    if samples < -1:
        raise ValueError(
            f"num_samples: must be 0 or more, or -1 to sample endlessly, got {brief(num_samples)}."
        )
    return sys.maxsize if samples == -1 else samples


def _storage_path(storage_path: Any) -> str:
    from ctune.utils.util import default_storage_path

    if storage_path is None:
        return default_storage_path()
    try:
        path = os.fspath(storage_path)
    except TypeError:
        path = None
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError(
            f"storage_path: must be the path of a directory, got {brief(storage_path)}."
        )
    return check_text("storage_path", path)


def _experiment_name(name: str | None, trainable_name: str, storage: StorageContext) -> str:
    from ctune.experiment.trial import MAX_NAME
    from ctune.utils.util import date_str

    if name is not None and not isinstance(name, str):
        raise ValueError(f"name: must be a text, got {brief(name)}.")
    if name:
        check_text("name", name)
        parts = name.split(os.path.sep)
        if name == "." or ".." in parts or "\0" in name or os.path.isabs(name):
            raise ValueError(
                f"name: must be the name of a directory in storage_path, got {brief(name)}."
            )
        if any(len(os.fsencode(part)) > MAX_NAME for part in parts):
            raise ValueError(
                f"name: is too long for a directory, {len(name)} characters; at most "
                f"{MAX_NAME} bytes fit, got {name[:60]!r}..."
            )
        return name
    label = trainable_name.replace("/", "_")
    if environment_number("TUNE_DISABLE_DATED_SUBDIR", 0):
        return label
    dated = f"{label}_{date_str()}"
    free = dated
    number = 2
    # Two runs within a second must not mix their results.
    while replace(storage, experiment_dir_name=free).exists():
        free = f"{dated}_{number}"
        number += 1
    return free
