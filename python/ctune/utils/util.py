"""Small helpers: dates, nested dicts, the automatic keys of results."""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from ctune.result import (
    CONFIG,
    DATE,
    DONE,
    EPISODES_TOTAL,
    HOSTNAME,
    ITERATIONS_SINCE_RESTORE,
    NODE_IP,
    PID,
    TIME_SINCE_RESTORE,
    TIME_THIS_ITER_S,
    TIME_TOTAL_S,
    TIMESTAMP,
    TIMESTEPS_SINCE_RESTORE,
    TIMESTEPS_TOTAL,
    TRAINING_ITERATION,
    TRIAL_ID,
)

if TYPE_CHECKING:
    from ctune.trainable.trainable import Trainable

__all__ = [
    "START_OF_TIME",
    "auto_filled_metrics",
    "date_str",
    "deep_update",
    "default_storage_path",
    "flatten_dict",
    "get_node_ip_address",
    "is_nan",
    "is_nan_or_inf",
    "merge_dicts",
    "unflatten_dict",
    "unflatten_list_dict",
    "unflattened_lookup",
    "validate_save_restore",
    "warn_if_slow",
]

logger = logging.getLogger("ctune")

START_OF_TIME = time.time()

_T = TypeVar("_T")


def date_str() -> str:
    """Returns the local time as "2026-11-23_21-02-12"."""
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def default_storage_path() -> str:
    """Returns where experiments are kept if nobody says otherwise."""
    return os.path.join(os.path.expanduser("~"), "ray_results")


def get_node_ip_address() -> str:
    """Returns the address by which other machines reach this one."""
    import socket

    # Connecting a datagram socket sends nothing: it only picks the route's address.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address: str = probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
    return address


def auto_filled_metrics(
    trainable: Trainable,
    now: datetime | None,
    time_this_iter: float | None,
    timestamp: int | None,
    debug_metrics_only: bool,
) -> dict[str, Any]:
    """Returns the automatic keys of a result of `trainable` made at this moment."""
    import socket

    now = now or datetime.now()
    filled: dict[str, Any] = {
        TRIAL_ID: trainable.trial_id,
        DATE: now.strftime("%Y-%m-%d_%H-%M-%S"),
        TIMESTAMP: int(now.timestamp()) if timestamp is None else timestamp,
        PID: os.getpid(),
        HOSTNAME: socket.gethostname(),
        NODE_IP: get_node_ip_address(),
        CONFIG: trainable.config,
    }
    if debug_metrics_only:
        return filled
    if time_this_iter is not None:
        filled[TIME_THIS_ITER_S] = time_this_iter
    filled[DONE] = False
    filled[TRAINING_ITERATION] = trainable.iteration
    filled[TIME_TOTAL_S] = trainable._time_total
    filled[TIMESTEPS_TOTAL] = trainable._timesteps_total
    filled[EPISODES_TOTAL] = trainable._episodes_total
    filled[TIME_SINCE_RESTORE] = trainable._time_since_restore
    filled[TIMESTEPS_SINCE_RESTORE] = trainable._timesteps_since_restore
    filled[ITERATIONS_SINCE_RESTORE] = trainable._iterations_since_restore
    return filled


def flatten_dict(
    dt: Mapping[str, Any],
    delimiter: str = "/",
    prevent_delimiter: bool = False,
    flatten_list: bool = False,
) -> dict[str, Any]:
    """Returns a dict whose nested dicts are spelled as paths: {"a/b": 1}.

    Plain keys keep their order; those of nested dicts come after them. Empty dicts
    leave nothing.

    Args:
        dt: Left as it is.
        delimiter: Joins the keys of a path.
        prevent_delimiter: Refuse keys that contain the delimiter.
        flatten_list: Treat lists as dicts of their positions.

    Raises:
        ValueError: A key contains the delimiter and `prevent_delimiter` is set.
    """
    flat: dict[str, Any] = {}
    # Breadth first: what is nested deeper comes later.
    level: list[tuple[str, Any]] = [("", dt)]
    while level:
        deeper: list[tuple[str, Any]] = []
        for prefix, node in level:
            items = node.items() if isinstance(node, Mapping) else enumerate(node)
            for key, value in items:
                if prevent_delimiter and delimiter in str(key):
                    raise ValueError(
                        f"dt: the key {key!r} contains the delimiter {delimiter!r}. "
                        "Rename it, or choose another delimiter."
                    )
                path: Any = f"{prefix}{delimiter}{key}" if prefix else key
                nested = isinstance(value, dict) or (flatten_list and isinstance(value, list))
                if nested:
                    deeper.append((str(path), value))
                else:
                    flat[path] = value
        level = deeper
    return flat


