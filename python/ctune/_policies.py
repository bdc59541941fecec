"""What policies written in Python know, for snapshots of a run's journal.

A run that goes on from a snapshot has new policies, which the user made as for the first run.
They are brought to where those of that run were, as a replay of its journal would have done:
what the run had changed in them is put in place, and what it had not is left as the user gave
it now, who may have changed an argument. So each policy is looked at when it is new, field by
field, and again for each snapshot.

What a policy keeps elsewhere, in files, modules or objects of other libraries that pickle as a
reference, is not seen.
"""

from __future__ import annotations

import copyreg
import functools
import io
import logging
import os
import pickle
import random
import sys
import tempfile
import types
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import cloudpickle

from ctune import _ctune
from ctune.error import TuneError
from ctune.experiment.trial import Trial
from ctune.search import SearchAlgorithm, Searcher

__all__ = ["PolicyStates"]

logger = logging.getLogger("ctune")

_MAIN = "__main__"
_MAX_PICKLE = 256 << 20  # bytes


class _Unsaved(Exception):
    """The state of a policy cannot be saved; says why."""


class _Part(Protocol):
    """One object of a policy."""

    def get(self) -> dict[Any, Any]:
        """Returns its fields."""

    def set(self, fields: dict[Any, Any]) -> None:
        """Takes fields in place of those of now."""


class PolicyStates:
    """The states of a run's policies that are written in Python, and of random streams.

    Args:
        policies: The policies, and whether the engine of each has the rest of its state: then
            only its Python attributes matter.
        driver: The run.
        scheduler, search_alg: Those of the run, to which policies may refer.
    """

    def __init__(
        self,
        policies: list[tuple[Any, bool]],
        driver: _ctune.Driver,
        scheduler: Any,
        search_alg: Any,
    ) -> None:
        self._policies = [(_owner(policy), lent) for policy, lent in policies]
        self._known = {"scheduler": scheduler, "search_alg": search_alg}
        for policy, _ in self._policies:
            for one in _layers(policy):
                self._known[f"{_name(one)} {len(self._known)}"] = one
        self._driver = driver
        self._why = ""
        self._new: list[list[dict[Any, int]]] = []
        try:
            for policy, lent in self._policies:
                self._new.append(
                    [
                        {} if isinstance(part, _File) else self._prints(part.get())
                        for part in _parts(policy, lent)
                    ]
                )
        except Exception as error:
            self._why = f"that of {_name(policy)}: {error}"

    def save(self) -> bytes | None:
        """Returns the states as bytes, None if one of them cannot be saved."""
        try:
            if self._why:
                raise _Unsaved(self._why)
            states = [
                (_name(policy), [self._changes(*both) for both in zip(parts, new, strict=True)])
                for (policy, lent), new in zip(self._policies, self._new, strict=True)
                for parts in [_parts(policy, lent)]
            ]
            return self._dumps({"streams": _streams(), "policies": states})
        except Exception as error:
            logger.info(
                "No snapshots are written, and the journal is kept whole: the state of a policy "
                "cannot be saved (%s).",
                error,
            )
            return None

    def restore(self, data: bytes) -> None:
        """Brings the policies to where those that were saved are; ones of another class stay.

        Raises:
            TuneError: A state cannot be read, or its policy does not take it.
        """
        name = "the policies"
        try:
            saved = self._loads(data)
            states = list(saved["policies"])
            for policy, lent in self._policies:
                name = _name(policy)
                found = next((one for one in states if one[0] == name), None)
                if found is None:
                    continue
                states.remove(found)
                for part, changes in zip(_parts(policy, lent), found[1], strict=True):
                    _put(part, *changes)
        except Exception as error:
            raise TuneError(
                f"resume: the snapshot's state of {name} cannot be restored: "
                f"{type(error).__name__}: {error}"
            ) from error
        _set_streams(saved["streams"])

    def _prints(self, fields: dict[Any, Any]) -> dict[Any, int]:
        return {key: zlib.crc32(self._dumps(value)) for key, value in fields.items()}

    def _changes(self, part: _Part, new: dict[Any, int]) -> tuple[dict[Any, Any], list[Any]]:
        """What differs from when the policy was new: fields, and keys that are gone."""
        fields = part.get()
        now = self._prints(fields)
        changed = {key: value for key, value in fields.items() if now[key] != new.get(key)}
        for key in changed:
            if isinstance(key, _Fixed):
                raise _Unsaved(f"{key} has changed, which may be used elsewhere")
        return changed, [key for key in new if key not in fields]

    # Objects of the run are written as references.

    def _dumps(self, value: Any) -> bytes:
        file = _Limited()
        _Pickler(file, self._reference).dump(value)
        return file.getvalue()

    def _loads(self, data: bytes) -> Any:
        return _Unpickler(io.BytesIO(data), self._referred).load()

    def _reference(self, value: Any) -> tuple[str | int] | None:
        if type(value) is Trial:
            view = value._view
            own = view is not None and self._driver.trial(view.index) is value
            return (view.index,) if view is not None and own else None
        if isinstance(value, _ctune.Controller):
            return ("controller",)
        return next(((name,) for name, one in self._known.items() if one is value), None)

    def _referred(self, name: str | int) -> Any:
        if isinstance(name, int):
            return self._driver.trial(name)
        return self._driver.controller if name == "controller" else self._known[name]


