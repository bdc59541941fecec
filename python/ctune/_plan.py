"""The plan of a run: every argument of run() settled, once.

All defaults, deprecations and checks across arguments are here, in the order in which
users expect their errors. What is below works on a Plan and asks nothing again.
"""

from __future__ import annotations

import copy
import inspect
import logging
import math
import numbers
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from ctune import _runtime
from ctune._config import (
    CheckpointConfig,
    SyncConfig,
    _Config,
    check_fail_fast,
    check_failures,
)
from ctune.callback import Callback
from ctune.error import TuneError
from ctune.logger.csv import CSVLoggerCallback
from ctune.logger.json import JsonLoggerCallback
from ctune.schedulers import (
    FIFOScheduler,
    ResourceChangingScheduler,
    TrialScheduler,
    create_scheduler,
)
from ctune.search import (
    BasicVariantGenerator,
    ConcurrencyLimiter,
    SearchAlgorithm,
    Searcher,
    SearchGenerator,
    create_searcher,
)
from ctune.search.sample import Domain
from ctune.stopper import Stopper
from ctune.trainable.trainable import Trainable
from ctune.trainable.util import function_name

if TYPE_CHECKING:
    from ctune.execution.placement_groups import PlacementGroupFactory
    from ctune.experiment.trial import Trial

__all__ = ["Plan", "make_plan"]

logger = logging.getLogger("ctune")

_CHDIR_UNSET = "DEPRECATED"
_MARKER = ".validate_storage_marker"
_ENTRY = "run(...)"


@dataclass(frozen=True)
class Plan:
    """A run, settled.

    Attributes:
        trainable: The class whose instances train.
        trainable_name: Its name in trial names.
        is_function: Whether it wraps a function.
        name: Name of the experiment.
        storage_path: Absolute path of the directory that holds experiments.
        experiment_dir: Absolute path of this one's directory, which exists.
        metric, mode: What is optimised, and "min" or "max"; or None.
        stop: None, a dict of thresholds, a Stopper, a list of these, or a function.
        time_budget_s: Seconds for the whole run, or None.
        config: The search space.
        resources: Resource name -> amount for each trial; or a function of the config
            that returns that.
        bundles: `resources_per_trial` as it was given, if that is a PlacementGroupFactory.
        num_samples: `sys.maxsize` for endless.
        total_samples: Number of trials to come, or None if the search does not tell.
        search_alg: A SearchAlgorithm that knows the experiment.
        scheduler: A TrialScheduler.
        checkpoint_config: When to save and what to keep.
        verbose: 0 silent, 1 progress, 2 also each result.
        max_failures: Retries per trial, < 0 without limit.
        fail_fast: False, True or "raise".
        raise_on_failed_trial: Whether run() raises if a trial failed.
        reuse_actors: Whether workers serve several trials.
        trial_name_creator, trial_dirname_creator: Functions of a Trial, or None.
        callbacks: What hears of events, without the engine's own loggers.
        json, csv: Whether the engine writes result.json and progress.csv.
        executor: "inline", "process" or an executor object.
        total_resources: What trials share.
        max_pending: Trials that are made ahead of their start.
        max_dirname: Length at which directory names are cut.
        force_stop_s: Seconds after which a worker that does not stop is killed.
        log_trial_errors: Whether each failure's traceback is shown.
        trainable_blob: The pickled trainable where workers are processes, else None.
    """

    trainable: type[Trainable]
    trainable_name: str
    is_function: bool
    name: str
    storage_path: str
    experiment_dir: str
    metric: str | None
    mode: str | None
    stop: Any
    time_budget_s: float | None
    config: dict[str, Any]
    resources: dict[str, float] | Callable[[dict[str, Any]], dict[str, float]]
    bundles: PlacementGroupFactory | None
    num_samples: int
    total_samples: int | None
    search_alg: SearchAlgorithm
    scheduler: TrialScheduler
    checkpoint_config: CheckpointConfig
    verbose: int
    max_failures: int
    fail_fast: bool | Literal["raise"]
    raise_on_failed_trial: bool
    reuse_actors: bool
    trial_name_creator: Callable[[Trial], str] | None
    trial_dirname_creator: Callable[[Trial], str] | None
    callbacks: list[Callback]
    json: bool
    csv: bool
    executor: Any
    total_resources: dict[str, float]
    max_pending: int
    max_dirname: int
    force_stop_s: float
    log_trial_errors: bool
    trainable_blob: bytes | None


