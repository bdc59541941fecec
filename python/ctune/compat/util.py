"""The names of `ray.util` that Ray Tune scripts use."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable
from typing import Any

from ctune import _ctune
from ctune._pickling import find_unpicklable
from ctune.compat import _share
from ctune.compat.ray import ObjectRef
from ctune.execution.placement_groups import PlacementGroupFactory

__all__ = [
    "Deprecated",
    "DeveloperAPI",
    "Empty",
    "Full",
    "PlacementGroup",
    "PublicAPI",
    "Queue",
    "get_current_placement_group",
    "get_node_ip_address",
    "inspect_serializability",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
]


class Empty(queue.Empty):
    """There is no item."""


class Full(queue.Full):
    """There is no room for an item."""


class _Items(queue.Queue[Any]):
    """A queue that takes and gives several items at once, or none."""

    def put_many(self, items: list[Any]) -> None:
        with self.not_empty:
            if self.maxsize and self._qsize() + len(items) > self.maxsize:
                raise queue.Full
            for item in items:
                self._put(item)
            self.not_empty.notify(len(items))

    def get_many(self, count: int) -> list[Any]:
        with self.not_full:
            if self._qsize() < count:
                raise queue.Empty
            items = [self._get() for _ in range(count)]
            self.not_full.notify(count)
        return items


class Queue:
    """A queue that all processes share; it lives in the one that made it.

    Args:
        maxsize: Most items; 0: any number.
        actor_options: Means nothing on one machine.
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        self._home = _share.Home(_Items(maxsize), alone=False)

    def _call(self, method: str, *args: Any) -> Any:
        try:
            return self._home.call(method, args, {})
        except queue.Empty:
            raise Empty from None
        except queue.Full:
            raise Full from None

    def __len__(self) -> int:
        return self.qsize()

    def qsize(self) -> int:
        """Returns the number of items."""
        return int(self._call("qsize"))

    size = qsize

    def empty(self) -> bool:
        """Returns whether there is no item."""
        return bool(self._call("empty"))

    def full(self) -> bool:
        """Returns whether there is no room."""
        return bool(self._call("full"))

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Adds an item.

        Args:
            item: Any object; from another process it comes pickled.
            block: Wait until there is room.
            timeout: For so many seconds at most.

        Raises:
            Full: There is no room.
            ValueError: `timeout` is negative.
        """
        self._call("put", item, block, _seconds(timeout))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Takes the oldest item.

        Raises:
            Empty: There is none, after the wait that put() describes.
            ValueError: `timeout` is negative.
        """
        return self._call("get", block, _seconds(timeout))

    def put_nowait(self, item: Any) -> None:
        """Adds an item, or raises Full."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """Takes the oldest item, or raises Empty."""
        return self.get(block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Adds all items, or raises Full and adds none."""
        if not isinstance(items, Iterable):
            raise TypeError(f"items: must be a list of items, got {items!r:.80}.")
        self._call("put_many", list(items))

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Takes so many items, or raises Empty and takes none."""
        if not isinstance(num_items, int) or num_items < 0:
            raise TypeError(f"num_items: must be a number of items, got {num_items!r:.80}.")
        return list(self._call("get_many", num_items))

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Does what put() does, without holding up an event loop."""
        await asyncio.to_thread(self.put, item, block, timeout)

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """Does what get() does, without holding up an event loop."""
        return await asyncio.to_thread(self.get, block, timeout)

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """Ends the queue: whoever uses it afterwards gets an ActorDiedError."""
        self._home.kill()


def _seconds(timeout: float | None) -> float | None:
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout: must be 0 or more seconds, got {timeout!r}.")
    return timeout


def get_node_ip_address(address: str = "8.8.8.8:53") -> str:
    """Returns the address of this machine, whatever `address` it is asked from."""
    own: str = _ctune.host()[1]
    return own


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


class PlacementGroup(PlacementGroupFactory):
    """A request for bundles, which is always granted."""

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """The bundles."""
        return list(self.bundles)

    @property
    def bundle_count(self) -> int:
        """Their number."""
        return len(self.bundles)

    def ready(self) -> ObjectRef:
        """Returns a reference to the group."""
        return ObjectRef(self)

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Returns True."""
        return True


def placement_group(
    bundles: list[dict[str, float]],
    strategy: str = "PACK",
    name: str = "",
    lifetime: str | None = None,
    _max_cpu_fraction_per_node: float = 1.0,
    _soft_target_node_id: str | None = None,
) -> PlacementGroup:
    """Returns a request for these bundles; `name` and `lifetime` mean nothing here."""
    return PlacementGroup(bundles, strategy=strategy)


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Does nothing: a group holds nothing."""


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """Returns what is known of groups: nothing."""
    return {}


def get_current_placement_group() -> None:
    """Returns None: trials are placed by their sum, not in groups."""


def PublicAPI(*args: Any, **options: Any) -> Any:  # noqa: N802
    """Marks nothing; returns what it decorates."""
    return args[0] if args and callable(args[0]) else lambda marked: marked


DeveloperAPI = PublicAPI
Deprecated = PublicAPI
