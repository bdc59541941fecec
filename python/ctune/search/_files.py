"""State files of search algorithms: written whole or not at all, the newest read."""

from __future__ import annotations

import glob
import os
import pickle
import uuid
from typing import Any

__all__ = ["newest", "read_newest", "write"]


def newest(directory: str, template: str) -> str | None:
    """Returns the file of the template ("state-{}.pkl") whose name comes last, or None."""
    return max(glob.glob(os.path.join(glob.escape(directory), template.format("*"))), default=None)


def read_newest(directory: str, template: str) -> tuple[str, Any]:
    """Returns path and content of that file. Unpickles: only for one's own files.

    Raises:
        RuntimeError: There is none.
    """
    path = newest(directory, template)
    if path is None:
        raise RuntimeError(f"No state ({template.format('*')}) in {directory}.")
    with open(path, "rb") as file:
        return path, pickle.load(file)


def write(directory: str, name: str, state: Any) -> None:
    """Pickles to a file of the directory."""
    import cloudpickle

    aside = os.path.join(directory, f".{uuid.uuid4().hex}-tmp")
    with open(aside, "wb") as file:
        cloudpickle.dump(state, file)
    os.replace(aside, os.path.join(directory, name))