def unflatten_dict(dt: Mapping[str, _T], delimiter: str = "/") -> dict[str, Any]:
    """Returns the nested dict whose paths are the keys of `dt`."""
    out: dict[str, Any] = {}
    for path, value in dt.items():
        *parents, last = str(path).split(delimiter)
        node = out
        for key in parents:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise TypeError(f"dt: {path!r} is below a key that holds a value of its own.")
        node[last] = value
    return out


def unflatten_list_dict(dt: Mapping[str, Any], delimiter: str = "/") -> Any:
    """Does the same, and makes lists of dicts whose keys count from 0."""

    def lists(node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        made = {key: lists(value) for key, value in node.items()}
        if made and list(made) == [str(i) for i in range(len(made))]:
            return list(made.values())
        return made

    return lists(unflatten_dict(dt, delimiter))


_MISSING = object()


def unflattened_lookup(
    flat_key: str, lookup: Any, delimiter: str = "/", default: Any = _MISSING
) -> Any:
    """Returns the value at the path `flat_key` of nested dicts and lists.

    Raises:
        KeyError: There is none, and no default.
    """
    if isinstance(lookup, Mapping) and flat_key in lookup:
        return lookup[flat_key]
    node = lookup
    try:
        for key in flat_key.split(delimiter):
            node = node[key] if isinstance(node, Mapping) else node[int(key)]
    except (KeyError, IndexError, TypeError, ValueError):
        if default is not _MISSING:
            return default
        raise KeyError(flat_key) from None
    return node


def deep_update(
    original: MutableMapping[str, Any],
    new_dict: Mapping[str, Any],
    new_keys_allowed: bool = True,
) -> MutableMapping[str, Any]:
    """Updates nested dicts in place: values of `new_dict` win. Returns `original`.

    Raises:
        KeyError: `new_dict` has a key that `original` lacks, and that is not allowed.
    """
    for key, value in new_dict.items():
        if key not in original and not new_keys_allowed:
            raise KeyError(f"new_dict: {key!r} is not a key of the original dict.")
        if isinstance(original.get(key), dict) and isinstance(value, dict):
            deep_update(original[key], value, new_keys_allowed)
        else:
            original[key] = value
    return original


def merge_dicts(d1: Mapping[str, Any], d2: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a new dict: `d1` updated with `d2` at all levels."""
    merged = copy.deepcopy(dict(d1))
    deep_update(merged, d2)
    return merged


def is_nan(value: Any) -> bool:
    """Returns whether `value` is a number that is NaN."""
    try:
        return math.isnan(value)
    except (TypeError, OverflowError):
        return False


def is_nan_or_inf(value: Any) -> bool:
    """Returns whether `value` is a number that is NaN or infinite."""
    try:
        return not math.isfinite(value)
    except TypeError:
        return False
    except OverflowError:
        return False


class warn_if_slow:  # noqa: N801
    """Context manager: logs a warning if its block takes longer than `threshold` s."""

    def __init__(
        self, name: str, threshold: float | None = None, message: str | None = None
    ) -> None:
        self.name = name
        self.threshold = (
            float(os.environ.get("TUNE_WARN_THRESHOLD_S", "0.5"))
            if threshold is None
            else threshold
        )
        self.message = message or "The `{name}` operation took {duration:.3f} s."
        self._start = 0.0

    def __enter__(self) -> warn_if_slow:
        self._start = time.monotonic()
        return self

    def __exit__(self, *exc_info: object) -> None:
        duration = time.monotonic() - self._start
        if duration > self.threshold:
            logger.warning(self.message.format(name=self.name, duration=duration))


def validate_save_restore(
    trainable_cls: type[Trainable],
    config: dict[str, Any] | None = None,
    num_gpus: int = 0,
) -> bool:
    """Checks that a class goes on from a checkpoint where it was: 3 steps, save, 2 more.

    Args:
        trainable_cls: A Trainable class.
        config: Its configuration.
        num_gpus: Not used: both instances live in this process.

    Returns:
        True; anything else is an AssertionError.
    """
    first = trainable_cls(config=config)
    second = trainable_cls(config=config)
    for _ in range(3):
        first.train()
    saved = first.save()
    assert saved.metrics[TRAINING_ITERATION] == 3, "3 steps must make 3 iterations"
    second.restore(saved)
    for expected in (4, 5):
        got = second.train()[TRAINING_ITERATION]
        assert got == expected, f"after a restore, training_iteration must be {expected}, got {got}"
    return True
