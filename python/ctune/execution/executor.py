"""The contract between the engine and what runs trials, for executors written in Python.

The engine hands an executor commands and takes events back. It waits for nothing else: a
process pool, threads, a cluster or a simulation look the same to it.

    ctune.init(executor=MyExecutor())

What a worker does with a command is `TrialHost.handle(command)`; an executor only has to
bring commands to workers and events back. examples/thread_executor.py is a complete one.
"""

from __future__ import annotations

from typing import Any

from ctune._ctune import Command, Event
from ctune.execution._host import TrialHost

__all__ = ["Command", "Event", "Executor", "TrialHost"]


class Executor:
    """Base class of executors. An object with these methods will do as well.

    Commands. `command.kind` is "START" (make a worker for trial `command.trial` and set it
    up), "STEP", "SAVE", "RESTORE", "RESET" (the worker of trial `command.source` now serves
    `command.trial`), "EXPORT", "STOP" (end the worker in an orderly way) or "KILL" (end it
    at once; the only command that may come while another of its trial is open). Commands of
    different trials may run at the same time, those of one trial come one after another and
    must run in one and the same thread.

    Events. Every command is answered by exactly one Event with the command's `trial` and
    `serial`. A worker that is gone is reported as `Event("LOST", ..., text=why)`: that
    answers whatever is open for it. The answer to STOP and KILL is "STOPPED", after which
    the worker is not heard of again. STOP also follows a "START_FAILED", whether that left
    a worker or not.
    """

    def capacity(self) -> dict[str, float]:
        """Returns what trials may share, resource name -> amount, e.g. {"CPU": 8}.

        The engine never starts more trials at once than fit.
        """
        raise NotImplementedError(f"{type(self).__name__}.capacity() is missing.")

    def prepare(self, trainable: Any) -> None:
        """Hears what will be trained, before the first command of each run.

        Args:
            trainable: What `TrialHost` takes; nothing to look into. It can be pickled by
                cloudpickle.
        """

    def submit(self, command: Command) -> None:
        """Sees to it that the command is carried out; does not wait for that.

        Must not raise for what goes wrong with a trial: that is an event.
        """
        raise NotImplementedError(f"{type(self).__name__}.submit() is missing.")

    def wait(self, timeout: float | None) -> list[Event]:
        """Waits for events and returns all there are, in the order in which they came.

        Args:
            timeout: Seconds after which to return an empty list; None: no limit.
        """
        raise NotImplementedError(f"{type(self).__name__}.wait() is missing.")

    def interrupt(self) -> None:
        """Makes a wait() under way return soon. Called from any thread."""
        raise NotImplementedError(f"{type(self).__name__}.interrupt() is missing.")

    def close(self) -> None:
        """Ends all workers of the run and drops events that nobody fetched.

        The next run may use the executor again.
        """
        raise NotImplementedError(f"{type(self).__name__}.close() is missing.")
