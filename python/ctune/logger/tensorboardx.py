"""The logger of TensorBoard's event files."""

from __future__ import annotations

import logging
import numbers
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ctune.logger.logger import LoggerCallback
from ctune.result import (
    CONFIG,
    PID,
    TIME_TOTAL_S,
    TIMESTAMP,
    TIMESTEPS_TOTAL,
    TRAINING_ITERATION,
)
from ctune.utils.util import flatten_dict

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial

__all__ = ["VALID_SUMMARY_TYPES", "TBXLoggerCallback"]

logger = logging.getLogger("ctune")

VALID_SUMMARY_TYPES = (int, float, np.float32, np.float64, np.int32, np.int64)

_SKIPPED = frozenset((CONFIG, PID, TIMESTAMP, TIME_TOTAL_S, TRAINING_ITERATION))
_HPARAM_TYPES = (str, bool, int, float, list, type(None))
_FRAMES_PER_S = 20
_MOST_WAITING = 10_000  # results; then the run waits for the files
_FLUSH_S = 2.0
_END = None
_NOTHING = object()


class TBXLoggerCallback(LoggerCallback):
    """Writes each trial's results for TensorBoard, through tensorboardX.

    It is on by default where tensorboardX is installed. Numbers become scalars named
    `ray/tune/<key>`, nested keys joined by "/", over `timesteps_total` if there is one, else
    `training_iteration`. Arrays of 3 and 4 dimensions become images, of 5 a video, other
    arrays and lists of numbers histograms. What was sampled and the last result stand in the
    HParams tab.

    A thread of its own writes the files: a result costs the run only a look at its numbers.

    Raises:
        ImportError: tensorboardX is missing.
    """

    def __init__(self) -> None:
        _check_installed()
        self._reset()

    def _reset(self) -> None:
        self._waiting: queue.Queue[Any] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._last: dict[str, dict[str, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._reset()

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Hands the result's numbers and arrays to the thread that writes."""
        step = result.get(TIMESTEPS_TOTAL) or result.get(TRAINING_ITERATION)
        kept = {key: value for key, value in result.items() if key not in _SKIPPED}
        flat = flatten_dict(kept, delimiter="/")
        scalars: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for key, value in flat.items():
            if isinstance(value, VALID_SUMMARY_TYPES):
                if value == value:
                    scalars[key] = value
            elif isinstance(value, np.ndarray):
                others[key] = value.copy()  # the trainable may go on to change it
            elif isinstance(value, list) and value:
                others[key] = list(value)
        self._last[trial.trial_id] = scalars
        self._send(("result", trial.path, step, scalars, others))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Has the trial's file closed, with what was sampled."""
        last = self._last.pop(trial.trial_id, None)
        self._send(("end", trial.path, _hparams(trial) if last else None, last))

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Waits until everything is written."""
        thread = self._thread
        if thread is not None:
            self._send(_END)
            thread.join()
            self._thread = None

    def _send(self, message: Any) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=_write_all, args=(self._waiting,), name="ctune-tensorboard", daemon=True
            )
            self._thread.start()
        self._waiting.put(message)


def _check_installed() -> None:
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise ImportError(
            'tensorboardX is needed for TensorBoard: pip install "ctune[tensorboard]"'
        ) from None


def _hparams(trial: Trial) -> dict[str, Any]:
    """What was sampled for a trial, as far as TensorBoard can show it."""
    kept: dict[str, Any] = {}
    for key, value in flatten_dict(trial.evaluated_params).items():
        if isinstance(value, np.bool_):
            kept[key] = bool(value)
        elif isinstance(value, np.integer):
            kept[key] = int(value)
        elif isinstance(value, np.floating):
            kept[key] = float(value)
        elif isinstance(value, _HPARAM_TYPES):
            kept[key] = value
        else:
            logger.info("TensorBoard cannot show the parameter %r, a %s.", key, type(value))
    return kept


def _write_all(waiting: queue.Queue[Any]) -> None:
    """The thread's work, until the end is sent. An error is told once; the run goes on."""
    files = _Files()
    told = False
    due = time.monotonic() + _FLUSH_S
    while True:
        try:
            message = waiting.get(timeout=_FLUSH_S)
        except queue.Empty:
            message = _NOTHING
        if message is _END:
            break
        try:
            if message is not _NOTHING:
                files.carry_out(message)
            if time.monotonic() >= due:
                files.flush()  # costs a write to the disk for each open file
                due = time.monotonic() + _FLUSH_S
        except Exception:
            if not told:
                told = True
                logger.exception(
                    "TensorBoard's files could not be written; the run goes on. Further "
                    "errors of this kind are not shown."
                )
    files.close()


class _Files:
    """The event files of the trials that are open.

    Those of tensorboardX itself have a thread each, which costs more than what they write.
    """

    def __init__(self) -> None:
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event

        self._make = summary
        self._open = EventsWriter
        self._event = Event
        self._writers: dict[str, Any] = {}
        self._invalid: set[str] = set()
        self._bins: list[float] | None = None
        self._tags: dict[str, str] = {}
        self._unflushed: set[str] = set()

    def carry_out(self, message: Any) -> None:
        kind, path, *rest = message
        if path is None:
            return
        if kind == "result":
            self._result(path, *rest)
        else:
            self._end(path, *rest)

    def _result(
        self, path: str, step: Any, scalars: dict[str, Any], others: dict[str, Any]
    ) -> None:
        event = self._event(wall_time=time.time(), step=int(step or 0))
        for key, value in scalars.items():
            event.summary.value.add(tag=self._tag(key), simple_value=value)
        for key, value in others.items():
            try:
                event.summary.MergeFrom(self._array(f"ray/tune/{key}", value))
            except Exception as error:
                if key not in self._invalid:
                    self._invalid.add(key)
                    logger.warning("TensorBoard cannot show the value of %r: %s.", key, error)
        if path not in self._writers:
            self._writers[path] = self._open(os.path.join(path, "events"))
        self._writers[path].write_event(event)
        self._unflushed.add(path)

    def _tag(self, key: str) -> str:
        """The tag of a key, without the characters that TensorBoard does not take."""
        if key not in self._tags:
            (value,) = self._make.scalar(f"ray/tune/{key}", 0.0).value
            self._tags[key] = value.tag
        return self._tags[key]

    def flush(self) -> None:
        for path in self._unflushed & self._writers.keys():
            self._writers[path].flush()
        self._unflushed.clear()

    def _array(self, tag: str, value: Any) -> Any:
        dimensions = value.ndim if isinstance(value, np.ndarray) else 0
        if dimensions == 3:
            return self._make.image(tag, value, dataformats="CHW")
        if dimensions == 4:
            return self._make.image(tag, value, dataformats="NCHW")
        if dimensions == 5:
            return self._make.video(tag, value, fps=_FRAMES_PER_S, dataformats="NTCHW")
        if not dimensions and not all(isinstance(item, numbers.Number) for item in value):
            raise ValueError("not all items are numbers")
        if self._bins is None:
            self._bins = _histogram_bins()
        return self._make.histogram(tag, np.asarray(value), bins=self._bins)

    def _end(self, path: str, hparams: dict[str, Any] | None, last: dict[str, Any] | None) -> None:
        writer = self._writers.pop(path, None)
        if writer is None:
            return
        try:
            if hparams and last:
                metrics = {f"ray/tune/{key}": value for key, value in last.items()}
                for part in self._make.hparams(hparam_dict=hparams, metric_dict=metrics):
                    writer.write_event(self._event(wall_time=time.time(), summary=part))
        finally:
            writer.close()

    def close(self) -> None:
        for writer in self._writers.values():
            try:
                writer.close()
            except Exception:
                logger.exception("A file of TensorBoard could not be closed.")
        self._writers.clear()


def _histogram_bins() -> list[float]:
    """The limits of TensorFlow's histograms: 1e-12 to 1e20, 10 % apart, and their negatives."""
    limits = []
    limit = 1e-12
    while limit < 1e20:
        limits.append(limit)
        limit *= 1.1
    return [-limit for limit in reversed(limits)] + [0.0, *limits]
