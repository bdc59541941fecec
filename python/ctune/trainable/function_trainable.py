"""Functions as trainables.

The user's function runs in a greenlet, a second stack in the same thread: report()
switches to whoever asked for a step, the next step switches back. So a function needs no
thread of its own, waits at no lock between results, and may be left at any report.
"""

from __future__ import annotations

import functools
import inspect
import logging
import numbers
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import greenlet

from ctune import _session
from ctune._checkpoint import Checkpoint, checkpoint_name, persist
from ctune._encode import brief
from ctune.result import (
    CHECKPOINT_DIR_NAME,
    DEFAULT_METRIC,
    EPISODES_TOTAL,
    RESULT_DUPLICATE,
    SHOULD_CHECKPOINT,
    TIME_TOTAL_S,
    TIMESTAMP,
    TIMESTEPS_THIS_ITER,
    TIMESTEPS_TOTAL,
    TRAINING_ITERATION,
)
from ctune.trainable.trainable import Trainable
from ctune.trainable.util import function_name, require_one_argument

if TYPE_CHECKING:
    from ctune.execution.placement_groups import PlacementGroupFactory

__all__ = ["FunctionTrainable", "NULL_MARKER", "TEMP_MARKER", "wrap_function"]

logger = logging.getLogger("ctune")

# File names that mark an empty and a temporary checkpoint directory.
NULL_MARKER = ".null_marker"
TEMP_MARKER = ".temp_marker"


_REFUSALS = 100  # so often a function that was stopped may report
_left: list[greenlet.greenlet] = []


