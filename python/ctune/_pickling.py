"""Pickling of trainables, and finding out what stands in its way."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any

from ctune._work import Work

__all__ = ["dump_trainable", "find_unpicklable"]

_MAX_DEPTH = 4


def dump_trainable(trainable: Any, name: str) -> bytes:
    """Returns the pickle in which a trainable travels to worker processes.

    Raises:
        TypeError: It cannot be pickled. The message names the attribute, the bound
            argument or the variable that is to blame.
    """
    import cloudpickle

    try:
        data: bytes = cloudpickle.dumps(trainable)
    except Exception as error:
        cause = find_unpicklable(trainable)
        at = f" because of {cause}" if cause else ""
        raise TypeError(
            f"trainable: {name} cannot be sent to worker processes{at}: {error}. Make "
            "such objects inside the trainable, once it runs, or use "
            'ctune.init(executor="inline").'
        ) from error
    return data


def find_unpicklable(trainable: Any) -> str | None:
    """Returns a description of the innermost part that cannot be pickled, or None."""
    if isinstance(trainable, Work):
        trainable = trainable.trainable
    function = inspect.getattr_static(trainable, "_function", None)
    if isinstance(function, staticmethod):
        trainable = function.__func__
    return _search(trainable, _MAX_DEPTH, set())


def _search(thing: Any, depth: int, seen: set[int]) -> str | None:
    if depth == 0:
        return None
    for what, part in _parts(thing):
        if id(part) in seen or _pickles(part):
            continue
        seen.add(id(part))
        inner = _search(part, depth - 1, seen)
        here = f"{what} (a {type(part).__name__})"
        return f"{inner} in {what}" if inner else here
    return None


def _pickles(thing: Any) -> bool:
    import cloudpickle

    try:
        cloudpickle.dumps(thing)
    except Exception:
        return False
    return True


def _parts(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yields what a pickle of `thing` contains, with a description of each part."""
    if isinstance(thing, functools.partial):
        yield "the function of the partial", thing.func
        for place, value in enumerate(thing.args):
            yield f"its argument number {place + 1}", value
        for name, value in thing.keywords.items():
            yield f"its argument {name!r}", value
    elif inspect.ismethod(thing):
        yield "the object of the method", thing.__self__
    elif inspect.isfunction(thing):
        yield from _variables(thing)
    elif inspect.isclass(thing):
        for name, value in vars(thing).items():
            member = getattr(value, "__func__", value)
            if name not in ("__dict__", "__weakref__", "__doc__", "__module__"):
                yield f"the attribute {name!r} of class {thing.__name__}", member
        for base in thing.__bases__:
            if base.__module__.split(".")[0] not in ("builtins", "ctune"):
                yield f"the base class {base.__name__}", base
    elif isinstance(thing, dict):
        for name, value in thing.items():
            yield f"the key {name!r}", value
    elif isinstance(thing, (list, tuple, set)):
        for place, value in enumerate(thing):
            yield f"the item number {place}", value
    elif hasattr(thing, "__dict__"):
        for name, value in vars(thing).items():
            yield f"the attribute {name!r} of a {type(thing).__name__}", value


def _variables(function: Any) -> Iterator[tuple[str, Any]]:
    """Yields the closed-over variables, globals and defaults that a function uses."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            value = cell.cell_contents
        except ValueError:
            continue  # not assigned yet
        yield f"the closed-over variable {name!r} of {function.__name__}()", value
    if function.__module__ == "__main__" or "<locals>" in function.__qualname__:
        for name in function.__code__.co_names:
            if name in function.__globals__:
                value = function.__globals__[name]
                yield f"the global variable {name!r} of {function.__name__}()", value
    for value in (function.__defaults__ or ()) + tuple((function.__kwdefaults__ or {}).values()):
        yield f"a default argument of {function.__name__}()", value
