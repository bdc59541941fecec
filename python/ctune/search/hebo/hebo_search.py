"""Search with HEBO."""

from ctune.search._missing import MissingWrapper

__all__ = ["HEBOSearch"]


class HEBOSearch(MissingWrapper):
    """Not part of this version: making one raises NotImplementedError."""