def make_plan(
    run_or_experiment: Any,
    *,
    name: str | None,
    metric: str | None,
    mode: str | None,
    stop: Any,
    time_budget_s: float | timedelta | None,
    config: Any,
    resources_per_trial: Any,
    num_samples: int,
    storage_path: str | os.PathLike[str] | None,
    storage_filesystem: Any,
    search_alg: Any,
    scheduler: Any,
    checkpoint_config: CheckpointConfig | None,
    verbose: int | None,
    progress_reporter: Any,
    log_to_file: Any,
    trial_name_creator: Callable[[Trial], str] | None,
    trial_dirname_creator: Callable[[Trial], str] | None,
    sync_config: Any,
    export_formats: Sequence[str] | None,
    max_failures: int,
    fail_fast: bool | str,
    restore: str | None,
    resume: bool | str | None,
    resume_config: Any,
    reuse_actors: bool,
    raise_on_failed_trial: bool,
    callbacks: Sequence[Callback] | None,
    max_concurrent_trials: int | None,
    keep_checkpoints_num: int | None,
    checkpoint_score_attr: str | None,
    checkpoint_freq: int,
    checkpoint_at_end: bool,
    chdir_to_trial_dir: Any,
    local_dir: str | None,
    _remote: bool | None,
    _remote_string_queue: Any,
    _entrypoint: Any,
) -> Plan:
    """Settles the arguments of run(), which documents them.

    The experiment's directory is made last, when nothing else can be wrong.

    Raises:
        ValueError, TypeError, TuneError: An argument is wrong; the message begins with
            its name.
        NotImplementedError: It is documented but not implemented.
        OSError: The directory cannot be made or written to.
    """
    _warn_of_environment()
    if local_dir is not None:
        warnings.warn(
            "local_dir is deprecated: use storage_path.", DeprecationWarning, stacklevel=4
        )
        storage_path = storage_path or local_dir
    if mode and mode not in ("min", "max"):
        raise ValueError(f'mode: {_ENTRY} takes "min" or "max", got {mode!r}.')
    _check_metric(metric)
    level = _verbosity(verbose)
    space = _space(config)
    _refuse_what_is_missing(
        storage_filesystem=storage_filesystem,
        progress_reporter=progress_reporter,
        log_to_file=log_to_file or None,
        sync_config=None if sync_config == SyncConfig() else sync_config,
        export_formats=export_formats or None,
        restore=restore,
        resume=resume or None,
        resume_config=resume_config,
        _remote=_remote or None,
        _remote_string_queue=_remote_string_queue,
        _entrypoint=_entrypoint,
    )
    checkpoints = _checkpoint_config(
        checkpoint_config,
        keep_checkpoints_num,
        checkpoint_score_attr,
        checkpoint_freq,
        checkpoint_at_end,
    )
    if not (isinstance(chdir_to_trial_dir, str) and chdir_to_trial_dir == _CHDIR_UNSET):
        raise DeprecationWarning(
            "chdir_to_trial_dir is gone: set the environment variable "
            "RAY_CHDIR_TO_TRIAL_DIR=0 to keep the working directory."
        )
    samples = _num_samples(num_samples)
    scheduler_ = _scheduler(scheduler)
    _check_buffering(scheduler_)
    _check_resource_changing(scheduler_, reuse_actors)
    _check_namer("trial_name_creator", trial_name_creator)
    _check_namer("trial_dirname_creator", trial_dirname_creator)
    trainable, trainable_name = _trainable(run_or_experiment)
    is_function = _is_function(trainable)
    _check_function_checkpoints(is_function, checkpoints)
    criteria = _stop(stop)
    budget = _seconds(time_budget_s)
    storage = _storage_path(storage_path)
    fail_fast_ = check_fail_fast(fail_fast)
    failures = _integer("max_failures", max_failures)
    check_failures(fail_fast_, failures)
    if fail_fast_ == "raise":
        warnings.warn(
            'fail_fast="raise" raises a trial\'s error in the driver at once; other '
            "trials are ended without being asked.",
            stacklevel=4,
        )
    runtime = _runtime_for_run()
    resources = _resources(trainable, resources_per_trial, runtime.resources)
    label = _experiment_name(name, trainable_name, storage)
    public = {
        "stop": stop,
        "num_samples": samples,
        "time_budget_s": time_budget_s,
    }
    given = search_alg
    algorithm = _search_algorithm(search_alg, max_concurrent_trials)
    if space:
        _search_properties(algorithm, given, metric, mode, space, public)
    _scheduler_properties(scheduler_, metric, mode, public)
    hooks, json, csv = _callbacks(callbacks)
    blob = _blob(runtime.executor, trainable, trainable_name)
    directory = _make_directory(storage, label)
    algorithm.add_configurations(
        {
            label: {
                "run": trainable_name,
                "config": space,
                "num_samples": samples,
                "stop": criteria,
            }
        }
    )
    return Plan(
        trainable=trainable,
        trainable_name=trainable_name,
        is_function=is_function,
        name=label,
        storage_path=storage,
        experiment_dir=directory,
        metric=metric,
        mode=mode or None,
        stop=criteria,
        time_budget_s=budget,
        config=space,
        resources=resources,
        bundles=_bundles(resources_per_trial),
        num_samples=samples,
        total_samples=getattr(algorithm, "total_samples", None),
        search_alg=algorithm,
        scheduler=scheduler_,
        checkpoint_config=checkpoints,
        verbose=level,
        max_failures=failures,
        fail_fast=fail_fast_,
        raise_on_failed_trial=bool(raise_on_failed_trial),
        reuse_actors=bool(reuse_actors),
        trial_name_creator=trial_name_creator,
        trial_dirname_creator=_checked_namer(trial_dirname_creator),
        callbacks=hooks,
        json=json,
        csv=csv,
        executor=runtime.executor,
        total_resources=dict(runtime.resources),
        max_pending=_max_pending(algorithm, runtime.resources),
        max_dirname=int(os.environ.get("TUNE_MAX_LEN_IDENTIFIER", "130")),
        force_stop_s=float(os.environ.get("TUNE_FORCE_TRIAL_CLEANUP_S", "600")),
        log_trial_errors=os.environ.get("TUNE_PRINT_ALL_TRIAL_ERRORS", "1") == "1",
        trainable_blob=blob,
    )


