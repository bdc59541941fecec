"""The stopper that never stops."""

from ctune import _ctune
from ctune.stopper.stopper import Stopper

__all__ = ["NoopStopper"]


class NoopStopper(_ctune.NoopStopper, Stopper):
    """Never stop a trial nor the experiment."""
