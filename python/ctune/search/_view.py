"""The configuration as functions of it see it while it is being made."""

from __future__ import annotations

from typing import Any


class RecursiveDependencyError(ValueError):
    """A value depends on one that is not resolved, or parameters on each other in a circle."""

    __module__ = "ctune.search.variant_generator"


class _Unresolved:
    def __repr__(self) -> str:
        return "<not resolved yet>"


_UNRESOLVED = _Unresolved()


def _resolved(key: Any, value: Any) -> Any:
    if value is _UNRESOLVED:
        raise RecursiveDependencyError(f"`{key}` is not resolved yet")
    return value


class _SpecView(dict[str, Any]):
    """A configuration in the making: entries are attributes, unresolved ones raise."""

    def __getitem__(self, key: str) -> Any:
        return _resolved(key, super().__getitem__(key))

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(key) from None

    def get(self, key: str, default: Any = None) -> Any:
        return _resolved(key, super().get(key, default))

    def pop(self, key: str, *default: Any) -> Any:
        return _resolved(key, super().pop(key, *default))

    def setdefault(self, key: str, default: Any = None) -> Any:
        return _resolved(key, super().setdefault(key, default))
