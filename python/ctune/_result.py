"""One trial's result, as `ResultGrid` hands it out."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ctune._checkpoint import Checkpoint
from ctune._files import LOCAL, ArrowFiles, Files, describe, locate
from ctune._storage import StorageContext
from ctune.analysis.experiment_analysis import local_filesystem, table_of
from ctune.error import TuneError
from ctune.experiment._state import of_folder
from ctune.experiment.trial import Trial
from ctune.result import (
    AUTO_RESULT_KEYS,
    CONFIG,
    DONE,
    EXPERIMENT_TAG,
    EXPR_PROGRESS_FILE,
    EXPR_RESULT_FILE,
    SHOULD_CHECKPOINT,
    TRIAL_ID,
)
from ctune.utils.util import is_nan, unflattened_lookup

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Result"]

_NOT_SHOWN = frozenset((*AUTO_RESULT_KEYS, DONE, EXPERIMENT_TAG, SHOULD_CHECKPOINT, TRIAL_ID))


class Result:
    """How a trial ended.

    Args:
        metrics: The last result, nested as it was reported.
        checkpoint: The newest checkpoint.
        error: The exception that ended the trial; if that could not be kept, a TuneError
            with the text of error.txt. None for a trial that ended well.
        path: The trial's directory.
        metrics_dataframe: All results, one row each; or a function that reads them.
        best_checkpoints: Pairs of checkpoint and the result it belongs to; the best one last
            if they are kept by a score, else the newest.
    """

    def __init__(
        self,
        metrics: dict[str, Any] | None,
        checkpoint: Checkpoint | None,
        error: BaseException | None,
        path: str | None = None,
        metrics_dataframe: pd.DataFrame | Callable[[], pd.DataFrame | None] | None = None,
        best_checkpoints: list[tuple[Checkpoint, dict[str, Any]]] | None = None,
        _storage_filesystem: Any = None,
    ) -> None:
        self.metrics = metrics
        self.checkpoint = checkpoint
        self.error = error
        self.path = path
        self.best_checkpoints = best_checkpoints
        self._frame = metrics_dataframe
        self._storage_filesystem = _storage_filesystem

    @property
    def metrics_dataframe(self) -> pd.DataFrame | None:
        """All results, one row each; nested keys are joined by "/". They are read when they
        are first asked for. Needs pandas."""
        if callable(self._frame):
            self._frame = self._frame()
        return self._frame

    @property
    def config(self) -> dict[str, Any] | None:
        """The trial's configuration; None without a result."""
        return self.metrics.get(CONFIG) if self.metrics else None

    @property
    def filesystem(self) -> Any:
        """The file system of `path` as pyarrow knows it. Needs pyarrow."""
        return self._storage_filesystem or local_filesystem("Result.filesystem")

    def get_best_checkpoint(self, metric: str, mode: str) -> Checkpoint | None:
        """Returns the checkpoint whose result is best; None if all values are NaN.

        Args:
            metric: Result key; nested ones as "a/b".
            mode: "max" or "min".

        Raises:
            RuntimeError: There is no checkpoint, or none with that metric.
            ValueError: `mode` is something else.
        """
        if not self.best_checkpoints:
            raise RuntimeError(f"There are no checkpoints in {self.path}.")
        if mode not in ("max", "min"):
            raise ValueError(f'mode: must be "max" or "min", got {mode!r}.')
        missing = object()
        found = [
            (unflattened_lookup(metric, metrics, default=missing), checkpoint)
            for checkpoint, metrics in self.best_checkpoints
        ]
        valued = [pair for pair in found if pair[0] is not missing]
        if not valued:
            known = ", ".join(sorted(map(str, self.metrics or ())))
            raise RuntimeError(
                f"metric: no checkpoint has a result with {metric!r}. The trial has: {known}."
            )
        numbers = [pair for pair in valued if not is_nan(pair[0])]
        if not numbers:
            return None
        best = max if mode == "max" else min
        return best(numbers, key=lambda pair: pair[0])[1]

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> Result:
        """Returns the result of a trial from its directory.

        Its checkpoints are in order of age: which of them is best is not known here.

        Args:
            path: The trial's directory: a local path or a URI.
            storage_filesystem: A `pyarrow.fs.FileSystem`; `path` is a bare path on it then.

        Raises:
            RuntimeError: There is no such directory, or neither result.json nor
                progress.csv in it.
            OSError, ValueError, TypeError: A file cannot be read, or the path names none.
        """
        filesystem, folder = locate("path", os.fspath(path), storage_filesystem)
        storage = StorageContext.of_trial_dir(folder, filesystem)
        reader: Files = LOCAL if filesystem is None else ArrowFiles(filesystem, folder)
        storage._readers.append(reader)
        if not reader.is_dir(folder):
            raise RuntimeError(f"path: there is no directory {describe(filesystem, folder)}.")
        stored = of_folder(folder, strict=True, files=reader)
        files = (EXPR_RESULT_FILE, EXPR_PROGRESS_FILE)
        if stored is None or not any(reader.exists(os.path.join(folder, f)) for f in files):
            raise RuntimeError(
                f"path: {folder} has neither {EXPR_RESULT_FILE} nor {EXPR_PROGRESS_FILE}; "
                "it must be the directory of a trial that reported."
            )
        trial = Trial._of_stored(stored, experiment=storage)
        result = cls.of_trial(trial, lambda: table_of(folder, reader))
        # A trial that goes on after a failure ended with none, but its last error is there.
        raised = trial.get_pickled_error()
        result.error = result.error if raised is None else raised
        return result

    @classmethod
    def of_trial(cls, trial: Trial, frame: Callable[[], pd.DataFrame | None]) -> Result:
        """Returns the result of a trial whose table `frame` reads."""
        metrics = dict(trial.last_result)
        if metrics:
            metrics.setdefault(CONFIG, trial.config)
        storage = trial.storage
        error: BaseException | None = None
        if trial.status != Trial.TERMINATED:
            error, text = trial.get_pickled_error(), trial.get_error()
            if error is None and text is not None:
                error = TuneError(text)
        if error is None and trial.status == Trial.ERROR:
            error = TuneError(f"Trial {trial} failed, and no file says why.")
        return cls(
            metrics=metrics,
            checkpoint=trial.checkpoint,
            error=error,
            path=trial.path,
            metrics_dataframe=frame,
            best_checkpoints=[
                (trial._checkpoint_at(path), metrics)
                for path, metrics, _ in trial._best_checkpoints()
            ],
            _storage_filesystem=None if storage is None else storage.remote_filesystem,
        )

    def __getstate__(self) -> dict[str, Any]:
        # What reads the table belongs to this process.
        return {**self.__dict__, "_frame": self.metrics_dataframe}

    def _repr(self, indent: int = 0) -> str:
        shown: dict[str, Any] = {}
        if self.error is not None:
            shown["error"] = type(self.error).__name__
        metrics = self.metrics
        if metrics:
            metrics = {k: v for k, v in metrics.items() if k not in _NOT_SHOWN}
        shown["metrics"] = metrics
        shown["path"] = self.path
        shown["filesystem"] = getattr(self._storage_filesystem, "type_name", "local")
        shown["checkpoint"] = self.checkpoint
        inner = ",\n".join(f"{' ' * (indent + 2)}{key}={value!r}" for key, value in shown.items())
        return f"{' ' * indent}{type(self).__name__}(\n{inner}\n{' ' * indent})"

    def __repr__(self) -> str:
        return self._repr()
