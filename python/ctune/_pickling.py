"""How trainables travel to worker processes, and finding out what stands in their way.

A trainable is code, objects bound by with_parameters(), and large buffers that either
refers to, such as arrays. Its payload is the pickled code, and a segment of shared memory
with the pickled objects followed by the buffers: workers map the buffers, nobody copies
them.
"""

from __future__ import annotations

import functools
import inspect
import io
import pickle
import sys
import types
from collections import ChainMap
from collections.abc import Iterator
from typing import Any

from ctune import _ctune
from ctune._work import Work
from ctune.error import TuneError

__all__ = [
    "Parameters",
    "Payload",
    "dump_trainable",
    "find_unpicklable",
    "load_trainable",
    "map_payload",
]

_MAX_DEPTH = 4
_MAX_CODE = 95 << 20  # bytes of a pickle without what is bound to it, and without buffers
_LARGE = 64 << 10  # bytes from which a buffer is shared


class Parameters:
    """What with_parameters() bound to a trainable.

    Attributes:
        values: The objects by name.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


class Payload:
    """What the driver sends to its workers.

    Attributes:
        data: Where everything is, and the pickled code.
        segment: The shared memory, or None if there is nothing to share.
    """

    def __init__(self, data: bytes, segment: _ctune.Segment | None = None) -> None:
        self.data = data
        self.segment = segment

    @property
    def fd(self) -> int:
        """Descriptor of the shared memory, or -1."""
        return -1 if self.segment is None else self.segment.fileno()

    def close(self) -> None:
        """Lets go of both, when no helper will need them any more."""
        self.data = b""
        if self.segment is not None:
            self.segment.close()
            self.segment = None


def dump_trainable(trainable: Any, name: str) -> Payload:
    """Returns what worker processes need in order to load a trainable.

    Large arrays in it are moved to shared memory, in place where their memory allows it, so
    that they exist once. Nothing else may write to them during the call.

    Raises:
        TypeError: It cannot be pickled. The message names the attribute, the bound
            argument or the variable that is to blame.
        TuneError: Its pickle is too large.
    """
    bound: list[Parameters] = []
    buffers: list[pickle.PickleBuffer] = []
    inner: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    segment = None
    try:
        _dump(trainable, file, buffers, bound)
        if bound or buffers:
            segment = _ctune.Segment()
        if segment is not None and bound:
            _dump([one.values for one in bound], segment, inner, None)
    except OSError:
        raise  # no shared memory
    except Exception as error:
        cause = find_unpicklable(trainable)
        at = f" because of {cause}" if cause else ""
        raise TypeError(
            f"trainable: {name} cannot be sent to worker processes{at}: {error}. Make "
            "such objects inside the trainable, once it runs, or use "
            'ctune.init(executor="inline").'
        ) from error
    code = file.getvalue()
    if len(code) > _MAX_CODE:
        raise TuneError(_too_large(trainable, name, len(code)))
    if segment is None:
        return Payload(pickle.dumps((code, [], [], 0)))
    places = _Places(segment)
    own = [places.of(buffer) for buffer in buffers]
    others = [places.of(buffer) for buffer in inner]
    return Payload(pickle.dumps((code, own, others, len(bound))), segment)


def map_payload(fd: int) -> memoryview | None:
    """Returns the bytes of a payload's segment, given its descriptor or -1 for none."""
    return None if fd < 0 else _ctune.map_segment(fd)


def load_trainable(data: bytes, segment: memoryview | None) -> Any:
    """Returns the trainable of a payload; its arrays lie in the segment.

    What this process writes to them is its own.
    """
    code, own, inner, bound = pickle.loads(data)
    loader = _Loader(io.BytesIO(code), buffers=_parts_of(segment, own))
    if bound:
        loader.values = pickle.loads(segment or b"", buffers=_parts_of(segment, inner))
    return loader.load()


class _Loader(pickle.Unpickler):
    values: list[dict[str, Any]]

    def persistent_load(self, number: int) -> Parameters:
        return Parameters(self.values[number])


def _parts_of(segment: memoryview | None, places: list[tuple[int, int]]) -> list[memoryview]:
    return [] if segment is None else [segment[at : at + length] for at, length in places]


def _dump(
    thing: Any, file: Any, buffers: list[pickle.PickleBuffer], bound: list[Parameters] | None
) -> None:
    import cloudpickle

    def out_of_band(buffer: pickle.PickleBuffer) -> bool:
        """Whether the pickle shall hold the buffer's bytes itself."""
        with buffer.raw() as raw:
            small = raw.nbytes < _LARGE
        if not small:
            buffers.append(buffer)
        return small

    known = cloudpickle.Pickler.dispatch_table

    def code(one: types.CodeType) -> tuple[Any, ...]:
        return _code_of_file, (one.co_filename, *known[types.CodeType](one)[:2])

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        dispatch_table = ChainMap({types.CodeType: code}, known)

        def persistent_id(self, one: Any) -> int | None:
            if bound is None or type(one) is not Parameters:
                return None
            bound.append(one)
            return len(bound) - 1

    Pickler(file, protocol=5, buffer_callback=out_of_band).dump(thing)


def _code_of_file(path: str, make: Any, arguments: tuple[Any, ...]) -> types.CodeType:
    """Returns code that knows its file, which cloudpickle leaves out: tracebacks show it."""
    code: types.CodeType = make(*arguments)
    return code.replace(co_filename=path)


class _Places:
    """Where buffers stand in a segment; each array stands there once."""

    def __init__(self, segment: _ctune.Segment) -> None:
        self._segment = segment
        self._known: dict[tuple[int, int], tuple[int, int]] = {}

    def of(self, buffer: pickle.PickleBuffer) -> tuple[int, int]:
        """Returns offset and length."""
        with buffer.raw() as raw:
            key = (id(raw.obj), raw.nbytes)
            if key not in self._known:
                at = self._segment.place(raw, _block_of(raw.obj))
                self._known[key] = (at, raw.nbytes)
            return self._known[key]


def _block_of(owner: Any) -> int:
    """Address of the block of memory, as malloc() gave it, that an array lies in; else 0."""
    numpy = sys.modules.get("numpy")
    while numpy is not None and isinstance(owner, numpy.ndarray):
        if owner.flags.owndata:
            return int(owner.__array_interface__["data"][0])
        owner = owner.base
    return 0


def _too_large(trainable: Any, name: str, size: int) -> str:
    sizes = [(_size(part), what) for what, part in _parts(_function_of(trainable))]
    most, what = max(sizes, default=(0, ""))
    of_it = f", {most >> 20} MiB of them in {what}" if most > size // 4 else ""
    return (
        f"trainable: {name} takes {size >> 20} MiB when pickled{of_it}; at most "
        f"{_MAX_CODE >> 20} MiB are sent. Bind large objects with tune.with_parameters() "
        "instead, or load them inside the trainable."
    )


def _size(thing: Any) -> int:
    file = io.BytesIO()
    _dump(thing, file, [], [])
    return len(file.getvalue())


def find_unpicklable(trainable: Any) -> str | None:
    """Returns a description of the innermost part that cannot be pickled, or None."""
    return _search(_function_of(trainable), _MAX_DEPTH, set())


def _function_of(trainable: Any) -> Any:
    """The user's function of a class that wrap_function() made; else what it is."""
    if isinstance(trainable, Work):
        trainable = trainable.trainable
    function = inspect.getattr_static(trainable, "_function", None)
    return function.__func__ if isinstance(function, staticmethod) else trainable


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
    elif isinstance(thing, Parameters):
        for name, value in thing.values.items():
            yield f"the argument {name!r} of with_parameters()", value
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
