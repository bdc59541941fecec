"""Small helpers: dates, nested dicts, the automatic keys of results."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from ctune._environment import environment_number
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
    "SafeFallbackEncoder",  # noqa: F822
    "Tee",
    "UtilMonitor",  # noqa: F822
    "auto_filled_metrics",
    "date_str",
    "deep_update",
    "detect_config_single",
    "diagnose_serialization",
    "default_storage_path",
    "flatten_dict",
    "get_node_ip_address",
    "is_nan",
    "is_nan_or_inf",
    "merge_dicts",
    "retry_fn",
    "unflatten_dict",
    "unflatten_list_dict",
    "unflattened_lookup",
    "validate_save_restore",
    "validate_warmstart",
    "wait_for_gpu",  # noqa: F822
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

    Plain keys keep their order; those of nested dicts come after them. A plain key that
    contains the delimiter wins over a path of the same spelling. Empty dicts leave nothing.

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
                    flat.setdefault(path, value)
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


def unflattened_lookup(flat_key: str, lookup: Any, delimiter: str = "/", **kwargs: Any) -> Any:
    """Returns the value at the path `flat_key` of nested dicts and lists.

    Args:
        flat_key: The path; a key that contains the delimiter wins.
        lookup: Where to look.
        delimiter: Joins the keys of a path.
        **kwargs: `default`: what to return if there is none.

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
        if "default" in kwargs:
            return kwargs["default"]
        raise KeyError(flat_key) from None
    return node


def deep_update(
    original: MutableMapping[str, Any],
    new_dict: Mapping[str, Any],
    new_keys_allowed: bool = False,
    allow_new_subkey_list: Sequence[str] | None = None,
    override_all_if_type_changes: Sequence[str] | None = None,
    override_all_key_list: Sequence[str] | None = None,
) -> MutableMapping[str, Any]:
    """Updates nested dicts in place: values of `new_dict` win. Returns `original`.

    Args:
        original: Changed in place.
        new_dict: What to put in.
        new_keys_allowed: Whether `new_dict` may have keys that `original` lacks.
        allow_new_subkey_list: Keys of `original` below which new keys may come in any case.
        override_all_if_type_changes: Keys whose dict is replaced as a whole if its entry
            "type" differs.
        override_all_key_list: Keys whose dict is replaced as a whole.

    Raises:
        KeyError: `new_dict` has a key that `original` lacks, and that is not allowed.
    """
    for key, value in new_dict.items():
        if key not in original and not new_keys_allowed:
            raise KeyError(f"new_dict: {key!r} is not a key of the original dict.")
        here = original.get(key)
        if not (isinstance(here, dict) and isinstance(value, dict)):
            original[key] = value
        elif key in (override_all_key_list or ()) or (
            key in (override_all_if_type_changes or ())
            and "type" in here
            and "type" in value
            and here["type"] != value["type"]
        ):
            original[key] = value
        else:
            allowed = new_keys_allowed or key in (allow_new_subkey_list or ())
            # Only the last list holds below the first level.
            deep_update(here, value, allowed, override_all_key_list=override_all_key_list)
    return original


