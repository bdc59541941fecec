"""What people see of a run: one live block on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ctune.experiment.trial import Trial
from ctune.result import (
    AUTO_RESULT_KEYS,
    DEFAULT_METRIC,
    DONE,
    EXPERIMENT_TAG,
    TIME_TOTAL_S,
    TRAINING_ITERATION,
    TRIAL_ID,
)
from ctune.utils.util import flatten_dict

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

    from ctune._plan import Plan

__all__ = ["Display"]

_STATUSES = (
    Trial.RUNNING,
    Trial.PAUSED,
    Trial.PENDING,
    Trial.TERMINATED,
    Trial.ERROR,
)
_STYLES = {
    Trial.RUNNING: "cyan",
    Trial.PAUSED: "yellow",
    Trial.TERMINATED: "green",
    Trial.ERROR: "red",
}

_FIRST_BLOCK_S = 0.3  # a shorter run needs no live block, nor rich
_PLAIN_PERIOD_S = 10.0
_CELL_MAX = 20
_NAME_MAX = 40
_MAX_RANKED = 20_000  # trials that are ranked for the last table
_LAST_ROWS = 10
_MAX_FAILED = 10


class RunningDriver(Protocol):
    """What the display asks of a run. All but `trials` cost little."""

    @property
    def trials(self) -> list[Trial]: ...
    def counts(self) -> dict[str, int]: ...
    def trials_with(self, status: str, limit: int) -> list[Trial]: ...
    def best(self, metric: str, mode: str, scope: str = "last") -> Trial | None: ...
    def used_resources(self) -> dict[str, tuple[float, float]]: ...


class Display:
    """Shows one run.

    Args:
        plan: The run. With `verbose=0` nothing is shown.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.wanted = plan.verbose >= 1
        self._driver: RunningDriver | None = None
        self._live: Live | None = None
        self._on_terminal = False
        self._start = 0.0
        self._next_line = 0.0

    def hooks(self) -> dict[str, Callable[..., None]]:
        """Returns note -> what hears it."""
        if not self.wanted:
            return {}
        hooks: dict[str, Callable[..., None]] = {"TRIAL_FAILURE": self._failure}
        if self._plan.verbose >= 2:
            hooks["RESULT"] = self._result
            hooks["CHECKPOINT"] = self._checkpoint
        return hooks

    def start(self, driver: RunningDriver) -> None:
        """Prints what is going to run."""
        self._driver = driver
        self._start = time.monotonic()
        self._next_line = self._start + _PLAIN_PERIOD_S
        if not self.wanted:
            return
        self._on_terminal = _is_terminal()
        plan = self._plan
        total = plan.total_samples
        facts = [
            f"Experiment {plan.name}",
            f"  results    {plan.experiment_dir}",
            f"  search     {_searcher_name(plan.search_alg)}, {_number(total)} trials",
            f"  scheduler  {type(plan.scheduler).__name__}",
        ]
        if plan.metric:
            direction = f" ({plan.mode})" if plan.mode else ""
            facts.append(f"  metric     {plan.metric}{direction}")
        self._print(*facts)

    def heartbeat(self) -> None:
        """Brings the block up to date, or prints a line when it is time for one."""
        now = time.monotonic()
        if self._on_terminal:
            if now - self._start >= _FIRST_BLOCK_S:
                self._show_block()
        elif now >= self._next_line:
            self._next_line = now + _PLAIN_PERIOD_S
            self._print(" | ".join(self._summary()))

    def end(self, failed: bool = False) -> None:
        """Prints how it ended.

        Args:
            failed: Whether an error is about to leave run().
        """
        if not self.wanted or self._driver is None:
            return
        if self._live is not None:
            self._live.update("", refresh=True)
            self._live.stop()
            self._live = None
        width = _width()
        lines = self._last_table(width)
        lines += self._failed_trials()
        best = self._best_line()
        if best:
            lines.append(best)
        word = "ended with an error" if failed else "ended"
        lines.append(
            f"{word.capitalize()} after {_clock(time.monotonic() - self._start)}: {self._counts()}"
        )
        lines.append(f"Results: {self._plan.experiment_dir}")
        self._print(*lines)

    # Events.

    def _failure(self, trial: Trial, error: str = "", **info: Any) -> None:
        text = error.strip() or "no reason was given"
        if not self._plan.log_trial_errors:
            text = text.splitlines()[-1]
        self._print(f"Trial {trial} failed:", *_indented(text))

    def _result(self, trial: Trial, result: dict[str, Any], **info: Any) -> None:
        shown = ", ".join(
            f"{key}={_cell(value)}"
            for key, value in flatten_dict(result).items()
            if key not in _NOT_SHOWN and not str(key).startswith("config/")
        )
        iteration = result.get(TRAINING_ITERATION, "?")
        self._print(f"Trial {trial} result {iteration}: {shown}")

    def _checkpoint(self, trial: Trial, checkpoint: Any, **info: Any) -> None:
        self._print(f"Trial {trial} saved {checkpoint.path}")

    # Parts of what is shown.

    def _show_block(self) -> None:
        if self._live is None:
            self._live = _start_live()
        self._live.update(_styled(self._block()), refresh=True)

    def _block(self) -> list[str]:
        size = shutil.get_terminal_size()
        width = _width()
        rows = max(3, min(16, size.lines - 9))
        lines = ["", " | ".join(self._summary(best=False))]
        best = self._best_line()
        if best:
            lines.append(best)
        lines += _table(self._current_trials(rows), self._plan.metric, width)
        # A line that the terminal wraps would break the block's height.
        return [_cut(line, width) for line in lines]

    def _summary(self, best: bool = True) -> list[str]:
        parts = [_clock(time.monotonic() - self._start), self._counts()]
        resources = self._resources()
        if resources:
            parts.append(resources)
        line = self._best_line() if best else None
        if line:
            parts.append(line)
        return parts

    def _counts(self) -> str:
        assert self._driver is not None
        counts = self._driver.counts()
        ended = counts.get(Trial.TERMINATED, 0) + counts.get(Trial.ERROR, 0)
        shown = ", ".join(f"{counts[s]} {s}" for s in _STATUSES if counts.get(s))
        total = self._plan.total_samples
        return f"{ended}/{_number(total)} trials" + (f" ({shown})" if shown else "")

    def _resources(self) -> str:
        assert self._driver is not None
        shown = []
        for name, (used, total) in self._driver.used_resources().items():
            if name == "memory" or (name != "CPU" and total == 0):
                continue
            shown.append(f"{name} {used:g}/{total:g}")
        return ", ".join(shown)

    def _best_line(self) -> str | None:
        assert self._driver is not None
        metric, mode = self._plan.metric, self._plan.mode
        if not metric or not mode:
            return None
        best = self._driver.best(metric, mode)
        if best is None:
            return None
        value = flatten_dict(best.last_result).get(metric)
        params = ", ".join(f"{key}={_cell(value)}" for key, value in best.evaluated_params.items())
        return f"Best: {metric}={_cell(value)} by {best}" + (f" with {params}" if params else "")

    def _current_trials(self, limit: int) -> list[Trial]:
        """Running trials first; then the best one, paused and failed ones."""
        assert self._driver is not None
        chosen: dict[Trial, None] = {}
        metric, mode = self._plan.metric, self._plan.mode
        best = self._driver.best(metric, mode) if metric and mode else None
        if best is not None:
            chosen[best] = None
        for status in (Trial.RUNNING, Trial.PAUSED, Trial.ERROR, Trial.TERMINATED):
            for trial in self._driver.trials_with(status, limit):
                if len(chosen) < limit:
                    chosen[trial] = None
        return sorted(chosen, key=lambda trial: _STATUSES.index(trial.status))

    def _last_table(self, width: int) -> list[str]:
        assert self._driver is not None
        metric, mode = self._plan.metric, self._plan.mode
        if sum(self._driver.counts().values()) > _MAX_RANKED:
            return []
        trials = self._driver.trials
        more = len(trials) - _LAST_ROWS
        if metric and mode:
            sign = -1.0 if mode == "max" else 1.0
            trials = sorted(trials, key=lambda t: _rank(t, metric, sign))
        lines = _table(trials[:_LAST_ROWS], metric, width)
        if more > 0:
            lines.append(f"... and {more} more trials")
        return lines

    def _failed_trials(self) -> list[str]:
        assert self._driver is not None
        number = self._driver.counts().get(Trial.ERROR, 0)
        if not number:
            return []
        lines = [f"Failed trials ({number}):"]
        for trial in self._driver.trials_with(Trial.ERROR, _MAX_FAILED):
            lines.append(f"  {trial}: {trial.error_file or 'no error file'}")
        if number > _MAX_FAILED:
            lines.append(f"  ... and {number - _MAX_FAILED} more")
        return lines

    def _print(self, *lines: str) -> None:
        # While a block is live, rich moves it below what is printed.
        try:
            print("\n".join(lines), flush=True)
        except (BrokenPipeError, ValueError):
            self.wanted = False  # nobody reads any more; the run goes on


