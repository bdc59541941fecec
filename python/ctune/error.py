"""Exceptions that tuning itself raises."""

from __future__ import annotations

__all__ = ["TuneError"]


class TuneError(Exception):
    """A run could not be carried out, or some of its trials failed.

    Errors in the arguments of a call are `ValueError` or `TypeError`; this is for what
    goes wrong later, or for names that were never registered.
    """
