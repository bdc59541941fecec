"""Search with BOHB."""

from ctune.search.bohb.bohb_search import BOHB, TuneBOHB

__all__ = ["BOHB", "TuneBOHB"]
