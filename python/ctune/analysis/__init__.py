"""Looking at the results of an experiment."""

from ctune.analysis.experiment_analysis import ExperimentAnalysis

__all__ = ["ExperimentAnalysis"]
