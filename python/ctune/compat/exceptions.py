"""The errors of `ray.exceptions` that scripts catch."""

from __future__ import annotations

__all__ = [
    "ActorDiedError",
    "GetTimeoutError",
    "NodeDiedError",
    "ObjectLostError",
    "ObjectStoreFullError",
    "OutOfMemoryError",
    "RayActorError",
    "RayError",
    "RaySystemError",
    "RayTaskError",
    "RuntimeEnvSetupError",
    "TaskCancelledError",
    "WorkerCrashedError",
]


class RayError(Exception):
    """Base of the others."""


class RayTaskError(RayError):
    """A remote function raised an error, which is the `cause` and `__cause__`."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.cause = cause

    def __reduce__(self) -> tuple[type[RayTaskError], tuple[BaseException]]:
        return type(self), (self.cause,)


class RayActorError(RayError):
    """An actor was killed."""


class ActorDiedError(RayActorError):
    """An actor was killed, as calls of its methods say."""


class TaskCancelledError(RayError):
    """A task was cancelled. Never raised here, as are those below: scripts catch them."""


class WorkerCrashedError(RayError):
    """The worker of a task died."""


class NodeDiedError(RayError):
    """A machine of the cluster died."""


class RaySystemError(RayError):
    """Ray itself failed."""


class ObjectLostError(RayError):
    """An object is gone."""


class ObjectStoreFullError(RayError):
    """There is no room for an object."""


class OutOfMemoryError(RayError):
    """A worker was ended as memory ran out."""


class RuntimeEnvSetupError(RayError):
    """A runtime_env could not be made."""


class GetTimeoutError(RayError, TimeoutError):
    """A result did not come in time."""


def as_task_error(cause: BaseException) -> RayTaskError:
    """Returns an error that is both a RayTaskError and of the type of its cause."""
    kind = type(cause)
    if not isinstance(cause, Exception):
        return RayTaskError(cause)
    try:
        both = type(f"RayTaskError({kind.__name__})", (RayTaskError, kind), {})
        error: RayTaskError = both(cause)
    except TypeError:  # layouts that do not go together
        return RayTaskError(cause)
    return error
