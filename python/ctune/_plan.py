"""The plan of a run: every argument of run() settled, once.

All defaults, deprecations and checks across arguments are here, in the order in which
users expect their errors. What is below works on a Plan and asks nothing again.
"""

from __future__ import annotations

import enum
import functools
import importlib
import inspect
import logging
import numbers
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from ctune import _resume, _runtime
from ctune._config import (
    CheckpointConfig,
    ResumeConfig,
    _Config,
    check_fail_fast,
    check_failures,
    instead_of_local_dir,
)
from ctune._encode import brief, check_text, copied
from ctune._environment import environment_number
from ctune._storage import StorageContext
from ctune._transfer import fetch_experiment
from ctune._work import Care, Work
from ctune.callback import Callback
from ctune.error import TuneError
from ctune.experiment.experiment import (
    Experiment,
    at_least,
    criteria,
    integer,
    refuse_what_is_missing,
    samples,
    shown,
)
from ctune.experimental.output import (
    AirVerbosity,
    ProgressReporter,
    TrainReporter,
    TuneTerminalReporter,
)
from ctune.logger import (
    CSVLogger,
    CSVLoggerCallback,
    JsonLogger,
    JsonLoggerCallback,
    LegacyLoggerCallback,
    Logger,
    TBXLogger,
    TBXLoggerCallback,
)
from ctune.progress_reporter import (
    CLIReporter,
    JupyterNotebookReporter,
    TrialProgressCallback,
)
from ctune.schedulers import (
    FIFOScheduler,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
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
from ctune.trainable.trainable import Trainable
from ctune.utils.log import default_verbosity, in_notebook, set_verbosity
from ctune.utils.util import date_str

if TYPE_CHECKING:
    from ctune._pickling import Payload
    from ctune.execution.placement_groups import PlacementGroupFactory
    from ctune.experiment.trial import Trial

__all__ = ["Plan", "make_plan"]

logger = logging.getLogger("ctune")

_CHDIR_UNSET = "DEPRECATED"
_CALLBACKS_VARIABLE = "RAY_TUNE_CALLBACKS"


# What nobody compares or prints need not be made at each start: it takes milliseconds.
@dataclass(frozen=True, eq=False, repr=False)
class ExperimentPlan:
    """What the trials of one experiment have in common.

    Attributes:
        name: Name of the experiment.
        directory: Absolute path of its directory on this machine, which exists.
        storage: Where it stands; the same directory unless storage is remote.
        trainable: The class whose instances train.
        trainable_name: Its name in trial names.
        resources: Resource name -> amount for each trial; or a function of the config
            that returns that.
        bundles: `resources_per_trial` as it was given, if that is a PlacementGroupFactory.
        max_failures: Retries per trial, < 0 without limit.
        thresholds: Metric -> value at which a trial ends.
        trial_name_creator, trial_dirname_creator: Functions of a Trial, or None.
        care: What trials get beside what commands say.
        named_by_env: Whether a trial may have the parameter `env`, which is in its name.
    """

    name: str
    directory: str
    storage: StorageContext
    trainable: type[Trainable]
    trainable_name: str
    resources: dict[str, float] | Callable[[dict[str, Any]], dict[str, float]]
    bundles: PlacementGroupFactory | None
    max_failures: int
    thresholds: dict[str, float]
    trial_name_creator: Callable[[Trial], str] | None
    trial_dirname_creator: Callable[[Trial], str] | None
    care: Care = field(default_factory=Care)
    named_by_env: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """A run, settled.

    Attributes:
        experiments: What trials have in common, by experiment; the number of a trial's
            experiment is its place here.
        trainable: What TrialHost takes: the class whose instances train; name -> class if
            there are several; a Work if trials need more than that.
        name: Name of the first experiment.
        experiment_dir: Absolute path of its directory on this machine, which exists. The
            journal is there.
        metric, mode: What is optimised, and "min" or "max"; or None.
        stop: None, a dict of thresholds, a Stopper, a list of these, or a function; a tuple
            holds one for each experiment.
        time_budget_s: Seconds for the whole run, or None.
        public_spec: What others are told of the first experiment: `stop`, `num_samples` and
            `time_budget_s`.
        total_samples: Number of trials to come, or None if the search does not tell.
        search_alg: A SearchAlgorithm that knows the experiment.
        scheduler: A TrialScheduler.
        checkpoint_config: When to save and what to keep.
        verbose: Level of the output: 0 silent, 1 progress, 2 also each result, and with the
            older reporters 3.
        progress_reporter: What reports with the older kind of output; None: a callback does.
        fail_fast: False, True or "raise".
        raise_on_failed_trial: Whether run() raises if a trial failed.
        reuse_actors: Whether workers serve several trials.
        callbacks: What hears of events, without the engine's own loggers.
        json, csv: Whether the engine writes result.json and progress.csv.
        executor: "inline", "process" or an executor object.
        total_resources: What trials share.
        max_pending: Trials that are made ahead of their start.
        max_dirname: Length at which directory names are cut.
        force_stop_s: Seconds after which a worker that does not stop is killed.
        stands_still_s: Seconds after which a run that stands still says why.
        journal_sync: "none", "interval" or "always"; see init().
        trial_timeout_s: Seconds that a trial's step, save, restore or start may take; 0: any.
        log_trial_errors: Whether each failure's traceback is shown.
        payload: The pickled trainable where workers are processes, else None.
        required: Metrics that every result must hold.
        resume: What happens to the trials of the run that this one goes on with; None: a new
            one.
        past: What that run was; see _resume.
        identity: The same of this run.
        resize: Whether its pending trials get the resources that this run asks for.
        resume_hint: How to go on after an interrupt.
        subject: What was interrupted, in messages.
        started: When the run was settled, seconds since the epoch.
        session: The same as a date, which names its state file.
    """

    experiments: tuple[ExperimentPlan, ...]
    trainable: type[Trainable] | dict[str, type[Trainable]] | Work
    name: str
    experiment_dir: str
    metric: str | None
    mode: str | None
    stop: Any
    time_budget_s: float | None
    public_spec: dict[str, Any]
    total_samples: int | None
    search_alg: SearchAlgorithm
    scheduler: TrialScheduler
    checkpoint_config: CheckpointConfig
    verbose: int
    progress_reporter: Any
    fail_fast: bool | Literal["raise"]
    raise_on_failed_trial: bool
    reuse_actors: bool
    callbacks: list[Callback]
    json: bool
    csv: bool
    executor: Any
    total_resources: dict[str, float]
    max_pending: int
    max_dirname: int
    force_stop_s: float
    stands_still_s: float
    journal_sync: str
    trial_timeout_s: float
    log_trial_errors: bool
    payload: Payload | None
    required: tuple[str, ...]
    resume: ResumeConfig | None
    past: Mapping[str, Any] | None
    identity: Mapping[str, Any]
    resize: bool
    resume_hint: str
    subject: str
    started: float
    session: str

    @property
    def sync_checkpoints(self) -> bool:
        """Whether a checkpoint must be on the disk itself before it counts.

        Where none is ever removed, one that a loss of power damages is passed over for the
        one before.
        """
        removes = self.checkpoint_config.num_to_keep is not None
        return self.journal_sync == "always" or (self.journal_sync == "interval" and removes)


class Entrypoint(enum.Enum):
    """Which public function was called."""

    TUNE_RUN = "tune.run"
    TUNE_RUN_EXPERIMENTS = "tune.run_experiments"
    TUNER = "Tuner.fit"
    TRAINER = "Trainer.fit"

    @classmethod
    def of(cls, given: Any) -> Entrypoint:
        """Returns the member that `given` is or is called like; None means run().

        Raises:
            ValueError: There is none.
        """
        if given is None:
            return cls.TUNE_RUN
        name = getattr(given, "name", given)
        if name in cls.__members__:
            return cls[name]
        raise ValueError(
            f"_entrypoint: must be one of {', '.join(cls.__members__)}, got {brief(given)}."
        )


@dataclass(frozen=True)
class Words:
    """What a caller knows things by, for messages."""

    entry: str
    space: str
    resume: str
    subject: str = "Experiment"


WORDS = {
    Entrypoint.TUNE_RUN: Words("tune.run(...)", "config", "tune.run(..., resume=True)"),
    Entrypoint.TUNE_RUN_EXPERIMENTS: Words(
        "tune.run_experiments(...)",
        "experiment=Experiment(config)",
        "tune.run_experiments(..., resume=True)",
    ),
    Entrypoint.TUNER: Words(
        "Tuner(...)", "param_space", 'Tuner.restore(path="{path}", trainable=...)'
    ),
    Entrypoint.TRAINER: Words(
        "<FrameworkTrainer>(...)",
        "param_space",
        '<FrameworkTrainer>.restore(path="{path}", ...)',
        "Training",
    ),
}


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
    entry = Entrypoint.of(_entrypoint)
    words = WORDS[entry]
    runtime = _runtime_for_run(words)
    refuse_what_is_missing(_remote=_remote or None, _remote_string_queue=_remote_string_queue)
    _warn_of_environment()
    storage_path = instead_of_local_dir(storage_path, local_dir)
    started = time.time()
    if mode and mode not in ("min", "max"):
        raise ValueError(f'mode: {words.entry} takes "min" or "max", got {brief(mode)}.')
    _check_metric(metric)
    level, older = _output(verbose)
    space = _space(config, words)
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
    goes_on = bool(resume) or resume_config is not None
    began = _resume.Began(goes_on)
    scheduler_ = began("scheduler", _scheduler(scheduler))
    search_alg = began("search_alg", search_alg)
    _check_buffering(scheduler_)
    _check_resource_changing(scheduler_, reuse_actors)
    _hint_at_reuse(scheduler_, reuse_actors)
    experiments = _experiments(
        run_or_experiment,
        name=name,
        stop=stop,
        time_budget_s=time_budget_s,
        config=space,
        resources_per_trial=resources_per_trial,
        num_samples=num_samples,
        storage_path=storage_path,
        storage_filesystem=storage_filesystem,
        sync_config=sync_config,
        checkpoint_config=checkpoints,
        trial_name_creator=trial_name_creator,
        trial_dirname_creator=trial_dirname_creator,
        log_to_file=log_to_file,
        export_formats=export_formats,
        max_failures=max_failures,
        restore=restore,
    )
    experiment = experiments[0]
    trainable = _work(experiments)
    payload = _payload(runtime.executor, trainable, experiment.run_identifier)
    check_failures(fail_fast, integer("max_failures", max_failures))
    given = search_alg
    algorithm = _search_algorithm(search_alg, max_concurrent_trials, runtime.one_by_one)
    searched = bool(search_alg) and not isinstance(algorithm, BasicVariantGenerator)
    plans = tuple(_experiment_plan(one, runtime, searched) for one in experiments)
    if space:
        _search_properties(algorithm, given, metric, mode, space, experiment.public_spec, words)
    _scheduler_properties(scheduler_, metric, mode, experiment.public_spec, words)
    reporting = _reporting(
        entry, older, level, metric, mode, _trainables(experiments), experiment.spec, space
    )
    hooks, json, csv = _callbacks(callbacks, reporting)
    reporter = _progress_reporter(progress_reporter, older, level, entry)
    _hint_at_gpus(plans[0], runtime.resources)
    resumed = resume_config or resume_config_of(resume)
    fail_fast_ = check_fail_fast(fail_fast)
    if fail_fast_ == "raise":
        warnings.warn(
            'fail_fast="raise" raises a trial\'s error in the driver at once; other '
            "trials are ended without being asked.",
            stacklevel=4,
        )
    if runtime.debug:
        fail_fast_ = "raise"
    conditions = began("stop", _criteria_of(experiments))
    identity = _resume.identity(
        trainables=[one.trainable_name for one in plans],
        spaces=[one.spec["config"] for one in experiments],
        scheduler=scheduler_,
        search_alg=algorithm,
        metric=metric,
        mode=mode,
        num_samples=[one.spec["num_samples"] for one in experiments],
        stop=conditions,
        time_budget_s=experiment.budget_s,
        asked=_asked(plans),
    )
    past = _past(resumed, identity, experiment, fail_fast_)
    for one in experiments:
        one.storage.prepare()
        algorithm.add_configurations([one])
    return Plan(
        experiments=plans,
        trainable=trainable,
        name=experiment.name,
        experiment_dir=experiment.local_path,
        metric=metric,
        mode=mode or None,
        stop=conditions,
        time_budget_s=experiment.budget_s,
        public_spec=experiment.public_spec,
        total_samples=getattr(algorithm, "total_samples", None),
        search_alg=algorithm,
        scheduler=scheduler_,
        checkpoint_config=experiment.checkpoint_config,
        verbose=level,
        progress_reporter=reporter,
        fail_fast=fail_fast_,
        raise_on_failed_trial=bool(raise_on_failed_trial),
        reuse_actors=bool(reuse_actors),
        callbacks=hooks,
        json=json,
        csv=csv,
        executor=runtime.executor,
        total_resources=dict(runtime.resources),
        max_pending=_max_pending(algorithm, runtime.resources),
        max_dirname=environment_number("TUNE_MAX_LEN_IDENTIFIER", 130),
        force_stop_s=_force_stop_s(runtime),
        stands_still_s=_stands_still_s(),
        journal_sync=runtime.journal_sync,
        trial_timeout_s=runtime.trial_timeout_s,
        log_trial_errors=os.environ.get("TUNE_PRINT_ALL_TRIAL_ERRORS", "1") == "1",
        payload=payload,
        required=_required(metric, scheduler_, algorithm),
        resume=resumed if past is not None else None,
        past=past,
        identity=identity,
        resize=bool(resources_per_trial),
        resume_hint=words.resume.format(path=experiment.storage.place),
        subject=words.subject,
        started=started,
        session=date_str(),
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
        raise ValueError(f'mode: simulate() takes "min" or "max", got {brief(mode)}.')
    space = _space(config, WORDS[Entrypoint.TUNE_RUN])
    number = samples(num_samples)
    scheduler_ = _scheduler(scheduler)
    _check_resource_changing(scheduler_, reuse_actors)
    conditions = criteria(stop)
    public = {"stop": stop, "num_samples": number, "time_budget_s": None}
    algorithm = _search_algorithm(search_alg, None, False)
    words = WORDS[Entrypoint.TUNE_RUN]
    if space:
        _search_properties(algorithm, search_alg, metric, mode, space, public, words)
    _scheduler_properties(scheduler_, metric, mode, public, words)
    algorithm.add_configurations(
        {name: {"run": name, "config": space, "num_samples": number, "stop": conditions}}
    )
    totals = {"CPU": float(num_workers)}
    return Plan(
        experiments=(
            ExperimentPlan(
                name=name,
                directory=directory,
                storage=StorageContext(*os.path.split(directory)),
                trainable=Trainable,
                trainable_name=name,
                resources={"CPU": 1.0},
                bundles=None,
                max_failures=max_failures,
                thresholds=conditions if isinstance(conditions, dict) else {},
                trial_name_creator=None,
                trial_dirname_creator=None,
            ),
        ),
        trainable=Trainable,
        name=name,
        experiment_dir=directory,
        metric=metric,
        mode=mode,
        stop=conditions,
        time_budget_s=None,
        public_spec=public,
        total_samples=getattr(algorithm, "total_samples", None),
        search_alg=algorithm,
        scheduler=scheduler_,
        checkpoint_config=CheckpointConfig(),
        verbose=0,
        progress_reporter=None,
        fail_fast=False,
        raise_on_failed_trial=False,
        reuse_actors=reuse_actors,
        callbacks=[],
        json=False,
        csv=False,
        executor=simulation,
        total_resources=totals,
        max_pending=_max_pending(algorithm, totals),
        max_dirname=130,
        force_stop_s=0.0,
        stands_still_s=0.0,
        journal_sync="none",
        trial_timeout_s=0.0,
        log_trial_errors=False,
        payload=None,
        required=_required(metric, scheduler_, algorithm),
        resume=None,
        past=None,
        identity={},
        resize=False,
        resume_hint="",
        subject="Simulation",
        started=0.0,
        session="",
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


# --- one argument each ---------------------------------------------------------------


def _check_metric(metric: Any) -> None:
    names = metric if isinstance(metric, (list, tuple)) else [metric]
    if metric is not None and not all(isinstance(name, str) for name in names):
        raise ValueError(f"metric: must be the name of a key in the results, got {brief(metric)}.")
    for name in names:
        if name is not None:
            check_text("metric", name)


def _output(verbose: Any) -> tuple[int, bool]:
    """Returns the level of the output, and whether the older reporters speak."""
    older = os.environ.get("RAY_AIR_NEW_OUTPUT") == "0"
    if verbose is None:
        verbose = default_verbosity()
    value = getattr(verbose, "value", verbose)  # an enum of levels
    if not isinstance(value, numbers.Integral):
        raise ValueError(f"verbose: must be 0, 1 or 2, got {brief(verbose)}.")
    if value < 0:
        raise ValueError(
            f"verbose: must be 0 (silent), 1 (progress) or 2 (results), got {brief(verbose)}."
        )
    level = int(value)
    if not older:
        level = min(2, level)
        if in_notebook():
            logger.info("This is a notebook: progress is shown as HTML.")
            older = True
    set_verbosity(level if older else 0)
    return level, older


def _reporting(
    entry: Entrypoint,
    older: bool,
    level: int,
    metric: Any,
    mode: str | None,
    trainable: Any,
    spec: dict[str, Any],
    space: dict[str, Any],
) -> Callback:
    """The callback that tells of trials."""
    first = next(iter(trainable.values())) if isinstance(trainable, dict) else trainable
    shown = getattr(first, "_progress_metrics", None)  # the only keys of results to show
    if not isinstance(metric, str):
        metric = mode = None  # of several metrics no trial is best
    if older:
        return TrialProgressCallback(metric, shown)
    if entry is Entrypoint.TRAINER:
        return TrainReporter(AirVerbosity(level), shown)
    return TuneTerminalReporter(
        AirVerbosity(level),
        spec["num_samples"],
        metric,
        mode or None,
        space or spec["config"],
        shown,
    )


def _progress_reporter(given: Any, older: bool, level: int, entry: Entrypoint) -> Any:
    """What reports with the older kind of output; None with the other."""
    if not older:
        if given is not None:
            logger.warning(
                "progress_reporter is ignored: only with the environment variable "
                "RAY_AIR_NEW_OUTPUT=0, or in a notebook, %s would report.",
                type(given).__name__,
            )
        return None
    if given is None:
        if in_notebook() and entry is not Entrypoint.TRAINER:
            return JupyterNotebookReporter(overwrite=level < 2)
        return CLIReporter()
    missing = [m for m in ("setup", "should_report", "report") if not hasattr(given, m)]
    if missing or isinstance(given, type):
        raise ValueError(
            "progress_reporter: must be a ProgressReporter object such as CLIReporter(), got "
            f"{brief(given)}."
        )
    return given


def _space(config: Any, words: Words) -> dict[str, Any]:
    if isinstance(config, _Config):
        config = config.to_dict()
    elif not isinstance(config, dict) and config is not None:
        # Other empty values count as not given.
        if isinstance(config, (list, tuple, str)) and not config:
            config = {}
        else:
            raise ValueError(
                f"{words.space}: {words.entry} takes a dict of parameters, got {shown(config)}."
            )
    if config and _is_grid(config):
        raise ValueError(
            f"config: is itself a grid, {brief(config)}. Give the parameter a name: "
            '{"x": grid_search([...])}.'
        )
    _check_keys(config or {})
    return copied(config or {})


def _check_keys(node: Any) -> None:
    """Names of parameters become columns, tags and paths: they must be texts that can."""
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(key, str):
                check_text("config", key)
            _check_keys(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _check_keys(value)


def _experiments(run_or_experiment: Any, **arguments: Any) -> list[Experiment]:
    """What is to run, in a list; one that was given is filled with Experiments."""
    every = run_or_experiment if isinstance(run_or_experiment, list) else [run_or_experiment]
    for place, one in enumerate(every):
        if not isinstance(one, Experiment):
            every[place] = Experiment(run=one, **arguments)
    if not every:
        raise IndexError("run_or_experiment: the list is empty; give at least one trainable.")
    return every


def _experiment_plan(one: Experiment, runtime: _runtime.Runtime, searched: bool) -> ExperimentPlan:
    spec = one.spec
    asked = spec["resources_per_trial"]
    return ExperimentPlan(
        name=one.name,
        directory=one.local_path,
        storage=one.storage,
        trainable=one.trainable,
        trainable_name=one.run_identifier,
        resources=_resources(one.trainable, asked, runtime.resources),
        bundles=_bundles(asked),
        max_failures=0 if runtime.debug else spec["max_failures"],
        thresholds=one.criteria if isinstance(one.criteria, dict) else {},
        trial_name_creator=spec["trial_name_creator"],
        trial_dirname_creator=spec["trial_dirname_creator"],
        care=_care(one),
        named_by_env=searched or "env" in spec["config"],
    )


def _care(one: Experiment) -> Care:
    spec = one.spec
    return Care(spec["log_to_file"], tuple(spec["export_formats"]), spec["restore"])


def _work(
    experiments: Sequence[Experiment],
) -> type[Trainable] | dict[str, type[Trainable]] | Work:
    """What TrialHost takes."""
    cared: dict[str, Care] = {}
    for one in experiments:
        if cared.setdefault(one.name, _care(one)) != _care(one):
            raise ValueError(
                f"experiments: two are called {one.name!r}, but differ in log_to_file, "
                "export_formats or restore. Give them different names."
            )
    trainable = _trainables(experiments)
    return Work(trainable, cared) if any(care != Care() for care in cared.values()) else trainable


def _trainables(
    experiments: Sequence[Experiment],
) -> type[Trainable] | dict[str, type[Trainable]]:
    """What is trained: a class; name -> class if there are several experiments."""
    if len(experiments) == 1:
        return experiments[0].trainable
    found: dict[str, type[Trainable]] = {}
    for one in experiments:
        other = found.setdefault(one.run_identifier, one.trainable)
        if _what_trains(other) is not _what_trains(one.trainable):
            raise ValueError(
                f"run_or_experiment: two trainables are called {one.run_identifier!r}. Register "
                "them under different names with register_trainable()."
            )
    return found


def _what_trains(trainable: type[Trainable]) -> Any:
    """The function that a class was made of; else the class."""
    wrapped = inspect.getattr_static(trainable, "_function", None)
    return wrapped.__func__ if isinstance(wrapped, staticmethod) else trainable


def _criteria_of(experiments: Sequence[Experiment]) -> Any:
    """Stop conditions. Of several experiments each has its thresholds; a Stopper or function
    counts if it is the first one's, and serves all."""
    first = experiments[0].criteria
    if len(experiments) == 1:
        return first
    own = tuple(one.criteria if isinstance(one.criteria, dict) else {} for one in experiments)
    if first is None or isinstance(first, dict):
        return own if any(own) else None
    return [*(first if isinstance(first, list) else [first]), own]


def resume_config_of(resume: Any) -> ResumeConfig | None:
    """Returns what `resume` asks for; None for a new experiment.

    Raises:
        DeprecationWarning: It is a form that is gone.
        ValueError: It is unknown.
    """
    kind = ResumeConfig.ResumeType
    if resume is None or resume is False:
        return None
    if resume is True:
        return ResumeConfig()
    if not isinstance(resume, str):
        raise ValueError(
            f"resume: must be True, False, None or a str such as 'AUTO', got {brief(resume)}; "
            "a ResumeConfig is the argument resume_config."
        )
    base, *settings = resume.split("+")
    if base in ("LOCAL", "REMOTE", "PROMPT", "ERRORED_ONLY"):
        raise DeprecationWarning(
            f"resume: {base!r} is gone: give True, False or 'AUTO', or a ResumeConfig."
        )
    found = ResumeConfig()
    for setting in settings:
        if setting == "ERRORED":
            found = ResumeConfig(errored=kind.RESUME)
        elif setting == "RESTART_ERRORED":
            found = ResumeConfig(errored=kind.RESTART)
        elif setting == "ERRORED_ONLY":
            found = ResumeConfig(unfinished=kind.SKIP, errored=kind.RESUME)
        elif setting == "RESTART_ERRORED_ONLY":
            found = ResumeConfig(unfinished=kind.SKIP, errored=kind.RESTART)
        else:
            raise ValueError(
                f"resume: {setting!r} in {resume!r} is unknown; after '+' stands ERRORED, "
                "RESTART_ERRORED, ERRORED_ONLY or RESTART_ERRORED_ONLY."
            )
    return found


def _past(
    config: Any, identity: Mapping[str, Any], experiment: Experiment, fail_fast: Any
) -> Mapping[str, Any] | None:
    """What the run was that is to go on; None where there is none, or a new one is asked for."""
    if config is None:
        return None
    _resume.resume_config_checked(config)
    fetch_experiment(experiment.storage, "none")  # _run fetches what trials go on from
    settings = _resume.past_of(experiment.local_path)
    if settings is not None:
        past: Mapping[str, Any] = settings["run"]
        _resume.check_past(past, identity, experiment.storage.place)
        return past
    if fail_fast:
        raise TuneError(
            f"resume: there is no experiment to resume in {experiment.path!r}. Leave it out for a "
            "new one."
        )
    logger.error("There is no experiment to resume in %s.", experiment.path)
    logger.info("The experiment restarts as a new one.")
    return None


def _asked(plans: Sequence[ExperimentPlan]) -> dict[str, bool]:
    """Parameter -> whether it is a function that answers for each trial."""
    return {
        "resources_per_trial": any(callable(one.resources) for one in plans),
        "trial_name_creator": any(
            one.trial_name_creator is not None or one.named_by_env for one in plans
        ),
        "trial_dirname_creator": any(one.trial_dirname_creator is not None for one in plans),
    }


def _required(metric: str | None, scheduler: Any, search_alg: Any) -> tuple[str, ...]:
    """Metrics that every result must hold (strict checking)."""
    if environment_number("TUNE_DISABLE_STRICT_METRIC_CHECKING", 0) == 1:
        return ()
    found: Any = metric or getattr(scheduler, "metric", None) or getattr(search_alg, "metric", None)
    if not found or found == "_metric":
        return ()
    return tuple(found) if isinstance(found, (list, tuple)) else (found,)


def _hint_at_reuse(scheduler: TrialScheduler, reuse_actors: Any) -> None:
    if reuse_actors:
        return
    if isinstance(scheduler, (PopulationBasedTraining, PopulationBasedTrainingReplay)):
        warnings.warn(
            f"{type(scheduler).__name__} starts a worker for each exploit. Give "
            "reuse_actors=True, and class trainables a reset_config(), to save that.",
            stacklevel=5,
        )


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
        raise ValueError(f"checkpoint_config: must be a CheckpointConfig, got {brief(config)}.")
    if keep is not None:
        _deprecated("keep_checkpoints_num", "CheckpointConfig(num_to_keep=...)")
        at_least("keep_checkpoints_num", keep, 1)
        config.num_to_keep = keep
    if score is not None:
        if not isinstance(score, str):
            raise ValueError(
                "checkpoint_score_attr: must be the name of a key in the results, got "
                f"{brief(score)}."
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
    if at_least("checkpoint_freq", frequency, 0) > 0:
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


def _scheduler(scheduler: Any) -> TrialScheduler:
    if isinstance(scheduler, str):
        scheduler = create_scheduler(scheduler)
    elif not scheduler:
        scheduler = FIFOScheduler()
    if not isinstance(scheduler, TrialScheduler):
        raise ValueError(
            f"scheduler: must be a TrialScheduler, or the name of one, got {brief(scheduler)}."
        )
    return scheduler


def _check_resource_changing(scheduler: TrialScheduler, reuse_actors: Any) -> None:
    if not isinstance(scheduler, ResourceChangingScheduler):
        return
    if reuse_actors:
        raise ValueError(
            f"reuse_actors: {type(scheduler).__name__} needs False, got {brief(reuse_actors)}: a "
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


# --- resources -----------------------------------------------------------------------


def _force_stop_s(runtime: _runtime.Runtime) -> float:
    """The end of a trial has a limit of its own, but none above that of its other work."""
    limits = (environment_number("TUNE_FORCE_TRIAL_CLEANUP_S", 600.0), runtime.trial_timeout_s)
    return min((limit for limit in limits if limit > 0), default=0.0)


def _stands_still_s() -> float:
    name = "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S"
    text = os.environ.get(name) or "5"
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise ValueError(f"{name}: must be a number of seconds, 0 for never, got {text!r}.")
    return limit


def _runtime_for_run(words: Words) -> _runtime.Runtime:
    if not _runtime.is_initialized():
        if os.environ.get("TUNE_DISABLE_AUTO_INIT") == "1":
            logger.info("TUNE_DISABLE_AUTO_INIT=1: %s starts no runtime.", words.entry)
        else:
            logger.info("%s uses the default runtime; see init().", words.entry)
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
            f"PlacementGroupFactory, got {brief(request)}."
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


def _hint_at_gpus(first: ExperimentPlan, totals: Mapping[str, float]) -> None:
    asked = first.resources
    if totals.get("GPU", 0) > 0 and not _declares_resources(first.trainable):
        if not callable(asked) and not asked.get("GPU"):
            logger.warning(
                "There are GPUs, but trials do not ask for one. Give "
                'resources_per_trial={"gpu": 1} to use them.'
            )


def _resources(
    trainable: type[Trainable], asked: Any, totals: Mapping[str, float]
) -> dict[str, float] | Callable[[dict[str, Any]], dict[str, float]]:
    explicit = None
    if asked is not None:
        explicit = request_amounts(asked, "resources_per_trial")
        _check_possible(explicit, totals, "resources_per_trial")
    if not _declares_resources(trainable):
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


def _search_algorithm(search_alg: Any, limit: int | None, one_by_one: bool) -> SearchAlgorithm:
    if isinstance(search_alg, str):
        search_alg = create_searcher(search_alg)
    if limit is not None:
        limit = integer("max_concurrent_trials", limit)
        if limit < 0:
            raise ValueError(
                f"max_concurrent_trials: must be at least 1, or None for no limit, got {limit}."
            )
    if one_by_one:
        limit = 1
    if not search_alg:
        return BasicVariantGenerator(max_concurrent=limit or 0)
    if not isinstance(search_alg, (Searcher, SearchAlgorithm)):
        raise ValueError(
            "search_alg: must be a Searcher, a SearchAlgorithm or the name of one, got "
            f"{brief(search_alg)}."
        )
    if limit:
        search_alg = _limited(search_alg, limit, one_by_one)
    if isinstance(search_alg, Searcher):
        return SearchGenerator(search_alg)
    algorithm: SearchAlgorithm = search_alg
    return algorithm


def _limited(search_alg: Any, limit: int, one_by_one: bool) -> Any:
    if isinstance(search_alg, ConcurrencyLimiter):
        if one_by_one:
            return search_alg
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
    if one_by_one:
        return search_alg
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
    words: Words,
) -> None:
    accepted = _properties_accepted(
        algorithm.set_search_properties, metric, mode or None, space, **public
    )
    if not accepted and _unresolved(space):
        raise ValueError(
            f"{words.space}: {type(given).__name__} has a search space of its own, so the "
            f"{words.space} of {words.entry} must hold constants only. Define the space in "
            "one place. (The same happens if both are given a metric or a mode.)"
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
    words: Words,
) -> None:
    accepted = _properties_accepted(scheduler.set_search_properties, metric, mode or None, **public)
    if not accepted:
        raise ValueError(
            f"metric, mode: were given to {type(scheduler).__name__} and to {words.entry}. "
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


_LOGGERS: tuple[tuple[type[Callback], type[Logger]], ...] = (
    (CSVLoggerCallback, CSVLogger),
    (JsonLoggerCallback, JsonLogger),
    (TBXLoggerCallback, TBXLogger),
)


def _callbacks(
    callbacks: Sequence[Callback] | None, reporting: Callback
) -> tuple[list[Callback], bool, bool]:
    """What the engine calls, and whether it writes result.json and progress.csv.

    Args:
        callbacks: What the caller gave.
        reporting: What tells of trials, unless the caller gave such a thing.
    """
    if callbacks is not None and not isinstance(callbacks, (list, tuple)):
        raise ValueError(f"callbacks: must be a list of Callback objects, got {brief(callbacks)}.")
    every = callbacks if isinstance(callbacks, list) else list(callbacks or ())
    for callback in every:
        if isinstance(callback, type) or not hasattr(callback, "on_trial_result"):
            raise ValueError(f"callbacks: must hold Callback objects, got {brief(callback)}.")
    every += _callbacks_of_environment()
    if isinstance(reporting, ProgressReporter):
        if any(isinstance(callback, TrialProgressCallback) for callback in every):
            logger.warning(
                "The TrialProgressCallback is ignored: it speaks only with the environment "
                "variable RAY_AIR_NEW_OUTPUT=0, or in a notebook."
            )
            every = [c for c in every if not isinstance(c, TrialProgressCallback)]
        kind: type[Callback] = ProgressReporter
    else:
        kind = TrialProgressCallback
    # In the caller's list too, which then shows everything that was told.
    if not any(isinstance(callback, kind) for callback in every):
        every.append(reporting)
    if os.environ.get("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS") != "1":
        for logs, legacy in _LOGGERS:
            if not any(_logs_like(callback, logs, legacy) for callback in every):
                _add_logger(every, logs)
    json = any(isinstance(callback, JsonLoggerCallback) for callback in every)
    csv = any(isinstance(callback, CSVLoggerCallback) for callback in every)
    # These two only stand for writers of the engine.
    hooks = [c for c in every if type(c) not in (CSVLoggerCallback, JsonLoggerCallback)]
    return hooks, json, csv


def _logs_like(callback: Callback, kind: type[Callback], legacy: type[Logger]) -> bool:
    """Whether a callback writes what a default logger would."""
    if isinstance(callback, LegacyLoggerCallback):
        return legacy in callback.logger_classes
    return isinstance(callback, kind)


def _callbacks_of_environment() -> list[Callback]:
    found = []
    for path in os.environ.get(_CALLBACKS_VARIABLE, "").split(","):
        path = path.strip()
        if not path:
            continue
        module, _, name = path.rpartition(".")
        try:
            made = getattr(importlib.import_module(module), name)()
            if not isinstance(made, Callback):
                raise TypeError(f"it makes a {type(made).__name__}, which is no Callback")
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            raise ValueError(
                f"{_CALLBACKS_VARIABLE}: no callback can be made from {path!r} ({error}). It must "
                "list classes such as package.module.MyCallback, separated by commas."
            ) from error
        found.append(made)
    return found


@functools.cache
def _warn_once(text: str) -> None:
    logger.warning(text)


def _add_logger(every: list[Callback], kind: type[Callback]) -> None:
    try:
        every.append(kind())
    except ImportError as error:
        _warn_once(f"No files for TensorBoard are written: {error}.")


def _payload(executor: Any, trainable: Any, name: str) -> Payload | None:
    if executor != "process":
        return None
    from ctune._pickling import dump_trainable

    return dump_trainable(trainable, name)
