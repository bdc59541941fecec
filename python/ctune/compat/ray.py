"""The names of the package `ray` that Ray Tune scripts use, on one machine.

Remote functions and methods of actors are called at once, where they are called; their
results are kept until ray.get() asks for them. Actors live in the process that made them;
other processes call them there.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import cloudpickle

import ctune
from ctune import _ctune, _runtime
from ctune._version import __version__ as _version
from ctune.compat import _share, exceptions
from ctune.compat.exceptions import RayError, as_task_error

__all__ = [
    "ObjectRef",
    "available_resources",
    "cancel",
    "cloudpickle",
    "cluster_resources",
    "exceptions",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "logger",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "wait",
]

logger = logging.getLogger("ray")
__version__ = f"2.24.0+ctune.{_version}"

# The id of the only machine.
_NODE = "0" * 56

LOCAL_MODE = 2
SCRIPT_MODE = 0
WORKER_MODE = 1


class RayContext:
    """What init() returns; as a context manager it shuts down at its end."""

    dashboard_url = None
    python_version = platform.python_version()
    ray_version = __version__

    @property
    def address_info(self) -> dict[str, Any]:
        """The addresses of this machine; None where there is no such server."""
        address = _ctune.host()[1]
        return {
            "node_ip_address": address,
            "raylet_ip_address": address,
            "address": "local",
            "webui_url": None,
            "node_id": _NODE,
        }

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def disconnect(self) -> None:
        """Does what shutdown() does."""
        shutdown()

    def __enter__(self) -> RayContext:
        return self

    def __exit__(self, *exc_info: object) -> None:
        shutdown()


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: dict[str, float] | None = None,
    labels: dict[str, str] | None = None,
    object_store_memory: int | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    include_dashboard: bool | None = None,
    dashboard_host: str = "127.0.0.1",
    dashboard_port: int | None = None,
    job_config: Any = None,
    configure_logging: bool = True,
    logging_level: Any = "info",
    logging_format: str | None = None,
    log_to_driver: bool = True,
    namespace: str | None = None,
    runtime_env: Any = None,
    storage: str | None = None,
    **kwargs: Any,
) -> RayContext:
    """Chooses how trials are run; see ctune.init().

    Args:
        address: Only None, "auto" or "local": there is no cluster.
        num_cpus, num_gpus, resources: What trials may share.
        local_mode: Run everything in this process, one trial at a time.
        ignore_reinit_error: Keep what was chosen before instead of raising.
        configure_logging, logging_level: The level of the loggers "ray" and "ctune".
        runtime_env: Its `env_vars` are set, also in this process; trials run in the
            environment of this process, so that nothing else can be changed.
        labels, object_store_memory, include_dashboard, dashboard_host, dashboard_port,
            job_config, logging_format, log_to_driver, namespace, storage: Mean nothing
            without a cluster, as do options that begin with an underscore.

    Raises:
        ValueError: `address` names a cluster, or `runtime_env` asks for packages.
        RuntimeError: Called a second time, or with an unknown option.
    """
    unknown = [name for name in kwargs if not name.startswith("_")]
    if unknown:
        raise RuntimeError(f"{unknown[0]}: init() has no such option; it was given {unknown}.")
    if address not in (None, "auto", "local"):
        raise ValueError(
            f"address: ctune.compat has no clusters, got {address!r}. Leave it out, or run the "
            "script with Ray."
        )
    variables = _variables(runtime_env)
    _runtime.init(
        "inline" if local_mode else None,
        num_cpus,
        num_gpus or 0,
        resources,
        one_by_one=local_mode,
        ignore_reinit_error=ignore_reinit_error,
    )
    os.environ.update(variables)
    if configure_logging:
        level = logging_level.upper() if isinstance(logging_level, str) else logging_level
        logger.setLevel(level)
        if level not in ("INFO", logging.INFO):  # the default stands for our own default
            logging.getLogger("ctune").setLevel(level)
    return RayContext()


def _variables(runtime_env: Any) -> dict[str, str]:
    given = dict(runtime_env or {})
    variables = given.pop("env_vars", None) or {}
    # Where the code lies and what Ray logs is as it is in this process.
    for name in ("config", "excludes", "py_modules", "worker_process_setup_hook", "working_dir"):
        given.pop(name, None)
    if given:
        raise ValueError(
            f"runtime_env: trials run in the environment of this process, so {sorted(given)} "
            "cannot be given. Install what is needed before, or run the script with Ray."
        )
    return {str(name): str(value) for name, value in variables.items()}


def shutdown(_exiting_interpreter: bool = False) -> None:
    """Forgets what init() chose, and all actors' names."""
    _share.drop_all()
    ctune.shutdown()


