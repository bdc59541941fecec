"""What a worker knows before its first command: what it trains, and what trials get besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctune.trainable.trainable import Trainable

__all__ = ["Care", "Work"]


@dataclass(frozen=True)
class Care:
    """What the trials of an experiment get beside what commands say.

    Attributes:
        log_files: Names of the files for what they print to stdout and stderr.
        export_formats: What they export at their end.
        restore: Checkpoint from which those start that have none of their own.
    """

    log_files: tuple[str | None, str | None] = (None, None)
    export_formats: tuple[str, ...] = ()
    restore: str | None = None


@dataclass(frozen=True)
class Work:
    """What is trained, and how its trials are cared for.

    Attributes:
        trainable: A class; name -> class if there are several.
        care: Name of an experiment -> what its trials get.
    """

    trainable: type[Trainable] | dict[str, type[Trainable]]
    care: Mapping[str, Care] = field(default_factory=dict)

    @property
    def logs(self) -> bool:
        """Whether some trial's output goes to files."""
        return any(one.log_files != (None, None) for one in self.care.values())
