"""How much is printed."""

from __future__ import annotations

import sys
from enum import Enum

__all__ = ["Verbosity", "disable_ipython", "has_verbosity", "set_verbosity"]


class Verbosity(Enum):
    """Levels of `verbose`, from nothing to each result in full."""

    V0_MINIMAL = 0
    V1_EXPERIMENT = 1
    V2_TRIAL_NORM = 2
    V3_TRIAL_DETAILS = 3

    def __int__(self) -> int:
        return int(self.value)


verbosity = Verbosity.V3_TRIAL_DETAILS


def set_verbosity(level: int | Verbosity) -> None:
    """Sets the level that has_verbosity() compares with.

    Raises:
        ValueError: It is no level.
    """
    global verbosity
    verbosity = level if isinstance(level, Verbosity) else Verbosity(level)


def has_verbosity(level: int | Verbosity) -> bool:
    """Returns whether what belongs to `level` is to be printed."""
    return int(verbosity) >= int(level)


def disable_ipython() -> None:
    """Keeps IPython, if it runs, from showing its own tracebacks and completions."""
    if "IPython" not in sys.modules:
        return
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.clear_instance()
