"""What stands for wrappers that are documented, but not part of this version."""

from __future__ import annotations

from typing import Any

from ctune.search._searcher import Searcher

__all__ = ["MissingWrapper"]


class MissingWrapper(Searcher):
    """Can be imported and named, but not made.

    Raises:
        NotImplementedError: Always. The message says what to use.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f"{type(self).__name__} is not part of this version. Use OptunaSearch or "
            "HyperOptSearch, or wrap the library in a Searcher of your own."
        )