def merge_dicts(d1: Mapping[str, Any], d2: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a new dict: `d1` updated with `d2` at all levels."""
    merged = copy.deepcopy(dict(d1))
    deep_update(merged, d2, new_keys_allowed=True)
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
    """Context manager: logs a warning if its block takes longer than `threshold` s.

    Args:
        name: What the block does.
        threshold: Default: TUNE_WARN_THRESHOLD_S, or 0.5.
        message: Text with `{name}` and `{duration}`.
        disable: Say nothing.
    """

    DEFAULT_THRESHOLD = 0.5
    DEFAULT_MESSAGE = "The `{name}` operation took {duration:.3f} s."

    def __init__(
        self,
        name: str,
        threshold: float | None = None,
        message: str | None = None,
        disable: bool = False,
    ) -> None:
        self.name = name
        self.threshold = (
            environment_number("TUNE_WARN_THRESHOLD_S", float(self.DEFAULT_THRESHOLD))
            if threshold is None
            else threshold
        )
        self.message = message or self.DEFAULT_MESSAGE
        self.disable = disable
        self._start = 0.0

    def __enter__(self) -> warn_if_slow:
        self._start = time.monotonic()
        return self

    def __exit__(self, *exc_info: object) -> None:
        duration = time.monotonic() - self._start
        if duration > self.threshold and not self.disable:
            logger.warning(self.message.format(name=self.name, duration=duration))


class Tee:
    """A stream that writes to two others; what is read comes from the first that can.

    Args:
        stream1, stream2: The streams. One that fails is passed over.
    """

    def __init__(self, stream1: Any, stream2: Any) -> None:
        self.stream1 = stream1
        self.stream2 = stream2
        # A stream may log what it fails at, to this one.
        self._busy = False

    def _of_each(self, method: str, *args: Any, **kwargs: Any) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            for stream in (self.stream1, self.stream2):
                with contextlib.suppress(Exception):
                    getattr(stream, method)(*args, **kwargs)
        finally:
            self._busy = False

    def _of_first(self, name: str) -> Any:
        for stream in (self.stream1, self.stream2):
            if hasattr(stream, name):
                return getattr(stream, name)
        raise NotImplementedError(f"Tee: neither stream has {name!r}.")

    def write(self, *args: Any, **kwargs: Any) -> None:
        """Writes to both."""
        self._of_each("write", *args, **kwargs)

    def flush(self, *args: Any, **kwargs: Any) -> None:
        """Flushes both."""
        self._of_each("flush", *args, **kwargs)

    def seek(self, *args: Any, **kwargs: Any) -> None:
        """Moves both."""
        self._of_each("seek", *args, **kwargs)

    def read(self, *args: Any, **kwargs: Any) -> Any:
        """Reads from the first."""
        return self._of_first("read")(*args, **kwargs)

    def readline(self, *args: Any, **kwargs: Any) -> Any:
        """Reads a line from the first."""
        return self._of_first("readline")(*args, **kwargs)

    def detach(self, *args: Any, **kwargs: Any) -> Any:
        """Detaches the first."""
        return self._of_first("detach")(*args, **kwargs)

    def tell(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the place of the first."""
        return self._of_first("tell")(*args, **kwargs)

    @property
    def encoding(self) -> Any:
        """Encoding of the first."""
        return self._of_first("encoding")

    @property
    def error(self) -> Any:
        """Treatment of errors of the first."""
        return self._of_first("errors")

    @property
    def newlines(self) -> Any:
        """Line ends of the first."""
        return self._of_first("newlines")


def retry_fn(
    fn: Callable[[], Any],
    exception_type: type[Exception] | Sequence[type[Exception]] = Exception,
    num_retries: int = 3,
    sleep_time: float = 1,
    timeout: float | None = None,
) -> bool:
    """Calls a function until it raises nothing.

    Args:
        fn: Takes no argument.
        exception_type: What to try again after; other exceptions are passed on.
        num_retries: The highest number of calls.
        sleep_time: Seconds between two calls.
        timeout: Seconds after which a call counts as failed; it goes on in a thread of its
            own all the same. Default: none.

    Returns:
        Whether a call succeeded.
    """
    types = (exception_type,) if isinstance(exception_type, type) else tuple(exception_type)
    for left in reversed(range(num_retries)):
        outcome: list[BaseException | None] = []

        def call(outcome: list[BaseException | None] = outcome) -> None:
            try:
                fn()
            except BaseException as error:
                outcome.append(error)
            else:
                outcome.append(None)

        if timeout is None:
            call()
        else:
            import threading

            thread = threading.Thread(target=call, daemon=True)
            thread.start()
            thread.join(timeout)
        if outcome and outcome[0] is None:
            return True
        if outcome and not isinstance(outcome[0], types):
            raise outcome[0]  # type: ignore[misc]
        logger.debug("retry_fn: %s, %d tries left", outcome or "timed out", left)
        if left:
            time.sleep(sleep_time)
    return False


def validate_warmstart(
    parameter_names: Sequence[str],
    points_to_evaluate: Any,
    evaluated_rewards: Any,
    validate_point_name_lengths: bool = True,
) -> None:
    """Checks the points that a searcher is to begin with.

    Args:
        parameter_names: The parameters of a point.
        points_to_evaluate: List of dicts, or of lists of values.
        evaluated_rewards: List of what is known of the points, or None.
        validate_point_name_lengths: Whether points must have a value per parameter.

    Raises:
        TypeError: Something is no list, or a point neither dict nor list.
        ValueError: There are too few or too many values or rewards.
    """
    if points_to_evaluate:
        if not isinstance(points_to_evaluate, list):
            raise TypeError(
                f"points_to_evaluate: must be a list, got {type(points_to_evaluate).__name__}."
            )
        for point in points_to_evaluate:
            if not isinstance(point, (dict, list)):
                raise TypeError(f"points_to_evaluate: must hold dicts or lists, got {point!r:.80}.")
            if validate_point_name_lengths and len(point) != len(parameter_names):
                raise ValueError(
                    f"points_to_evaluate: {point!r:.80} has {len(point)} values for the "
                    f"{len(parameter_names)} parameters {list(parameter_names)}."
                )
    if points_to_evaluate and evaluated_rewards:
        if not isinstance(evaluated_rewards, list):
            raise TypeError(
                f"evaluated_rewards: must be a list, got {type(evaluated_rewards).__name__}."
            )
        if len(evaluated_rewards) != len(points_to_evaluate):
            raise ValueError(
                f"evaluated_rewards: must have one for each of the {len(points_to_evaluate)} "
                f"points, got {len(evaluated_rewards)}."
            )


def diagnose_serialization(trainable: Callable[..., Any]) -> bool | set[str]:
    """Prints what keeps a function from being sent to workers.

    Returns:
        True if nothing does; otherwise the names of the variables to blame, or an empty set
        if it is none of them.
    """
    import inspect

    import cloudpickle

    def pickles(thing: Any) -> bool:
        try:
            cloudpickle.dumps(thing)
        except Exception as error:
            print(f"{thing!r:.80} cannot be pickled: {error}")
            return False
        return True

    if pickles(trainable):
        print(f"{trainable!r:.80} can be pickled.")
        return True
    try:
        variables = inspect.getclosurevars(trainable)
    except TypeError:
        return set()
    named = {**variables.globals, **variables.nonlocals}
    blamed = {name for name, value in named.items() if not pickles(value)}
    if blamed:
        print(f"Make {', '.join(sorted(blamed))} inside the function, or do not use them there.")
    return blamed


def detect_config_single(func: Callable[..., Any]) -> bool:
    """Returns whether a function can be called with the config alone."""
    import inspect

    try:
        inspect.signature(func).bind({})
    except (TypeError, ValueError):
        return False
    return True


def __getattr__(name: str) -> Any:
    # What needs modules that a worker would otherwise not load.
    if name in ("UtilMonitor", "wait_for_gpu"):
        from ctune.utils import gpu

        return getattr(gpu, name)
    if name == "SafeFallbackEncoder":
        from ctune._encode import SafeFallbackEncoder

        return SafeFallbackEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
