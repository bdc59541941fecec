"""Search with ZOOpt."""

from ctune.search._missing import MissingWrapper

__all__ = ["ZOOptSearch"]


class ZOOptSearch(MissingWrapper):
    """Not part of this version: making one raises NotImplementedError."""
