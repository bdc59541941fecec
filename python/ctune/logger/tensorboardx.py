"""The loggers of TensorBoard's event files."""

from __future__ import annotations

import importlib.util
import logging
import numbers
import os
import struct
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ctune._ctune import crc32c, host
from ctune.logger._background import Background, Target, settled
from ctune.logger.logger import Logger, LoggerCallback, deprecated
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

__all__ = ["VALID_SUMMARY_TYPES", "TBXLogger", "TBXLoggerCallback"]

logger = logging.getLogger("ctune")

VALID_SUMMARY_TYPES: tuple[type[Any], ...]
VALID_SUMMARY_TYPES = (int, float, np.float32, np.float64, np.int32, np.int64)

_SKIPPED = frozenset((CONFIG, PID, TIMESTAMP, TIME_TOTAL_S, TRAINING_ITERATION))
_HPARAM_TYPES: tuple[type[Any], ...] = (str, bool, int, float, list, type(None))
_NP_HPARAM_TYPES: tuple[type[Any], ...]
_NP_HPARAM_TYPES = (np.bool_, np.float32, np.float64, np.int32, np.int64)
_FRAMES_PER_S = 20
_FLUSH_S = 2.0
_MOST_BYTES = 1 << 16
_MOST_PREPARED = 1000


class TBXLoggerCallback(LoggerCallback):
    """Writes each trial's results for TensorBoard, through tensorboardX.

    It is on by default where tensorboardX is installed. Numbers become scalars named
    `ray/tune/<key>`, nested keys joined by "/", over `timesteps_total` if there is one, else
    `training_iteration`. Arrays of 3 and 4 dimensions become images, of 5 a video, other
    arrays and lists of numbers histograms. What was sampled and the last result stand in the
    HParams tab.

    A thread of its own writes the files; the end of the run waits for it.

    Raises:
        ImportError: tensorboardX is missing.
    """

    VALID_HPARAMS = _HPARAM_TYPES
    VALID_NP_HPARAMS = _NP_HPARAM_TYPES

    def __init__(self) -> None:
        _check_installed()
        self._files = Background("TensorBoard's files", _Files)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Hands the result to the thread that writes."""
        self._files.send("result", trial.local_path, settled(result))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Has the trial's file closed, with what was sampled."""
        hparams = _hparams(trial, self.VALID_HPARAMS, self.VALID_NP_HPARAMS)
        self._files.send("end", trial.local_path, hparams)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Waits until everything is written."""
        self._files.end()


class TBXLogger(Logger):
    """Writes one trial's results for TensorBoard, at once; for `LegacyLoggerCallback`. Deprecated.

    Args:
        config: The trial's config.
        logdir: The trial's directory.
        trial: The trial; without it, nothing is shown in the HParams tab.

    Raises:
        ImportError: tensorboardX is missing.
    """

    VALID_HPARAMS = _HPARAM_TYPES
    VALID_NP_HPARAMS = _NP_HPARAM_TYPES

    def _init(self) -> None:
        deprecated(self, "TBXLoggerCallback")
        _check_installed()
        self._files = _Files()

    def on_result(self, result: dict[str, Any]) -> None:
        """Writes the result's numbers and arrays."""
        self._files.result(self.logdir, result)
        self._files.flush()

    def close(self) -> None:
        """Writes the rest, with what was sampled."""
        hparams = {}
        if self.trial is not None:
            hparams = _hparams(self.trial, self.VALID_HPARAMS, self.VALID_NP_HPARAMS)
        self._files.end(self.logdir, hparams)


def _check_installed() -> None:
    # Not imported before something is written: where boto3 is installed, that takes longer
    # than going on with hundreds of finished trials.
    if importlib.util.find_spec("tensorboardX") is None:
        raise ImportError(
            'tensorboardX is needed for TensorBoard: pip install "ctune[tensorboard]"'
        )


def _hparams(
    trial: Trial, kinds: tuple[type[Any], ...], numpy_kinds: tuple[type[Any], ...]
) -> dict[str, Any]:
    """What was sampled for a trial, as far as TensorBoard can show it."""
    kept: dict[str, Any] = {}
    for key, value in flatten_dict(trial.evaluated_params).items():
        if isinstance(value, numpy_kinds):
            kept[key] = value.tolist()
        elif isinstance(value, kinds):
            kept[key] = value
        else:
            logger.info("TensorBoard cannot show the parameter %r, a %s.", key, type(value))
    return kept


