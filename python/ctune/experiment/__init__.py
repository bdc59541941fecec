"""Experiments and their trials."""

from ctune.experiment.trial import Trial

__all__ = ["Trial"]
