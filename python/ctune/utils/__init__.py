"""Helpers for users and for the package itself."""

from typing import Any

from ctune.utils import util
from ctune.utils.util import (
    date_str,
    deep_update,
    diagnose_serialization,
    flatten_dict,
    merge_dicts,
    unflattened_lookup,
    validate_save_restore,
    warn_if_slow,
)
from ctune.utils.util import detect_config_single as _detect_config_single

__all__ = [
    "UtilMonitor",  # noqa: F822
    "_detect_config_single",
    "date_str",
    "deep_update",
    "diagnose_serialization",
    "flatten_dict",
    "merge_dicts",
    "unflattened_lookup",
    "validate_save_restore",
    "wait_for_gpu",  # noqa: F822
    "warn_if_slow",
]


def __getattr__(name: str) -> Any:
    if name in ("UtilMonitor", "wait_for_gpu"):
        return getattr(util, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
