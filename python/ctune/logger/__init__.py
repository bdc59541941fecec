"""Callbacks that write results down."""

from ctune.logger.csv import CSVLoggerCallback
from ctune.logger.json import JsonLoggerCallback
from ctune.logger.logger import LoggerCallback, pretty_print
from ctune.logger.tensorboardx import TBXLoggerCallback

__all__ = [
    "CSVLoggerCallback",
    "JsonLoggerCallback",
    "LoggerCallback",
    "TBXLoggerCallback",
    "pretty_print",
]
