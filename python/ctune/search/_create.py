"""Search algorithms by name."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from ctune._encode import brief
from ctune.search.basic_variant import BasicVariantGenerator


def _later(name: str, cls: str) -> Callable[[], Any]:
    """Returns a function that loads the module of a wrapper and returns its class."""
    return lambda: getattr(importlib.import_module(f"ctune.search.{name}"), cls)


# Name -> what returns its class.
SEARCH_ALG_IMPORT: dict[str, Callable[[], Any]] = {
    "variant_generator": lambda: BasicVariantGenerator,
    "random": lambda: BasicVariantGenerator,
    "ax": _later("ax", "AxSearch"),
    "bayesopt": _later("bayesopt", "BayesOptSearch"),
    "bohb": _later("bohb", "TuneBOHB"),
    "hebo": _later("hebo", "HEBOSearch"),
    "hyperopt": _later("hyperopt", "HyperOptSearch"),
    "nevergrad": _later("nevergrad", "NevergradSearch"),
    "optuna": _later("optuna", "OptunaSearch"),
    "zoopt": _later("zoopt", "ZOOptSearch"),
}


def create_searcher(search_alg: str, **kwargs: Any) -> Any:
    """Makes a search algorithm from its name.

    Args:
        search_alg: "random" (or "variant_generator"), "optuna", "hyperopt" or another key of
            SEARCH_ALG_IMPORT; case does not matter.
        **kwargs: For its constructor. Names that it does not know are dropped.

    Raises:
        TypeError: It is no text.
        ValueError: There is no such name. The message lists those there are.
        NotImplementedError: The algorithm is documented, but not part of this version.
        AssertionError: The library that it wraps is missing; the message says how to install it.
    """
    if not isinstance(search_alg, str):
        raise TypeError(f"search_alg: must be a name, got {brief(search_alg)}.")
    name = search_alg.lower()
    if name not in SEARCH_ALG_IMPORT:
        known = sorted(SEARCH_ALG_IMPORT)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"search_alg: {search_alg!r} is unknown; names are {', '.join(known)}.{hint}"
        )
    cls = SEARCH_ALG_IMPORT[name]()
    accepted = inspect.signature(cls).parameters
    return cls(**{k: v for k, v in kwargs.items() if k in accepted})
