"""Stoppers: when to stop a trial, or everything."""

from ctune.stopper.function_stopper import FunctionStopper
from ctune.stopper.maximum_iteration import MaximumIterationStopper
from ctune.stopper.noop import NoopStopper
from ctune.stopper.stopper import CombinedStopper, Stopper
from ctune.stopper.timeout import TimeoutStopper

__all__ = [
    "CombinedStopper",
    "FunctionStopper",
    "MaximumIterationStopper",
    "NoopStopper",
    "Stopper",
    "TimeoutStopper",
]
