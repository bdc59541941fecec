"""The functions of `ray.air.session` and `ray.train.context`."""

from __future__ import annotations

from typing import Any

from ctune._session import TuneContext, get_checkpoint, get_context, report

__all__ = [
    "TrainContext",
    "get_checkpoint",
    "get_context",
    "get_dataset_shard",
    "get_experiment_name",
    "get_local_rank",
    "get_local_world_size",
    "get_metadata",
    "get_node_rank",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "get_world_rank",
    "get_world_size",
    "report",
]

TrainContext = TuneContext


def get_experiment_name() -> str | None:
    """Returns the name of the experiment."""
    return get_context().get_experiment_name()


def get_trial_name() -> str | None:
    """Returns the name of the trial."""
    return get_context().get_trial_name()


def get_trial_id() -> str | None:
    """Returns the id of the trial."""
    return get_context().get_trial_id()


def get_trial_resources() -> Any:
    """Returns what the trial asked for."""
    return get_context().get_trial_resources()


def get_trial_dir() -> str | None:
    """Returns the trial's directory."""
    return get_context().get_trial_dir()


def _of_no_group() -> None:
    """Returns None: a trial is no member of a group of workers."""


get_world_size = get_world_rank = get_local_rank = _of_no_group
get_local_world_size = get_node_rank = get_metadata = _of_no_group


def get_dataset_shard(dataset_name: str | None = None) -> Any:
    """Raises NotImplementedError: data sets of Ray Data are out of scope."""
    raise NotImplementedError(
        "get_dataset_shard() belongs to Ray Train and Ray Data, which ctune does not replace."
    )
