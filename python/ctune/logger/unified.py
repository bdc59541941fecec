"""An older logger that stands for several."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ctune.logger.csv import CSVLogger
from ctune.logger.json import JsonLogger
from ctune.logger.logger import Logger, deprecated
from ctune.logger.tensorboardx import TBXLogger

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial

__all__ = ["DEFAULT_LOGGERS", "UnifiedLogger"]

logger = logging.getLogger("ctune")

DEFAULT_LOGGERS = (JsonLogger, CSVLogger, TBXLogger)


class UnifiedLogger(Logger):
    """Hands one trial's results to several older loggers. Deprecated.

    Args:
        config: The trial's config.
        logdir: The trial's directory.
        trial: The trial.
        loggers: Subclasses of `Logger`; default `JsonLogger`, `CSVLogger` and `TBXLogger`.
            One that cannot be made is left out, with a warning.
    """

    def __init__(
        self,
        config: dict[str, Any],
        logdir: str,
        trial: Trial | None = None,
        loggers: Iterable[type[Logger]] | None = None,
    ) -> None:
        kinds = DEFAULT_LOGGERS if loggers is None else loggers
        self._kinds = list(kinds)
        self._loggers: list[Logger] = []
        super().__init__(config, logdir, trial)

    def _init(self) -> None:
        deprecated(self, "the logger callbacks")
        for kind in self._kinds:
            try:
                self._loggers.append(kind(self.config, self.logdir, self.trial))
            except Exception as error:
                logger.warning("%s is left out: %s.", kind.__name__, error)

    def on_result(self, result: dict[str, Any]) -> None:
        """Hands the result on."""
        for each in self._loggers:
            each.on_result(result)

    def update_config(self, config: dict[str, Any]) -> None:
        """Hands the config on."""
        for each in self._loggers:
            each.update_config(config)

    def flush(self) -> None:
        """Flushes all."""
        for each in self._loggers:
            each.flush()

    def close(self) -> None:
        """Closes all."""
        for each in self._loggers:
            each.close()
