"""How trials are run: executors, and what a trial asks of them."""

from ctune.execution.executor import Command, Event, Executor, TrialHost
from ctune.execution.placement_groups import (
    PlacementGroupFactory,
    resource_dict_to_pg_factory,
)

__all__ = [
    "Command",
    "Event",
    "Executor",
    "PlacementGroupFactory",
    "TrialHost",
    "resource_dict_to_pg_factory",
]