def make_simulation_plan(
    simulation: Any,
    *,
    name: str,
    directory: str,
    metric: str,
    mode: str,
    stop: Any,
    config: Any,
    num_samples: int,
    search_alg: Any,
    scheduler: Any,
    num_workers: int,
    max_failures: int,
    reuse_actors: bool,
) -> Plan:
    """Settles the arguments of simulate(), which documents them. Writes nothing.

    Raises:
        ValueError, TypeError, TuneError: An argument is wrong; the message begins with
            its name.
    """
    if mode not in ("min", "max"):
        raise ValueError(f'mode: simulate() takes "min" or "max", got {mode!r}.')
    space = _space(config)
    samples = _num_samples(num_samples)
    scheduler_ = _scheduler(scheduler)
    _check_resource_changing(scheduler_, reuse_actors)
    criteria = _stop(stop)
    public = {"stop": stop, "num_samples": samples, "time_budget_s": None}
    algorithm = _search_algorithm(search_alg, None)
    if space:
        _search_properties(algorithm, search_alg, metric, mode, space, public)
    _scheduler_properties(scheduler_, metric, mode, public)
    algorithm.add_configurations(
        {name: {"run": name, "config": space, "num_samples": samples, "stop": criteria}}
    )
    totals = {"CPU": float(num_workers)}
    return Plan(
        trainable=Trainable,
        trainable_name=name,
        is_function=False,
        name=name,
        storage_path=os.path.dirname(directory),
        experiment_dir=directory,
        metric=metric,
        mode=mode,
        stop=criteria,
        time_budget_s=None,
        config=space,
        resources={"CPU": 1.0},
        bundles=None,
        num_samples=samples,
        total_samples=getattr(algorithm, "total_samples", None),
        search_alg=algorithm,
        scheduler=scheduler_,
        checkpoint_config=CheckpointConfig(),
        verbose=0,
        max_failures=max_failures,
        fail_fast=False,
        raise_on_failed_trial=False,
        reuse_actors=reuse_actors,
        trial_name_creator=None,
        trial_dirname_creator=None,
        callbacks=[],
        json=False,
        csv=False,
        executor=simulation,
        total_resources=totals,
        max_pending=_max_pending(algorithm, totals),
        max_dirname=130,
        force_stop_s=0.0,
        log_trial_errors=False,
        trainable_blob=None,
    )


