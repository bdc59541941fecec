"""Reads the files of one trial, whoever wrote them."""

from __future__ import annotations

import csv
import json
import os
import pickle
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ctune._checkpoint import Checkpoint
from ctune.error import TuneError
from ctune.result import CONFIG, CONFIG_PREFIX, EXPR_PROGRESS_FILE, EXPR_RESULT_FILE
from ctune.utils.util import flatten_dict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_checkpoints", "read_error", "read_results", "table"]


def read_results(directory: str) -> list[dict[str, Any]] | None:
    """Returns all results of a trial, from result.json, else from progress.csv.

    A last line that was cut short, by a crash, is left out.

    Returns:
        None if there is neither file.

    Raises:
        ValueError: A line is damaged; the message names file and line.
        OSError: A file cannot be read.
    """
    path = os.path.join(directory, EXPR_RESULT_FILE)
    if os.path.exists(path):
        return _read_json(path)
    path = os.path.join(directory, EXPR_PROGRESS_FILE)
    if os.path.exists(path):
        with open(path, encoding="utf-8", newline="") as file:
            return [
                {key: _number(text) for key, text in row.items() if text != ""}
                for row in csv.DictReader(file)
            ]
    return None


def _read_json(path: str) -> list[dict[str, Any]]:
    results = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                result = json.loads(line)
            except ValueError as error:
                if not line.endswith(b"\n"):
                    break
                raise ValueError(f"{path}: line {number} is damaged: {error}.") from None
            if not isinstance(result, dict):
                raise ValueError(f"{path}: line {number} is no result: {line[:60]!r}.")
            results.append(result)
    return results


def _number(text: Any) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except (TypeError, ValueError):
            continue
    return {"True": True, "False": False}.get(text, text)


def table(results: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Returns results as rows, flattened, configs below "config/". Needs pandas."""
    rows = []
    for result in results:
        row = dict(result)
        config = row.pop(CONFIG, None)
        flat = flatten_dict(row)
        if isinstance(config, dict):
            flat.update(flat_config(config))
        rows.append(flat)
    frame: pd.DataFrame = pandas().DataFrame(rows)
    return frame


def flat_config(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a configuration flattened, with "config/" before each key."""
    return {f"{CONFIG_PREFIX}/{key}": value for key, value in flatten_dict(config).items()}


def pandas() -> Any:
    """Returns the module.

    Raises:
        ImportError: It is missing.
    """
    try:
        import pandas
    except ImportError:
        raise ImportError('pandas is needed for tables: pip install "ctune[analysis]"') from None
    return pandas


def read_checkpoints(
    directory: str, results: list[dict[str, Any]]
) -> list[tuple[Checkpoint, dict[str, Any]]]:
    """Returns the checkpoints of a trial, oldest first, each with its result.

    Results of functions name theirs. Those of class trainables do not: their checkpoints
    have no metrics.
    """
    named = {r["checkpoint_dir_name"]: r for r in results if r.get("checkpoint_dir_name")}
    names = [name for name in os.listdir(directory) if re.fullmatch(r"checkpoint_\d+", name)]
    return [
        (Checkpoint(os.path.join(directory, name)), named.get(name, {}))
        for name in sorted(names, key=lambda name: int(name.rpartition("_")[2]))
        if os.path.isdir(os.path.join(directory, name))
    ]


def read_error(text_path: str | None, pickle_path: str | None) -> BaseException | None:
    """Returns the exception of a trial's last failure, as it was raised if possible.

    Args:
        text_path: Path of error.txt, or None.
        pickle_path: Path of error.pkl, or None. It is loaded: only open folders that you
            trust.
    """
    if pickle_path is not None and os.path.exists(pickle_path):
        try:
            with open(pickle_path, "rb") as file:
                error = pickle.load(file)
        except Exception:
            error = None
        if isinstance(error, BaseException):
            return error
    if text_path is not None and os.path.exists(text_path):
        with open(text_path, encoding="utf-8", errors="replace") as file:
            return TuneError(file.read())
    return None
