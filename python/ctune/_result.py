"""What one trial gave, as people get it from a Tuner."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ctune._checkpoint import Checkpoint
from ctune.error import TuneError
from ctune.experiment.trial import Trial
from ctune.result import (
    AUTO_RESULT_KEYS,
    CONFIG,
    CONFIG_PREFIX,
    DONE,
    EXPERIMENT_TAG,
    EXPR_ERROR_FILE,
    EXPR_ERROR_PICKLE_FILE,
    SHOULD_CHECKPOINT,
    TRIAL_ID,
)
from ctune.utils.util import is_nan, unflattened_lookup

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Result"]

_HIDDEN = frozenset(
    (
        *AUTO_RESULT_KEYS,
        CONFIG,
        DONE,
        EXPERIMENT_TAG,
        SHOULD_CHECKPOINT,
        TRIAL_ID,
        "checkpoint_dir_name",
    )
)


class Result:
    """What one trial gave.

    Args:
        metrics: Its last result, nested as it was reported; None: it reported nothing.
        checkpoint: Its newest checkpoint, or None.
        error: The exception that ended it, or None.
        path: Its directory.
        metrics_dataframe: All its results, one row each; or a function that reads them.
        best_checkpoints: Its checkpoints, oldest first, each with the result it belongs to.
    """

    def __init__(
        self,
        metrics: dict[str, Any] | None,
        checkpoint: Checkpoint | None,
        error: BaseException | None,
        path: str | None = None,
        metrics_dataframe: pd.DataFrame | Callable[[], pd.DataFrame] | None = None,
        best_checkpoints: list[tuple[Checkpoint, dict[str, Any]]] | None = None,
    ) -> None:
        self.metrics = metrics
        self.checkpoint = checkpoint
        self.error = error
        self.path = path
        self.best_checkpoints = best_checkpoints or []
        self._frame = metrics_dataframe

    @property
    def metrics_dataframe(self) -> pd.DataFrame | None:
        """All results of the trial, one row each. Needs pandas. Read when first asked for."""
        if callable(self._frame):
            self._frame = self._frame()
        return self._frame

    @property
    def config(self) -> dict[str, Any] | None:
        """The configuration of the trial."""
        return self.metrics.get("config") if self.metrics else None

    @property
    def filesystem(self) -> Any:
        """The file system of `path`, a `pyarrow.fs.LocalFileSystem`. Needs pyarrow."""
        return local_filesystem()

    def get_best_checkpoint(self, metric: str, mode: str) -> Checkpoint | None:
        """Returns the best checkpoint that the trial still has.

        Args:
            metric: Result key; nested ones as "a/b".
            mode: "max" or "min".

        Returns:
            None if all values are NaN.

        Raises:
            RuntimeError: There are no checkpoints, or none has the metric.
            ValueError: `mode` is something else.
        """
        if not self.best_checkpoints:
            raise RuntimeError(f"There are no checkpoints in {self.path!r} to choose from.")
        if mode not in ("max", "min"):
            raise ValueError(f'mode: must be "max" or "min", got {mode!r}.')
        found = [
            (value, checkpoint)
            for checkpoint, metrics in self.best_checkpoints
            if (value := unflattened_lookup(metric, metrics, default=None)) is not None
        ]
        if not found:
            known = sorted({str(key) for _, metrics in self.best_checkpoints for key in metrics})
            raise RuntimeError(
                f"metric: no checkpoint has {metric!r}. There is: {', '.join(known)}."
            )
        numbers = [pair for pair in found if not is_nan(pair[0])]
        if not numbers:
            return None
        choose = max if mode == "max" else min
        return choose(numbers, key=lambda pair: pair[0])[1]

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> Result:
        """Reads the result of a trial from its directory.

        Args:
            path: The trial's directory, `~` allowed.
            storage_filesystem: Only None, the local file system.

        Raises:
            RuntimeError: There is no such directory, or it holds no results.
            NotImplementedError: `storage_filesystem` is given.
        """
        from ctune.analysis._files import read_checkpoints, read_error, read_results, table

        if storage_filesystem is not None:
            raise NotImplementedError(
                "storage_filesystem: only local directories are supported, got "
                f"{type(storage_filesystem).__name__}. Leave it out."
            )
        directory = os.path.abspath(os.path.expanduser(os.fspath(path)))
        if not os.path.isdir(directory):
            raise RuntimeError(f"path: there is no directory {directory!r}.")
        results = read_results(directory)
        if results is None:
            raise RuntimeError(
                f"path: {directory!r} has neither result.json nor progress.csv, so it is no "
                "directory of a trial that reported something."
            )
        checkpoints = read_checkpoints(directory, results)
        return cls(
            metrics=results[-1] if results else None,
            checkpoint=checkpoints[-1][0] if checkpoints else None,
            error=read_error(
                os.path.join(directory, EXPR_ERROR_FILE),
                os.path.join(directory, EXPR_ERROR_PICKLE_FILE),
            ),
            path=directory,
            metrics_dataframe=lambda: table(results),
            best_checkpoints=checkpoints,
        )

    @classmethod
    def _of_trial(cls, trial: Trial, frame: Callable[[], pd.DataFrame]) -> Result:
        metrics = dict(trial.last_result)
        if metrics:
            metrics.setdefault("config", trial.config)
        error: BaseException | None = None
        if trial.status != Trial.TERMINATED:
            error = trial.get_error()
            if error is None and trial.status == Trial.ERROR:
                error = TuneError(f"Trial {trial} failed; there is no file that says why.")
        return cls(
            metrics=metrics,
            checkpoint=trial.checkpoint,
            error=error,
            path=trial.path,
            metrics_dataframe=frame,
            best_checkpoints=[
                (Checkpoint(path), metrics) for path, metrics, _ in trial._all_checkpoints()
            ],
        )

    def __repr__(self) -> str:
        lines = []
        if self.error is not None:
            lines.append(f"error={type(self.error).__name__!r}")
        shown = {
            key: value
            for key, value in (self.metrics or {}).items()
            if key not in _HIDDEN and not str(key).startswith(f"{CONFIG_PREFIX}/")
        }
        lines.append(f"metrics={shown!r}")
        lines.append(f"path={self.path!r}")
        lines.append("filesystem='local'")
        lines.append(f"checkpoint={self.checkpoint!r}")
        return "Result(\n  " + ",\n  ".join(lines) + "\n)"


def local_filesystem() -> Any:
    """Returns pyarrow's local file system.

    Raises:
        ImportError: pyarrow is missing.
    """
    try:
        from pyarrow.fs import LocalFileSystem
    except ImportError:
        raise ImportError(
            'pyarrow is needed for a filesystem: pip install "ctune[storage]"'
        ) from None
    return LocalFileSystem()
