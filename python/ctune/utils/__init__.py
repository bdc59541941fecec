"""Helpers for users and for the package itself."""

from ctune.utils.util import (
    date_str,
    deep_update,
    flatten_dict,
    merge_dicts,
    unflattened_lookup,
    validate_save_restore,
    warn_if_slow,
)

__all__ = [
    "date_str",
    "deep_update",
    "flatten_dict",
    "merge_dicts",
    "unflattened_lookup",
    "validate_save_restore",
    "warn_if_slow",
]
