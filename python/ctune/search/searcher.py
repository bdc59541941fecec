"""The interface of algorithms that suggest configurations."""

from ctune.search._searcher import Searcher
from ctune.search.concurrency_limiter import ConcurrencyLimiter

__all__ = ["ConcurrencyLimiter", "Searcher"]
