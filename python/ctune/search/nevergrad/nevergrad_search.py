"""Search with Nevergrad."""

from ctune.search._missing import MissingWrapper

__all__ = ["NevergradSearch"]


class NevergradSearch(MissingWrapper):
    """Not part of this version: making one raises NotImplementedError."""
