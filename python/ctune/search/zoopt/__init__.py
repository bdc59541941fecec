"""Search with ZOOpt."""

from ctune.search.zoopt.zoopt_search import ZOOptSearch

__all__ = ["ZOOptSearch"]
