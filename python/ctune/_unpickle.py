"""Reading pickles of an experiment's directory without running code that they bring along.

Configs, results and errors hold objects of the user's own, and the reference's files hold
objects of its own classes. Both are pickles, and a pickle is a program: it names functions
and has them called. Here it may name what it likes, but

- only classes of installed packages, data types of the standard library and the helpers of
  cloudpickle and NumPy are called;
- functions that a pickle brings along are made, but not called;
- classes that a pickle brings along are made, but only exceptions without code of their
  own get instances;
- classes of the package `ray` become plain records, whether it is installed or not.

All else becomes an `Unread`, and the rest is read. This keeps accidents and simple attacks
out; it is no prison: constructors of installed packages do run.
"""

from __future__ import annotations

import abc
import builtins
import enum
import importlib
import io
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any, ClassVar

__all__ = ["Record", "Unread", "read_pickle"]


class Unread:
    """What stands in for an object that could not be read.

    Attributes:
        reason: Why, in one sentence.
    """

    def __init__(self, reason: str, data: bytes | None = None) -> None:
        self.reason = reason
        self._data = data

    def load(self) -> Any:
        """Unpickles the object as it is. That runs whatever code it asks for: only do so
        if you trust who wrote the files.

        Raises:
            ValueError: It is a part of a larger object.
            Exception: Whatever unpickling raises.
        """
        if self._data is None:
            raise ValueError(f"{self!r} is a part of another object and has no pickle of its own.")
        return pickle.loads(self._data)

    def __repr__(self) -> str:
        return f"<unread: {self.reason}>"

    # What unpickling may do to any object: nothing here.

    def __setstate__(self, state: Any) -> None:
        pass

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self._data)

    def append(self, value: Any) -> None:
        """Does nothing."""

    def extend(self, values: Any) -> None:
        """Does nothing."""

    add = append

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class Record:
    """An object of the reference's: its attributes, and nothing else."""


class _CauseOnly:
    """The reference's wrapper of an exception: called with the exception, it gives that."""


# Of the package `ray`: what is read as what. The rest is unread.
_RECORDS = {
    "Checkpoint": Record,
    "CheckpointConfig": Record,
    "PlacementGroupFactory": Record,
    "RayTaskError": _CauseOnly,
    "StorageContext": Record,
    "SyncConfig": Record,
    "_CheckpointManager": Record,
    "_TrainingResult": Record,
}

