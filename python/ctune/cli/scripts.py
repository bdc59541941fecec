"""The program `ctune`: its arguments, and its exit code.

ctune list-trials EXPERIMENT_PATH       short: ls
ctune list-experiments PROJECT_PATH     short: lsx
ctune add-note PATH
ctune repair PATH
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from ctune._version import __version__
from ctune.cli import commands
from ctune.cli.commands import add_note, list_experiments, list_trials, repair
from ctune.error import TuneError

__all__ = ["add_note", "cli", "list_experiments", "list_trials", "main", "repair"]

_WORDS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}


def _truth(text: str) -> bool:
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"must be true or false, got {text!r}") from None


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _add_table_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sort", metavar="COLUMNS", type=_list, help="sort by these, a,b,c")
    parser.add_argument("--output", "-o", metavar="FILE", help="also write to FILE.csv or FILE.pkl")
    parser.add_argument(
        "--filter", metavar="CONDITION", help='only rows with "<column> <operator> <value>"'
    )
    parser.add_argument("--columns", metavar="COLUMNS", type=_list, help="show these, a,b,c")
    parser.add_argument("--limit", metavar="N", type=int, help="show at most N rows")
    parser.add_argument(
        "--desc", metavar="BOOL", type=_truth, default=False, help="sort from the highest down"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ctune", description="Looks at experiments, and repairs them."
    )
    parser.add_argument("--version", action="version", version=f"ctune {__version__}")
    names = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    trials = names.add_parser("list-trials", aliases=["ls"], help="the trials of an experiment")
    trials.add_argument("path", metavar="EXPERIMENT_PATH")
    _add_table_options(trials)
    trials.set_defaults(call=lambda given: _table(commands.list_trials, given))

    experiments = names.add_parser(
        "list-experiments", aliases=["lsx"], help="the experiments in a directory"
    )
    experiments.add_argument("path", metavar="PROJECT_PATH")
    _add_table_options(experiments)
    experiments.set_defaults(call=lambda given: _table(commands.list_experiments, given))

    note = names.add_parser("add-note", help="write a note beside results, with $EDITOR")
    note.add_argument("path", metavar="PATH")
    note.add_argument("--filename", default="note.txt", help="default: %(default)s")
    note.set_defaults(call=lambda given: commands.add_note(given.path, given.filename))

    fix = names.add_parser("repair", help="keep what is sound of a damaged journal")
    fix.add_argument("path", metavar="EXPERIMENT_PATH")
    fix.add_argument("--dry-run", action="store_true", help="only say what would be done")
    fix.set_defaults(call=lambda given: commands.repair(given.path, given.dry_run))
    return parser


def _table(show: Callable[..., None], given: argparse.Namespace) -> None:
    show(
        given.path,
        given.sort,
        given.output,
        given.filter,
        given.columns,
        given.limit,
        given.desc,
    )


def cli(arguments: Sequence[str] | None = None) -> int:
    """Carries out a command line.

    Args:
        arguments: Without the program's name; default: those of this process.

    Returns:
        0, or 1 after an error, which is printed.

    Raises:
        SystemExit: The command line is wrong (code 2), or help was asked for (code 0).
    """
    given = _parser().parse_args(arguments)
    try:
        given.call(given)
    except (TuneError, OSError, ImportError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    """The same as cli()."""
    return cli()
