"""Stop trials by a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ctune import _ctune
from ctune.stopper.stopper import Stopper

__all__ = ["FunctionStopper"]


class FunctionStopper(_ctune.FunctionStopper, Stopper):
    """Stop a trial when a function of its id and its result says so.

    Args:
        function: Called with `(trial_id, result)`, the id as str and the nested result
            dict. Its answer is used by its truth.

    Raises:
        TypeError: `function` is not callable.
    """

    def __init__(self, function: Callable[[str, dict[str, Any]], bool]) -> None:
        super().__init__(function)

    @classmethod
    def is_valid_function(cls, fn: object) -> bool:
        """Whether fn can be a stop function: callable and not a Stopper.

        Raises:
            ValueError: fn has a `stop_all` but is no Stopper.
        """
        if not callable(fn) or isinstance(fn, _ctune.Stopper):
            return False
        if hasattr(fn, "stop_all"):
            raise ValueError(
                f"{fn!r} has stop_all() but is no Stopper; "
                "derive its class from ctune.stopper.Stopper"
            )
        return True