# --- what is gone, and what is not there yet -----------------------------------------


def _warn_of_environment() -> None:
    for variable in ("TUNE_RESULT_DIR", "RAY_AIR_LOCAL_CACHE_DIR"):
        if os.environ.get(variable):
            warnings.warn(
                f"The environment variable {variable} is deprecated and has no effect: "
                "use storage_path.",
                DeprecationWarning,
                stacklevel=5,
            )
    if os.environ.get("RAY_AIR_NEW_OUTPUT") == "0":
        logger.warning("RAY_AIR_NEW_OUTPUT=0 has no effect: there is one kind of output here.")


def _refuse_what_is_missing(**arguments: Any) -> None:
    for parameter, value in arguments.items():
        if value is not None:
            raise NotImplementedError(
                f"{parameter}: is not implemented, got {value!r:.80}. Leave it out."
            )


# --- one argument each ---------------------------------------------------------------


def _check_metric(metric: Any) -> None:
    names = metric if isinstance(metric, (list, tuple)) else [metric]
    if metric is not None and not all(isinstance(name, str) for name in names):
        raise ValueError(f"metric: must be the name of a key in the results, got {metric!r:.80}.")


def _verbosity(verbose: Any) -> int:
    if verbose is None:
        return 1
    value = getattr(verbose, "value", verbose)  # an enum of levels
    if not isinstance(value, numbers.Integral):
        raise ValueError(f"verbose: must be 0, 1 or 2, got {verbose!r}.")
    if value < 0:
        raise ValueError(
            f"verbose: must be 0 (silent), 1 (progress) or 2 (results), got {verbose!r}."
        )
    return min(2, int(value))


def _space(config: Any) -> dict[str, Any]:
    if isinstance(config, _Config):
        config = config.to_dict()
    elif not isinstance(config, dict) and config is not None:
        # Other empty values count as not given.
        if isinstance(config, (list, tuple, str)) and not config:
            config = {}
        else:
            raise ValueError(f"config: {_ENTRY} takes a dict of parameters, got {_shown(config)}.")
    if config and _is_grid(config):
        raise ValueError(
            f"config: is itself a grid, {config!r:.80}. Give the parameter a name: "
            '{"x": grid_search([...])}.'
        )
    if config and config.get("log_sys_usage"):
        raise NotImplementedError(
            "config: the key 'log_sys_usage' is not implemented. Leave it out."
        )
    try:
        return copy.deepcopy(config or {})
    except Exception as error:
        blamed = [key for key, value in config.items() if not _copies(value)]
        raise TypeError(
            f"config: the value of {', '.join(map(repr, blamed))} cannot be copied "
            f"({error}). Make such objects inside the trainable, or hand them over with "
            "with_parameters()."
        ) from error


def _shown(value: Any) -> str:
    """A value that does not fit, with its type, for a message."""
    return f"{value!r:.80} of type {type(value).__name__}"


def _copies(value: Any) -> bool:
    try:
        copy.deepcopy(value)
    except Exception:
        return False
    return True


def _checkpoint_config(
    config: CheckpointConfig | None,
    keep: int | None,
    score: str | None,
    frequency: int,
    at_end: bool,
) -> CheckpointConfig:
    if config is None:
        config = CheckpointConfig()
    elif not isinstance(config, CheckpointConfig):
        raise ValueError(f"checkpoint_config: must be a CheckpointConfig, got {config!r:.80}.")
    if keep is not None:
        _deprecated("keep_checkpoints_num", "CheckpointConfig(num_to_keep=...)")
        _least("keep_checkpoints_num", keep, 1)
        config.num_to_keep = keep
    if score is not None:
        if not isinstance(score, str):
            raise ValueError(
                "checkpoint_score_attr: must be the name of a key in the results, got "
                f"{score!r:.80}."
            )
        _deprecated("checkpoint_score_attr", "CheckpointConfig(checkpoint_score_attribute=...)")
        if score.startswith("min-"):
            _deprecated(
                'the prefix "min-" of checkpoint_score_attr',
                'CheckpointConfig(checkpoint_score_order="min")',
            )
            config.checkpoint_score_attribute = score[4:]
            config.checkpoint_score_order = "min"
        else:
            config.checkpoint_score_attribute = score
            config.checkpoint_score_order = "max"
        config.score_attr = score  # type: ignore[attr-defined]
    if _least("checkpoint_freq", frequency, 0) > 0:
        _deprecated("checkpoint_freq", "CheckpointConfig(checkpoint_frequency=...)")
        config.checkpoint_frequency = frequency
    if at_end:
        _deprecated("checkpoint_at_end", "CheckpointConfig(checkpoint_at_end=True)")
        config.checkpoint_at_end = True
    return config


