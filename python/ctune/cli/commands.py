"""What the commands do: tables of trials and of experiments (need pandas), notes, repair."""

from __future__ import annotations

import operator
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ctune import _ctune
from ctune._lock import locked
from ctune.analysis.experiment_analysis import ExperimentAnalysis
from ctune.error import TuneError
from ctune.result import (
    CONFIG_PREFIX,
    DEFAULT_EXPERIMENT_INFO_KEYS,
    DEFAULT_RESULT_KEYS,
    EXPR_RESULT_FILE,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DEFAULT_CLI_KEYS",
    "DEFAULT_PROJECT_INFO_KEYS",
    "EDITOR",
    "OPERATORS",
    "TIMESTAMP_FORMAT",
    "add_note",
    "list_experiments",
    "list_trials",
    "print_format_output",
    "repair",
]

EDITOR = os.getenv("EDITOR", "vim")
TIMESTAMP_FORMAT = "%Y-%m-%d %H:%M:%S (%A)"
DEFAULT_CLI_KEYS = DEFAULT_EXPERIMENT_INFO_KEYS + DEFAULT_RESULT_KEYS
DEFAULT_PROJECT_INFO_KEYS = ("name", "total_trials", "last_updated")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}

_PICKLES = (".p", ".pkl", ".pickle")


def print_format_output(dataframe: pd.DataFrame) -> tuple[str, list[str], list[str]]:
    """Prints a table as wide as the terminal allows.

    Returns:
        The text of the table; the columns left out because the terminal is too narrow; and
        those left out because they are empty.
    """
    from tabulate import tabulate

    def width(columns: Any) -> int:
        text: str = tabulate(columns, headers="keys", tablefmt="psql", showindex="never")
        return text.find("\n") - 1

    # The rows' numbers are not shown, but there would be room for them.
    used = 1 + width({"": range(len(dataframe))})
    room = shutil.get_terminal_size(fallback=(100, 100)).columns
    shown: list[str] = []
    dropped: list[str] = []
    empty: list[str] = []
    for place, name in enumerate(dataframe):
        if dataframe[name].isnull().all():
            empty.append(name)
            continue
        used += width({name: dataframe[name]})
        if used > room:
            dropped = list(dataframe.columns[place:])
            break
        shown.append(name)
    table = tabulate(dataframe[shown], headers="keys", tablefmt="psql", showindex="never")
    print(table)
    if dropped:
        print(f"Dropped columns: {dropped}")
        print("A wider terminal, or --columns, shows them.")
    if empty:
        print(f"Empty columns: {empty}")
    return table, dropped, empty


def list_trials(
    experiment_path: str,
    sort: list[str] | None = None,
    output: str | None = None,
    filter_op: str | None = None,
    info_keys: Iterable[str] | None = None,
    limit: int | None = None,
    desc: bool = False,
) -> None:
    """Prints the trials of an experiment with their last results.

    Args:
        experiment_path: The experiment's directory, of ctune or of Ray Tune.
        sort: Columns to sort by, shown or not.
        output: A file to write the table to: .csv, or .p, .pkl or .pickle.
        filter_op: Which rows: "<column> <operator> <value>", with single spaces.
        info_keys: Which columns; default: `DEFAULT_CLI_KEYS` and the configuration.
        limit: How many rows at most.
        desc: Sort from the highest value down.

    Raises:
        TuneError: There is nothing to show, or an argument is wrong.
    """
    try:
        frame = ExperimentAnalysis(experiment_path).dataframe()
    except ValueError as error:
        raise TuneError(f"No trial data found: {error}") from error
    if info_keys:
        wanted = set(info_keys)
        for key in sorted(wanted - set(frame.columns)):
            raise TuneError(f"columns: there is no {key!r}. There are: {_names(frame)}.")
    else:
        wanted = {
            key
            for key in frame.columns
            if key in DEFAULT_CLI_KEYS or key.startswith(f"{CONFIG_PREFIX}/")
        }
    columns = [key for key in frame.columns if key in wanted]
    if not columns:
        raise TuneError("No columns to show: no trial has a result.")
    _show(frame, columns, sort, output, filter_op, limit, desc)


