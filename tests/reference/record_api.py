"""Records the signatures of the reference's public names: presence, parameters, defaults.

Run with a Python that has ray[tune]; of several versions, one after another:

    python tests/reference/record_api.py tests/reference/api.json.gz

The file holds, per version, what describe() returns of names.json. tools/api_diff.py compares
it with ctune. No documentation and no code is recorded.
"""

import dataclasses
import enum
import gzip
import importlib
import inspect
import json
import os
import sys
import types
import warnings

NAMES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "names.json")
# Members that matter although they begin with an underscore.
PROTOCOL = (
    "__call__",
    "__contains__",
    "__enter__",
    "__exit__",
    "__getitem__",
    "__iter__",
    "__len__",
)
PLAIN = (bool, int, float, str, type(None))
dataclass_default = type(
    inspect.signature(
        dataclasses.make_dataclass("D", [("d", list, dataclasses.field(default_factory=list))])
    )
    .parameters["d"]
    .default
)


def names(path=NAMES):
    """Returns module -> name -> the versions that have it: "both", "2.24" or "2.60"."""
    with open(path) as file:
        table = json.load(file)
    return {
        module: {name: kind for kind, text in kinds.items() for name in text.split()}
        for module, kinds in table.items()
    }


def value(thing):
    """What JSON can hold of a default: plain values as they are, of others the type."""
    if isinstance(thing, enum.Enum):
        return f"<{thing.name}>"
    if isinstance(thing, str) and " " in thing:
        return "<text>"  # a sentence is no fact
    if isinstance(thing, PLAIN):
        return thing
    if isinstance(thing, dataclass_default):
        return None  # made anew for each object: our None stands for the same
    if isinstance(thing, (list, tuple)):
        return [value(item) for item in thing]
    if isinstance(thing, dict):
        return {str(key): value(item) for key, item in thing.items()}
    if callable(thing):
        return f"<{getattr(thing, '__name__', type(thing).__name__)}>"
    return f"<{type(thing).__name__}>"


def parameters(function, skip=0):
    """Returns [name, kind, default] of each parameter, without the default if it has none."""
    try:
        found = list(inspect.signature(function).parameters.values())[skip:]
    except (TypeError, ValueError):
        return None
    empty = inspect.Parameter.empty
    return [
        [p.name, p.kind.name.lower(), *([] if p.default is empty else [value(p.default)])]
        for p in found
    ]


def members(cls, inside):
    """Returns what users may call and read of a class, as far as `inside` defined it.

    Attributes that the constructor sets are left out, as its parameters tell of them.
    """
    if issubclass(cls, BaseException):
        return {}
    found = {}
    set_by = {parameter[0] for parameter in parameters(cls) or []}
    for base in reversed(cls.__mro__):
        if not inside(base.__module__):
            continue
        for name in base.__dict__.get("__annotations__", {}):
            if not name.startswith("_") and name not in set_by:
                found[name] = {}
        for name, member in vars(base).items():
            if name.startswith("_") and name not in PROTOCOL:
                continue
            if isinstance(member, (classmethod, staticmethod)):
                skip = 1 if isinstance(member, classmethod) else 0
                found[name] = {"call": parameters(member.__func__, skip)}
            elif inspect.isroutine(member):
                found[name] = {"call": parameters(member, 1)}
            elif name not in set_by:
                found[name] = {}
    return found


def describe(thing, inside):
    """Returns the facts of one name."""
    if inspect.isclass(thing):
        facts = {"kind": "class", "home": f"{thing.__module__}.{thing.__qualname__}"}
        if not issubclass(thing, (BaseException, enum.Enum)):
            facts["call"] = parameters(thing)
        facts["members"] = members(thing, inside)
        return facts
    if inspect.isroutine(thing) or (callable(thing) and not inspect.ismodule(thing)):
        home = getattr(thing, "__module__", None) or ""
        qualname = getattr(thing, "__qualname__", None) or type(thing).__qualname__
        return {"kind": "function", "home": f"{home}.{qualname}", "call": parameters(thing)}
    if isinstance(thing, types.ModuleType):
        return {"kind": "module"}
    if isinstance(thing, dict):  # of names and what they stand for
        thing = sorted(thing)
    return {"kind": "value", "value": "<float>" if isinstance(thing, float) else value(thing)}


def find(module, name):
    """Returns a name of a module, which may be a module below it.

    Raises:
        ImportError: There is none, or it needs what is not installed.
    """
    home = importlib.import_module(module)
    try:
        return getattr(home, name)
    except AttributeError:
        return importlib.import_module(f"{module}.{name}")


def collect(versions=None, inside=lambda module: module.split(".")[0] == "ray"):
    """Returns module.name -> facts, or {"kind": "missing", "why": type of the error}."""
    warnings.simplefilter("ignore")
    found = {}
    for module, table in names().items():
        for name, kind in table.items():
            if versions is not None and kind not in versions:
                continue
            try:
                thing = find(module, name)
            except Exception as error:
                found[f"{module}.{name}"] = {"kind": "missing", "why": type(error).__name__}
                continue
            found[f"{module}.{name}"] = describe(thing, inside)
    return found


def main(target):
    """Adds this interpreter's version of the reference to the file."""
    import ray

    version = ".".join(ray.__version__.split(".")[:2])
    recorded = {}
    if target != "-" and os.path.exists(target):
        with gzip.open(target) as file:
            recorded = json.load(file)
    recorded[version] = collect(("both", version))
    if target == "-":
        json.dump(recorded, sys.stdout)
        return
    with open(target, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as file:
        file.write(json.dumps(recorded, sort_keys=True).encode())


if __name__ == "__main__":
    main(sys.argv[1])
