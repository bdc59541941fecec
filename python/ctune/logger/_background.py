"""Writes what loggers hand over in a thread of its own, so that a run need not wait."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Background", "Target", "settled"]

logger = logging.getLogger("ctune")

_MOST_WAITING = 10_000  # messages; then the run waits
_BATCH = 1000
_GATHER_S = 0.02  # a thread that wakes up for each message would cost the run more
_IDLE_S = 2.0

_Message = tuple[str, tuple[Any, ...]]


class Target:
    """What a background thread writes to. A message is a method of it and its arguments."""

    def flush(self) -> None:
        """Called when a batch of messages was carried out, and once more in the silence after."""

    def close(self) -> None:
        """Called at the end, in any case."""


class Background:
    """A thread that carries out messages in order.

    It starts with the first message and can start again after `end()`. What goes wrong in
    it is logged, the first time with its traceback; the run goes on.

    Args:
        what: What is written, for messages, such as "TensorBoard's files".
        make: Makes the target; called in the thread.
    """

    def __init__(self, what: str, make: Callable[[], Target]) -> None:
        self._what = what
        self._make = make
        self._messages: queue.SimpleQueue[_Message | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def send(self, method: str, *arguments: Any) -> None:
        """Has a method of the target called. Waits only if too much is waiting already."""
        if self._thread is None:
            self._ending.clear()
            self._thread = threading.Thread(target=self._work, name="ctune-logger", daemon=True)
            self._thread.start()
        while self._messages.qsize() >= _MOST_WAITING and self._thread.is_alive():
            time.sleep(_GATHER_S)
        self._messages.put((method, arguments))

    def end(self, timeout_s: float | None = None) -> bool:
        """Waits until everything is written and the target is closed.

        Args:
            timeout_s: The longest wait, in seconds; None: without limit.

        Returns:
            Whether it is; False: the time ran out.
        """
        thread = self._thread
        if thread is None:
            return True
        self._messages.put(None)
        self._ending.set()
        thread.join(timeout_s)
        if thread.is_alive():
            return False
        self._thread = None
        return True

    def _work(self) -> None:
        told = _Once(self._what)
        target: Target | None = None
        with told:
            target = self._make()
        changed = False
        while True:
            try:
                batch = self._gather(self._messages.get(timeout=_IDLE_S if changed else None))
                changed = True
            except queue.Empty:
                batch = []
                changed = False
            if target is not None:
                self._carry_out(target, batch, told)
            if batch and batch[-1] is None:
                break
        if target is not None:
            with told:
                target.close()

    def _gather(self, first: _Message | None) -> list[_Message | None]:
        """Returns what came, with what comes in the next moment; None, if at all, is last."""
        batch = [first]
        if self._messages.qsize() < _BATCH:
            self._ending.wait(_GATHER_S)
        while batch[-1] is not None and len(batch) < _BATCH:
            try:
                batch.append(self._messages.get_nowait())
            except queue.Empty:
                break
        return batch

    def _carry_out(self, target: Target, batch: list[_Message | None], told: _Once) -> None:
        for message in batch:
            if message is not None:
                method, arguments = message
                with told:
                    getattr(target, method)(*arguments)
        with told:
            target.flush()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy has a thread of its own, once it is used.
        return Background, (self._what, self._make)


class _Once:
    """Logs the exceptions of its block: the first with its traceback, later ones for debugging."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._told = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        if self._told:
            logger.debug("%s could not be written: %s", self._what, error)
            return True
        self._told = True
        logger.error(
            "%s could not be written; the run goes on. Further errors of this kind are not shown.",
            self._what,
            exc_info=error,
        )
        return True


_FIXED = frozenset((float, int, str, bool, bytes, type(None), np.float64, np.float32, np.int64))


def settled(result: dict[str, Any]) -> dict[str, Any]:
    """Returns a result whose dicts, lists and arrays nobody else can change.

    Args:
        result: A result; its trainable and other callbacks may go on to change it.
    """
    return {k: v if type(v) in _FIXED else _settled(v) for k, v in result.items()}


def _settled(value: Any) -> Any:
    if isinstance(value, dict):
        return settled(value)
    if isinstance(value, list):
        return [item if type(item) in _FIXED else _settled(item) for item in value]
    return value.copy() if isinstance(value, np.ndarray) else value
