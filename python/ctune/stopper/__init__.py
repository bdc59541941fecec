"""Stoppers: when to stop a trial, or everything."""

from ctune.stopper.experiment_plateau import ExperimentPlateauStopper
from ctune.stopper.function_stopper import FunctionStopper
from ctune.stopper.maximum_iteration import MaximumIterationStopper
from ctune.stopper.noop import NoopStopper
from ctune.stopper.stopper import CombinedStopper, Stopper
from ctune.stopper.timeout import TimeoutStopper
from ctune.stopper.trial_plateau import TrialPlateauStopper

__all__ = [
    "CombinedStopper",
    "ExperimentPlateauStopper",
    "FunctionStopper",
    "MaximumIterationStopper",
    "NoopStopper",
    "Stopper",
    "TimeoutStopper",
    "TrialPlateauStopper",
]