def _name(policy: Any) -> str:
    kind = policy if isinstance(policy, types.FunctionType) else type(policy)
    return f"{kind.__module__}.{kind.__qualname__}"


def _owner(policy: Any) -> Any:
    """What has the state of a policy: of a method its object."""
    owner = getattr(policy, "__self__", None)
    return policy if owner is None or isinstance(owner, types.ModuleType) else owner


def _layers(policy: Any) -> list[Any]:
    """A policy and, of a searcher, the ones in it."""
    layers = [policy]
    while isinstance(layers[-1], (Searcher, SearchAlgorithm)):
        inner = getattr(layers[-1], "searcher", None)
        if not isinstance(inner, Searcher):
            break
        layers.append(inner)
    return layers


def _put(part: _Part, changed: dict[Any, Any], gone: list[Any]) -> None:
    if changed or gone:
        fields = {key: value for key, value in part.get().items() if key not in gone}
        part.set(fields | changed)


# --- the objects of a policy -------------------------------------------------------------


def _parts(policy: Any, lent: bool) -> list[_Part]:
    if lent:
        return [_Lent(policy), *(part for one in _functions(policy) for part in _parts(one, False))]
    if isinstance(policy, (types.FunctionType, functools.partial)):
        return [_Function(policy)]
    *outer, last = _layers(policy)
    saves = all(_is_own(last, name) for name in ("save", "restore"))
    return [
        *(_Wrapper(one) if isinstance(one, Searcher) else _Attributes(one) for one in outer),
        _File(last) if saves else _Attributes(last),
    ]


def _functions(scheduler: Any) -> Iterator[Any]:
    """What population-based training calls."""

    def walk(mutations: Mapping[str, Any]) -> Iterator[Any]:
        for value in mutations.values():
            if isinstance(value, dict):
                yield from walk(value)
            elif callable(value):
                yield _owner(value)

    if isinstance(scheduler, _ctune.PopulationBasedTraining):
        yield from walk(scheduler._hyperparam_mutations)
        if scheduler._custom_explore_fn is not None:
            yield _owner(scheduler._custom_explore_fn)


def _is_own(policy: Any, method: str) -> bool:
    """Whether a policy's method is its user's, or that of a wrapper of a search library."""
    classes = (one for one in type(policy).__mro__ if method in vars(one))
    found = next(classes, None)
    if found is None or found is Searcher:
        return False
    return isinstance(policy, Searcher) or found.__module__.partition(".")[0] != "ctune"


class _File:
    """An object with the documented save() and restore()."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy

    def get(self) -> dict[Any, Any]:
        with tempfile.TemporaryDirectory(prefix="ctune-") as folder:
            path = os.path.join(folder, "state")
            self._policy.save(path)
            if not os.path.exists(path):  # it has nothing to save
                return {}
            with open(path, "rb") as file:
                return {"file": file.read()}

    def set(self, fields: dict[Any, Any]) -> None:
        with tempfile.TemporaryDirectory(prefix="ctune-") as folder:
            path = os.path.join(folder, "state")
            with open(path, "wb") as file:
                file.write(fields["file"])
            self._policy.restore(path)


class _Wrapper:
    """A searcher around another one: its own state, by get_state() and set_state()."""

    def __init__(self, searcher: Any) -> None:
        self._searcher = searcher

    def get(self) -> dict[Any, Any]:
        state: dict[Any, Any] = self._searcher.get_state()
        return state

    def set(self, fields: dict[Any, Any]) -> None:
        self._searcher.set_state(fields)


class _Lent:
    """A scheduler whose engine the run has: what is left."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler

    def get(self) -> dict[Any, Any]:
        fields = dict(vars(self._scheduler))
        if isinstance(self._scheduler, _ctune.PopulationBasedTraining):
            fields["_tags"] = self._scheduler._tags
        return fields

    def set(self, fields: dict[Any, Any]) -> None:
        for key, value in fields.items():
            setattr(self._scheduler, key, value)