class _File:
    """One event file: records of an Event each, as TensorFlow defines them.

    A record is its length as u64, the checksum of that, the data, and its checksum. Little
    endian. tensorboardX has a class for this, which computes checksums in Python: 100 µs
    for a result, where all the rest takes 10.

    It is open only while it is written to: there may be thousands of paused trials.
    """

    def __init__(self, folder: str, first: bytes) -> None:
        name = f"events.out.tfevents.{int(time.time()):010d}.{host()[0]}"
        self._path = os.path.join(folder, name)
        self._waiting = bytearray()
        self.last: dict[str, Any] = {}  # the numbers of the newest result
        self.write(first)

    def write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        self._waiting += b"".join((length, _checksum(length), event, _checksum(event)))
        if len(self._waiting) >= _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        with open(self._path, "ab") as file:
            file.write(self._waiting)
        self._waiting.clear()


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


class _Files(Target):
    """The event files of the trials that have not ended.

    A writer of tensorboardX has a thread of its own for each file, which costs more than
    what it writes.
    """

    def __init__(self) -> None:
        from tensorboardX import summary
        from tensorboardX.proto.event_pb2 import Event

        self._make = summary
        self._event = Event
        self._open: dict[str, _File] = {}
        self._prepared: dict[tuple[str, ...], tuple[Any, list[Any]]] = {}
        self._invalid: set[str] = set()
        self._bins: list[float] | None = None
        self._changed: set[str] = set()
        self._due = time.monotonic() + _FLUSH_S

    def result(self, path: str, result: dict[str, Any]) -> None:
        step = int(result.get(TIMESTEPS_TOTAL) or result.get(TRAINING_ITERATION) or 0)
        kept = {key: value for key, value in result.items() if key not in _SKIPPED}
        if any(isinstance(value, dict) for value in kept.values()):
            kept = flatten_dict(kept, delimiter="/")
        scalars = {}
        parts = []
        for key, value in kept.items():
            if isinstance(value, VALID_SUMMARY_TYPES):
                if value == value:
                    scalars[key] = value
            elif (isinstance(value, np.ndarray) and value.size) or (
                isinstance(value, list) and value
            ):
                parts.append((key, value))
        event, places = self._event_of(tuple(scalars))
        event.wall_time = time.time()
        event.step = step
        for place, value in zip(places, scalars.values(), strict=True):
            place.simple_value = value
        if parts:
            whole = self._event()
            whole.CopyFrom(event)
            event = whole
            for key, value in parts:
                self._add_array(event, key, value)
        if path not in self._open:
            start = self._event(wall_time=time.time(), file_version="brain.Event:2")
            self._open[path] = _File(path, start.SerializeToString())
        file = self._open[path]
        file.last = scalars
        file.write(event.SerializeToString())
        self._changed.add(path)

    def _event_of(self, keys: tuple[str, ...]) -> tuple[Any, list[Any]]:
        """An event with these keys' tags, and the places of their values: made once for all
        results that have the same keys."""
        found = self._prepared.get(keys)
        if found is None:
            event = self._event()
            for key in keys:
                # The summary knows which characters TensorBoard takes in a tag.
                event.summary.MergeFrom(self._make.scalar(f"ray/tune/{key}", 0.0))
            if len(self._prepared) >= _MOST_PREPARED:
                self._prepared.clear()
            found = self._prepared[keys] = event, list(event.summary.value)
        return found

    def _add_array(self, event: Any, key: str, value: Any) -> None:
        try:
            event.summary.MergeFrom(self._array(f"ray/tune/{key}", value))
        except Exception as error:
            if key not in self._invalid:
                self._invalid.add(key)
                logger.warning("TensorBoard cannot show the value of %r: %s.", key, error)

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

    def end(self, path: str, hparams: dict[str, Any]) -> None:
        file = self._open.pop(path, None)
        if file is None:
            return
        try:
            if hparams and file.last:
                metrics = {f"ray/tune/{key}": value for key, value in file.last.items()}
                for part in self._make.hparams(hparam_dict=hparams, metric_dict=metrics):
                    event = self._event(wall_time=time.time(), summary=part)
                    file.write(event.SerializeToString())
        finally:
            file.flush()

    def flush(self) -> None:
        # It costs a write for each trial: not after each batch.
        if time.monotonic() >= self._due:
            for path in self._changed & self._open.keys():
                self._open[path].flush()
            self._changed.clear()
            self._due = time.monotonic() + _FLUSH_S

    def close(self) -> None:
        for file in self._open.values():
            try:
                file.flush()
            except OSError:
                logger.exception("A file of TensorBoard could not be written to its end.")
        self._open.clear()


def _histogram_bins() -> list[float]:
    """The limits of TensorFlow's histograms: 1e-12 to 1e20, 10 % apart, and their negatives."""
    limits = []
    limit = 1e-12
    while limit < 1e20:
        limits.append(limit)
        limit *= 1.1
    return [-limit for limit in reversed(limits)] + [0.0, *limits]
