"""The callbacks that a run has by default."""

from ctune.logger import CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback

__all__ = ["DEFAULT_CALLBACK_CLASSES"]

DEFAULT_CALLBACK_CLASSES = (CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback)