def _deprecated(what: str, instead: str) -> None:
    warnings.warn(
        f"{what} is deprecated: use checkpoint_config={instead}.",
        DeprecationWarning,
        stacklevel=6,
    )


def _integer(parameter: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{parameter}: must be an integer, got {value!r}.")
    return int(value)


def _least(parameter: str, value: Any, least: int) -> int:
    number = _integer(parameter, value)
    if number < least:
        raise ValueError(f"{parameter}: must be at least {least}, got {value!r}.")
    return number


def _num_samples(num_samples: Any) -> int:
    samples = _integer("num_samples", num_samples)
    if samples < -1:
        raise ValueError(
            f"num_samples: must be 0 or more, or -1 to sample endlessly, got {num_samples!r}."
        )
    return sys.maxsize if samples == -1 else samples


def _scheduler(scheduler: Any) -> TrialScheduler:
    if isinstance(scheduler, str):
        scheduler = create_scheduler(scheduler)
    elif not scheduler:
        scheduler = FIFOScheduler()
    if not isinstance(scheduler, TrialScheduler):
        raise ValueError(
            f"scheduler: must be a TrialScheduler, or the name of one, got {scheduler!r:.80}."
        )
    return scheduler


def _check_resource_changing(scheduler: TrialScheduler, reuse_actors: Any) -> None:
    if not isinstance(scheduler, ResourceChangingScheduler):
        return
    if reuse_actors:
        raise ValueError(
            f"reuse_actors: {type(scheduler).__name__} needs False, got {reuse_actors!r}: a "
            "worker keeps the resources that it started with."
        )


def _check_buffering(scheduler: TrialScheduler) -> None:
    length = os.environ.get("TUNE_RESULT_BUFFER_LENGTH")
    if length and not getattr(scheduler, "supports_buffered_results", True):
        warnings.warn(
            f"{type(scheduler).__name__} does not support buffered results: "
            f"TUNE_RESULT_BUFFER_LENGTH={length} is set to 1.",
            stacklevel=5,
        )
        os.environ["TUNE_RESULT_BUFFER_LENGTH"] = "1"


def _check_namer(parameter: str, value: Any) -> None:
    if value is not None and not (callable(value) and _takes(value, 1)):
        raise ValueError(
            f"{parameter}: must be a function of a trial, got {value!r:.80}. It is called "
            "as f(trial)."
        )


def _takes(function: Callable[..., Any], count: int) -> bool:
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


def _trainable(run: Any) -> tuple[type[Trainable], str]:
    """The class that trains, and its name."""
    from ctune.registry import as_trainable_class, get_trainable_cls

    if isinstance(run, str):
        registered = get_trainable_cls(run)
        _check_methods(registered)
        return registered, run
    if isinstance(run, (list, tuple)):
        raise NotImplementedError(
            "run_or_experiment: a list of experiments is not implemented. Call run() for each."
        )
    if not inspect.isclass(run) and not callable(run):
        raise TuneError(
            f"run_or_experiment: Improper 'run': must be a function, a Trainable class or "
            f"a registered name, got {_shown(run)}."
        )
    trainable = as_trainable_class(run)
    _check_methods(trainable)
    return trainable, function_name(run)


def _check_methods(trainable: type[Trainable]) -> None:
    """Checks what the workers will call, as far as the class shows it."""
    if trainable.step is Trainable.step and trainable.train is Trainable.train:
        raise ValueError(
            f"trainable: {trainable.__name__} has no step(self), which trains for one "
            "iteration and returns a dict of metrics. Define it."
        )
    for name, call, count in (("setup", "setup(config)", 2), ("step", "step()", 1)):
        method = inspect.getattr_static(trainable, name)
        if inspect.isfunction(method) and not _takes(method, count):
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
                f"stay off, got {getattr(config, attribute)!r}. Report a checkpoint with "
                "report(metrics, checkpoint=...)."
            )


