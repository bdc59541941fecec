"""Search with HEBO."""

from ctune.search.hebo.hebo_search import HEBOSearch

__all__ = ["HEBOSearch"]
