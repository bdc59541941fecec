"""The loggers of progress.csv."""

from __future__ import annotations

import csv
import os
from typing import Any, TextIO

from ctune.logger.logger import Logger, LoggerCallback, deprecated
from ctune.result import CONFIG, EXPR_PROGRESS_FILE
from ctune.utils.util import flatten_dict

__all__ = ["CSVLogger", "CSVLoggerCallback"]


class CSVLoggerCallback(LoggerCallback):
    """Writes each trial's `progress.csv`: a row per result, columns of the first one.

    It is on by default. The engine writes the file itself; the methods of a subclass
    are called in addition.
    """


class CSVLogger(Logger):
    """Writes one trial's `progress.csv`; for `LegacyLoggerCallback`. Deprecated.

    Args:
        config: The trial's config.
        logdir: The trial's directory.
        trial: The trial.
    """

    _file: TextIO | None = None
    _rows: csv.DictWriter[str] | None = None

    def _init(self) -> None:
        deprecated(self, "CSVLoggerCallback")

    def on_result(self, result: dict[str, Any]) -> None:
        """Writes a row; keys that the first result lacked are dropped."""
        row = flatten_dict({k: v for k, v in result.items() if k != CONFIG}, delimiter="/")
        if self._file is None:
            path = os.path.join(self.logdir, EXPR_PROGRESS_FILE)
            self._file = open(path, "a", newline="", encoding="utf-8")
        if self._rows is None:
            self._rows = csv.DictWriter(self._file, list(row), extrasaction="ignore")
            if self._file.tell() == 0:
                self._rows.writeheader()
        self._rows.writerow(row)
        self._file.flush()

    def flush(self) -> None:
        """Nothing to do: each row is written at once."""

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
