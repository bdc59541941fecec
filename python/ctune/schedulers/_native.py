"""What the schedulers written in C have in common."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from ctune import _ctune
from ctune.schedulers.trial_scheduler import FIFOScheduler

__all__ = ["NativeScheduler", "write_state"]


def write_state(path: str, text: str) -> None:
    """Writes a file in one step: it holds all of the text, or what it held before."""
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as f:
        try:
            f.write(text)
        except BaseException:
            os.unlink(f.name)
            raise
    os.replace(f.name, path)


class NativeScheduler(_ctune.NativeScheduler, FIFOScheduler):
    """A scheduler whose decisions are made in C; its state goes to a file as JSON.

    Attributes:
        num_stopped: How many trials it stopped early.
    """

    def save(self, checkpoint_path: str) -> None:
        """Write options and state to a file, replacing it in one step.

        Raises:
            TypeError: A trial id, or an attribute of a subclass, has no JSON form. Trials of
                a run have text as ids.
        """
        write_state(checkpoint_path, json.dumps(self._state_for_file()))

    def restore(self, checkpoint_path: str) -> None:
        """Become the scheduler that was saved: its options and state replace the present ones.

        Raises:
            ValueError: The file is not the saved state of a scheduler of this class. The
                scheduler is then as it was.
        """
        with open(checkpoint_path) as f:
            try:
                state = json.load(f)
            except ValueError as e:
                raise ValueError(
                    f"{checkpoint_path}: this is not the saved state of a scheduler: {e}"
                ) from None
        self.__setstate__(self._state_from_file(state))

    def _state_for_file(self) -> dict[str, Any]:
        state: dict[str, Any] = self.__getstate__()
        return state

    def _state_from_file(self, state: Any) -> Any:
        return state
