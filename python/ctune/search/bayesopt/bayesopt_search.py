"""Search with the library bayesian-optimization."""

from ctune.search._missing import MissingWrapper

__all__ = ["BayesOptSearch"]


class BayesOptSearch(MissingWrapper):
    """Not part of this version: making one raises NotImplementedError."""
