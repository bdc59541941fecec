"""JSON that can hold any object: those that JSON lacks stand in it as pickles.

The form of such an object is `{"_type": "CLOUDPICKLE_FALLBACK", "value": <hex>}`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ctune._encode import dumps
from ctune._unpickle import read_pickle

__all__ = ["TuneFunctionDecoder", "TuneFunctionEncoder"]

FALLBACK = "CLOUDPICKLE_FALLBACK"


class TuneFunctionEncoder(json.JSONEncoder):
    """Writes what JSON has no form for as a pickle; numbers of NumPy as numbers.

    Raises:
        Exception: An object can be written in neither way; whatever pickling raised.
    """

    def default(self, obj: Any) -> Any:
        """Returns the form in which an object is written."""
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(obj, (numpy.bool_, numpy.number)):
            plain = obj.item()
            if isinstance(plain, (bool, int, float)):
                return plain
        return {"_type": FALLBACK, "value": dumps(obj).hex()}


class TuneFunctionDecoder(json.JSONDecoder):
    """Reads what TuneFunctionEncoder wrote, here or in the reference.

    Pickles are read as `ctune._unpickle` says: an object that cannot be read, or that would
    have to run code for it, becomes a placeholder.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, object_hook=self.object_hook, **kwargs)

    def object_hook(self, obj: dict[str, Any]) -> Any:
        """Returns what a JSON object stands for."""
        return from_fallback(obj["value"]) if is_fallback(obj) else obj


def is_fallback(obj: Any) -> bool:
    """Whether it stands for a pickle."""
    return isinstance(obj, dict) and obj.get("_type") == FALLBACK and "value" in obj


def from_fallback(text: Any) -> Any:
    """Returns what the hexadecimal digits of a pickle stand for."""
    try:
        data = bytes.fromhex(text)
    except (TypeError, ValueError):
        data = b""
    return read_pickle(data)
