"""The configurations of a search space, one after the other."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ctune import _ctune
from ctune.search._view import RecursiveDependencyError, _SpecView
from ctune.search.sample import Categorical, Domain, Function, _stream

__all__ = [
    "RecursiveDependencyError",
    "assign_value",
    "format_vars",
    "generate_variants",
    "grid_search",
    "parse_spec_vars",
]

logger = logging.getLogger(__name__)

_Path = tuple[Any, ...]


def generate_variants(
    unresolved_spec: dict[str, Any],
    constant_grid_search: bool = False,
    random_state: Any = None,
) -> Iterator[tuple[dict[_Path, Any], dict[str, Any]]]:
    """Goes through the variants of one sample of a spec.

    Domains are drawn in walk order, anew for each point of the grid; the first grid
    variable, by path, varies fastest. Functions (`sample_from`, `{"eval": text}`) are given
    the spec as far as it is resolved, as a dict whose entries are attributes too.

    Args:
        unresolved_spec: Nested dicts, lists and tuples with domains, grids and functions.
        constant_grid_search: Draw once for all points of the grid.
        random_state: A seed, a `numpy.random.Generator` or `RandomState`. Default: the
            global stream of NumPy.

    Yields:
        `(resolved, spec)`: the value of each variable by its path, and the whole spec.

    Raises:
        RecursiveDependencyError: Parameters depend on each other in a circle.
        ValueError: A bound is out of range, a grid is empty, a function failed. The
            message names the path.
    """
    yield from _ctune.Variants(unresolved_spec, bool(constant_grid_search), random_state)


def grid_search(values: Iterable[Any]) -> dict[str, Any]:
    """Every one of the values is tried.

    Args:
        values: They may be search spaces themselves.
    """
    return {"grid_search": values}


def format_vars(resolved_vars: Mapping[_Path, Any]) -> str:
    """Formats variables for experiment tags, such as "lr=0.1000,layers=2".

    Args:
        resolved_vars: Value by path.
    """
    shown = sorted((p, v) for p, v in _sortable(resolved_vars) if p not in _NOT_SHOWN)
    return ",".join(f"{_clean(p[-1])}={_clean(v)}" for p, v in shown)


def parse_spec_vars(
    spec: Any,
) -> tuple[list[tuple[_Path, Any]], list[tuple[_Path, Domain]], list[tuple[_Path, Categorical]]]:
    """Finds what is constant, drawn and gone through in a spec.

    Args:
        spec: Nested dicts, lists and tuples.

    Returns:
        Constants and domains in walk order, and grids sorted by path; each with its path.
    """
    resolved: list[tuple[_Path, Any]] = []
    domains: list[tuple[_Path, Domain]] = []
    grids: list[tuple[_Path, Categorical]] = []
    for path, value in _leaves(spec, ()):
        if not isinstance(value, Domain):
            resolved.append((path, value))
        elif isinstance(value, Categorical) and value.is_grid():
            grids.append((path, value))
        else:
            domains.append((path, value))
    return resolved, domains, sorted(grids, key=lambda found: found[0])


def assign_value(spec: Any, path: _Path, value: Any) -> None:
    """Sets the value at a path. Tuples on the way are replaced by changed copies.

    Raises:
        KeyError, IndexError: There is no such path.
        ValueError: A tuple at the top of the spec would have to change.
    """
    if isinstance(spec, tuple):
        raise ValueError("spec: a tuple at the top cannot be changed; use a list or dict.")
    key = path[0]
    if len(path) == 1:
        spec[key] = value
    elif isinstance(spec[key], tuple):
        items = list(spec[key])
        assign_value(items, path[1:], value)
        spec[key] = tuple(items)
    else:
        assign_value(spec[key], path[1:], value)


# --- helpers -------------------------------------------------------------------------

_NOT_SHOWN = (("run",), ("env",), ("resources_per_trial",))


def _sortable(resolved_vars: Mapping[_Path, Any]) -> list[tuple[_Path, Any]]:
    return sorted(resolved_vars.items(), key=lambda item: item[0])


def _clean(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return re.sub("[^A-Za-z0-9_-]+", "_", str(value)).strip("_")


def _variable(value: Any) -> Any:
    """The domain that a value stands for; the value itself if it is none."""
    if isinstance(value, dict) and len(value) == 1:
        if "grid_search" in value:
            return Categorical(value["grid_search"]).grid()
        if "eval" in value:
            return _eval_domain(value["eval"])
    return value


def _leaves(spec: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
    spec = _variable(spec)
    if isinstance(spec, dict):
        for key, value in spec.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(spec, (list, tuple)):
        for i, value in enumerate(spec):
            yield from _leaves(value, (*path, i))
    else:
        yield path, spec


def _eval_domain(text: Any) -> Function:
    """The domain of `{"eval": text}`."""

    def evaluate(spec: Any) -> Any:
        import random

        import numpy as np

        # The documented meaning of the entry: Python code of the user's own config.
        return eval(text, {"random": random, "np": np, "spec": spec})

    return Function(evaluate)


def _call_function(
    what: tuple[Domain, str, bool], view: Any, config_only: bool, stream: Any
) -> Any:
    """Called by the engine: the value of a domain that Python code samples.

    Args:
        what: Domain, its path, and whether it expects a spec.
        view: The spec so far, or only the config.
        config_only: Which of the two.
        stream: What to draw from.
    """
    domain, path, eager = what
    if config_only and eager:
        view = _SpecView({"config": view})
    try:
        sampler = domain.get_sampler()
        if not domain.is_function():
            stream = _stream(stream)
        return sampler.sample(domain, config=view, random_state=stream)
    except RecursiveDependencyError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path}: {_function_name(domain)} failed with {type(error).__name__}: {error}"
        ) from error


def _function_name(domain: Domain) -> str:
    function = getattr(domain, "func", None)
    if function is None:
        return f"sampling {domain.domain_str}"
    return f"its function {getattr(function, '__name__', repr(function))}()"


def _warn(text: str) -> None:
    logger.warning("%s", text)


def _path_text(path: Sequence[Any]) -> str:
    return "/".join(map(str, path))


def _tag_label(path: Sequence[Any], value: Any) -> str:
    """How an object appears in experiment tags: short, and the same in each run."""
    if isinstance(value, (int, float, str)):
        return _clean(value)
    import hashlib

    digest = hashlib.sha1(str(tuple(path)).encode(), usedforsecurity=False).hexdigest()
    return f"('__ref_ph', '{digest[:8]}')"