is_initialized = ctune.is_initialized


class ObjectRef:
    """What put() and remote calls return: a value, or the error in its place."""

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self._value = value
        self._error = error

    def _get(self) -> Any:
        if isinstance(self._error, RayError):
            raise self._error
        if self._error is not None:
            raise as_task_error(self._error) from self._error
        return self._value

    def hex(self) -> str:
        """Returns a text that no other reference has."""
        return f"{id(self):x}"

    def future(self) -> Future[Any]:
        """Returns the value as a future, which is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(self._get())
        except Exception as error:
            future.set_exception(error)
        return future

    def __await__(self) -> Iterator[Any]:
        return asyncio.wrap_future(self.future()).__await__()


def put(value: Any) -> ObjectRef:
    """Returns a reference to a value.

    Raises:
        TypeError: It is a reference already.
    """
    if isinstance(value, ObjectRef):
        raise TypeError("value: is an ObjectRef already; put() takes the object itself.")
    return ObjectRef(value)


def get(object_refs: ObjectRef | list[ObjectRef], *, timeout: float | None = None) -> Any:
    """Returns what references stand for; of a list, a list.

    Raises:
        RayTaskError: The remote function raised an error.
        ValueError: It is neither a reference nor a list.
        TypeError: An item is no reference.
    """
    if isinstance(object_refs, ObjectRef):
        return object_refs._get()
    if not isinstance(object_refs, list):
        raise ValueError(
            f"object_refs: must be an ObjectRef or a list of them, got {object_refs!r:.80}."
        )
    for ref in object_refs:
        if not isinstance(ref, ObjectRef):
            raise TypeError(f"object_refs: must hold ObjectRefs, got {ref!r:.80}.")
    return [ref._get() for ref in object_refs]


def wait(
    ray_waitables: list[ObjectRef],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[ObjectRef], list[ObjectRef]]:
    """Returns the first `num_returns` references, all of which are ready, and the others.

    Raises:
        TypeError: It is no list of references.
        ValueError: There are fewer of them, or one comes twice.
    """
    if not isinstance(ray_waitables, list) or not all(
        isinstance(ref, ObjectRef) for ref in ray_waitables
    ):
        raise TypeError(f"ray_waitables: must be a list of ObjectRefs, got {ray_waitables!r:.80}.")
    if len({id(ref) for ref in ray_waitables}) < len(ray_waitables):
        raise ValueError("ray_waitables: a reference comes twice; leave one of them out.")
    if not ray_waitables:
        return [], []
    if not 1 <= num_returns <= len(ray_waitables):
        raise ValueError(f"num_returns: must be 1 to {len(ray_waitables)}, got {num_returns!r}.")
    return ray_waitables[:num_returns], ray_waitables[num_returns:]


def _call(function: Callable[..., Any], args: Any, kwargs: Any, returns: int = 1) -> Any:
    """Calls at once; arguments that are references arrive as what they stand for.

    Returns:
        A reference; for other numbers of `returns` a list of that many, or None.
    """
    try:
        value = function(
            *(arg._get() if isinstance(arg, ObjectRef) else arg for arg in args),
            **{k: v._get() if isinstance(v, ObjectRef) else v for k, v in kwargs.items()},
        )
        if returns > 1 and len(value) != returns:
            raise ValueError(f"num_returns: is {returns}, but {len(value)} values were returned.")
    except Exception as error:
        refs = [ObjectRef(error=error) for _ in range(returns)]
    else:
        refs = [ObjectRef(v) for v in value] if returns > 1 else [ObjectRef(value)] * returns
    return refs[0] if returns == 1 else refs or None


_OPTIONS = frozenset(
    "_metadata accelerator_type concurrency_groups enable_task_events get_if_exists lifetime "
    "label_selector max_calls max_concurrency max_pending_calls max_restarts max_retries "
    "max_task_retries memory name namespace num_cpus num_gpus num_returns object_store_memory "
    "placement_group placement_group_bundle_index placement_group_capture_child_tasks resources "
    "retry_exceptions runtime_env scheduling_strategy".split()
)


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    for name in options:
        if name not in _OPTIONS:
            raise ValueError(f"{name}: is no option of remote functions or actors.")
    returns = options.get("num_returns") or 1
    if not isinstance(returns, int) or returns < 0:
        raise ValueError(f"num_returns: must be a number of values, got {returns!r}.")
    return options


class RemoteFunction:
    """A function with a method remote()."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._options = _checked(options)

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function and returns a reference to its result."""
        return _call(self._function, args, kwargs, self._options.get("num_returns", 1))

    def options(self, **options: Any) -> RemoteFunction:
        """Returns the function with other options, of which only `num_returns` matters."""
        return RemoteFunction(self._function, {**self._options, **options})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"A remote function is called as {self._function.__name__}.remote(...), not directly."
        )


class _Method:
    def __init__(self, home: _share.Home, name: str, returns: int) -> None:
        self._home = home
        self._name = name
        self._returns = returns

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the method and returns a reference to its result."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._home.call(self._name, args, kwargs)

        return _call(call, args, kwargs, self._returns)

    def options(self, **options: Any) -> _Method:
        """Returns the method with other options, of which only `num_returns` matters."""
        return _Method(self._home, self._name, _checked(options).get("num_returns", self._returns))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"The method of an actor is called as {self._name}.remote(...), not directly."
        )


class ActorHandle:
    """An object whose methods are called with remote(), also from other processes."""

    def __init__(self, home: _share.Home, methods: dict[str, int]) -> None:
        self._home = home
        self._methods = methods  # name -> how many values it returns

    def __getattr__(self, name: str) -> _Method:
        methods = self.__dict__.get("_methods", {})
        if name not in methods:
            raise AttributeError(f"the actor has no method {name!r}")
        return _Method(self._home, name, methods[name])


class ActorClass:
    """A class whose objects are made with remote()."""

    def __init__(self, cls: type[Any], options: dict[str, Any]) -> None:
        self._class = cls
        self._options = _checked(options)
        self.__name__ = cls.__name__

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        """Returns an actor: an object of the class, which lives in this process."""
        name = self._options.get("name")
        if name and self._options.get("get_if_exists"):
            found: ActorHandle | None = _share.by_name(name)
            if found is not None:
                return found
        home = _share.Home(_call(self._class, args, kwargs)._get())
        handle = ActorHandle(home, _methods_of(self._class))
        if name:
            _share.name_it(name, handle)
        return handle

    def options(self, **options: Any) -> ActorClass:
        """Returns the class with other options, of which only its name matters."""
        return ActorClass(self._class, {**self._options, **options})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"An actor is made with {self.__name__}.remote(...), not directly.")


def _methods_of(cls: type[Any]) -> dict[str, int]:
    return {
        name: getattr(member, "__ray_num_returns__", 1)
        for name, member in inspect.getmembers(cls, callable)
        if not name.startswith("__")
    }


def method(*, num_returns: int = 1, **options: Any) -> Callable[[Any], Any]:
    """Decorates a method of an actor: says how many values it returns."""

    def mark(function: Any) -> Any:
        function.__ray_num_returns__ = num_returns
        return function

    return mark


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """Returns the actor that was made with `options(name=...)`.

    Raises:
        ValueError: There is none.
    """
    found: ActorHandle | None = _share.by_name(name)
    if found is None:
        raise ValueError(f"name: there is no actor {name!r}; make it with options(name=...).")
    return found


def remote(*args: Any, **options: Any) -> Any:
    """Makes a function or class remote; also as `@remote(num_cpus=...)`.

    Raises:
        TypeError: It is neither, or there are arguments beside it.
    """
    if not args and options:
        return functools.partial(_remote, options=_checked(options))
    if len(args) != 1 or options or not callable(args[0]):
        raise TypeError("remote() takes a function or class alone, or options by keyword alone.")
    return _remote(args[0], {})


def _remote(made: Any, options: dict[str, Any]) -> RemoteFunction | ActorClass:
    return (ActorClass if inspect.isclass(made) else RemoteFunction)(made, options)


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """Ends an actor: calls of its methods fail from then on.

    Raises:
        ValueError: It is no actor.
    """
    if not isinstance(actor, ActorHandle):
        raise ValueError(f"actor: must be an actor, got {actor!r:.80}.")
    actor._home.kill()


def cancel(ref: ObjectRef, *, force: bool = False, recursive: bool = True) -> None:
    """Does nothing: what the reference stands for has been computed already."""


def cluster_resources() -> dict[str, float]:
    """Returns what trials may share."""
    return {name: amount for name, amount in _runtime.runtime().resources.items() if amount}


available_resources = cluster_resources


def nodes() -> list[dict[str, Any]]:
    """Returns this machine."""
    hostname, address, _ = _ctune.host()
    return [
        {
            "NodeID": _NODE,
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
        return _NODE

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
