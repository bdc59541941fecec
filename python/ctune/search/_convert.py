"""What wrappers of search libraries share: reading a search space, checking arguments."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from typing import Any

from ctune.search.sample import Domain, Quantized, Sampler
from ctune.search.variant_generator import parse_spec_vars

__all__ = [
    "check_mode",
    "domains_of",
    "library",
    "parsed",
    "restore_attributes",
    "save_attributes",
    "unsupported",
]

logger = logging.getLogger("ctune")


def library(module: str, wrapper: str, package: str | None = None) -> Any:
    """Returns a search library.

    Raises:
        AssertionError: It is missing; the message has the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise AssertionError(
            f"{wrapper} needs {module}: pip install {package or module}"
        ) from error


def check_mode(mode: Any) -> None:
    """Raises AssertionError unless the mode is "min", "max" or not given."""
    if mode and mode not in ("min", "max"):
        raise AssertionError(f'mode: must be "min" or "max", got {mode!r}.')


def parsed(config: dict[str, Any], prefix: str = "") -> list[tuple[tuple[Any, ...], Domain]]:
    """Returns path and domain of all that is to be searched.

    Args:
        config: The search space.
        prefix: What paths in messages begin with.

    Raises:
        ValueError: There is a grid.
    """
    _, domains, grids = parse_spec_vars(config)
    if grids:
        path = "/".join(map(str, (*([prefix] if prefix else []), *grids[0][0])))
        raise ValueError(
            f"{path}: is a grid, which a search library cannot go through. Use choice([...])."
        )
    return domains


def domains_of(config: dict[str, Any]) -> Iterator[tuple[str, Domain, Sampler, float | None]]:
    """Yields path, domain, sampler and quantum (None: none) of all that is to be searched.

    Deeper ones come later, which decides what a library draws for each from the same seed.

    Raises:
        ValueError: There is a grid, or a key contains "/".
    """
    domains = parsed(config)
    domains.sort(key=lambda found: sum(isinstance(part, str) for part in found[0]))
    for parts, domain in domains:
        for part in parts:
            if "/" in str(part):
                raise ValueError(
                    f"{part}: a key of the search space must not contain '/', which joins nested "
                    "keys."
                )
        sampler = domain.get_sampler()
        q = None
        if isinstance(sampler, Quantized):
            q, sampler = sampler.q, sampler.get_sampler()
        yield "/".join(map(str, parts)), domain, sampler, q


def unsupported(wrapper: str, path: str, domain: Domain, sampler: Sampler) -> ValueError:
    """Returns the error for a domain that a library does not have."""
    return ValueError(
        f"{path}: {wrapper} cannot search a {type(domain).__name__} with the sampler "
        f"{type(sampler).__name__}. Use another domain."
    )


def save_attributes(searcher: Any, path: str) -> None:
    """Writes all attributes of a searcher to a file."""
    import cloudpickle

    with open(path, "wb") as file:
        cloudpickle.dump(vars(searcher), file)


def restore_attributes(searcher: Any, path: str) -> None:
    """Takes back what `save_attributes` wrote. Unpickles: only for one's own files."""
    import pickle

    with open(path, "rb") as file:
        vars(searcher).update(pickle.load(file))