def _stop(stop: Any) -> Any:
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
            f"function (trial_id, result) -> bool, got {stop!r:.80}."
        )
    if hasattr(stop, "stop_all"):
        raise ValueError(
            f"stop: {stop!r:.80} has stop_all() but is no Stopper; derive its class from "
            "ctune.Stopper."
        )
    if not _takes(stop, 2):
        raise ValueError(
            f"stop: {stop!r:.80} cannot be called as f(trial_id, result). A stop function "
            "takes these two and returns whether the trial ends."
        )
    return stop


def _thresholds(stop: Mapping[Any, Any]) -> dict[str, float]:
    for key, value in stop.items():
        if not isinstance(key, str):
            raise ValueError(f"stop: keys are names of metrics, got {key!r}.")
        if isinstance(value, Mapping):
            inner = next(iter(value), "metric")
            raise ValueError(
                f"stop: {key!r} holds a dict. Name nested metrics by their path: "
                f"{{'{key}/{inner}': ...}}."
            )
        if not isinstance(value, numbers.Real) or math.isnan(value):
            raise ValueError(
                f"stop: the threshold of {key!r} must be a number, got {value!r}. A trial "
                "stops when the metric is at least that."
            )
    return dict(stop)


def _seconds(time_budget_s: Any) -> float | None:
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
            f"{time_budget_s!r}."
        )
    return float(time_budget_s)


# --- resources -----------------------------------------------------------------------


def _runtime_for_run() -> _runtime.Runtime:
    if not _runtime.is_initialized():
        if os.environ.get("TUNE_DISABLE_AUTO_INIT") == "1":
            logger.info("TUNE_DISABLE_AUTO_INIT=1: %s starts no runtime.", _ENTRY)
        else:
            logger.info("%s uses the default runtime; see init().", _ENTRY)
    return _runtime.runtime()


def request_amounts(request: Any, parameter: str) -> dict[str, float]:
    """A request in any form as resource name -> amount."""
    from ctune.execution.placement_groups import (
        PlacementGroupFactory,
        resource_dict_to_pg_factory,
    )

    if isinstance(request, Mapping):
        try:
            request = resource_dict_to_pg_factory(request)
        except ValueError as error:
            raise ValueError(f"{parameter}: {error}") from None
    if not isinstance(request, PlacementGroupFactory):
        raise ValueError(
            f'{parameter}: must be a dict such as {{"cpu": 1, "gpu": 0.5}} or a '
            f"PlacementGroupFactory, got {request!r:.80}."
        )
    return {name: float(amount) for name, amount in request.required_resources.items()}


def _bundles(asked: Any) -> PlacementGroupFactory | None:
    from ctune.execution.placement_groups import PlacementGroupFactory

    return asked if isinstance(asked, PlacementGroupFactory) else None


def _check_possible(amounts: dict[str, float], totals: Mapping[str, float], parameter: str) -> None:
    for name, asked in amounts.items():
        total = totals.get(name, 0.0)
        if asked > total:
            raise ValueError(
                f"{parameter}: a trial asks for {asked:g} {name}, but there are only "
                f"{total:g}, so it could never start. Ask for less, or tell "
                "ctune.init(num_cpus=..., num_gpus=..., resources=...) what there is."
            )


def _declares_resources(trainable: type[Trainable]) -> bool:
    own = inspect.getattr_static(trainable, "default_resource_request")
    return own is not inspect.getattr_static(Trainable, "default_resource_request")


def _resources(
    trainable: type[Trainable], asked: Any, totals: Mapping[str, float]
) -> dict[str, float] | Callable[[dict[str, Any]], dict[str, float]]:
    explicit = None
    if asked is not None:
        explicit = request_amounts(asked, "resources_per_trial")
        _check_possible(explicit, totals, "resources_per_trial")
    if not _declares_resources(trainable):
        if totals.get("GPU", 0) > 0 and not (explicit or {}).get("GPU"):
            logger.warning(
                "There are GPUs, but trials do not ask for one. Give "
                'resources_per_trial={"gpu": 1} to use them.'
            )
        return {"CPU": 1.0} if explicit is None else explicit
    fixed = _fixed_request(trainable)
    if fixed is not None:
        amounts = _declared(trainable, fixed, explicit)
        _check_possible(amounts, totals, "with_resources()")
        return amounts

    def request(config: dict[str, Any]) -> dict[str, float]:
        wanted = trainable.default_resource_request(config)
        if wanted is None:
            return {"CPU": 1.0} if explicit is None else explicit
        return _declared(trainable, wanted, explicit)

    return request


