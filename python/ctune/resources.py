"""Resources as one dict, from before PlacementGroupFactory."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from ctune.error import TuneError
from ctune.execution.placement_groups import PlacementGroupFactory, resource_dict_to_pg_factory

__all__ = ["Resources", "json_to_resources", "resources_to_json"]

_FIELDS = (
    "cpu",
    "gpu",
    "memory",
    "object_store_memory",
    "extra_cpu",
    "extra_gpu",
    "extra_memory",
    "extra_object_store_memory",
    "custom_resources",
    "extra_custom_resources",
    "has_placement_group",
)
_GONE = "is gone: use PlacementGroupFactory"


class Resources:
    """Gone.

    Raises:
        DeprecationWarning: Always.
    """

    def __init__(
        self,
        cpu: float,
        gpu: float,
        memory: float = 0,
        object_store_memory: float = 0.0,
        extra_cpu: float = 0.0,
        extra_gpu: float = 0.0,
        extra_memory: float = 0.0,
        extra_object_store_memory: float = 0.0,
        custom_resources: dict[str, float] | None = None,
        extra_custom_resources: dict[str, float] | None = None,
        has_placement_group: bool = False,
    ) -> None:
        raise DeprecationWarning(f"Resources {_GONE}.")


def resources_to_json(*args: Any, **kwargs: Any) -> NoReturn:
    """Gone.

    Raises:
        DeprecationWarning: Always.
    """
    raise DeprecationWarning(f"resources_to_json() {_GONE}.")


def json_to_resources(data: str | dict[str, Any] | None) -> PlacementGroupFactory | None:
    """Returns the bundle that a dict, or its JSON, asks for; None for None and "null".

    Args:
        data: Amounts of `cpu`, `gpu`, `memory`, and of others in a dict `custom_resources`.

    Raises:
        TuneError: An old field is used.
        ValueError: A field is unknown.
    """
    if isinstance(data, str):
        data = json.loads(data)
    if data is None:
        return None
    if not isinstance(data, dict):
        raise ValueError(f"data: must be a dict of amounts, or its JSON, got {data!r:.80}.")
    for field, amount in data.items():
        if field in ("driver_cpu_limit", "driver_gpu_limit"):
            raise TuneError(f"data: {field} is gone; use bundles of a PlacementGroupFactory.")
        if field not in _FIELDS:
            raise ValueError(f"data: {field!r} is unknown; use one of {', '.join(_FIELDS)}.")
        if field.startswith("extra_") and amount:
            raise ValueError(f"data: {field} is gone; use bundles of a PlacementGroupFactory.")
    amounts = {key: data[key] for key in ("cpu", "gpu", "memory") if data.get(key)}
    return resource_dict_to_pg_factory({**amounts, **(data.get("custom_resources") or {})})
