"""The loggers of result.json, params.json and params.pkl."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, TextIO

from ctune._encode import SafeFallbackEncoder, dumps
from ctune.logger.logger import Logger, LoggerCallback, deprecated
from ctune.logger.tensorboardx import VALID_SUMMARY_TYPES
from ctune.result import EXPR_PARAM_FILE, EXPR_PARAM_PICKLE_FILE, EXPR_RESULT_FILE

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial

__all__ = ["VALID_SUMMARY_TYPES", "JsonLogger", "JsonLoggerCallback"]


class JsonLoggerCallback(LoggerCallback):
    """Writes each trial's `result.json`, one line per result, and `params.json`.

    It is on by default. The engine writes the files itself; the methods of a subclass
    are called in addition.
    """

    def update_config(self, trial: Trial, config: dict[str, Any]) -> None:
        """Writes a trial's params.json and params.pkl anew, with another config."""
        _write_config(str(trial.local_path), config)


class JsonLogger(Logger):
    """Writes one trial's `result.json`, `params.json` and `params.pkl`. Deprecated.

    For `LegacyLoggerCallback`.

    Args:
        config: The trial's config.
        logdir: The trial's directory.
        trial: The trial.
    """

    local_out: TextIO

    def _init(self) -> None:
        deprecated(self, "JsonLoggerCallback")
        self.update_config(self.config)
        path = os.path.join(self.logdir, EXPR_RESULT_FILE)
        self.local_out = open(path, "a", encoding="utf-8")

    def on_result(self, result: dict[str, Any]) -> None:
        """Writes a line."""
        self.write(json.dumps(result, cls=SafeFallbackEncoder) + "\n")
        self.local_out.flush()

    def write(self, b: str) -> None:
        """Writes text to result.json."""
        self.local_out.write(b)

    def update_config(self, config: dict[str, Any]) -> None:
        """Writes params.json and params.pkl anew."""
        self.config = config
        _write_config(self.logdir, config)

    def close(self) -> None:
        """Closes result.json."""
        self.local_out.close()


def _write_config(folder: str, config: dict[str, Any]) -> None:
    with open(os.path.join(folder, EXPR_PARAM_FILE), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2, sort_keys=True, cls=SafeFallbackEncoder)
    with open(os.path.join(folder, EXPR_PARAM_PICKLE_FILE), "wb") as file:
        file.write(dumps(config))
