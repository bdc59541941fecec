"""One experiment, one writer: the lock in an experiment's directory."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from ctune import _ctune
from ctune.error import TuneError

__all__ = ["LOCK_FILE", "locked"]

logger = logging.getLogger("ctune")

LOCK_FILE = ".ctune.lock"

# What is renamed when it is whole: of the engine, searchers, Tuner, callbacks, lists of trials.
_ASIDE = re.compile(
    r"\.tmp-.+|\.[0-9a-f]{32}-tmp(-searcher)?|\.(tuner|param_space)\.pkl\.tmp"
    r"|callback-states-.+\.pkl\.tmp|experiment_state-.+\.json\.part"
)

_held: set[_ctune.Lock] = set()


def _forget() -> None:
    for lock in _held:
        lock.forget()
    _held.clear()


def _release(lock: _ctune.Lock) -> None:
    _held.discard(lock)
    lock.release()


# A child that a trial or a callback forks may outlive this process: it must not keep the lock.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _tidy(directory: str) -> None:
    """Removes files that were being written, to be renamed, when their process died."""
    with os.scandir(directory) as entries:
        left = [entry.path for entry in entries if _ASIDE.fullmatch(entry.name)]
    for path in left:
        try:
            os.remove(path)
        except OSError:  # it does no harm
            pass


@contextmanager
def locked(directories: Iterable[str]) -> Iterator[None]:
    """Context manager: this run alone writes to these directories, which must exist.

    Where the file system knows no locks a warning says so, and nothing is locked. What an
    earlier writer left half written is removed.

    Raises:
        TuneError: Another process, or another run of this one, holds one of them. The text
            names it.
        OSError: The lock file cannot be made.
    """
    with ExitStack() as stack:
        for directory in sorted(set(directories)):
            try:
                lock = _ctune.Lock(os.path.join(directory, LOCK_FILE))
            except NotImplementedError as error:
                logger.warning("%s. See to it that only one run uses that directory.", error)
                continue
            except RuntimeError as error:
                raise TuneError(str(error)) from None
            _held.add(lock)
            stack.callback(_release, lock)
            _tidy(directory)
        yield
