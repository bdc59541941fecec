"""The class interface of what can be tuned."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ctune import _ctune
from ctune._checkpoint import (
    Checkpoint,
    TrainingResult,
    checkpoint_name,
    persist,
    read_progress,
    write_progress,
)
from ctune._encode import copied
from ctune.result import (
    DONE,
    EPISODES_TOTAL,
    RESULT_DUPLICATE,
    SHOULD_CHECKPOINT,
    STDERR_FILE,
    STDOUT_FILE,
    TIME_TOTAL_S,
    TIMESTEPS_TOTAL,
    TRAINING_ITERATION,
    TRIAL_INFO,
)

if TYPE_CHECKING:
    from ctune._session import TrialInfo
    from ctune._storage import StorageContext
    from ctune.execution.placement_groups import PlacementGroupFactory

__all__ = ["Trainable"]

logger = logging.getLogger("ctune")

_DICT_FILE = "_dict_checkpoint.pkl"
_SLOW_SETUP_S = 10.0


class Trainable(_ctune.TrainableBase):
    """Base class of what is trained in steps.

    Override `setup` and `step`; `save_checkpoint` and `load_checkpoint` where trials are
    to be paused, retried or continued; `reset_config` where workers are to be reused;
    `cleanup` for what must be released. Leave `__init__` alone.

    Args:
        config: The trial's configuration. A deep copy goes to `setup`.
        logger_creator: For use outside of run(): function of the config that returns an
            object with `logdir`, `on_result(result)`, `flush()` and `close()`. It hears of
            each result; `logdir` becomes that of the trainable.
        storage: For use outside of run(): a StorageContext on this machine, in whose trial
            directory checkpoints are kept.

    Example:
        >>> class Quadratic(Trainable):
        ...     def setup(self, config):
        ...         self.x = config["x"]
        ...     def step(self):
        ...         self.x *= 0.5
        ...         return {"loss": self.x**2}
    """

    _unheard = False  # what it reports was reported before, in a run that was cut

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        logger_creator: Callable[[dict[str, Any]], Any] | None = None,
        storage: StorageContext | None = None,
    ) -> None:
        super().__init__()
        own = dict(config or {})
        self._info: TrialInfo | None = _pop_reserved(own)
        self._trial_id = self._info.trial_id if self._info else "default"
        self._latest_checkpoint: Checkpoint | None = None
        self._own_logdir: str | None = None
        self._storage = _on_local_files(storage)
        self._saved = 0
        self.config = own
        self._config_for_result = own
        self._create_logger(logger_creator)
        if own.get("log_sys_usage"):
            self._measure_usage()
        start = time.monotonic()
        self.setup(copied(own))
        took = time.monotonic() - start
        if took > _SLOW_SETUP_S:
            logger.info(
                "%s.setup() took %.1f s. With reuse_actors=True, and a reset_config() "
                "that returns True, one worker serves many trials after a single setup.",
                type(self).__name__,
                took,
            )

    # What users override.

    def setup(self, config: dict[str, Any]) -> None:
        """Prepares for training; called once, before the first step.

        Args:
            config: The trial's configuration; yours to change.
        """

    def step(self) -> dict[str, Any]:
        """Trains for one iteration and returns its metrics.

        The iteration should take long enough (seconds to minutes) that reporting costs
        nothing, and be short enough that stopping early saves something.
        """
        raise NotImplementedError(
            f"{type(self).__name__}.step() is missing: it trains for one iteration and "
            "returns a dict of metrics."
        )

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | str | None:
        """Saves what load_checkpoint() needs to go on.

        Args:
            checkpoint_dir: Empty directory to write files into.

        Returns:
            None, or `checkpoint_dir` itself, if files were written; or a dict, which is
            then pickled for you.
        """
        raise NotImplementedError(
            f"{type(self).__name__}.save_checkpoint() is missing: without it a trial "
            "can be neither paused nor continued."
        )

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Goes back to a saved state.

        Args:
            checkpoint: The dict that save_checkpoint() returned; else the directory
                that it wrote to, for reading only.
        """
        raise NotImplementedError(
            f"{type(self).__name__}.load_checkpoint() is missing: without it a trial "
            "can be neither paused nor continued."
        )

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Makes this object serve another trial, as if newly made.

        Returns:
            True if that worked. False, as here, if only a new object will do.
        """
        return False

    def cleanup(self) -> None:
        """Releases what setup() acquired; called once, after the last step."""

    # log_result(result) is in the base: called with each finished result where training
    # runs. Overriding it costs a dict per result.

    def _export_model(self, export_formats: list[str], export_dir: str) -> dict[str, str]:
        """Exports the model; returns format -> path of what was written."""
        return {}

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory | None:
        """Returns the resources that a trial of this class needs, or None.

        None leaves the choice to `resources_per_trial` and its default of one CPU.
        """
        return None

    @classmethod
    def resource_help(cls, config: dict[str, Any]) -> str:
        """Returns advice for users on how to ask for resources."""
        return ""

    # What callers use.

    def train_buffered(
        self, buffer_time_s: float, max_buffer_length: int = 1000
    ) -> list[dict[str, Any]]:
        """Trains until the time is over, and returns all results.

        It ends early after `max_buffer_length` results and after a result that is done
        or asks for a checkpoint.
        """
        results: list[dict[str, Any]] = []
        deadline = time.monotonic() + buffer_time_s
        while True:
            result = self.train()
            results.append(result)
            if (
                len(results) >= max_buffer_length
                or result.get(DONE)
                or result.get(SHOULD_CHECKPOINT)
                or result.get(RESULT_DUPLICATE)
                or time.monotonic() >= deadline
            ):
                return results

    def save(self, checkpoint_dir: str | None = None) -> TrainingResult:
        """Saves a checkpoint.

        Args:
            checkpoint_dir: Made if missing. Default: a new temporary directory, which
                the caller removes. With a `storage` the files are copied into its trial
                directory, as `checkpoint_000000` and so on, and that is returned.

        Raises:
            ValueError: save_checkpoint() returned neither None nor a dict nor the
                directory it was given.
        """
        if checkpoint_dir is None:
            directory = tempfile.mkdtemp(prefix="checkpoint_")
        else:
            directory = os.path.abspath(os.path.expanduser(checkpoint_dir))
            os.makedirs(directory, exist_ok=True)
        self._save_into(directory)
        if self._storage is not None:
            stored = os.path.join(self._checkpoint_parent(), checkpoint_name(self._saved))
            persist(directory, stored, self._progress())
            self._saved += 1
            if checkpoint_dir is None:
                shutil.rmtree(directory, ignore_errors=True)
            directory = stored
        return TrainingResult(Checkpoint(directory), self._progress())

    def restore(self, checkpoint_path: str | Checkpoint | TrainingResult) -> None:
        """Goes back to a checkpoint that save() made.

        Counters continue where they were; those "since restore" start at 0.

        Raises:
            ValueError: The directory does not exist.
        """
        if isinstance(checkpoint_path, TrainingResult):
            checkpoint = checkpoint_path.checkpoint
            if checkpoint is None:
                raise ValueError("checkpoint_path: the given result has no checkpoint.")
            self._restore_from(_on_this_machine(checkpoint), checkpoint_path.metrics)
        elif isinstance(checkpoint_path, Checkpoint):
            self._restore_from(_on_this_machine(checkpoint_path))
        else:
            self._restore_from(os.path.expanduser(checkpoint_path))

    def export_model(
        self, export_formats: str | Sequence[str], export_dir: str | None = None
    ) -> dict[str, str]:
        """Exports the model.

        Args:
            export_formats: One format, or several.
            export_dir: Default: `logdir`.

        Returns:
            Format -> path of what was written.
        """
        formats = [export_formats] if isinstance(export_formats, str) else list(export_formats)
        return self._export_model(formats, export_dir or self.logdir)

    def reset(
        self,
        new_config: dict[str, Any],
        logger_creator: Callable[[dict[str, Any]], Any] | None = None,
        storage: StorageContext | None = None,
    ) -> bool:
        """Gives this object to another trial.

        Args:
            new_config: Its configuration.
            logger_creator, storage: Those of the other trial, as for the constructor;
                default: as they were.

        Returns:
            What reset_config() answered. After True all counters are 0.
        """
        config = dict(new_config)
        info = _pop_reserved(config)
        if info is not None:
            self._info = info
            self._trial_id = info.trial_id
        if logger_creator is not None:
            self._close_logger()
            self._create_logger(logger_creator, config)
        if storage is not None:
            self._storage = _on_local_files(storage)
            self._saved = 0
        if not self.reset_config(config):
            return False
        self.config = config
        self._config_for_result = config
        self._latest_checkpoint = None
        self._zero_counters()
        return True

    def stop(self) -> None:
        """Ends training and releases everything; the object is of no use afterwards."""
        self._close_logger()
        if self._monitor is not None:
            self._monitor.stop()
        self.cleanup()

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration."""
        return self.config

    def get_state(self) -> dict[str, Any]:
        """Returns the counters, and how they are named in results."""
        return self._progress()

    def get_auto_filled_metrics(
        self,
        now: Any = None,
        time_this_iter: float | None = None,
        timestamp: int | None = None,
        debug_metrics_only: bool = False,
    ) -> dict[str, Any]:
        """Returns the automatic keys of a result made at this moment.

        Args:
            now: datetime; default: the current time.
            time_this_iter: Seconds that the iteration took; default: left out.
            timestamp: Seconds since the epoch; default: that of `now`.
            debug_metrics_only: Only what is known before the first result.
        """
        from ctune.utils.util import auto_filled_metrics

        return auto_filled_metrics(self, now, time_this_iter, timestamp, debug_metrics_only)

    def is_actor(self) -> bool:
        """Returns whether it lives in a worker process."""
        worker = sys.modules.get("ctune.execution.worker")
        return worker is not None and bool(worker.is_worker)

    def get_current_ip_pid(self) -> tuple[str, int]:
        """Returns this machine's address and the number of this process."""
        from ctune.utils.util import get_node_ip_address

        return get_node_ip_address(), os.getpid()

    @property
    def logdir(self) -> str:
        """Directory for the trial's files.

        Outside of run() it is the logger's, or a new directory below ~/ray_results, made
        when first asked for.
        """
        if self._info is not None and self._info.trial_dir is not None:
            return self._info.trial_dir
        if self._own_logdir is None:
            self._own_logdir = self._make_logdir()
        return self._own_logdir

    @property
    def trial_id(self) -> str:
        """Id of the trial; "default" outside of run()."""
        return self._trial_id

    @property
    def trial_name(self) -> str:
        """Name of the trial; "default" outside of run()."""
        return self._info.trial_name if self._info is not None else "default"

    @property
    def trial_resources(self) -> PlacementGroupFactory | None:
        """Resources that the trial holds; None outside of run()."""
        if self._info is None:
            return None
        from ctune.execution.placement_groups import PlacementGroupFactory

        return PlacementGroupFactory([dict(self._info.resources)])

    @property
    def iteration(self) -> int:
        """Number of results so far, those before a restore included."""
        return self._iteration

    @property
    def training_iteration(self) -> int:
        """The same as `iteration`."""
        return self._iteration

    # What the workers use.

    def _save_into(self, directory: str) -> None:
        """Fills an existing directory with a checkpoint."""
        saved = self.save_checkpoint(directory)
        if isinstance(saved, dict):
            import cloudpickle

            with open(os.path.join(directory, _DICT_FILE), "wb") as file:
                cloudpickle.dump(saved, file)
        elif isinstance(saved, str):
            if os.path.abspath(saved) != os.path.abspath(directory):
                raise ValueError(
                    f"save_checkpoint() returned the path {saved!r}, but must write to "
                    f"the directory it was given, {directory!r}, and return that or None."
                )
        elif saved is not None:
            raise ValueError(
                "save_checkpoint() must return None, a dict or the directory it was "
                f"given, but returned a {type(saved).__name__}."
            )
        write_progress(directory, self._progress())

    def _restore_from(self, directory: str, progress: Mapping[str, Any] | None = None) -> None:
        """Loads the checkpoint in `directory`.

        Args:
            progress: Counters to continue from; default: those saved beside the files.
        """
        if not os.path.isdir(directory):
            raise ValueError(
                f"checkpoint_path: {directory!r} is not a directory. Give one that save() returned."
            )
        known = read_progress(directory) if progress is None else progress
        self._restore_counters(
            int(known.get(TRAINING_ITERATION) or 0),
            float(known.get(TIME_TOTAL_S) or 0.0),
            known.get(TIMESTEPS_TOTAL),
            known.get(EPISODES_TOTAL),
        )
        self._latest_checkpoint = Checkpoint(directory)
        self._load_from(directory)

    def _load_from(self, directory: str) -> None:
        dict_file = os.path.join(directory, _DICT_FILE)
        if not os.path.exists(dict_file):
            self.load_checkpoint(directory)
            return
        import pickle

        with open(dict_file, "rb") as file:
            saved = pickle.load(file)
        self.load_checkpoint(saved)

    def _progress(self) -> dict[str, Any]:
        progress: dict[str, Any] = {
            TRAINING_ITERATION: self._iteration,
            TIME_TOTAL_S: self._time_total,
        }
        if self._timesteps_total is not None:
            progress[TIMESTEPS_TOTAL] = self._timesteps_total
        if self._episodes_total is not None:
            progress[EPISODES_TOTAL] = self._episodes_total
        return progress

    def _checkpoint_parent(self) -> str:
        return self.logdir if self._storage is None else self._storage.trial_fs_path

    def _create_logger(
        self,
        creator: Callable[[dict[str, Any]], Any] | None,
        config: dict[str, Any] | None = None,
    ) -> None:
        if creator is not None:
            self._result_logger = creator(dict(self.config if config is None else config))
            self._own_logdir = self._result_logger.logdir

    def _close_logger(self) -> None:
        if self._result_logger is not None:
            self._result_logger.flush()
            self._result_logger.close()

    def _measure_usage(self) -> None:
        from ctune.utils.gpu import UtilMonitor

        self._monitor = UtilMonitor()

    def _make_logdir(self) -> str:
        from ctune.utils.util import date_str, default_storage_path

        root = default_storage_path()
        os.makedirs(root, exist_ok=True)
        return tempfile.mkdtemp(prefix=date_str(), dir=root)


def _on_this_machine(checkpoint: Checkpoint) -> str:
    """Returns a directory for as long as the trainable may read it."""
    return checkpoint.local_path or checkpoint.to_directory()


def _on_local_files(storage: StorageContext | None) -> StorageContext | None:
    """Returns a storage; raises ValueError where only a run would copy to it."""
    if storage is not None and storage.remote:
        raise ValueError(
            f"storage: a trainable outside of run() writes to this machine only, not to "
            f"{storage.place!r}. Give a local storage_path and copy what you keep, or use run()."
        )
    return storage


def _pop_reserved(config: dict[str, Any]) -> TrialInfo | None:
    """Takes the keys out of a worker's config that are none of the user's."""
    config.pop(STDOUT_FILE, None)
    config.pop(STDERR_FILE, None)
    info: TrialInfo | None = config.pop(TRIAL_INFO, None)
    return info
