"""Search with Ax."""

from ctune.search.ax.ax_search import AxSearch

__all__ = ["AxSearch"]
