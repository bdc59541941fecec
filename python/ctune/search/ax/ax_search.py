"""Search with Ax."""

from ctune.search._missing import MissingWrapper

__all__ = ["AxSearch"]


class AxSearch(MissingWrapper):
    """Not part of this version: making one raises NotImplementedError."""
