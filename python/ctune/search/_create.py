"""Search algorithms by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from ctune.search.basic_variant import BasicVariantGenerator


def _optuna() -> Any:
    from ctune.search.optuna import OptunaSearch

    return OptunaSearch


# Name -> what returns its class. Modules of wrappers are loaded when they are asked for.
SEARCH_ALG_IMPORT: dict[str, Callable[[], Any]] = {
    "variant_generator": lambda: BasicVariantGenerator,
    "random": lambda: BasicVariantGenerator,
    "optuna": _optuna,
}

# Names of the documented interface whose algorithms are not here.
_LATER = (
    "ax",
    "bayesopt",
    "bohb",
    "hebo",
    "hyperopt",
    "nevergrad",
    "zoopt",
)


def create_searcher(search_alg: str, **kwargs: Any) -> Any:
    """Makes a search algorithm from its name.

    Args:
        search_alg: "random" (or "variant_generator") or "optuna"; case does not matter.
        **kwargs: For its constructor. Names that it does not know are dropped.

    Raises:
        TypeError: It is no text.
        ValueError: There is no such name. The message lists those there are.
        NotImplementedError: The algorithm is documented, but not part of this version.
    """
    if not isinstance(search_alg, str):
        raise TypeError(f"search_alg: must be a name, got {search_alg!r:.80}.")
    name = search_alg.lower()
    if name in _LATER:
        raise NotImplementedError(
            f"search_alg: {search_alg!r} is not part of this version; wrap the library in "
            "a Searcher, or use one of: " + ", ".join(sorted(SEARCH_ALG_IMPORT)) + "."
        )
    if name not in SEARCH_ALG_IMPORT:
        known = sorted((*SEARCH_ALG_IMPORT, *_LATER))
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"search_alg: {search_alg!r} is unknown; names are {', '.join(known)}.{hint}"
        )
    cls = SEARCH_ALG_IMPORT[name]()
    accepted = inspect.signature(cls).parameters
    return cls(**{k: v for k, v in kwargs.items() if k in accepted})
