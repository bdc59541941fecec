"""Callbacks that write results down, and the older classes that do it trial by trial."""

from ctune.logger.csv import CSVLogger, CSVLoggerCallback
from ctune.logger.json import JsonLogger, JsonLoggerCallback
from ctune.logger.logger import LegacyLoggerCallback, Logger, LoggerCallback, pretty_print
from ctune.logger.noop import NoopLogger
from ctune.logger.tensorboardx import TBXLogger, TBXLoggerCallback
from ctune.logger.unified import DEFAULT_LOGGERS as DEFAULT_LOGGERS
from ctune.logger.unified import UnifiedLogger

__all__ = [
    "CSVLogger",
    "CSVLoggerCallback",
    "JsonLogger",
    "JsonLoggerCallback",
    "LegacyLoggerCallback",
    "Logger",
    "LoggerCallback",
    "NoopLogger",
    "TBXLogger",
    "TBXLoggerCallback",
    "UnifiedLogger",
    "pretty_print",
]
