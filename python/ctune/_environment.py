"""Numbers that users set in environment variables."""

from __future__ import annotations

import os
from typing import TypeVar

__all__ = ["environment_number"]

_Number = TypeVar("_Number", int, float)


def environment_number(name: str, default: _Number) -> _Number:
    """Returns the value of a variable as a number of the default's type.

    Raises:
        ValueError: It is set to something else. The message names the variable.
    """
    text = os.environ.get(name)
    if not text:
        return default
    try:
        return type(default)(text)
    except ValueError:
        kind = "an integer" if isinstance(default, int) else "a number"
        raise ValueError(f"{name}: must be {kind}, got {text!r}.") from None
