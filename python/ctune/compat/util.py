"""The names of `ray.util` that Ray Tune scripts use."""

from __future__ import annotations

import queue
from typing import Any, TypeVar

from ctune import _ctune
from ctune._pickling import find_unpicklable
from ctune.execution.placement_groups import PlacementGroupFactory

__all__ = [
    "Deprecated",
    "DeveloperAPI",
    "Empty",
    "Full",
    "PublicAPI",
    "Queue",
    "get_node_ip_address",
    "inspect_serializability",
    "placement_group",
]

T = TypeVar("T")

Empty = queue.Empty
Full = queue.Full


class Queue(queue.Queue[Any]):
    """A queue of this process.

    Args:
        maxsize: Most items; 0: any number.
        actor_options: Means nothing here.
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        super().__init__(maxsize)

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """Does nothing: the queue ends with its last reference."""


def get_node_ip_address() -> str:
    """Returns the address of this machine."""
    address: str = _ctune.host()[1]
    return address


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: Any = None
) -> tuple[bool, set[str]]:
    """Returns whether an object can be pickled, and what is to blame if not."""
    import cloudpickle

    try:
        cloudpickle.dumps(base_obj)
    except Exception as error:
        cause = find_unpicklable(base_obj)
        print(f"{name or base_obj!r} cannot be pickled: {cause or error}", file=print_file)
        return False, {cause or str(error)}
    return True, set()


def placement_group(
    bundles: list[dict[str, float]], strategy: str = "PACK", **options: Any
) -> PlacementGroupFactory:
    """Returns a request for these bundles."""
    return PlacementGroupFactory(bundles, strategy=strategy)


def PublicAPI(*args: Any, **options: Any) -> Any:  # noqa: N802
    """Marks nothing; returns what it decorates."""
    return args[0] if args and callable(args[0]) else lambda marked: marked


DeveloperAPI = PublicAPI
Deprecated = PublicAPI
