"""Trial schedulers: which trial runs next, and which one stops early."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from ctune.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler
from ctune.schedulers.hb_bohb import HyperBandForBOHB
from ctune.schedulers.hyperband import HyperBandScheduler
from ctune.schedulers.median_stopping_rule import MedianStoppingRule
from ctune.schedulers.pb2 import PB2
from ctune.schedulers.pbt import PopulationBasedTraining, PopulationBasedTrainingReplay
from ctune.schedulers.resource_changing_scheduler import ResourceChangingScheduler
from ctune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler

__all__ = [
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "FIFOScheduler",
    "HyperBandForBOHB",
    "HyperBandScheduler",
    "MedianStoppingRule",
    "PB2",
    "PopulationBasedTraining",
    "PopulationBasedTrainingReplay",
    "ResourceChangingScheduler",
    "TrialScheduler",
    "create_scheduler",
]

SCHEDULER_IMPORT: dict[str, type[TrialScheduler]] = {
    "fifo": FIFOScheduler,
    "async_hyperband": AsyncHyperBandScheduler,
    "asynchyperband": AsyncHyperBandScheduler,
    "median_stopping_rule": MedianStoppingRule,
    "medianstopping": MedianStoppingRule,
    "hyperband": HyperBandScheduler,
    "hb_bohb": HyperBandForBOHB,
    "pbt": PopulationBasedTraining,
    "pbt_replay": PopulationBasedTrainingReplay,
    "pb2": PB2,
    "resource_changing": ResourceChangingScheduler,
}


def create_scheduler(scheduler: str, **kwargs: Any) -> TrialScheduler:
    """Make a scheduler from its name.

    Args:
        scheduler: "fifo", "async_hyperband", "median_stopping_rule", "hyperband", "hb_bohb",
            "pbt", "pbt_replay", "pb2", "resource_changing", or the aliases "asynchyperband"
            and "medianstopping"; in any case.
        **kwargs: Arguments of its constructor. Those that it does not have are dropped, so
            that one set of arguments serves several names.

    Raises:
        ValueError: There is no such name; the message gives the nearest one.
        TypeError: The name is not a str.
    """
    if not isinstance(scheduler, str):
        raise TypeError(f"scheduler must be a name, got {scheduler!r}")
    name = scheduler.lower()
    if name not in SCHEDULER_IMPORT:
        near = difflib.get_close_matches(name, SCHEDULER_IMPORT, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"scheduler must be one of {', '.join(SCHEDULER_IMPORT)}, got {scheduler!r}{hint}"
        )
    cls = SCHEDULER_IMPORT[name]
    known = inspect.signature(cls).parameters
    return cls(**{k: v for k, v in kwargs.items() if k in known})
