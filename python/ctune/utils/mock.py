"""Callbacks for tests: what was running at each step."""

from __future__ import annotations

from typing import Any

from ctune.callback import Callback
from ctune.experiment.trial import Trial

__all__ = ["FailureInjectorCallback", "TrialStatusSnapshot", "TrialStatusSnapshotTaker"]


class FailureInjectorCallback(Callback):
    """Ends nodes of a cluster at random; without a cluster there is none to end.

    Args:
        config_path, probability, time_between_checks: Of no use without a cluster.
        disable: Do nothing.

    Raises:
        NotImplementedError: `disable` is False.
    """

    def __init__(
        self,
        config_path: str = "~/ray_bootstrap_config.yaml",
        probability: float = 0.1,
        time_between_checks: int = 0,
        disable: bool = False,
    ) -> None:
        if not disable:
            raise NotImplementedError(
                "FailureInjectorCallback ends nodes of a cluster, which ctune does not have. "
                "Give disable=True, or raise errors in the trainable."
            )


class TrialStatusSnapshot:
    """The status of each trial at each step."""

    def __init__(self) -> None:
        self._snapshots: list[dict[str, str]] = []

    def append(self, new_snapshot: dict[str, str]) -> None:
        """Adds trial id -> status, unless nothing has changed."""
        if not self._snapshots or new_snapshot != self._snapshots[-1]:
            self._snapshots.append(new_snapshot)

    def max_running_trials(self) -> int:
        """Returns the highest number of trials that were running at one time."""
        return max(
            (list(snapshot.values()).count(Trial.RUNNING) for snapshot in self._snapshots),
            default=0,
        )

    def all_trials_are_terminated(self) -> bool:
        """Returns whether at last all trials had ended well; False before the first step."""
        if not self._snapshots:
            return False
        return all(status == Trial.TERMINATED for status in self._snapshots[-1].values())


class TrialStatusSnapshotTaker(Callback):
    """Fills a TrialStatusSnapshot.

    Args:
        snapshot: What to fill.
    """

    def __init__(self, snapshot: TrialStatusSnapshot) -> None:
        self._snapshot = snapshot

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Adds the trials as they are."""
        self._snapshot.append({trial.trial_id: trial.status for trial in trials})
