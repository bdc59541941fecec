"""Search: which configurations are tried."""

from ctune.search._create import SEARCH_ALG_IMPORT, create_searcher
from ctune.search._searcher import Searcher
from ctune.search._texts import (
    UNDEFINED_METRIC_MODE,
    UNDEFINED_SEARCH_SPACE,
    UNRESOLVED_SEARCH_SPACE,
)
from ctune.search.basic_variant import BasicVariantGenerator
from ctune.search.concurrency_limiter import ConcurrencyLimiter
from ctune.search.repeater import Repeater
from ctune.search.search_algorithm import SearchAlgorithm
from ctune.search.search_generator import SearchGenerator
from ctune.search.variant_generator import grid_search

__all__ = [
    "SEARCH_ALG_IMPORT",
    "UNDEFINED_METRIC_MODE",
    "UNDEFINED_SEARCH_SPACE",
    "UNRESOLVED_SEARCH_SPACE",
    "BasicVariantGenerator",
    "ConcurrencyLimiter",
    "Repeater",
    "SearchAlgorithm",
    "SearchGenerator",
    "Searcher",
    "create_searcher",
    "grid_search",
]
