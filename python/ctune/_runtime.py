"""What runs trials: the executor and the resources of this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ctune._encode import brief

__all__ = ["SYNC_POLICIES", "Runtime", "init", "is_initialized", "runtime", "shutdown"]

logger = logging.getLogger("ctune")

_NAMES = ("inline", "process")
SYNC_POLICIES = ("none", "interval", "always")  # numbered as in journal/journal.h
_METHODS = ("capacity", "submit", "wait", "interrupt", "close")


@dataclass(frozen=True)
class Runtime:
    """What init() settled.

    Attributes:
        executor: "inline", "process" or an executor object.
        resources: Resource name -> how much there is.
        debug: The first exception of a trial leaves run() as it is.
        one_by_one: One trial at a time.
        journal_sync: One of SYNC_POLICIES.
        trial_timeout_s: Seconds that one piece of a trial's work may take; 0: no limit.
    """

    executor: Any
    resources: dict[str, float]
    debug: bool = False
    one_by_one: bool = False
    journal_sync: str = "interval"
    trial_timeout_s: float = 0.0


_current: Runtime | None = None


def init(
    executor: Any = None,
    num_cpus: float | None = None,
    num_gpus: float = 0,
    resources: Mapping[str, float] | None = None,
    *,
    debug: bool = False,
    one_by_one: bool = False,
    journal_sync: str | None = None,
    trial_timeout_s: float | None = None,
    ignore_reinit_error: bool = False,
) -> Runtime:
    """Chooses how trials are run, for all runs that follow in this process.

    Without it run() uses the defaults.

    Args:
        executor: "process" (each worker is a process of its own), "inline" (all trials
            in this thread, by turns: for debugging and cheap objectives), or an object
            with the methods of `ctune.execution.Executor`. Default: the environment
            variable CTUNE_EXECUTOR, else "process".
        num_cpus: CPUs that trials may share; default: those this process may use, or
            what the executor object says.
        num_gpus: GPUs that trials may share.
        resources: Further resources, name -> amount.
        debug: For debugging a trainable: all trials run in this process and this thread,
            one after the other, so that breakpoints work, and the first exception that one
            raises leaves run() as it is. The executor must be "inline", which is the
            default then.
        one_by_one: Run one trial at a time.
        journal_sync: When the journal of a run reaches the disk itself, so that a machine that
            loses power loses nothing: "always" (before anything that it records takes effect),
            "interval" (at most a second later) or "none" (when the system sees fit). Each
            checkpoint is synced with "always", with "interval" where `num_to_keep` lets
            older ones be removed, with "none" never. A process that dies, even by a signal,
            loses nothing with any of them. Default: the environment variable
            CTUNE_JOURNAL_SYNC, else "interval".
        trial_timeout_s: Seconds that a trial may take to start, for a step (of a function: from
            one report() to the next), to save or to restore. One that takes longer is
            killed, which is a failure like another: it is tried again if `max_failures`
            allows. So is a worker that takes longer to clean up, without a failure: its
            trial has ended. Only trials in processes can be killed: "inline" logs a
            warning and has no limit. Default: the environment variable
            CTUNE_TRIAL_TIMEOUT_S, else no limit.
        ignore_reinit_error: Keep the first call's choice instead of raising.

    Raises:
        ValueError: The executor is unknown or does not go with `debug`, an amount or a limit
            is negative or no number, or the sync policy unknown.
        RuntimeError: Called a second time without shutdown() in between.
    """
    global _current
    if _current is not None:
        if ignore_reinit_error:
            return _current
        raise RuntimeError(
            "init() was called before. Call shutdown() first, or give "
            "ignore_reinit_error=True to keep what was chosen."
        )
    if debug:
        if executor not in (None, "inline"):
            raise ValueError(f'executor: must be "inline" with debug=True, got {brief(executor)}.')
        executor = "inline"
    _current = _make(
        executor,
        num_cpus,
        num_gpus,
        resources,
        debug,
        one_by_one or debug,
        journal_sync,
        trial_timeout_s,
    )
    return _current


def shutdown() -> None:
    """Forgets what init() chose."""
    global _current
    _current = None


def is_initialized() -> bool:
    """Returns whether init() was called."""
    return _current is not None


def runtime() -> Runtime:
    """Returns what init() chose, or the defaults."""
    return _current if _current is not None else _make(None, None, 0, None)


def available_cpus() -> int:
    """Returns the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _make(
    executor: Any,
    num_cpus: float | None,
    num_gpus: float,
    resources: Mapping[str, float] | None,
    debug: bool = False,
    one_by_one: bool = False,
    journal_sync: Any = None,
    trial_timeout_s: Any = None,
) -> Runtime:
    sync = _sync_policy(journal_sync)
    timeout = _timeout(trial_timeout_s)
    chosen = _check_executor(executor)
    if timeout and chosen != "process":
        logger.warning(
            'trial_timeout_s: has no effect with executor=%r: only executor="process" can '
            "end a trial that hangs.",
            chosen,
        )
    totals: dict[str, float] = {}
    if not isinstance(chosen, str):
        totals.update(chosen.capacity())
    if num_cpus is not None or "CPU" not in totals:
        totals["CPU"] = available_cpus() if num_cpus is None else num_cpus
    if num_gpus or "GPU" not in totals:
        totals["GPU"] = num_gpus
    if "memory" not in totals:
        totals["memory"] = _memory()
    totals.update(_further(resources))
    for name, amount in totals.items():
        totals[name] = _amount(name, amount)
    return Runtime(chosen, totals, bool(debug), bool(one_by_one), sync, timeout)