def list_experiments(
    project_path: str,
    sort: list[str] | None = None,
    output: str | None = None,
    filter_op: str | None = None,
    info_keys: Iterable[str] | None = None,
    limit: int | None = None,
    desc: bool = False,
) -> None:
    """Prints the experiments in a directory.

    Args:
        project_path: The directory that holds experiments: `storage_path` of run().
        sort, output, filter_op, limit, desc: As of list_trials().
        info_keys: Which columns; default: `DEFAULT_PROJECT_INFO_KEYS`.

    Raises:
        TuneError: There is nothing to show, or an argument is wrong.
    """
    path = os.path.expanduser(project_path)
    if not os.path.isdir(path):
        raise TuneError(f"project_path: there is no directory {path}.")
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir())
    if not names:
        raise TuneError(f"No experiments found: {path} has no directories.")
    import pandas

    frame = pandas.DataFrame([_experiment(path, name) for name in names])
    wanted = list(info_keys or DEFAULT_PROJECT_INFO_KEYS)
    columns = [key for key in wanted if key in frame]
    if not columns:
        raise TuneError(f"columns: there is none of {wanted}. There are: {_names(frame)}.")
    _show(frame, columns, sort, output, filter_op, limit, desc)


def _experiment(path: str, name: str) -> dict[str, Any]:
    """Returns the row of an experiment."""
    trials, updated = 0, None
    for folder, folders, files in os.walk(os.path.join(path, name)):
        if EXPR_RESULT_FILE in files:
            trials += 1
            folders.clear()  # checkpoints may be large
            changed = os.path.getmtime(os.path.join(folder, EXPR_RESULT_FILE))
            updated = changed if updated is None else max(updated, changed)
    text = None if updated is None else datetime.fromtimestamp(updated).strftime(TIMESTAMP_FORMAT)
    return {"name": name, "total_trials": trials, "last_updated": text}


def add_note(path: str, filename: str = "note.txt") -> None:
    """Opens a note in the editor that the environment variable EDITOR names, or vim.

    Args:
        path: The directory that the note is about.
        filename: The note's file in it.

    Raises:
        TuneError: There is no such directory, or the editor failed.
    """
    folder = os.path.expanduser(path)
    if not os.path.isdir(folder):
        raise TuneError(f"path: there is no directory {folder}.")
    note = os.path.join(folder, filename)
    existed = os.path.exists(note)
    try:
        code = subprocess.call([*shlex.split(EDITOR), note])
    except OSError as error:
        raise TuneError(
            f"EDITOR: {EDITOR!r} cannot be run: {error}. Set EDITOR to an editor that is installed."
        ) from error
    if code != 0:
        raise TuneError(f"EDITOR: {EDITOR!r} ended with code {code}.")
    if not os.path.exists(note):
        print("No note was saved.")
    else:
        print(f"Note {'updated' if existed else 'created'} at: {note}")


def repair(path: str, dry_run: bool = False) -> int:
    """Keeps what is sound of an experiment's damaged journal, and prints what was done.

    Each damaged file is cut to what comes before the damage; what it was stays beside it,
    under its name and ".damaged".

    Args:
        path: The experiment's directory.
        dry_run: Change nothing, only print.

    Returns:
        How many files were damaged.

    Raises:
        TuneError: There is no journal, a run writes to it, or nothing of it can be used.
        OSError: A file cannot be read or written.
    """
    folder = os.path.abspath(os.path.expanduser(path))
    if not os.path.isdir(folder):
        raise TuneError(f"path: there is no directory {folder}.")
    with locked([folder]):
        try:
            files = _ctune.repair(folder, dry_run)
        except (KeyError, RuntimeError, NotImplementedError) as error:
            raise TuneError(str(error.args[0])) from error
    damaged = turns = 0
    for file in files:
        damaged += file["kind"] != "whole"
        turns += file.get("turns_kept", 0)
        print(_told(file, dry_run))
    if not turns:
        print("Nothing is left that a run could go on from.")
    if not damaged:
        print("Nothing is damaged.")
    elif dry_run:
        print("Nothing was changed: this was a dry run.")
    return damaged


