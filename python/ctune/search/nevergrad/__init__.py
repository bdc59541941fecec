"""Search with Nevergrad."""

from ctune.search.nevergrad.nevergrad_search import NevergradSearch

__all__ = ["NevergradSearch"]
