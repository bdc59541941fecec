"""What the reporters of a run share: a look at it, tables as text, the live block."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from ctune.experiment.trial import Trial
from ctune.result import (
    EPISODE_REWARD_MEAN,
    MEAN_ACCURACY,
    MEAN_LOSS,
    TIME_TOTAL_S,
    TIMESTEPS_TOTAL,
    TRAINING_ITERATION,
)
from ctune.utils.util import flatten_dict

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

__all__ = ["Block", "Listed", "Look", "Running", "boxed", "say"]

# Result keys that every table shows, and how it calls them.
DEFAULT_COLUMNS = {
    MEAN_ACCURACY: "acc",
    MEAN_LOSS: "loss",
    TRAINING_ITERATION: "iter",
    TIME_TOTAL_S: "total time (s)",
    TIMESTEPS_TOTAL: "ts",
    EPISODE_REWARD_MEAN: "reward",
}
_STYLES = {
    Trial.RUNNING: "cyan",
    Trial.PAUSED: "yellow",
    Trial.TERMINATED: "green",
    Trial.ERROR: "red",
}
_MAX_RETRIES_LOOKED_FOR = 2_000


# --- a look at the trials ------------------------------------------------------------


class Look(Protocol):
    """What reporters ask about trials."""

    def counts(self) -> dict[str, int]:
        """Returns status -> number of trials."""

    def trials_with(self, status: str, limit: int) -> list[Trial]:
        """Returns the first trials of a status."""

    def best(self, metric: str, mode: str) -> Trial | None:
        """Returns the trial whose newest value of a metric is best."""

    def failed(self, limit: int) -> tuple[int, list[Trial]]:
        """Returns how many trials have failed at some time, and the first of them."""


class Listed:
    """A look at a list of trials. Each question walks over it."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials = trials

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for trial in self._trials:
            counts[trial.status] = counts.get(trial.status, 0) + 1
        return counts

    def trials_with(self, status: str, limit: int) -> list[Trial]:
        return [trial for trial in self._trials if trial.status == status][:limit]

    def best(self, metric: str, mode: str) -> Trial | None:
        best, record = None, 0.0
        for trial in self._trials:
            value = flatten_dict(trial.last_result or {}).get(metric)
            if not is_number(value):
                continue
            score = value if mode == "max" else -value
            if best is None or score > record:
                best, record = trial, score
        return best

    def failed(self, limit: int) -> tuple[int, list[Trial]]:
        failed = [t for t in self._trials if t.status == Trial.ERROR or t.num_failures]
        return len(failed), failed[:limit]


class RunningDriver(Protocol):
    """What a look at a run asks of it. All but `trials` cost little."""

    @property
    def trials(self) -> list[Trial]: ...
    def counts(self) -> dict[str, int]: ...
    def trials_with(self, status: str, limit: int) -> list[Trial]: ...
    def best(self, metric: str, mode: str, scope: str = "last") -> Trial | None: ...
    def used_resources(self) -> dict[str, tuple[float, float]]: ...
    def describe(self) -> str: ...


class Running:
    """A look at a run, whose engine answers. What it costs hardly grows with the trials."""

    def __init__(self, driver: RunningDriver) -> None:
        self.driver = driver

    def counts(self) -> dict[str, int]:
        return self.driver.counts()

    def trials_with(self, status: str, limit: int) -> list[Trial]:
        return self.driver.trials_with(status, limit)

    def best(self, metric: str, mode: str) -> Trial | None:
        return self.driver.best(metric, mode)

    def failed(self, limit: int) -> tuple[int, list[Trial]]:
        counts = self.driver.counts()
        if sum(counts.values()) <= _MAX_RETRIES_LOOKED_FOR:
            return Listed(self.driver.trials).failed(limit)
        return counts.get(Trial.ERROR, 0), self.driver.trials_with(Trial.ERROR, limit)

    def resources(self) -> str:
        """Returns a line about what trials hold of the machine."""
        used = self.driver.used_resources()
        cpus, gpus = used.get("CPU", (0.0, 0.0)), used.get("GPU", (0.0, 0.0))
        parts = [f"{cpus[0]:g}/{cpus[1]:g} CPUs", f"{gpus[0]:g}/{gpus[1]:g} GPUs"]
        for name, (held, total) in used.items():
            if name not in ("CPU", "GPU", "memory") and total:
                parts.append(f"{held:g}/{total:g} {name}")
        return f"Resources in use: {', '.join(parts)}"


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value of a result can be compared: a number, and not NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def is_summary_type(kind: type[Any]) -> bool:
    """Whether values of a type are numbers, also those of NumPy."""
    if kind.__module__ == "numpy":
        return kind.__name__.startswith(("int", "uint", "float"))
    return kind is int or kind is float


