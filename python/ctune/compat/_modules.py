"""Which module of ctune stands for which module of ray."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["Finder", "homes_of"]

# Module of ray -> the modules of ctune that hold its names, first come, first served.
_HOMES: dict[str, tuple[str, ...]] = {
    "ray": ("ctune.compat.ray",),
    "ray.air": ("ctune", "ctune.compat.train"),
    "ray.air.config": ("ctune._config", "ctune.compat.train"),
    "ray.air.constants": ("ctune.result",),
    "ray.air.execution": ("ctune.compat.train",),
    "ray.air.integrations": (),
    "ray.air.result": ("ctune",),
    "ray.air.session": ("ctune.compat.session",),
    "ray.cloudpickle": ("cloudpickle",),
    "ray.exceptions": ("ctune.compat.exceptions",),
    "ray.train": ("ctune", "ctune.compat.train"),
    "ray.train._internal": (),
    "ray.train._internal.session": ("ctune.compat.session",),
    "ray.train._internal.storage": ("ctune._storage",),
    "ray.train.constants": ("ctune.compat.train",),
    "ray.train.context": ("ctune.compat.session",),
    "ray.tune": ("ctune",),
    "ray.tune.context": ("ctune._session",),
    "ray.tune.impl": (),
    "ray.tune.impl.config": ("ctune._config",),
    "ray.tune.logger.comet": ("ctune.air.integrations.comet",),
    "ray.tune.logger.mlflow": ("ctune.air.integrations.mlflow",),
    "ray.tune.logger.wandb": ("ctune.air.integrations.wandb",),
    "ray.tune.trainable.trainable_fn_utils": ("ctune",),
    "ray.util": ("ctune.compat.util",),
    "ray.util.annotations": ("ctune.compat.util",),
    "ray.util.placement_group": ("ctune.compat.util",),
    "ray.util.queue": ("ctune.compat.util",),
}
# Packages whose modules have the same names here.
_SAME = {"ray.air.integrations": "ctune.air.integrations", "ray.tune": "ctune"}
# Scripts that Ray is shipped with: those of a Ray that is installed or lies on sys.path.
_EXAMPLES = "ray.tune.examples"
# What ctune does not replace.
_ELSEWHERE = ("ray.data", "ray.llm", "ray.rllib", "ray.serve", "ray.workflow")
_OF_TRAIN = ("huggingface", "horovod", "lightgbm", "lightning", "tensorflow", "torch", "xgboost")


def homes_of(name: str) -> tuple[str, ...] | None:
    """Returns the modules of ctune that stand for a module of ray; None: there is none.

    Raises:
        ImportError: The name is out of ctune's scope.
    """
    if name in _HOMES:
        return _HOMES[name]
    _refuse(name)
    for package, ours in _SAME.items():
        if name.startswith(f"{package}."):
            home = ours + name[len(package) :]
            if _exists(home):
                return (home,)
    return None


def _refuse(name: str) -> None:
    parts = name.split(".")
    if ".".join(parts[:2]) in _ELSEWHERE:
        raise ImportError(
            f"{name} is out of the scope of ctune, which replaces Ray Tune only. Run this script "
            "with Ray, without ctune.compat.",
            name=name,
        )
    if name == "ray.tune.integration.ray_train" or (
        parts[:2] == ["ray", "train"] and parts[2:3] and parts[2] in _OF_TRAIN
    ):
        raise ImportError(
            f"{name} belongs to Ray Train, which is out of the scope of ctune. Train inside a "
            "trainable function, or run this script with Ray, without ctune.compat.",
            name=name,
        )


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class Finder(importlib.abc.MetaPathFinder):
    """Finds `ray` and its modules in ctune."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns the spec of a module of ray; None for other modules.

        Raises:
            ImportError: ctune has nothing for this module of ray.
        """
        if fullname != "ray" and not fullname.startswith("ray."):
            return None
        if fullname.startswith(_EXAMPLES):
            folders = (
                path
                if fullname != _EXAMPLES
                else [os.path.join(p, "ray", "tune") for p in sys.path]
            )
            found = importlib.machinery.PathFinder.find_spec(fullname, folders)
            if found is not None:
                return found
        homes = homes_of(fullname)
        if homes is None:
            raise ModuleNotFoundError(
                f"{fullname} is not offered by ctune.compat; docs/compat.md says what is.",
                name=fullname,
            )
        return importlib.machinery.ModuleSpec(fullname, _Loader(homes), is_package=True)


class _Loader(importlib.abc.Loader):
    def __init__(self, homes: tuple[str, ...]) -> None:
        self._homes = homes

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Alias(spec.name, self._homes)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class _Alias(types.ModuleType):
    """Shows the names of modules of ctune under another module's name."""

    def __init__(self, name: str, homes: tuple[str, ...]) -> None:
        super().__init__(name, f"{name}, as ctune has it: {', '.join(homes) or 'nothing'}.")
        self.__dict__["_homes"] = homes

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return sorted(set(self._public()))
        if name.startswith("__") and name != "__version__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        for home in self._homes:
            module = importlib.import_module(home)
            try:
                value = getattr(module, name)
            except AttributeError:
                continue
            if isinstance(value, types.ModuleType) and value.__name__.startswith("ctune."):
                continue  # imported as a module of ray below
            return value
        try:
            return importlib.import_module(f"{self.__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{self.__name__}.{name}":
                raise
        raise AttributeError(
            f"module {self.__name__!r} has no attribute {name!r} in ctune.compat; "
            "docs/compat.md says what is there"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        # The import of `ray.util.placement_group` must not hide the function of that name.
        if isinstance(value, _Alias):
            own = getattr(self, name, value)
            if not isinstance(own, types.ModuleType):
                return
        super().__setattr__(name, value)

    def _public(self) -> Iterator[str]:
        for home in self._homes:
            module = importlib.import_module(home)
            names = getattr(module, "__all__", None)
            yield from names if names is not None else (n for n in vars(module) if n[0] != "_")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._public()})

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__name__,)
