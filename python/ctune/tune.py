"""The entry points: run() and run_experiments().

All public names of the package are here too, for scripts that say
`from ctune import tune`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctune._config import CheckpointConfig, ResumeConfig, SyncConfig
    from ctune.analysis.experiment_analysis import ExperimentAnalysis
    from ctune.callback import Callback
    from ctune.execution.placement_groups import PlacementGroupFactory
    from ctune.experiment.experiment import Experiment
    from ctune.experiment.trial import Trial
    from ctune.schedulers import TrialScheduler
    from ctune.search import SearchAlgorithm, Searcher
    from ctune.stopper import Stopper
    from ctune.trainable.trainable import Trainable

__all__ = ["run", "run_experiments"]


def run(
    run_or_experiment: str | Callable[..., Any] | type[Trainable] | Experiment | list[Any],
    name: str | None = None,
    metric: str | None = None,
    mode: str | None = None,
    stop: Mapping[str, Any]
    | Stopper
    | Callable[[str, dict[str, Any]], bool]
    | list[Stopper]
    | None = None,
    time_budget_s: float | timedelta | None = None,
    config: dict[str, Any] | None = None,
    resources_per_trial: Mapping[str, Any] | PlacementGroupFactory | None = None,
    num_samples: int = 1,
    storage_path: str | os.PathLike[str] | None = None,
    storage_filesystem: Any = None,
    search_alg: Searcher | SearchAlgorithm | str | None = None,
    scheduler: TrialScheduler | str | None = None,
    checkpoint_config: CheckpointConfig | None = None,
    verbose: int | None = None,
    progress_reporter: Any = None,
    log_to_file: bool | str | Sequence[str] = False,
    trial_name_creator: Callable[[Trial], str] | None = None,
    trial_dirname_creator: Callable[[Trial], str] | None = None,
    sync_config: SyncConfig | None = None,
    export_formats: Sequence[str] | None = None,
    max_failures: int = 0,
    fail_fast: bool | str = False,
    restore: str | None = None,
    resume: bool | str | None = None,
    resume_config: ResumeConfig | None = None,
    reuse_actors: bool = False,
    raise_on_failed_trial: bool = True,
    callbacks: Sequence[Callback] | None = None,
    max_concurrent_trials: int | None = None,
    # Deprecated.
    keep_checkpoints_num: int | None = None,
    checkpoint_score_attr: str | None = None,
    checkpoint_freq: int = 0,
    checkpoint_at_end: bool = False,
    chdir_to_trial_dir: Any = "DEPRECATED",
    local_dir: str | None = None,
    # Internal.
    _remote: bool | None = None,
    _remote_string_queue: Any = None,
    _entrypoint: Any = None,
) -> ExperimentAnalysis:
    """Tries configurations of a trainable and returns what was found.

    Each configuration is one trial. Trials run at the same time as far as the resources
    go, report results, and are stopped early if the scheduler or a stop condition says
    so. Ctrl-C ends a run gracefully: running steps are finished, everything is kept, and
    the analysis is returned; a second Ctrl-C stops at once.

    Args:
        run_or_experiment: What to train: a function of the config that calls report(), a
            Trainable class, or the name of either from register_trainable(). Or an
            Experiment, to which arguments that Experiment has too do not apply. A list of
            these, which is filled with Experiments: their trials share the run. Of their
            settings the first one's Stopper, time budget and checkpoint_config serve all.
        name: Name of the experiment's directory. Default: the trainable's name and the
            date.
        metric: Result key to optimise; nested ones as "a/b". Schedulers and searchers
            without a metric of their own use it, and each result must hold it.
        mode: "min" or "max": the direction.
        stop: When trials end. A dict: as soon as the value of one of its metrics is at
            least the given number, e.g. `{"training_iteration": 10}`. A function
            `(trial_id, result) -> bool`. A Stopper, or a list of Stoppers.
        time_budget_s: Seconds, or a timedelta, after which the whole experiment ends.
        config: The search space: a dict, whose values may be constants, distributions
            such as `uniform(0, 1)`, `grid_search([...])`, `sample_from(function)`, and
            dicts and lists of all these. It is copied.
        resources_per_trial: What one trial needs, e.g. `{"cpu": 2, "gpu": 0.5}`.
            Default: one CPU. An error if the trainable declares resources itself.
        num_samples: How often the space is sampled; each point of a grid is tried that
            often. -1: endlessly, until something else ends the experiment.
        storage_path: Directory below which the experiment's directory is made: a local path,
            or a URI that pyarrow knows ("s3://bucket/results", "file:///data"). Remote
            storage is filled beside the run; trials write to a staging folder in
            ~/.cache/ctune, or CTUNE_STAGING_DIR. Default: ~/ray_results.
        storage_filesystem: A `pyarrow.fs.FileSystem`; `storage_path` is a bare path on it.
        search_alg: What suggests configurations: a Searcher, a SearchAlgorithm, or a
            name. Default: BasicVariantGenerator, grid and random search.
        scheduler: What stops and pauses trials early: a TrialScheduler, or a name.
            Default: FIFOScheduler, which lets all trials finish.
        checkpoint_config: When class trainables are saved, and how many checkpoints of
            a trial are kept. Default: only what the trainable asks for, and all.
        verbose: 0: silent; 1: progress; 2: also each result and checkpoint. Default: 1. With
            the environment variable RAY_AIR_NEW_OUTPUT=0: 0: silent; 1: status; 2: also a
            line for results; 3: also whole results, and tables on the way. Default: 3.
        progress_reporter: What reports with RAY_AIR_NEW_OUTPUT=0 or in a notebook: a
            ProgressReporter such as `CLIReporter(max_report_frequency=30)`. Otherwise it is
            ignored, with a warning; the reporters of `ctune.experimental.output` are callbacks.
        log_to_file: Where what a trial prints goes besides. True: to the files `stdout` and
            `stderr` in the trial's directory; a name: both to that file; a pair of names:
            one each, None for no file. The file for stderr also gets ctune's log records.
        trial_name_creator: Function of a trial that returns its name. Default: the
            trainable's name and the trial's id.
        trial_dirname_creator: Function of a trial that returns the name of its
            directory. Default: name, parameters and date.
        sync_config: When files are copied to remote storage, and which.
        export_formats: What the trainable's `export_model()` is told to export when a trial
            ends, e.g. ["model"]. A trial whose export fails is a failed trial.
        max_failures: How often a failed trial is tried again, from its latest
            checkpoint; -1: without limit.
        fail_fast: True: the first failure stops the experiment. "raise": it is raised
            from here at once. Both need max_failures=0.
        restore: Directory of a checkpoint that every trial starts from, until it has one of
            its own. Iterations count from 0.
        resume: True: go on with the run that `name` and `storage_path` tell, where it was
            cut or has ended. What decided about its trials (trainable, space, scheduler,
            searcher, metric) must be the same; `num_samples`, `stop`, `time_budget_s` and
            what concerns the machine may be new. With "AUTO+ERRORED" failed trials go on
            from their checkpoints, with "AUTO+RESTART_ERRORED" they start anew; with
            "AUTO+ERRORED_ONLY" and "AUTO+RESTART_ERRORED_ONLY" unfinished ones do not go on.
            With nothing to resume a new experiment begins.
        resume_config: The same as a ResumeConfig, which wins over `resume`.
        reuse_actors: Let a worker serve further trials when one ends, through
            `reset_config`. Saves the start of a worker for each trial.
        raise_on_failed_trial: Raise TuneError at the end if a trial failed.
        callbacks: Callback objects. Loggers for result.json and progress.csv are added
            to the list unless it has some.
        max_concurrent_trials: How many trials may run at the same time; default: as
            many as the resources allow.
        keep_checkpoints_num, checkpoint_score_attr, checkpoint_freq, checkpoint_at_end:
            Deprecated: use `checkpoint_config`.
        chdir_to_trial_dir: Gone.
        local_dir: Deprecated: use `storage_path`.

    Returns:
        The trials, and questions about them: `best_config`, `dataframe()`, ...

    Raises:
        ValueError, TypeError: An argument is wrong; the message begins with its name.
            No trial has started then.
        NotImplementedError: An argument is documented but not implemented.
        TuneError: A trial failed, and `raise_on_failed_trial` is True; or a scheduler,
            searcher, stopper, callback or reporter raised an error.
        OSError: `storage_path` cannot be written to, or the storage does not answer.

    Example:
        >>> def train(config):
        ...     for epoch in range(10):
        ...         report({"loss": (config["x"] - 3) ** 2 / (epoch + 1)})
        >>> analysis = run(
        ...     train, config={"x": uniform(0, 10)}, num_samples=20, metric="loss",
        ...     mode="min",
        ... )  # doctest: +SKIP
        >>> analysis.best_config  # doctest: +SKIP
    """
    arguments = dict(locals())
    from ctune._plan import make_plan
    from ctune._run import execute

    return execute(make_plan(**arguments))


def run_experiments(
    experiments: Any,
    scheduler: TrialScheduler | None = None,
    verbose: int | None = None,
    progress_reporter: Any = None,
    resume: bool | str | None = None,
    resume_config: ResumeConfig | None = None,
    reuse_actors: bool = False,
    raise_on_failed_trial: bool = True,
    concurrent: bool = True,
    callbacks: Sequence[Callback] | None = None,
    _remote: bool | None = None,
) -> list[Trial]:
    """Runs experiments that are given as Experiment objects.

    Args:
        experiments: An Experiment, a list of them, or a dict of name -> arguments of an
            Experiment.
        scheduler, verbose, progress_reporter, resume, resume_config, reuse_actors,
            raise_on_failed_trial, callbacks: As for run().
        concurrent: Whether the experiments share one run, its workers and its scheduler.
            With False each has a run of its own, in order.

    Returns:
        The trials of all experiments.

    Raises:
        TuneError: `experiments` is something else, a spec is wrong, or a trial failed.
    """
    from ctune._plan import Entrypoint
    from ctune.experiment.experiment import _convert_to_experiment_list

    every = _convert_to_experiment_list(experiments)
    if len(every) > 1:
        logging.getLogger("ctune").info(
            "%d experiments run %s.",
            len(every),
            "together and share one search algorithm" if concurrent else "one after the other",
        )
    trials: list[Trial] = []
    for batch in [every] if concurrent else [[one] for one in every]:
        trials += run(
            batch,
            scheduler=scheduler,
            verbose=verbose,
            progress_reporter=progress_reporter,
            resume=resume,
            resume_config=resume_config,
            reuse_actors=reuse_actors,
            raise_on_failed_trial=raise_on_failed_trial,
            callbacks=callbacks,
            _remote=_remote,
            _entrypoint=Entrypoint.TUNE_RUN_EXPERIMENTS,
        ).trials
    return trials


def _package() -> Any:
    """The package itself, which imports this module and not the other way round."""
    return sys.modules["ctune"]


def __getattr__(name: str) -> Any:
    package = _package()
    if name in package.__all__:
        return getattr(package, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_package().__all__})
