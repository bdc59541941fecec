"""Where the files of an experiment and of its trials are kept."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["StorageContext"]


@dataclass
class StorageContext:
    """Three path pieces: storage path, experiment directory, trial directory.

    Attributes:
        storage_path: Local directory that holds experiments.
        experiment_dir_name: Name of the experiment's directory in it.
        trial_dir_name: Name of the trial's directory in that; None for an experiment.
    """

    storage_path: str
    experiment_dir_name: str
    trial_dir_name: str | None = None

    @classmethod
    def of_trial_dir(cls, trial_dir: str) -> StorageContext:
        """Returns the storage of a trial whose directory is `trial_dir`."""
        experiment, trial = os.path.split(trial_dir)
        storage, name = os.path.split(experiment)
        return cls(storage, name, trial)

    @property
    def experiment_fs_path(self) -> str:
        """Path of the experiment's directory."""
        return os.path.join(self.storage_path, self.experiment_dir_name)

    @property
    def trial_fs_path(self) -> str:
        """Path of the trial's directory."""
        if self.trial_dir_name is None:
            raise RuntimeError("trial_dir_name: is not set, so there is no trial path.")
        return os.path.join(self.experiment_fs_path, self.trial_dir_name)

    # All files are local: the paths of the two kinds are the same.
    experiment_local_path = experiment_fs_path
    trial_local_path = trial_fs_path
