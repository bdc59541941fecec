"""An older logger that does nothing."""

from __future__ import annotations

from typing import Any

from ctune.logger.logger import Logger

__all__ = ["NoopLogger"]


class NoopLogger(Logger):
    """Writes nothing."""

    def on_result(self, result: dict[str, Any]) -> None:
        """Does nothing."""
