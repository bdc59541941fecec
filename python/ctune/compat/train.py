"""Names of `ray.train` and `ray.air` that are not ctune's own.

What belongs to Ray Train proper can be imported, as scripts do, and says so when it is used.
"""

from __future__ import annotations

from typing import Any

from ctune._config import MAX, MIN
from ctune.compat.session import TrainContext, get_dataset_shard

__all__ = [
    "MAX",
    "MIN",
    "RAY_CHDIR_TO_TRIAL_DIR",
    "AcquiredResources",
    "BackendConfig",
    "DATASET_CONFIG_DEPRECATION_MSG",
    "DEFAULT_STORAGE_PATH",  # noqa: F822
    "DataBatchType",
    "DataConfig",
    "DatasetConfig",
    "FixedResourceManager",
    "PlacementGroupResourceManager",
    "ResourceRequest",
    "ScalingConfig",
    "TRAIN_DATASET_KEY",
    "TrainContext",
    "TrainingFailedError",
    "TrainingIterator",
    "get_dataset_shard",
]

RAY_CHDIR_TO_TRIAL_DIR = "RAY_CHDIR_TO_TRIAL_DIR"
TRAIN_DATASET_KEY = "train"
DATASET_CONFIG_DEPRECATION_MSG = "DatasetConfig is gone; ctune does not replace Ray Data."
DataBatchType = Any  # arrays and tables of Ray Data


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_STORAGE_PATH":
        from ctune.utils.util import default_storage_path

        return default_storage_path()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class TrainingFailedError(RuntimeError):
    """Raised by trainers of Ray Train."""


class _OfTrain:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f"{type(self).__name__} belongs to Ray Train, which ctune does not replace. Train "
            "inside a trainable function, or run this script with Ray."
        )


class ScalingConfig(_OfTrain):
    """Of Ray Train."""


class BackendConfig(_OfTrain):
    """Of Ray Train."""


class DataConfig(_OfTrain):
    """Of Ray Train."""


class DatasetConfig(_OfTrain):
    """Of Ray Train."""


class TrainingIterator(_OfTrain):
    """Of Ray Train."""


class ResourceRequest(_OfTrain):
    """Of Ray's actor manager."""


class AcquiredResources(_OfTrain):
    """Of Ray's actor manager."""


class FixedResourceManager(_OfTrain):
    """Of Ray's actor manager."""


class PlacementGroupResourceManager(_OfTrain):
    """Of Ray's actor manager."""
