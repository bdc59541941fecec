"""Experiments and their trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctune.experiment.trial import Trial

if TYPE_CHECKING:
    from ctune.experiment.experiment import Experiment, _convert_to_experiment_list

__all__ = ["Experiment", "Trial", "_convert_to_experiment_list"]


def __getattr__(name: str) -> Any:
    # Later, as an experiment knows all kinds of trainables, and a trial none.
    if name in __all__:
        from ctune.experiment import experiment

        return getattr(experiment, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
