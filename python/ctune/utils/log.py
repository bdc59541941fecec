"""How much the reporters of the older kind say, and whether they speak to a notebook."""

from __future__ import annotations

import enum
import os
import sys

__all__ = [
    "Verbosity",
    "default_verbosity",
    "disable_ipython",
    "has_verbosity",
    "in_notebook",
    "set_verbosity",
]


class Verbosity(enum.Enum):
    """Levels of `verbose` with RAY_AIR_NEW_OUTPUT=0: each says what those below it say, too.

    V0_MINIMAL: nothing. V1_EXPERIMENT: status of the experiment. V2_TRIAL_NORM: a line for
    results, and a last table of trials. V3_TRIAL_DETAILS: whole results, and tables on the way.
    """

    V0_MINIMAL = 0
    V1_EXPERIMENT = 1
    V2_TRIAL_NORM = 2
    V3_TRIAL_DETAILS = 3

    def __int__(self) -> int:
        return int(self.value)


verbosity = Verbosity.V3_TRIAL_DETAILS


def set_verbosity(level: int | Verbosity) -> None:
    """Sets the level of this process. run() does it, too.

    Raises:
        ValueError: There is no such level.
    """
    global verbosity
    try:
        verbosity = level if isinstance(level, Verbosity) else Verbosity(int(level))
    except (ValueError, TypeError):
        raise ValueError(f"verbose: must be 0, 1, 2 or 3, got {level!r:.80}.") from None


def has_verbosity(level: int | Verbosity) -> bool:
    """Returns whether what belongs to a level is said."""
    return int(verbosity) >= int(level)


def disable_ipython() -> None:
    """Puts IPython out of use, if it runs: what runs say is plain text from then on."""
    if "IPython" not in sys.modules:
        return
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.clear_instance()


def in_notebook() -> bool:
    """Returns whether this is the kernel of a notebook, which shows HTML."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    kind = type(ipython.get_ipython())
    return kind.__name__ == "ZMQInteractiveShell" or "google.colab" in kind.__module__


def default_verbosity() -> int:
    """Returns the level that run() takes if it is given none."""
    return 3 if os.environ.get("RAY_AIR_NEW_OUTPUT") == "0" else 1