def _sync_policy(policy: Any) -> str:
    where = "journal_sync"
    if policy is None:
        policy = os.environ.get("CTUNE_JOURNAL_SYNC") or "interval"
        where = "CTUNE_JOURNAL_SYNC"
    if policy not in SYNC_POLICIES:
        raise ValueError(
            f"{where}: must be one of {', '.join(map(repr, SYNC_POLICIES))}, got {brief(policy)}."
        )
    return str(policy)


def _timeout(limit: Any) -> float:
    where = "trial_timeout_s"
    given = limit
    if given is None:
        given = os.environ.get("CTUNE_TRIAL_TIMEOUT_S") or None
        where = "CTUNE_TRIAL_TIMEOUT_S"
    if given is None:
        return 0.0
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise ValueError(
            f"{where}: must be a number of seconds above 0, got {brief(given)}. Leave it out for "
            "no limit."
        )
    return seconds


def _check_executor(executor: Any) -> Any:
    where = "executor"
    if executor is None:
        executor = os.environ.get("CTUNE_EXECUTOR") or "process"
        where = "CTUNE_EXECUTOR"
    if isinstance(executor, str):
        if executor not in _NAMES:
            raise ValueError(
                f"{where}: must be one of {', '.join(map(repr, _NAMES))} or an executor "
                f"object, got {brief(executor)}."
            )
        return executor
    lacking = [name for name in _METHODS if not callable(getattr(executor, name, None))]
    if isinstance(executor, type) or lacking:
        raise ValueError(
            f"{where}: must be one of {', '.join(map(repr, _NAMES))} or an object with "
            f"the methods {', '.join(_METHODS)}, got {brief(executor)}."
        )
    return executor


def _further(resources: Any) -> Mapping[str, float]:
    if resources is None:
        return {}
    if not isinstance(resources, Mapping):
        raise ValueError(
            f'resources: must be a dict such as {{"disk": 2}}, got {brief(resources)}.'
        )
    for name in resources:
        if not isinstance(name, str):
            raise ValueError(f"resources: names must be texts, got {brief(name)}.")
        if name in ("cpu", "gpu"):
            raise ValueError(
                f"resources: {name!r} is given as num_{name}s=, got {brief(resources[name])} here."
            )
    return resources


def _amount(name: str, amount: Any) -> float:
    parameter = {"CPU": "num_cpus", "GPU": "num_gpus"}.get(name, f"resources[{name!r}]")
    try:
        value = float(amount)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value < float("inf") or (name == "CPU" and value == 0):
        least = "more than 0" if name == "CPU" else "0 or more"
        raise ValueError(f"{parameter}: must be a number, {least}, got {brief(amount)}.")
    return value


def _memory() -> float:
    """Bytes of memory of this machine; 0 where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return 0.0