# --- the live block ------------------------------------------------------------------


def _is_terminal() -> bool:
    try:
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


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


def _styled(lines: list[str]) -> Text:
    from rich.text import Text

    text = Text("\n".join(lines), no_wrap=True)
    for status, style in _STYLES.items():
        text.highlight_words([status], style)
    return text


# --- tables --------------------------------------------------------------------------

_NOT_SHOWN = frozenset((*AUTO_RESULT_KEYS, DONE, TRIAL_ID, EXPERIMENT_TAG, "should_checkpoint"))


def _table(trials: Sequence[Trial], metric: str | None, width: int) -> list[str]:
    """One row per trial; parameters that find no room are left out and counted."""
    if not trials:
        return []
    results = [flatten_dict(trial.last_result) for trial in trials]
    metrics = [metric] if metric else _user_metrics(results)
    columns = [
        _column("trial", [str(trial) for trial in trials], _NAME_MAX),
        _column("status", [trial.status for trial in trials]),
    ]
    for name in metrics:
        columns.append(_column(name, [_cell(r.get(name)) for r in results]))
    columns.append(_column("iter", [_cell(r.get(TRAINING_ITERATION)) for r in results]))
    columns.append(_column("time s", [_time(r.get(TIME_TOTAL_S)) for r in results]))
    params = [
        _column(key, [_cell(trial.evaluated_params.get(key)) for trial in trials])
        for key in _parameters(trials)
    ]
    kept = len(params)
    while kept > 0 and _total(columns + params[:kept]) > width:
        kept -= 1
    columns += params[:kept]
    rows = zip(*columns, strict=True)
    lines = [_cut("  ".join(row).rstrip(), width) for row in rows]
    lines.insert(1, "-" * min(width, _total(columns)))
    if kept < len(params):
        lines.append(f"({len(params) - kept} more parameters)")
    return lines