def _told(file: dict[str, Any], dry_run: bool) -> str:
    """Says what repair() did to one file."""
    kept = _amount(file, "kept")
    dropped = _amount(file, "dropped")
    why = f" ({file['why']})" if file["why"] else ""
    kind = file["kind"]
    if kind == "whole":
        tail = f"; an unfinished turn of {file['dropped']:,} bytes is ignored"
        text = f"sound, {kept}{tail if file['dropped'] else ''}"
    elif kind == "missing":
        text = f"missing{why}"
    elif kind == "header":
        text = f"its header is damaged{why}; with a new one all is kept, {kept}"
    elif kind == "cut":
        text = f"damaged{why}; kept {kept}; dropped {dropped}"
    else:
        text = f"set aside{why}; dropped {dropped}"
    backup = "" if dry_run or not file["backup"] else f". As it was: {file['backup']}"
    return f"{os.path.basename(file['path'])}: {text}{backup}"


def _amount(file: dict[str, Any], which: str) -> str:
    text = f"{file[which]:,} bytes"
    if f"turns_{which}" in file and file["path"].endswith(".ctj"):
        text += f" with {file[f'turns_{which}']:,} turns and {file[f'events_{which}']:,} events"
    return text


def _names(frame: pd.DataFrame) -> str:
    return ", ".join(map(str, frame.columns))


def _show(
    frame: pd.DataFrame,
    columns: list[str],
    sort: list[str] | None,
    output: str | None,
    filter_op: str | None,
    limit: int | None,
    desc: bool,
) -> None:
    """Prints the rows that are asked for, and writes them to a file.

    Rows are chosen and sorted by any column, shown or not.
    """
    extension = os.path.splitext(output)[1].lower() if output else ".csv"
    if extension != ".csv" and extension not in _PICKLES:
        raise TuneError(f"output: must end in .csv, .p, .pkl or .pickle, got {output!r}.")
    if filter_op:
        frame = _filtered(frame, filter_op)
    if sort:
        for key in sort:
            if key not in frame:
                raise TuneError(f"sort: there is no column {key!r}. There are: {_names(frame)}.")
        try:
            frame = frame.sort_values(by=list(sort), ascending=not desc)
        except TypeError as error:
            raise TuneError(
                f"sort: the values of {', '.join(sort)} have no order: {error}."
            ) from error
    frame = frame[columns]
    if limit:
        frame = frame[:limit]
    print_format_output(frame)
    if output:
        if extension == ".csv":
            frame.to_csv(output, index=False)
        else:
            frame.to_pickle(output)
        print(f"Output saved at {output}")


def _filtered(frame: pd.DataFrame, condition: str) -> pd.DataFrame:
    from pandas.api.types import is_numeric_dtype, is_string_dtype

    parts = condition.split(" ")
    if len(parts) != 3 or parts[1] not in OPERATORS:
        raise TuneError(
            f'filter: must be "<column> <operator> <value>" with single spaces and one of '
            f"{', '.join(OPERATORS)}, got {condition!r}."
        )
    name, sign, text = parts
    if name not in frame:
        raise TuneError(f"filter: there is no column {name!r}. There are: {_names(frame)}.")
    column = frame[name]
    value: Any = text
    if is_numeric_dtype(column.dtype):
        try:
            value = float(text)
        except ValueError:
            raise TuneError(f"filter: {name!r} holds numbers, got {text!r}.") from None
    elif not is_string_dtype(column.dtype):
        raise TuneError(
            f"filter: the values of {name!r} are neither numbers nor text, but {column.dtype}."
        )
    try:
        return frame[OPERATORS[sign](column, value)]
    except TypeError as error:
        raise TuneError(f"filter: {name!r} does not compare with {text!r}: {error}.") from error
