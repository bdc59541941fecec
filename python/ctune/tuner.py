"""Tuner: run() as an object with a result."""

from __future__ import annotations

import copy
import inspect
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ctune._config import ResumeConfig, RunConfig, TuneConfig, _Config
from ctune._encode import brief
from ctune._files import locate
from ctune._storage import StorageContext
from ctune.error import TuneError
from ctune.experiment.experiment import Experiment, shown
from ctune.trainable.trainable import Trainable
from ctune.utils.util import flatten_dict

if TYPE_CHECKING:
    from ctune.analysis.experiment_analysis import ExperimentAnalysis
    from ctune.result_grid import ResultGrid

__all__ = ["Tuner"]

logger = logging.getLogger("ctune")

_FILE = "tuner.pkl"
_SPACE = "param_space.pkl"


class Tuner:
    """Tries configurations of a trainable, and keeps what was found.

    Args:
        trainable: A function of the config, a Trainable class, or a registered name.
        param_space: The search space; see `config` of run().
        tune_config: How to search. Default: one sample of the space.
        run_config: Where to write to, and how to treat trials.

    Raises:
        TuneError: `trainable` is missing, or cannot be trained.
        TypeError: It cannot be sent to workers.
        ValueError: Another argument has the wrong type.

    Example:
        >>> tuner = Tuner(
        ...     train,
        ...     param_space={"lr": loguniform(1e-4, 1.0)},
        ...     tune_config=TuneConfig(metric="loss", mode="min", num_samples=20),
        ... )  # doctest: +SKIP
        >>> tuner.fit().get_best_result().config  # doctest: +SKIP
    """

    def __init__(
        self,
        trainable: str | Callable[..., Any] | type[Trainable] | None = None,
        *,
        param_space: dict[str, Any] | None = None,
        tune_config: TuneConfig | None = None,
        run_config: RunConfig | None = None,
    ) -> None:
        if trainable is None:
            raise TuneError("trainable: is missing; give a function or a Trainable class.")
        if isinstance(param_space, _Config):
            param_space = param_space.to_dict()
        if param_space is not None and not isinstance(param_space, dict):
            raise ValueError(
                f"param_space: must be a dict of parameters, got {shown(param_space)}."
            )
        self._trainable = trainable
        self._param_space = param_space or {}
        self._tune_config = _checked("tune_config", tune_config, TuneConfig)
        run_config = copy.copy(_checked("run_config", run_config, RunConfig))
        experiment = Experiment(
            run_config.name,
            trainable,
            storage_path=run_config.storage_path,
            storage_filesystem=run_config.storage_filesystem,
        )
        run_config.name = experiment.name
        self._run_config = run_config
        self._experiment = experiment
        self._analysis: ExperimentAnalysis | None = None
        self._resume_config: ResumeConfig | None = None
        self._keep()

    def _keep(self) -> None:
        """Writes what the directory needs to be known as a Tuner's."""
        import cloudpickle

        # A file system may hold credentials, and need not be picklable: restore() is given one.
        run_config = copy.copy(self._run_config)
        run_config.storage_filesystem = None
        state = {
            "tune_config": self._tune_config,
            "run_config": run_config,
            "trainable_name": self._experiment.run_identifier,
            "param_space_keys": sorted(flatten_dict(self._param_space)),
        }
        storage = self._experiment.storage
        try:
            data = cloudpickle.dumps(state)
        except Exception as error:
            logger.warning(
                "This Tuner cannot be restored: its configuration cannot be pickled (%s).", error
            )
            return
        storage.write(_FILE, data)
        try:
            storage.write(_SPACE, cloudpickle.dumps(self._param_space))
        except Exception as error:
            logger.warning(
                "param_space cannot be pickled (%s): Tuner.restore() has to be given it again.",
                error,
            )

    def fit(self) -> ResultGrid:
        """Runs the trials to their end.

        Trials that fail do not make it raise; see `ResultGrid.errors`.

        Returns:
            One result per trial.

        Raises:
            ValueError, TypeError, TuneError, NotImplementedError, OSError: As run().
        """
        from ctune._plan import Entrypoint
        from ctune.result_grid import ResultGrid
        from ctune.tune import run

        searched = self._tune_config
        treated = self._run_config
        assert treated.failure_config is not None
        checkpoints = copy.copy(treated.checkpoint_config)
        assert checkpoints is not None
        if checkpoints.checkpoint_at_end is None:
            checkpoints.checkpoint_at_end = not self._experiment.is_function
        self._analysis = run(
            self._trainable,
            name=treated.name,
            metric=searched.metric,
            mode=searched.mode,
            stop=treated.stop,
            time_budget_s=searched.time_budget_s,
            config=self._param_space,
            num_samples=searched.num_samples,
            storage_path=treated.storage_path,
            storage_filesystem=treated.storage_filesystem,
            search_alg=searched.search_alg,
            scheduler=searched.scheduler,
            checkpoint_config=checkpoints,
            verbose=treated.verbose,
            progress_reporter=treated.progress_reporter,
            log_to_file=treated.log_to_file,
            trial_name_creator=searched.trial_name_creator,
            trial_dirname_creator=searched.trial_dirname_creator,
            sync_config=treated.sync_config,
            max_failures=treated.failure_config.max_failures,
            fail_fast=treated.failure_config.fail_fast,
            reuse_actors=searched.reuse_actors,
            raise_on_failed_trial=False,
            callbacks=treated.callbacks,
            max_concurrent_trials=searched.max_concurrent_trials,
            chdir_to_trial_dir=searched.chdir_to_trial_dir,
            resume_config=self._resume_config,
            _entrypoint=Entrypoint.TUNER,
        )
        return ResultGrid(self._analysis)

    def get_results(self) -> ResultGrid:
        """Returns what fit() returned; of a restored experiment, what it has so far.

        Raises:
            RuntimeError: It was not called.
        """
        from ctune.analysis.experiment_analysis import ExperimentAnalysis
        from ctune.result_grid import ResultGrid

        if self._analysis is None and self._resume_config is not None:
            return ResultGrid(
                ExperimentAnalysis(
                    self._experiment.path,
                    storage_filesystem=self._run_config.storage_filesystem,
                    default_metric=self._tune_config.metric,
                    default_mode=self._tune_config.mode,
                )
            )
        if self._analysis is None:
            raise RuntimeError("There are no results yet: call Tuner.fit() first.")
        return ResultGrid(self._analysis)

    @classmethod
    def restore(
        cls,
        path: str,
        trainable: str | Callable[..., Any] | type[Trainable],
        resume_unfinished: bool = True,
        resume_errored: bool = False,
        restart_errored: bool = False,
        param_space: dict[str, Any] | None = None,
        storage_filesystem: Any = None,
        _resume_config: ResumeConfig | None = None,
    ) -> Tuner:
        """Returns a Tuner whose fit() goes on with the experiment of an earlier one.

        Everything else is as it was given to that one. The experiment may have been moved.

        Args:
            path: Its directory: a local path or a URI.
            trainable: What it trained; under the same name.
            resume_unfinished: Whether trials that had not ended go on. Default: they do.
            resume_errored: Whether failed trials go on from their latest checkpoint.
            restart_errored: Whether failed trials start anew. `resume_errored` wins.
            param_space: The search space, with the same keys. Default: as it was; needed if it
                could not be pickled.
            storage_filesystem: A `pyarrow.fs.FileSystem`; `path` is a bare path on it then.

        Raises:
            FileNotFoundError: There is no Tuner's experiment.
            ValueError: Trainable or search space are others.
            OSError: Storage does not answer.
        """
        filesystem, directory = locate("path", os.fspath(path), storage_filesystem)
        parent, name = os.path.split(directory.rstrip("/"))
        storage = StorageContext(parent, name, None, filesystem)
        if not storage.holds(_FILE):
            raise FileNotFoundError(
                f"path: {os.fspath(path)!r} is no directory of a Tuner's experiment: "
                f"it has no {_FILE}."
            )
        kept = _load(storage, _FILE)
        if param_space is None and storage.holds(_SPACE):
            param_space = _load(storage, _SPACE)
        if isinstance(param_space, _Config):
            param_space = param_space.to_dict()
        _check_space(param_space, kept["param_space_keys"])
        run_config = kept["run_config"]
        run_config.name = name
        run_config.storage_path = parent
        run_config.storage_filesystem = filesystem
        tuner = cls.__new__(cls)
        tuner._trainable = trainable
        tuner._param_space = param_space or {}
        tuner._tune_config = kept["tune_config"]
        tuner._run_config = run_config
        tuner._experiment = Experiment(
            name, trainable, storage_path=parent, storage_filesystem=filesystem
        )
        tuner._analysis = None
        tuner._resume_config = _resume_config or _fates(
            resume_unfinished, resume_errored, restart_errored
        )
        if tuner._experiment.run_identifier != kept["trainable_name"]:
            raise ValueError(
                f"trainable: the experiment in {os.fspath(path)!r} trained "
                f"{kept['trainable_name']!r}, not {tuner._experiment.run_identifier!r}. Give the "
                "same trainable, or make a new Tuner."
            )
        return tuner

    @classmethod
    def can_restore(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> bool:
        """Returns whether a directory holds an experiment of a Tuner.

        Args:
            path: The directory: a local path or a URI.
            storage_filesystem: A `pyarrow.fs.FileSystem`; `path` is a bare path on it then.

        Raises:
            ValueError, TypeError: The path or the file system is none.
            OSError: Remote storage does not answer.
        """
        filesystem, directory = locate("path", os.fspath(path), storage_filesystem)
        return StorageContext(*os.path.split(directory), None, filesystem).holds(_FILE)


def _load(storage: StorageContext, name: str) -> Any:
    import cloudpickle

    with storage.reader().open(os.path.join(storage.experiment_fs_path, name)) as file:
        return cloudpickle.loads(file.read())


def _check_space(space: Any, keys: list[str]) -> None:
    if space is not None and not isinstance(space, dict):
        raise ValueError(f"param_space: must be a dict of parameters, got {shown(space)}.")
    found = sorted(flatten_dict(space or {}))
    if found != keys:
        raise ValueError(
            f"param_space: has the keys {found}, but the experiment has {keys}. Give the search "
            "space that it began with."
        )


def _fates(unfinished: bool, resume_errored: bool, restart_errored: bool) -> ResumeConfig:
    kind = ResumeConfig.ResumeType
    errored = kind.SKIP
    if resume_errored:
        errored = kind.RESUME
    elif restart_errored:
        errored = kind.RESTART
    return ResumeConfig(
        finished=kind.SKIP, unfinished=kind.RESUME if unfinished else kind.SKIP, errored=errored
    )


def _checked(parameter: str, given: Any, kind: type[Any]) -> Any:
    if given is None:
        return kind()
    if not isinstance(given, kind):
        hint = " Give an object, not the class." if inspect.isclass(given) else ""
        raise ValueError(f"{parameter}: must be a {kind.__name__}, got {brief(given)}.{hint}")
    return given