class _Attributes:
    """Any object, by what its class says to pickle."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self._nested = isinstance(policy, _ctune.TrialScheduler)

    def get(self) -> dict[Any, Any]:
        made = self._policy.__reduce_ex__(4)
        if isinstance(made, str) or made[0] is not copyreg.__newobj__ or any(made[3:]):  # type: ignore[attr-defined]
            raise _Unsaved(f"{_name(self._policy)} is not made of its attributes alone")
        state = made[2] or {}
        if isinstance(state, tuple) and len(state) == 2 and not self._takes_state():
            return {**(state[0] or {}), **(state[1] or {})}  # of __dict__ and __slots__
        if not isinstance(state, dict):
            return {_WHOLE: state}
        inner = state.get("attributes") if self._nested else None
        if not isinstance(inner, dict):
            return dict(state)
        return {**state, "attributes": None, **{(k,): v for k, v in inner.items()}}

    def set(self, fields: dict[Any, Any]) -> None:
        if self._takes_state():
            if self._nested and "attributes" in fields:
                inner = {k[0]: v for k, v in fields.items() if isinstance(k, tuple)}
                fields = {k: v for k, v in fields.items() if not isinstance(k, tuple)}
                fields["attributes"] = inner
            self._policy.__setstate__(fields.get(_WHOLE, fields))
            return
        for key in [key for key in getattr(self._policy, "__dict__", ()) if key not in fields]:
            delattr(self._policy, key)
        for key, value in fields.items():
            object.__setattr__(self._policy, key, value)

    def _takes_state(self) -> bool:
        return hasattr(type(self._policy), "__setstate__")


_WHOLE = ""  # key of a state that is no dict


class _Fixed(str):
    """Name of something that a function uses but does not own."""


class _Function:
    """A function: the variables of functions around it. What it finds elsewhere must stay."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def get(self) -> dict[Any, Any]:
        fields: dict[Any, Any] = {}
        for number, function in enumerate(_reached(self._function)):
            if isinstance(function, functools.partial):
                fields[_Fixed(f"{number} arguments")] = (function.args, function.keywords)
                continue
            for name, cell in _cells(function):
                fields[number, name] = cell.cell_contents
            for name, value in _globals(function):
                fields[_Fixed(f"{function.__module__}.{name}")] = value
            fields[_Fixed(f"{number} defaults")] = (function.__defaults__, function.__kwdefaults__)
            fields[number, ""] = dict(vars(function))
        return fields

    def set(self, fields: dict[Any, Any]) -> None:
        for number, function in enumerate(_reached(self._function)):
            if isinstance(function, types.FunctionType):
                vars(function).update(fields[number, ""])
                for name, cell in _cells(function):
                    cell.cell_contents = fields[number, name]


_CODE = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)


def _reached(first: Any) -> list[Any]:
    """A function and those of its module that it may call."""
    found = [first]
    for function in found:  # which grows
        if isinstance(function, functools.partial):
            if not isinstance(function.func, (types.FunctionType, functools.partial)):
                raise _Unsaved(f"{function.func!r:.80} is no function written in Python")
            found.append(function.func)
            continue
        inner = [cell.cell_contents for _, cell in _cells(function, True)]
        inner += [value for _, value in _globals(function, True)]
        for one in inner:
            known = any(one is other for other in found)
            if isinstance(one, types.FunctionType) and not known:
                if one.__module__ == function.__module__:
                    found.append(one)
    return found


def _cells(function: types.FunctionType, code: bool = False) -> Iterator[tuple[str, Any]]:
    """The variables of functions around it that have a value; code, or all others."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        if isinstance(value, _CODE) == code:
            yield name, cell


def _globals(function: types.FunctionType, code: bool = False) -> Iterator[tuple[str, Any]]:
    names = {name for one in _codes(function.__code__) for name in one.co_names}
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        if isinstance(value, _CODE) == code:
            yield name, value


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _codes(one)


# --- random streams ----------------------------------------------------------------------


def _streams() -> dict[str, Any]:
    """States of the streams that everybody draws from, also policies."""
    numpy = sys.modules.get("numpy")
    return {
        "python": random.getstate(),
        "numpy": None if numpy is None else numpy.random.get_state(legacy=False),
    }


def _set_streams(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    if states["numpy"] is not None:
        import numpy

        numpy.random.set_state(states["numpy"])


# --- pickles -----------------------------------------------------------------------------


class _Limited(io.BytesIO):
    """Refuses what would take long to write, such as a data set that a function refers to."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > _MAX_PICKLE:
            raise _Unsaved(f"its pickle has more than {_MAX_PICKLE >> 20} MiB")
        return super().write(data)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Writes objects of the run as references, and classes of the script with their name.

    The script may be run again, and then its classes are meant; another one has what they were.
    """

    def __init__(self, file: Any, reference: Any) -> None:
        super().__init__(file)
        self._reference = reference

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type) and value.__module__ == _MAIN and _main_class(value) is value:
            return _class, (value.__qualname__, cloudpickle.dumps(value))
        found = self._reference(value)
        return super().reducer_override(value) if found is None else (_referred, found)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, referred: Any) -> None:
        super().__init__(file)
        self._referred = referred

    def find_class(self, module: str, name: str) -> Any:
        if module == __name__ and name == _referred.__name__:
            return self._referred
        return super().find_class(module, name)


def _referred(name: str | int) -> Any:
    """Stands for what finds an object of the run again."""
    raise pickle.UnpicklingError("a reference to an object of a run means nothing elsewhere")


def _main_class(value: Any) -> Any:
    return _named(value.__qualname__)


def _named(name: str) -> Any:
    found: Any = sys.modules.get(_MAIN)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _class(name: str, written: bytes) -> Any:
    found = _named(name)
    return found if isinstance(found, type) else pickle.loads(written)
