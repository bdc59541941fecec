"""Messages that several searchers share, and the call that passes a run's settings on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

UNRESOLVED_SEARCH_SPACE = (
    "{par}: holds search domains such as `uniform` or `choice`. They were converted to "
    "what {cls} understands; to silence this, give them to the run as its `config`, or "
    "convert them yourself."
)
UNDEFINED_SEARCH_SPACE = (
    "{space}: {cls} has no search space. Give it to {cls} itself as `{space}`, or to the "
    "run as `config`."
)
UNDEFINED_METRIC_MODE = (
    "{cls}: needs `metric` and `mode`, got metric={metric!r} and mode={mode!r}. Give them "
    "to {cls} itself or to the run."
)


def set_search_properties(
    call: Callable[..., Any],
    metric: str | None,
    mode: str | None,
    config: dict[str, Any],
    **spec: Any,
) -> bool:
    """Calls a searcher's set_search_properties, also one written without `**spec`."""
    try:
        return bool(call(metric, mode, config, **spec))
    except TypeError as error:
        if "set_search_properties() got an unexpected keyword argument" not in str(error):
            raise
        logger.warning(
            "%s takes only metric, mode and config; add `**spec` to its parameters.",
            getattr(call, "__qualname__", "set_search_properties()"),
        )
        return bool(call(metric, mode, config))
