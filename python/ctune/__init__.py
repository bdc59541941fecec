"""Hyperparameter tuning with the Ray Tune API on a C engine.

    import ctune as tune

    def train(config):
        for epoch in range(10):
            tune.report({"loss": (config["x"] - 3) ** 2 / (epoch + 1)})

    analysis = tune.run(
        train, config={"x": tune.uniform(0, 10)}, num_samples=20, metric="loss", mode="min"
    )
    print(analysis.best_config)

Names are loaded when they are first used: worker processes start with what they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctune._version import __version__

if TYPE_CHECKING:
    from ctune import tune
    from ctune._checkpoint import Checkpoint
    from ctune._config import (
        CheckpointConfig,
        FailureConfig,
        ResumeConfig,
        RunConfig,
        SyncConfig,
        TuneConfig,
    )
    from ctune._result import Result
    from ctune._runtime import init, is_initialized, shutdown
    from ctune._session import TuneContext, get_checkpoint, get_context, report
    from ctune._simulate import Simulated, simulate
    from ctune.analysis import ExperimentAnalysis
    from ctune.callback import Callback
    from ctune.error import TuneError
    from ctune.execution.placement_groups import PlacementGroupFactory
    from ctune.experiment.experiment import Experiment
    from ctune.progress_reporter import CLIReporter, JupyterNotebookReporter, ProgressReporter
    from ctune.registry import register_env, register_trainable
    from ctune.result_grid import ResultGrid
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
    from ctune.tuner import Tuner

__all__ = [
    "CLIReporter",
    "Callback",
    "Checkpoint",
    "CheckpointConfig",
    "Experiment",
    "ExperimentAnalysis",
    "FailureConfig",
    "JupyterNotebookReporter",
    "PlacementGroupFactory",
    "ProgressReporter",
    "Result",
    "ResultGrid",
    "ResumeConfig",
    "RunConfig",
    "Simulated",
    "Stopper",
    "SyncConfig",
    "Trainable",
    "TuneConfig",
    "TuneContext",
    "TuneError",
    "Tuner",
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
    "simulate",
    "tune",
    "uniform",
    "with_parameters",
    "with_resources",
]

# Module -> what comes from it.
_HOMES = {
    "_checkpoint": ("Checkpoint",),
    "_config": (
        "CheckpointConfig",
        "FailureConfig",
        "ResumeConfig",
        "RunConfig",
        "SyncConfig",
        "TuneConfig",
    ),
    "_runtime": ("init", "is_initialized", "shutdown"),
    "_simulate": ("Simulated", "simulate"),
    "_result": ("Result",),
    "_session": ("TuneContext", "get_checkpoint", "get_context", "report"),
    "analysis": ("ExperimentAnalysis",),
    "callback": ("Callback",),
    "error": ("TuneError",),
    "execution.placement_groups": ("PlacementGroupFactory",),
    "experiment.experiment": ("Experiment",),
    "progress_reporter": ("CLIReporter", "JupyterNotebookReporter", "ProgressReporter"),
    "registry": ("register_env", "register_trainable"),
    "result_grid": ("ResultGrid",),
    "schedulers": ("create_scheduler",),
    "search": ("create_searcher",),
    "search.sample": (
        "choice",
        "lograndint",
        "loguniform",
        "qlograndint",
        "qloguniform",
        "qrandint",
        "qrandn",
        "quniform",
        "randint",
        "randn",
        "sample_from",
        "uniform",
    ),
    "search.variant_generator": ("grid_search",),
    "stopper": ("Stopper",),
    "trainable": ("Trainable", "with_parameters", "with_resources"),
    "tune": ("run", "run_experiments"),
    "tuner": ("Tuner",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_SUBMODULES = frozenset(
    (
        "analysis",
        "bench",
        "cli",
        "callback",
        "error",
        "execution",
        "experiment",
        "experimental",
        "logger",
        "progress_reporter",
        "registry",
        "resources",
        "result",
        "result_grid",
        "schedulers",
        "search",
        "stopper",
        "trainable",
        "syncer",
        "tune",
        "tune_config",
        "tuner",
        "utils",
    )
)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOME_OF.get(name)
    if home is not None:
        value = getattr(import_module(f"ctune.{home}"), name)
    elif name in _SUBMODULES:
        value = import_module(f"ctune.{name}")
    else:
        raise AttributeError(f"module 'ctune' has no attribute {name!r}")
    globals()[name] = value  # the next look-up finds it at once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