def summary_types() -> set[type[Any]]:
    """Returns the types whose values are shown as metrics. Loads NumPy."""
    import numpy as np

    return {int, float, type(None), np.float32, np.float64, np.int32, np.int64}


def user_metrics(
    results: Iterable[dict[str, Any]],
    hidden: Iterable[str],
    limit: int,
    wanted: Callable[[type[Any]], bool],
) -> list[str]:
    """Returns the first keys of flattened results that are the user's.

    Args:
        results: Flattened results.
        hidden: Keys that are not.
        limit: How many to return at most.
        wanted: Whether values of a type count.
    """
    if limit <= 0:
        return []
    found: dict[str, None] = {}
    unwanted = {*hidden, *DEFAULT_COLUMNS}
    for result in results:
        for key, value in result.items():
            name = str(key)
            if wanted(type(value)) and name not in unwanted and not name.startswith("config/"):
                found[name] = None
                if len(found) >= limit:
                    return list(found)
    return list(found)


# --- tables --------------------------------------------------------------------------

_UTF = ("╭", "╮", "├", "┤", "╰", "╯", "─", "│")
_ASCII = ("+", "+", "+", "+", "+", "+", "-", "|")


def boxed(head: Sequence[str], rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Returns a table in a frame, of lines of the same width.

    Args:
        head: Names of the columns; fewer than a row has if one name is for all.
        rows: Cells as text.
        right: Columns that end at the right.
    """
    sides = set(right)
    sizes = [max(len(row[i]) for row in rows) if rows else 0 for i in range(len(head))]
    sizes = [max(size, len(name)) for size, name in zip(sizes, head, strict=True)]
    a, b, c, d, e, f, bar, wall = _UTF if _speaks_utf() else _ASCII

    def line(cells: Sequence[str]) -> str:
        shown = (
            cell.rjust(size) if i in sides else cell.ljust(size)
            for i, (cell, size) in enumerate(zip(cells, sizes, strict=True))
        )
        return f"{wall} {'   '.join(shown)} {wall}"

    rule = bar * (sum(sizes) + 3 * len(sizes) - 1)
    lines = [a + rule + b, line(head), c + rule + d, *map(line, rows), e + rule + f]
    return "\n".join(lines)


def _speaks_utf() -> bool:
    return "utf" in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()


def tail(text: str, limit: int) -> str:
    """Cuts a text's beginning off, where names and paths differ least."""
    return text if len(text) <= limit else f"...{text[len(text) - max(0, limit - 3) :]}"


def cut(text: str, width: int) -> str:
    """Cuts a line so that a terminal does not wrap it."""
    return text if len(text) <= width else f"{text[: max(0, width - 3)]}..."


def cell(value: Any, limit: int = 20) -> str:
    """Returns a value as a short text."""
    if value is None:
        return ""
    if isinstance(value, float) or (is_summary_type(type(value)) and not isinstance(value, int)):
        return f"{float(value):.6g}"
    try:
        return tail(str(value).replace("\n", " "), limit)
    except Exception:  # a user's object that cannot be printed
        return f"<{type(value).__name__}>"


def five_decimals(value: Any) -> str:
    """Returns a value of one trial as text: up to 5 decimals, or 5 digits if that is more."""
    if isinstance(value, float) and value == value and abs(value) < 1e15:
        if value and abs(value) < 1e-3:
            return f"{value:.5g}"
        return f"{value:.5f}".rstrip("0").rstrip(".")
    return cell(value)


# --- time ----------------------------------------------------------------------------


def now() -> str:
    """Returns the time as people write it."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """Returns a duration such as "1hr 2min 3s"."""
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    parts = [f"{days}d" if days else "", f"{hours}hr" if whole >= 3600 else ""]
    parts += [f"{minutes}min" if whole >= 60 else "", f"{whole % 60}s"]
    return " ".join(filter(None, parts))


def total_text(total: int | None) -> str:
    """Returns the number of trials of a run; one without an end has no number."""
    return "infinite" if total is None or total >= sys.maxsize else str(total)


# --- the output ----------------------------------------------------------------------


def say(*lines: str) -> bool:
    """Prints lines at once. Returns whether there is anybody to read them."""
    # While a block is live, rich moves it below what is printed.
    text = "\n".join(lines)
    try:
        try:
            print(text, flush=True)
        except UnicodeEncodeError:
            print(text.encode("ascii", "replace").decode(), flush=True)
    except (BrokenPipeError, ValueError):
        return False  # the run goes on
    return True


def on_terminal() -> bool:
    """Returns whether what is printed can be redrawn."""
    try:
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


def width() -> int:
    """Returns how many columns there are, at least 40."""
    return max(40, shutil.get_terminal_size((100, 24)).columns)


def height() -> int:
    """Returns how many lines there are."""
    return shutil.get_terminal_size((100, 24)).lines


class Block:
    """Lines at the bottom of a terminal that are redrawn as a run goes on.

    As soon as somebody starts a debugger in this process the block is taken away for good, so
    that nothing is drawn over its prompt.
    """

    def __init__(self) -> None:
        self.possible = on_terminal() and sys.gettrace() is None
        # Another thread prints above it.
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._debugger: Callable[..., None] | None = None

    def show(self, lines: Iterable[str]) -> None:
        """Draws the block anew; it must be possible."""
        columns = width()
        # A line that the terminal wraps would break the block's height.
        styled = _styled([cut(line, columns) for line in lines])
        with self._lock:
            if self._live is None:
                self._live = _start_live()
                self._watch_for_debuggers()
            self._live.update(styled, refresh=True)

    def clear(self) -> None:
        """Takes the block off the terminal."""
        with self._lock:
            live, self._live = self._live, None
            if live is not None:
                self._unwatch()
                live.update("", refresh=True)
                live.stop()

    def print_above(self, lines: Iterable[tuple[str, str]]) -> None:
        """Prints lines of others, each with whose it is. From any thread.

        Raises:
            OSError, ValueError: Nobody can read it.
        """
        text = "".join(f"{_marked(*line)}\n" for line in lines)
        with self._lock:
            if self._live is None:
                print(text, end="", flush=True)
            else:
                self._live.console.print(_Ready(text), soft_wrap=True)

    def _watch_for_debuggers(self) -> None:
        import bdb

        original = bdb.Bdb.__init__
        self._debugger = original

        def begin(debugger: bdb.Bdb, *args: Any, **kwargs: Any) -> None:
            self.possible = False
            self.clear()
            original(debugger, *args, **kwargs)

        bdb.Bdb.__init__ = begin  # type: ignore[method-assign, assignment]

    def _unwatch(self) -> None:
        import bdb

        if self._debugger is not None:
            bdb.Bdb.__init__ = self._debugger  # type: ignore[method-assign]
            self._debugger = None


def _start_live() -> Live:
    from rich.console import Console
    from rich.live import Live

    live = Live(
        console=Console(file=sys.stdout, highlight=False),
        auto_refresh=False,
        transient=True,
        vertical_overflow="crop",
    )
    live.start()
    return live


# What others print may hold anything. Colours stay; other commands to the terminal would
# move the block or worse.
_COLOUR = re.compile(r"(\x1b\[[0-9;:]*m)")
_COMMAND = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # with parameters
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # with a text
    r"|[ -/]*[0-OQ-WYZ\\`-~])"
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def harmless(text: str) -> str:
    """Returns a line that a terminal can show: colours as they are, other controls as text."""
    if text.isprintable():
        return text
    parts = _COLOUR.split(text)
    for i in range(0, len(parts), 2):
        part = _COMMAND.sub("", parts[i])
        parts[i] = _CONTROL.sub(_control_as_text, part)
    return "".join(parts)


def _control_as_text(match: re.Match[str]) -> str:
    character = match[0]
    return "" if character in "\a\b" else ascii(character)[1:-1]


def _marked(label: str, text: str) -> str:
    text = harmless(text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    line = f"\x1b[2m({harmless(label)})\x1b[0m {text}" + ("\x1b[0m" if "\x1b" in text else "")
    return line.encode(encoding, "backslashreplace").decode(encoding)


class _Ready:
    """Text for rich that goes out as it is. What rich would make of it costs 30 times as much."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Any, options: Any) -> Iterable[Any]:
        from rich.segment import Segment

        yield Segment(self._text)


def _styled(lines: list[str]) -> Text:
    from rich.text import Text

    text = Text("\n".join(lines), no_wrap=True)
    for status, style in _STYLES.items():
        text.highlight_words([status], style)
    return text