class FunctionTrainable(Trainable):
    """Runs a function of one argument, the config; each report() is one step.

    Subclasses come from wrap_function().
    """

    _name = "func"

    def _trainable_func(self, config: dict[str, Any]) -> Any:
        """Calls the user's function."""
        raise NotImplementedError("FunctionTrainable: make it with wrap_function().")

    def setup(self, config: dict[str, Any]) -> None:
        """Keeps the config for the function, which starts with the first step."""
        self._function_config = config
        self._task: greenlet.greenlet | None = None
        self._stopping = False
        self._refusals = 0
        self._forks = 0
        self._ended = False
        self._step_start = 0.0
        self._next_index = self._info.checkpoint_index if self._info else 0

    def step(self) -> dict[str, Any]:
        """Lets the function run until it reports, and returns what it reported.

        After the function's end the result is {"__duplicate__": True}. What the
        function raises leaves from here, with its own traceback.
        """
        task = self._task
        if task is None:
            if self._ended:
                return {RESULT_DUPLICATE: True}
            task = self._start()
        else:
            task.parent = greenlet.getcurrent()
        self._step_start = time.monotonic()
        try:
            result = task.switch()
        except BaseException:
            self._task = None
            self._ended = True
            raise
        return cast("dict[str, Any]", result)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Copies the checkpoint that the function reported last."""
        if self._latest_checkpoint is not None:
            self._latest_checkpoint.to_directory(checkpoint_dir)

    def load_checkpoint(self, checkpoint: str) -> None:
        """Makes the directory the answer of get_checkpoint()."""
        self._latest_checkpoint = Checkpoint(checkpoint)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Leaves the function where it is and gets ready to start it afresh."""
        self._end_task()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """Leaves the function: report() raises SystemExit in it."""
        self._end_task()

    def _load_from(self, directory: str) -> None:
        self.load_checkpoint(directory)

    def _start(self) -> greenlet.greenlet:
        self._forks = _session.note_function()
        task = greenlet.greenlet(self._run)
        task.ctune_trainable = self
        self._task = task
        return task

    def _run(self) -> dict[str, Any]:
        """The task: the whole call of the user's function."""
        try:
            output = self._trainable_func(self._function_config)
            if inspect.isgenerator(output):
                for value in output:
                    self._report_value(value)
            else:
                self._report_value(output)
        except greenlet.GreenletExit:
            pass  # nobody holds the trainable any more
        except SystemExit as exit_:
            if not self._stopping and exit_.code not in (None, 0):
                raise RuntimeError(
                    f"The trainable function called sys.exit({exit_.code!r})."
                ) from exit_
        self._task = None
        self._ended = True
        return {RESULT_DUPLICATE: True}

    def _report_value(self, value: Any) -> None:
        """Reports what the function returned or yielded."""
        if isinstance(value, dict):
            if value:
                self._report(value, None)
        elif value is None:
            pass
        elif isinstance(value, numbers.Number):
            if value:
                self._report({DEFAULT_METRIC: value}, None)
        else:
            raise ValueError(
                "A trainable function must return or yield None, a number or a dict of "
                f"metrics, got {brief(value)}."
            )

    def _report(self, metrics: Mapping[str, Any], checkpoint: Checkpoint | None) -> None:
        if self._forks != _session.forks:
            _session.refuse_child()
        if self._stopping:
            self._refuse_to_report()
        if not isinstance(metrics, dict):
            raise TypeError(f"metrics: report() takes a dict of metrics, got {brief(metrics)}.")
        if "torch" in sys.modules:
            _refuse_tensors(metrics)
        result = dict(metrics)
        if TIMESTAMP not in result:
            result[TIMESTAMP] = int(time.time())
        if checkpoint is None or self._unheard:
            result[CHECKPOINT_DIR_NAME] = None
        else:
            result[CHECKPOINT_DIR_NAME] = self._persist(checkpoint, metrics)
            result[SHOULD_CHECKPOINT] = True
        task = greenlet.getcurrent()
        assert self._task is not None and task is self._task
        try:
            task.parent.switch(result)
        except greenlet.GreenletExit:
            self._stopping = True  # nobody will ask for another result
            raise

    def _refuse_to_report(self) -> None:
        """Ends a function that was stopped; one that will not end is left where it is."""
        self._refusals += 1
        if self._refusals > _REFUSALS:
            logger.warning(
                "Trial %s goes on reporting although it was stopped: it must let the SystemExit "
                "that report() raises pass. It is left where it is.",
                self.trial_name,
            )
            task = greenlet.getcurrent()
            _left.append(task)  # to be collected it would have to end
            task.parent.switch()
        raise SystemExit

    def _persist(self, checkpoint: Checkpoint, metrics: Mapping[str, Any]) -> str:
        """Copies a reported checkpoint into the trial's directory; returns its name."""
        if not isinstance(checkpoint, Checkpoint):
            raise TypeError(
                f"checkpoint: report() takes a Checkpoint, got {brief(checkpoint)}. Use "
                "Checkpoint.from_directory(path)."
            )
        name = checkpoint_name(self._next_index)
        target = os.path.join(self._checkpoint_parent(), name)
        if self._info is not None:
            self._info.check_storage()
        with checkpoint.as_directory() as folder:
            if not os.path.isdir(folder):
                raise ValueError(
                    f"checkpoint: {folder!r} is not a directory. Write the files "
                    "first, and keep them until report() returns."
                )
            sync = self._info is not None and self._info.sync_checkpoints
            persist(folder, target, self._progress_after(metrics), sync=sync)
        self._next_index += 1
        self._latest_checkpoint = Checkpoint(target)
        return name

    def _progress_after(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The counters as they will be once this report has been counted."""
        progress = self._progress()
        elapsed = time.monotonic() - self._step_start
        progress[TRAINING_ITERATION] = metrics.get(TRAINING_ITERATION, self._iteration + 1)
        progress[TIME_TOTAL_S] = self._time_total + elapsed
        for total, step in (
            (TIMESTEPS_TOTAL, metrics.get(TIMESTEPS_THIS_ITER)),
            (EPISODES_TOTAL, metrics.get("episodes_this_iter")),
        ):
            if total in metrics:
                progress[total] = metrics[total]
            elif step is not None:
                progress[total] = (progress.get(total) or 0) + step
        return progress

    def _end_task(self) -> None:
        task = self._task
        self._task = None
        self._ended = True
        if task is None or task.dead:
            return
        self._stopping = True
        self._task = task
        task.parent = greenlet.getcurrent()
        try:
            task.throw(SystemExit)
        except Exception:
            logger.warning(
                "Trial %s: the function raised an error while it was being stopped.",
                self.trial_name,
                exc_info=True,
            )
        finally:
            self._task = None


def wrap_function(
    train_func: Callable[[dict[str, Any]], Any], name: str | None = None
) -> type[FunctionTrainable]:
    """Makes a Trainable class of a function.

    Args:
        train_func: Called with the config.
        name: Name of the class in trial names; default: the function's own.

    Raises:
        ValueError: The function cannot be called with one positional argument.
    """
    require_one_argument(train_func)
    label = name or function_name(train_func)

    def call(self: FunctionTrainable, config: dict[str, Any]) -> Any:
        return train_func(config)

    members: dict[str, Any] = {
        "__doc__": train_func.__doc__,
        "_name": label,
        "_trainable_func": call,
        "_function": staticmethod(train_func),
    }
    resources = getattr(train_func, "_resources", None)
    if resources is not None:
        members["_resources"] = resources
        members["default_resource_request"] = classmethod(functools.partial(_request_of, resources))
    return cast("type[FunctionTrainable]", type(label, (FunctionTrainable,), members))


def _request_of(
    resources: Any, cls: type[Trainable], config: dict[str, Any]
) -> PlacementGroupFactory | None:
    from ctune.execution.placement_groups import (
        PlacementGroupFactory,
        resource_dict_to_pg_factory,
    )

    if not isinstance(resources, PlacementGroupFactory) and callable(resources):
        resources = resources(config)
    if isinstance(resources, dict):
        return resource_dict_to_pg_factory(resources)
    return cast("PlacementGroupFactory | None", resources)


def _refuse_tensors(metrics: Mapping[str, Any], path: str = "") -> None:
    torch = sys.modules["torch"]
    for key, value in metrics.items():
        if isinstance(value, dict):
            _refuse_tensors(value, f"{path}{key}/")
        elif isinstance(value, torch.Tensor):
            raise ValueError(
                f"metrics: {path}{key!s} is a torch tensor. Report a number: "
                f"metrics[{key!r}].item()."
            )
