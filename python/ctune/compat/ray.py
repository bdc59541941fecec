"""The names of the package `ray` that Ray Tune scripts use, in one process.

Remote functions and methods of actors are called at once, where they are called; their
results are kept until ray.get() asks for them.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle

import ctune
from ctune import _runtime
from ctune._version import __version__ as _version
from ctune.compat import exceptions
from ctune.compat.exceptions import RayActorError, as_task_error

__all__ = [
    "ObjectRef",
    "available_resources",
    "cloudpickle",
    "cluster_resources",
    "exceptions",
    "get",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "logger",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "wait",
]

logger = logging.getLogger("ray")
__version__ = f"2.24.0+ctune.{_version}"

LOCAL_MODE = 2
SCRIPT_MODE = 0
WORKER_MODE = 1


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: dict[str, float] | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    **ignored: Any,
) -> Any:
    """Chooses how trials are run; see ctune.init().

    Args:
        address: Only None, "auto" or "local": there is no cluster.
        num_cpus, num_gpus, resources: What trials may share.
        local_mode: Run everything in this process, one trial at a time.
        ignore_reinit_error: Keep what was chosen before instead of raising.
        **ignored: Options that mean nothing without a cluster.

    Raises:
        ValueError: `address` names a cluster.
        RuntimeError: Called a second time.
    """
    if address not in (None, "auto", "local"):
        raise ValueError(
            f"address: ctune.compat has no clusters, got {address!r}. Leave it out, or run the "
            "script with Ray."
        )
    executor = "inline" if local_mode else None
    return _runtime.init(
        executor,
        num_cpus,
        num_gpus or 0,
        resources,
        one_by_one=local_mode,
        ignore_reinit_error=ignore_reinit_error,
    )


shutdown = ctune.shutdown
is_initialized = ctune.is_initialized


class ObjectRef:
    """What put() and remote calls return: a value, or the error in its place."""

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self._value = value
        self._error = error

    def _get(self) -> Any:
        if self._error is not None:
            raise as_task_error(self._error) from self._error
        return self._value


def put(value: Any) -> ObjectRef:
    """Returns a reference to a value.

    Raises:
        TypeError: It is a reference already.
    """
    if isinstance(value, ObjectRef):
        raise TypeError("value: is an ObjectRef already; put() takes the object itself.")
    return ObjectRef(value)


def get(object_refs: ObjectRef | Sequence[ObjectRef], *, timeout: float | None = None) -> Any:
    """Returns what references stand for; of a list, a list.

    Raises:
        RayTaskError: The remote function raised an error.
        ValueError: An item is no reference.
    """
    if isinstance(object_refs, ObjectRef):
        return object_refs._get()
    if not isinstance(object_refs, (list, tuple)):
        raise ValueError(
            f"object_refs: must be an ObjectRef or a list of them, got {object_refs!r:.80}."
        )
    return [get(ref) for ref in object_refs]


def wait(
    object_refs: list[ObjectRef],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[ObjectRef], list[ObjectRef]]:
    """Returns the first `num_returns` references, all of which are ready, and the others."""
    if not 1 <= num_returns <= len(object_refs):
        raise ValueError(f"num_returns: must be 1 to {len(object_refs)}, got {num_returns!r}.")
    return list(object_refs[:num_returns]), list(object_refs[num_returns:])


def _call(function: Callable[..., Any], args: Any, kwargs: Any) -> ObjectRef:
    """Calls at once; arguments that are references arrive as what they stand for."""
    try:
        return ObjectRef(
            function(
                *(arg._get() if isinstance(arg, ObjectRef) else arg for arg in args),
                **{k: v._get() if isinstance(v, ObjectRef) else v for k, v in kwargs.items()},
            )
        )
    except Exception as error:
        return ObjectRef(error=error)


class RemoteFunction:
    """A function with a method remote()."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function

    def remote(self, *args: Any, **kwargs: Any) -> ObjectRef:
        """Calls the function and returns a reference to its result."""
        return _call(self._function, args, kwargs)

    def options(self, **options: Any) -> RemoteFunction:
        """Returns the same: resources of single calls mean nothing in one process."""
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"A remote function is called as {self._function.__name__}.remote(...), not directly."
        )


class _Method:
    def __init__(self, actor: ActorHandle, name: str) -> None:
        self._actor = actor
        self._name = name

    def remote(self, *args: Any, **kwargs: Any) -> ObjectRef:
        """Calls the method and returns a reference to its result."""
        instance = self._actor._instance
        if instance is None:
            return ObjectRef(error=RayActorError("The actor was killed."))
        return _call(getattr(instance, self._name), args, kwargs)

    def options(self, **options: Any) -> _Method:
        """Returns the same."""
        return self


class ActorHandle:
    """An object whose methods are called with remote()."""

    def __init__(self, instance: Any) -> None:
        self._instance = instance

    def __getattr__(self, name: str) -> _Method:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._instance is not None and not hasattr(self._instance, name):
            raise AttributeError(f"the actor has no method {name!r}")
        return _Method(self, name)


class ActorClass:
    """A class whose objects are made with remote()."""

    def __init__(self, cls: type[Any]) -> None:
        self._class = cls
        self.__name__ = cls.__name__

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        """Returns an actor: an object of the class."""
        return ActorHandle(_call(self._class, args, kwargs)._get())

    def options(self, **options: Any) -> ActorClass:
        """Returns the same."""
        return self


def remote(*args: Any, **options: Any) -> Any:
    """Makes a function or class remote; also as `@remote(num_cpus=...)`."""
    if not args:
        return remote
    (made,) = args
    return ActorClass(made) if inspect.isclass(made) else RemoteFunction(made)


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """Ends an actor: calls of its methods fail from then on."""
    actor._instance = None


def cluster_resources() -> dict[str, float]:
    """Returns what trials may share."""
    return {name: amount for name, amount in _runtime.runtime().resources.items() if amount}


available_resources = cluster_resources


def nodes() -> list[dict[str, Any]]:
    """Returns this machine."""
    hostname, address, _ = ctune._ctune.host()
    return [
        {
            "NodeID": "0" * 56,
            "Alive": True,
            "NodeManagerAddress": address,
            "NodeManagerHostname": hostname,
            "Resources": cluster_resources(),
        }
    ]


def get_gpu_ids() -> list[int]:
    """Returns the GPUs that this process sees, of CUDA_VISIBLE_DEVICES."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return [int(part) for part in shown.split(",") if part.strip().isdigit()]


class _RuntimeContext:
    def get_node_id(self) -> str:
        """Returns the id of this machine, of nodes()."""
        return str(nodes()[0]["NodeID"])

    def get_job_id(self) -> str:
        """Returns the number of this process."""
        return f"{os.getpid():08x}"

    def get_assigned_resources(self) -> dict[str, float]:
        """Returns the resources of the trial that runs here, or of this machine."""
        own = ctune.get_context().get_trial_resources()
        return cluster_resources() if own is None else dict(own.required_resources)


def get_runtime_context() -> _RuntimeContext:
    """Returns what is known of where this code runs."""
    return _RuntimeContext()
