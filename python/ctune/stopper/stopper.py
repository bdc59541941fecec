"""The interface of stoppers, and the one that joins several."""

from __future__ import annotations

from ctune import _ctune

__all__ = ["CombinedStopper", "Stopper"]


class Stopper(_ctune.Stopper):
    """Says after each result whether a trial, or the whole experiment, should stop.

    Derive from it and implement both methods; the base raises NotImplementedError:

    - `__call__(trial_id, result) -> bool`: stop this trial? `result` is the nested dict.
    - `stop_all() -> bool`: stop the experiment? Asked after every turn.

    Answers are used by their truth. An exception ends the run with TuneError.
    """


class CombinedStopper(_ctune.CombinedStopper, Stopper):
    """Stop when any of several stoppers says so; those behind the first yes are not asked.

    Args:
        *stoppers: Stopper objects.

    Raises:
        ValueError: An argument is not a Stopper.
    """

    def __init__(self, *stoppers: _ctune.Stopper) -> None:
        super().__init__(*stoppers)
