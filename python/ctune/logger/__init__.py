"""Callbacks that write results down."""

from ctune.logger.csv import CSVLoggerCallback
from ctune.logger.json import JsonLoggerCallback
from ctune.logger.logger import LoggerCallback, pretty_print

__all__ = [
    "CSVLoggerCallback",
    "JsonLoggerCallback",
    "LoggerCallback",
    "pretty_print",
]
