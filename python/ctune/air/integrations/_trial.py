"""What the integrations ask of the trial that they are called in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctune._session import current_trainable

if TYPE_CHECKING:
    from ctune._session import TrialInfo

__all__ = ["current_trial"]


def current_trial() -> TrialInfo | None:
    """Returns the facts of the trial whose code calls; None outside of a trial."""
    trainable = current_trainable()
    return None if trainable is None else trainable._info