def _fixed_request(trainable: type[Trainable]) -> PlacementGroupFactory | None:
    """What with_resources() attached, unless that depends on the config."""
    from ctune.execution.placement_groups import PlacementGroupFactory

    for base in trainable.__mro__:
        if "default_resource_request" in vars(base):
            # A later override counts more than what was attached below it.
            fixed = vars(base).get("_resources")
            return fixed if isinstance(fixed, PlacementGroupFactory) else None
    return None


def _declared(
    trainable: type[Trainable], request: Any, explicit: dict[str, float] | None
) -> dict[str, float]:
    if explicit is not None:
        raise TuneError(
            f"resources_per_trial: {trainable.__name__} declares its resources itself, "
            "so this must be left out. Use with_resources() to override them."
        )
    return request_amounts(request, f"resources of {trainable.__name__}")


# --- search --------------------------------------------------------------------------


def _search_algorithm(search_alg: Any, limit: int | None) -> SearchAlgorithm:
    if limit is not None:
        limit = _integer("max_concurrent_trials", limit)
        if limit < 0:
            raise ValueError(
                f"max_concurrent_trials: must be at least 1, or None for no limit, got {limit}."
            )
    if isinstance(search_alg, str):
        search_alg = create_searcher(search_alg)
    if not search_alg:
        return BasicVariantGenerator(max_concurrent=limit or 0)
    if not isinstance(search_alg, (Searcher, SearchAlgorithm)):
        raise ValueError(
            "search_alg: must be a Searcher, a SearchAlgorithm or the name of one, got "
            f"{search_alg!r:.80}."
        )
    if limit:
        search_alg = _limited(search_alg, limit)
    if isinstance(search_alg, Searcher):
        return SearchGenerator(search_alg)
    algorithm: SearchAlgorithm = search_alg
    return algorithm


def _limited(search_alg: Any, limit: int) -> Any:
    if isinstance(search_alg, ConcurrencyLimiter):
        if search_alg.max_concurrent != limit:
            raise ValueError(
                f"max_concurrent_trials: is {limit}, but the ConcurrencyLimiter given as "
                f"search_alg allows {search_alg.max_concurrent}. Leave it out: "
                "max_concurrent_trials=None."
            )
        logger.warning(
            "max_concurrent_trials is ignored: the search_alg is a ConcurrencyLimiter "
            "with the same limit."
        )
        return search_alg
    if isinstance(search_alg, Searcher):
        return ConcurrencyLimiter(search_alg, max_concurrent=limit)
    logger.warning(
        "max_concurrent_trials is ignored: %s limits itself; give it to its constructor.",
        type(search_alg).__name__,
    )
    return search_alg


def _properties_accepted(method: Callable[..., Any], *known: Any, **spec: Any) -> bool:
    """Calls set_search_properties(); older ones take no further keywords."""
    try:
        return bool(method(*known, **spec))
    except TypeError as error:
        text = str(error)
        if "set_search_properties() got an unexpected keyword argument" not in text:
            raise
        logger.warning(
            "%s: set_search_properties() should take **spec; it is called without.",
            type(getattr(method, "__self__", method)).__name__,
        )
        return bool(method(*known))


def _search_properties(
    algorithm: SearchAlgorithm,
    given: Any,
    metric: str | None,
    mode: str | None,
    space: dict[str, Any],
    public: dict[str, Any],
) -> None:
    accepted = _properties_accepted(
        algorithm.set_search_properties, metric, mode or None, space, **public
    )
    if not accepted and _unresolved(space):
        raise ValueError(
            f"config: {type(given).__name__} has a search space of its own, so the config "
            f"of {_ENTRY} must hold constants only. Define the space in one place. (The "
            "same happens if both are given a metric or a mode.)"
        )


def _unresolved(node: Any) -> bool:
    """Whether a value holds a domain or a grid; a function of other parameters is none."""
    if isinstance(node, Domain):
        return not node.is_function()
    if isinstance(node, dict):
        return _is_grid(node) or any(map(_unresolved, node.values()))
    if isinstance(node, (list, tuple)):
        return any(map(_unresolved, node))
    return False


def _is_grid(node: dict[Any, Any]) -> bool:
    return len(node) == 1 and "grid_search" in node