# Types of the standard library that hold data. An exception is one, too.
_DATA = {
    "builtins": {
        "bool", "bytearray", "bytes", "code", "complex", "dict", "float", "frozenset", "int",
        "list", "mappingproxy", "object", "range", "set", "slice", "str", "tuple",
    },
    "collections": {"Counter", "OrderedDict", "UserDict", "UserList", "defaultdict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "functools": {"partial"},
    "operator": {"attrgetter", "itemgetter"},
    "pathlib": {"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath"},
    "pathlib._local": {"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath"},
    "types": {"SimpleNamespace"},
    "uuid": {"SafeUUID", "UUID"},
    "zoneinfo": {"ZoneInfo"},
}  # fmt: skip

# Functions by which packages rebuild their objects: package -> how their names begin.
_BUILDERS = {
    "copyreg": ("_reconstructor",),
    "numpy": (
        "__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor", "_frombuffer",
        "_mareconstruct", "_reconstruct", "scalar",
    ),
    "pandas": ("__pyx_unpickle_", "_nat_unpickle", "_new_", "_timedelta_unpickle", "_unpickle_"),
    "pyarrow": ("_reconstruct_", "_restore_", "chunked_array", "py_buffer", "type_for_alias"),
}  # fmt: skip

# Helpers of cloudpickle: they make functions, cells and classes, or import modules.
_HELPERS = {
    "_builtin_type", "_make_cell", "_make_dict_items", "_make_dict_keys",
    "_make_dict_values", "_make_empty_cell", "subimport",
}  # fmt: skip


def _is_library(module: str) -> bool:
    """Whether it belongs to the standard library."""
    return module.partition(".")[0] in sys.stdlib_module_names


class _Reader(pickle._Unpickler):
    """An unpickler that asks before it calls. The one in C has no place to ask at."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    stack: list[Any]

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._made: set[type] = set()  # classes that the pickle brings along
        self._inert: set[type] = set()  # those that hold no code
        self._used: set[type] = set()  # those that have instances
        self._functions: list[Any] = []  # those that the pickle brings along
        self._own = {
            "_class_setstate": self._fill_class,
            "_function_setstate": self._fill_function,
            "_make_function": self._make_function,
            "_make_skeleton_class": self._make_class,
        }

    # Names.

    def find_class(self, module: str, name: str) -> Any:
        root = module.partition(".")[0]
        if root == "ray" and not module.startswith("ray.cloudpickle"):
            return _RECORDS.get(name) or Unread(f"it is a {module}.{name}")
        if module in ("pyarrow._fs", "pyarrow.fs"):  # not worth a slow import
            return Unread(f"it is a {module}.{name}")
        if root == "cloudpickle" or module.startswith("ray.cloudpickle"):
            return self._helper(name)
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except Exception as error:
            return Unread(f"{module}.{name} cannot be imported: {error}")
        return found

    def _helper(self, name: str) -> Any:
        if name in self._own:
            return self._own[name]
        from cloudpickle import cloudpickle

        found = getattr(cloudpickle, name, None) if name in _HELPERS else None
        return found or Unread(f"cloudpickle has no helper {name} that makes plain objects")

    # Classes that the pickle brings along.

    def _make_class(
        self, kind: Any, name: str, bases: tuple[Any, ...], attributes: dict[str, Any], *_: Any
    ) -> Any:
        if _CauseOnly in bases:
            return _CauseOnly
        if kind not in (type, abc.ABCMeta) or not all(isinstance(b, type) for b in bases):
            return Unread(f"its class {name} is made in a way of its own")
        made = types.new_class(name, bases, {"metaclass": kind}, lambda ns: ns.update(attributes))
        self._made.add(made)
        if _codeless(attributes) and all(b in self._inert or b not in self._made for b in bases):
            self._inert.add(made)
        return made

    def _fill_class(self, made: Any, state: Any) -> Any:
        if made is _CauseOnly or isinstance(made, Unread):
            return made
        if made not in self._made or made in self._used:
            raise pickle.UnpicklingError(f"{made!r} is a class that exists already")
        attributes = state[0]
        if not _codeless(attributes):
            self._inert.discard(made)
        for key, value in attributes.items():
            if key != "_abc_impl":
                setattr(made, key, value)
        return made

    def _make_function(self, *parts: Any) -> Any:
        from cloudpickle import cloudpickle

        made = cloudpickle._make_function(*parts)
        self._functions.append(made)
        return made

    def _fill_function(self, function: Any, state: Any) -> Any:
        """Only for functions that the pickle brings along: others exist already."""
        from cloudpickle import cloudpickle

        if not any(made is function for made in self._functions):
            raise pickle.UnpicklingError(f"{function!r} is a function that exists already")
        return cloudpickle._function_setstate(function, state)

    # Calls.

    def _refusal(self, called: Any) -> str | None:
        """Returns why something must not be called; None: it may be."""
        if isinstance(called, type):
            if issubclass(called, type):
                return f"it makes a class of the kind {called.__name__}"
            if called in self._made:
                if called in self._inert and issubclass(called, BaseException):
                    self._used.add(called)
                    return None
                return f"its class {called.__name__} came with the pickle"
            module, name = called.__module__, called.__qualname__
            if issubclass(called, (Record, BaseException, enum.Enum)):
                return None
            if not _is_library(module) or name in _DATA.get(module, ()):
                return None
            return f"it asks for a call of {module}.{name}"
        if called is builtins.getattr or any(called is own for own in self._own.values()):
            return None
        name = str(getattr(called, "__name__", called))
        module = str(getattr(called, "__module__", None) or "")
        # By identity: a function that the pickle brings along can take any name.
        real = getattr(sys.modules.get(module), name, None)
        if real is called and _builds(module, name):
            return None
        return f"it asks for a call of {module}.{name}"

    def _call(self, make: Callable[..., Any], called: Any, *args: Any, **named: Any) -> Any:
        """Returns make(called, ...), or what stands in for it."""
        if isinstance(called, Unread):
            return Unread(called.reason)
        if called is _CauseOnly:
            return args[0] if args else Unread("it is an error of ray's")
        refusal = self._refusal(called)
        if refusal is not None:
            return Unread(refusal)
        try:
            return make(called, *args, **named)
        except Exception as error:
            inner = next((a.reason for a in args if isinstance(a, Unread)), None)
            return Unread(inner or f"making it failed: {type(error).__name__}: {error}")

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(lambda f, *a: f(*a), self.stack[-1], *args)

    dispatch[pickle.REDUCE[0]] = load_reduce

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(lambda c, *a: c.__new__(c, *a), self.stack[-1], *args)

    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def load_newobj_ex(self) -> None:
        named = self.stack.pop()
        args = self.stack.pop()
        self.stack[-1] = self._call(
            lambda c, *a, **k: c.__new__(c, *a, **k), self.stack[-1], *args, **named
        )

    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex

    def _instantiate(self, klass: Any, args: Any) -> None:  # of protocols 0 and 1
        self.stack.append(self._call(lambda c, *a: c(*a), klass, *args))

    def load_build(self) -> None:
        # Functions, modules and classes have a state as well; a pickle may not change those
        # that exist.
        target = self.stack[-2]
        if isinstance(target, (type, types.ModuleType)):
            raise pickle.UnpicklingError(f"it changes {target!r}")
        super().load_build()  # type: ignore[misc]

    dispatch[pickle.BUILD[0]] = load_build


def _builds(module: str, name: str) -> bool:
    root = module.partition(".")[0]
    if root == "cloudpickle":
        return name in _HELPERS
    begins = _BUILDERS.get(root)
    return begins is not None and name.startswith(begins)


def _codeless(attributes: dict[str, Any]) -> bool:
    return not any(callable(v) or hasattr(v, "__get__") for v in attributes.values())


def read_pickle(data: bytes) -> Any:
    """Returns what a pickle holds; parts that cannot be read are `Unread`.

    Cost: some 50 times that of a plain pickle.loads(). Never raises for bad data.
    """
    try:
        value = _Reader(data).load()
    except Exception as error:
        return Unread(f"its pickle is damaged: {type(error).__name__}: {error}", data)
    return Unread(value.reason, data) if isinstance(value, Unread) else value
