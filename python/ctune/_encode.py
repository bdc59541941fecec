"""How Python objects that the engine cannot look into are written: as text and as bytes.

The C engine calls these for values in configs and results that are not numbers, strings,
lists or dicts.
"""

from __future__ import annotations

import copy
import json
import pickle
import sys
from typing import Any

__all__ = [
    "SafeFallbackEncoder",
    "UnpicklableError",
    "brief",
    "check_text",
    "copied",
    "dumps",
    "dumps_config",
    "json_text",
    "loads",
]


def _plain(value: Any) -> Any:
    """Turns what json cannot write into something it can: arrays become lists."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            return value.tolist()
        if isinstance(value, numpy.generic):
            return value.item()
    return _text(value)


def _text(value: Any) -> str:
    """Returns str(value), also for objects whose own text fails."""
    try:
        return str(value)
    except Exception:
        return object.__repr__(value)


class SafeFallbackEncoder(json.JSONEncoder):
    """Writes what is neither JSON nor NumPy's as its text.

    Args:
        nan_str: What a NaN of NumPy stands as that is no Python float.
        **kwargs: Of json.JSONEncoder.
    """

    def __init__(self, nan_str: str = "null", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.nan_str = nan_str

    def default(self, value: Any) -> Any:
        """Returns what is written for a value."""
        plain = _plain(value)
        if plain != plain:
            return self.nan_str
        return plain


def brief(value: Any, length: int = 80) -> str:
    """Returns the beginning of repr(value) for a message, also where that fails."""
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text[:length]


def check_text(parameter: str, text: str) -> str:
    """Returns a text that can be written to files as UTF-8.

    Raises:
        ValueError: It cannot: it holds a lone surrogate.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{parameter}: {brief(text, 500)} cannot be written as UTF-8, because of the lone "
                f"surrogate at {error.start}. Such characters stand for bytes that were no "
                'text; use text.encode("utf-8", "replace").decode().'
            ) from None
    return text


def json_text(value: Any) -> str:
    """Returns one line of JSON that stands for `value` in result.json and params.json.

    NumPy arrays become lists; what has no JSON form becomes the string `str(value)`,
    or what `object` would say if that fails.
    """
    try:
        return json.dumps(value, default=_plain)
    except (TypeError, ValueError):  # keys that are no strings, cycles
        return json.dumps(_text(value))


def dumps(value: Any) -> bytes:
    """Returns the pickle of `value`; functions and classes travel by cloudpickle."""
    try:
        data = pickle.dumps(value, protocol=5)
    except Exception:
        data = b""
    # Plain pickle refers to code of the main script by name, which no other process has.
    if data and b"__main__" not in data:
        return data
    import cloudpickle

    result: bytes = cloudpickle.dumps(value)
    return result


class UnpicklableError(TypeError):
    """A config, or an object in one, cannot be pickled.

    Attributes:
        value: The config or the object.
    """

    def __init__(self, value: Any, why: str) -> None:
        super().__init__(why)
        self.value = value


def dumps_config(value: Any) -> bytes:
    """Returns the pickle of a config, or of an object in one.

    Raises:
        UnpicklableError: It has none.
    """
    try:
        return dumps(value)
    except Exception as error:
        raise UnpicklableError(value, str(error)) from error


def copied(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a deep copy of a config.

    Raises:
        TypeError: A value cannot be copied. The message names its key.
    """
    try:
        return copy.deepcopy(config)
    except Exception as error:
        blamed = [key for key, value in config.items() if not _copies(value)]
        raise TypeError(
            f"config: the value of {', '.join(map(repr, blamed))} cannot be copied "
            f"({error}). Make such objects inside the trainable, or hand them over with "
            "with_parameters()."
        ) from error


def _copies(value: Any) -> bool:
    try:
        copy.deepcopy(value)
    except Exception:
        return False
    return True


def loads(data: bytes) -> Any:
    """Returns the object that `dumps` wrote."""
    return pickle.loads(data)