def _column(head: str, cells: Iterable[str], limit: int = _CELL_MAX) -> list[str]:
    texts = [_shorten(text, limit) for text in (head, *cells)]
    size = max(map(len, texts))
    return [text.ljust(size) for text in texts]


def _total(columns: Sequence[Sequence[str]]) -> int:
    return sum(len(column[0]) for column in columns) + 2 * (len(columns) - 1)


def _parameters(trials: Sequence[Trial]) -> list[str]:
    keys: dict[str, None] = {}
    for trial in trials:
        keys.update(dict.fromkeys(map(str, trial.evaluated_params)))
    return list(keys)


def _user_metrics(results: Sequence[dict[str, Any]], limit: int = 2) -> list[str]:
    found: dict[str, None] = {}
    for result in results:
        for key, value in result.items():
            automatic = key in _NOT_SHOWN or str(key).startswith("config/")
            if not automatic and isinstance(value, (int, float)):
                found[str(key)] = None
    if list(found) == [DEFAULT_METRIC]:
        return [DEFAULT_METRIC]
    return list(found)[:limit]


def _rank(trial: Trial, metric: str, sign: float) -> tuple[int, float]:
    """Sorts best first; trials without a number come last."""
    value = flatten_dict(trial.last_result).get(metric)
    if not isinstance(value, (int, float)) or value != value:
        return (1, 0.0)
    return (0, sign * value)


# --- text ----------------------------------------------------------------------------


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.5g}"
    return _shorten(str(value).replace("\n", " "), _CELL_MAX)


def _time(seconds: Any) -> str:
    return f"{seconds:.2f}" if isinstance(seconds, (int, float)) else ""


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 3)]}..."


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def _number(total: int | None) -> str:
    return "endless" if total is None or total >= sys.maxsize else str(total)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _width() -> int:
    return max(40, shutil.get_terminal_size((100, 24)).columns)


def _searcher_name(search_alg: Any) -> str:
    inner = getattr(search_alg, "searcher", None)
    return type(search_alg).__name__ if inner is None else _searcher_name(inner)
