"""Search with BOHB."""

from typing import Any

from ctune.search._missing import MissingWrapper

__all__ = ["BOHB", "TuneBOHB"]

BOHB: Any = None  # the optimiser of the library hpbandster, for those who import it from here


class TuneBOHB(MissingWrapper):
    """Not part of this version: making one raises NotImplementedError."""
