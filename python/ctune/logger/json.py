"""The logger of result.json and params.json."""

from __future__ import annotations

from ctune.logger.logger import LoggerCallback

__all__ = ["JsonLoggerCallback"]


class JsonLoggerCallback(LoggerCallback):
    """Writes each trial's `result.json`, one line per result, and `params.json`.

    It is on by default. The engine writes the files itself; the methods of a subclass
    are called in addition.
    """