def _scheduler_properties(
    scheduler: TrialScheduler,
    metric: str | None,
    mode: str | None,
    public: dict[str, Any],
) -> None:
    accepted = _properties_accepted(scheduler.set_search_properties, metric, mode or None, **public)
    if not accepted:
        raise ValueError(
            f"metric, mode: were given to {type(scheduler).__name__} and to {_ENTRY}. "
            "Give each to one of them only."
        )


def _max_pending(algorithm: SearchAlgorithm, totals: Mapping[str, float]) -> int:
    given = os.environ.get("TUNE_MAX_PENDING_TRIALS_PG", "auto")
    if given != "auto":
        try:
            number = int(given)
        except ValueError:
            number = 0
        if number < 1:
            raise ValueError(
                f'TUNE_MAX_PENDING_TRIALS_PG: must be "auto" or at least 1, got {given!r}.'
            )
        return number
    if isinstance(algorithm, BasicVariantGenerator):
        return max(200, int(1.1 * totals.get("CPU", 1)))
    return 1


# --- callbacks and storage -----------------------------------------------------------


def _callbacks(callbacks: Sequence[Callback] | None) -> tuple[list[Callback], bool, bool]:
    """What the engine calls, and whether it writes result.json and progress.csv."""
    if callbacks is not None and not isinstance(callbacks, (list, tuple)):
        raise ValueError(f"callbacks: must be a list of Callback objects, got {callbacks!r:.80}.")
    every = callbacks if isinstance(callbacks, list) else list(callbacks or ())
    for callback in every:
        if isinstance(callback, type) or not hasattr(callback, "on_trial_result"):
            raise ValueError(f"callbacks: must hold Callback objects, got {callback!r:.80}.")
    if os.environ.get("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS") != "1":
        # In the caller's list too, which then shows everything that was told.
        for kind in (CSVLoggerCallback, JsonLoggerCallback):
            if not any(isinstance(callback, kind) for callback in every):
                every.append(kind())
    json = any(isinstance(callback, JsonLoggerCallback) for callback in every)
    csv = any(isinstance(callback, CSVLoggerCallback) for callback in every)
    # These two only stand for writers of the engine.
    hooks = [c for c in every if type(c) not in (CSVLoggerCallback, JsonLoggerCallback)]
    return hooks, json, csv


def _storage_path(storage_path: Any) -> str:
    from ctune.utils.util import default_storage_path

    if storage_path is None:
        return os.path.abspath(default_storage_path())
    try:
        path = os.fspath(storage_path)
    except TypeError:
        path = None
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError(f"storage_path: must be the path of a directory, got {storage_path!r}.")
    if "://" in path:
        raise NotImplementedError(
            f"storage_path: only local directories are implemented, got {path!r}."
        )
    return os.path.abspath(os.path.expanduser(path))


def _experiment_name(name: str | None, trainable_name: str, storage: str) -> str:
    from ctune.experiment.trial import MAX_NAME
    from ctune.utils.util import date_str

    if name is not None and not isinstance(name, str):
        raise ValueError(f"name: must be a text, got {name!r}.")
    if name:
        parts = name.split(os.path.sep)
        if name == "." or ".." in parts or "\0" in name or os.path.isabs(name):
            raise ValueError(
                f"name: must be the name of a directory in storage_path, got {name!r:.80}."
            )
        if any(len(os.fsencode(part)) > MAX_NAME for part in parts):
            raise ValueError(
                f"name: is too long for a directory, {len(name)} characters; at most "
                f"{MAX_NAME} bytes fit, got {name[:60]!r}..."
            )
        return name
    label = trainable_name.replace("/", "_")
    if int(os.environ.get("TUNE_DISABLE_DATED_SUBDIR", "0")):
        return label
    dated = f"{label}_{date_str()}"
    free = dated
    number = 2
    # Two runs within a second must not mix their results.
    while os.path.exists(os.path.join(storage, free)):
        free = f"{dated}_{number}"
        number += 1
    return free


def _make_directory(storage: str, name: str) -> str:
    directory = os.path.join(storage, name)
    try:
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, _MARKER), "wb"):
            pass
    except OSError as error:
        raise type(error)(
            error.errno,
            f"storage_path: cannot write to {directory!r} ({error.strerror}). Choose a "
            "directory that can be written to and has room",
        ) from error
    return directory


def _blob(executor: Any, trainable: type[Trainable], name: str) -> bytes | None:
    if executor == "inline":
        return None
    from ctune._pickling import dump_trainable

    return dump_trainable(trainable, name)
