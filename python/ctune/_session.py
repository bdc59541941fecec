"""What code that runs inside a trial can ask and tell: report, checkpoint, context."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from ctune import _ctune
from ctune._storage import StorageContext, check_marker

if TYPE_CHECKING:
    from ctune._checkpoint import Checkpoint
    from ctune.execution.placement_groups import PlacementGroupFactory
    from ctune.trainable.function_trainable import FunctionTrainable
    from ctune.trainable.trainable import Trainable

__all__ = ["TrialInfo", "TuneContext", "get_checkpoint", "get_context", "report"]

logger = logging.getLogger("ctune")


@dataclass
class TrialInfo:
    """What a worker knows of the trial it serves.

    Attributes:
        trial_id: For example "a1b2c_00000".
        trial_name: For example "train_a1b2c_00000".
        trial_dir: Absolute; None for a trial without storage.
        experiment_name: Name of the experiment.
        resources: Resource name -> amount, for example {"CPU": 1.0}.
        checkpoint_index: Number of the next checkpoint that the trial makes.
        marked: Whether a run made the directory in which that of the trial is.
        sync_checkpoints: Whether a checkpoint must be on the disk before it is reported.
    """

    trial_id: str
    trial_name: str
    trial_dir: str | None = None
    experiment_name: str | None = None
    resources: dict[str, float] = field(default_factory=dict)
    checkpoint_index: int = 0
    marked: bool = False
    sync_checkpoints: bool = False

    def check_storage(self) -> None:
        """Checks that the experiment's directory was not removed since the trial started.

        Raises:
            RuntimeError: It was.
        """
        if self.marked and self.trial_dir is not None:
            check_marker(os.path.dirname(self.trial_dir))


_warned: set[str] = set()


def _warn_once(name: str) -> None:
    """Tells once per process that `name` was called outside of any trial."""
    if name not in _warned:
        _warned.add(name)
        logger.warning(
            "%s was called outside of a trial, so it has no effect here. Call it from "
            "a function or a Trainable that run() started.",
            name,
        )


def current_function() -> FunctionTrainable | None:
    """Returns the function trainable in whose task this code runs, or None."""
    # Where no function trainable was made, the module was never imported.
    greenlet = sys.modules.get("greenlet")
    if greenlet is None:
        return None
    return getattr(greenlet.getcurrent(), "ctune_trainable", None)


def current_trainable() -> Trainable | None:
    """Returns the trainable whose step runs this code, or None outside of trials."""
    function = current_function()
    if function is not None:
        return function
    return cast("Trainable | None", _ctune.current_trainable())


class _Thread(threading.local):
    """Whether this thread steps function trainables.

    Tells a thread that a function started apart from code outside of any trial.
    """

    steps_functions = False


_this_thread = _Thread()
_functions_seen = False
# Counts the forks from the process that stepped the first function to this one.
forks = 0


def _note_fork() -> None:
    global forks
    forks += 1


def note_function() -> int:
    """Says that this thread is about to step a function trainable.

    Returns:
        `forks` as it is, which differs in a child that the function forks.
    """
    global _functions_seen
    if not _functions_seen:
        os.register_at_fork(after_in_child=_note_fork)
    _functions_seen = True
    _this_thread.steps_functions = True
    return forks


def refuse_child() -> None:
    """What report() says in a child that the function forked: its trial would hear it twice."""
    raise RuntimeError(
        "report(): must be called in the process that runs the trainable function, not in "
        "a child that the function forked. Pass the metrics to the function's own process, "
        "e.g. by multiprocessing.Queue."
    )


def _in_foreign_thread() -> bool:
    return _functions_seen and not _this_thread.steps_functions


def report(metrics: Mapping[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
    """Reports one result of a function trainable, and waits for leave to go on.

    The call returns when the experiment wants the next result. A trial that is stopped
    does not return from here: SystemExit is raised, so that `finally` blocks run.

    Args:
        metrics: Any keys; nested dicts are read as "a/b" by schedulers and stop
            conditions. Numbers are kept as history.
        checkpoint: Files to continue from. They are copied into the trial's directory
            before the call returns, so the source may be reused or removed.

    Raises:
        TypeError: `metrics` is not a dict, or `checkpoint` not a Checkpoint.
        ValueError: A value in `metrics` is a torch tensor, or `checkpoint` is no
            directory.
        RuntimeError: Called in a thread or a child process that the trainable started
            itself, or in a class trainable, which returns its results from step().

    Outside of a trial it logs one warning and returns.
    """
    function = current_function()
    if function is None:
        if _ctune.current_trainable() is not None:
            raise RuntimeError(
                "report(): a class Trainable reports by returning a dict from step()."
            )
        if _in_foreign_thread():
            raise RuntimeError(
                "report(): must be called in the thread that runs the trainable "
                "function, not in one that the function started. Pass the metrics to "
                "the function's own thread, e.g. by queue.Queue."
            )
        _warn_once("report()")
        return
    function._report(metrics, checkpoint)


def get_checkpoint() -> Checkpoint | None:
    """Returns the checkpoint to continue from: the latest that this trial reported.

    For a trial that has just started, that is the one it was restored from. None if
    there is none, and outside of a trial, where one warning is logged.
    """
    trainable = current_trainable()
    if trainable is None:
        _warn_once("get_checkpoint()")
        return None
    return trainable._latest_checkpoint


class TuneContext:
    """Facts on the trial in which it is used; see get_context()."""

    def _info(self) -> TrialInfo | None:
        trainable = current_trainable()
        if trainable is None:
            _warn_once("get_context()")
            return None
        return trainable._info

    def get_experiment_name(self) -> str | None:
        """Returns the name of the experiment."""
        info = self._info()
        return info.experiment_name if info else None

    def get_trial_name(self) -> str | None:
        """Returns the trial's name, e.g. "train_a1b2c_00000"."""
        info = self._info()
        return info.trial_name if info else None

    def get_trial_id(self) -> str | None:
        """Returns the trial's id, e.g. "a1b2c_00000"."""
        info = self._info()
        return info.trial_id if info else None

    def get_trial_dir(self) -> str | None:
        """Returns the absolute path of the trial's directory."""
        info = self._info()
        return info.trial_dir if info else None

    def get_trial_resources(self) -> PlacementGroupFactory | None:
        """Returns the resources that the trial holds."""
        info = self._info()
        if info is None:
            return None
        from ctune.execution.placement_groups import PlacementGroupFactory

        return PlacementGroupFactory([dict(info.resources)])

    def get_storage(self) -> StorageContext | None:
        """Returns where the trial's files are kept."""
        info = self._info()
        if info is None or info.trial_dir is None:
            return None
        return StorageContext.of_trial_dir(info.trial_dir)

    def get_metadata(self) -> dict[str, Any]:
        """Returns {}: only training frameworks attach metadata."""
        return {}

    def get_world_size(self) -> int | None:
        """Returns None: a trial is not one of several ranks."""
        return None

    def get_world_rank(self) -> int | None:
        """Returns None: a trial is not one of several ranks."""
        return None

    def get_local_rank(self) -> int | None:
        """Returns None: a trial is not one of several ranks."""
        return None

    def get_local_world_size(self) -> int | None:
        """Returns None: a trial is not one of several ranks."""
        return None

    def get_node_rank(self) -> int | None:
        """Returns None: a trial is not one of several ranks."""
        return None


_context = TuneContext()


def get_context() -> TuneContext:
    """Returns an object that answers questions about the running trial.

    Outside of a trial its methods return None, and one warning is logged.
    """
    return _context
