"""Hyperparameter tuning with the Ray Tune API on a C engine.

    import ctune as tune

    def train(config):
        for epoch in range(10):
            tune.report({"loss": (config["x"] - 3) ** 2 / (epoch + 1)})

    analysis = tune.run(
        train, config={"x": tune.uniform(0, 10)}, num_samples=20, metric="loss", mode="min"
    )
    print(analysis.best_config)
"""

from __future__ import annotations

from ctune import tune
from ctune._checkpoint import Checkpoint
from ctune._config import CheckpointConfig, FailureConfig, ResumeConfig, SyncConfig
from ctune._runtime import init, is_initialized, shutdown
from ctune._session import TuneContext, get_checkpoint, get_context, report
from ctune._version import __version__
from ctune.analysis import ExperimentAnalysis
from ctune.callback import Callback
from ctune.error import TuneError
from ctune.execution.placement_groups import PlacementGroupFactory
from ctune.registry import register_env, register_trainable
from ctune.schedulers import create_scheduler
from ctune.search import create_searcher
from ctune.search.sample import (
    choice,
    lograndint,
    loguniform,
    qlograndint,
    qloguniform,
    qrandint,
    qrandn,
    quniform,
    randint,
    randn,
    sample_from,
    uniform,
)
from ctune.search.variant_generator import grid_search
from ctune.stopper import Stopper
from ctune.trainable import Trainable, with_parameters, with_resources
from ctune.tune import run, run_experiments

__all__ = [
    "Callback",
    "Checkpoint",
    "CheckpointConfig",
    "ExperimentAnalysis",
    "FailureConfig",
    "PlacementGroupFactory",
    "ResumeConfig",
    "Stopper",
    "SyncConfig",
    "Trainable",
    "TuneContext",
    "TuneError",
    "__version__",
    "choice",
    "create_scheduler",
    "create_searcher",
    "get_checkpoint",
    "get_context",
    "grid_search",
    "init",
    "is_initialized",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "register_env",
    "register_trainable",
    "report",
    "run",
    "run_experiments",
    "sample_from",
    "shutdown",
    "tune",
    "uniform",
    "with_parameters",
    "with_resources",
]
