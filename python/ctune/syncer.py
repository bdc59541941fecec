"""How results reach remote storage."""

from ctune._config import SyncConfig

__all__ = ["SyncConfig"]
