"""The logger of progress.csv."""

from __future__ import annotations

from ctune.logger.logger import LoggerCallback

__all__ = ["CSVLoggerCallback"]


class CSVLoggerCallback(LoggerCallback):
    """Writes each trial's `progress.csv`: a row per result, columns of the first one.

    It is on by default. The engine writes the file itself; the methods of a subclass
    are called in addition.
    """
