"""What a run says on a terminal, in a pipe or in a log file.

run() puts one of these reporters among its callbacks. RAY_AIR_NEW_OUTPUT=0 chooses those of
`ctune.progress_reporter` instead, and a notebook gets them in any case.
"""

from __future__ import annotations

import enum
import math
import os
import time
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ctune import _display
from ctune._display import Block, Listed, Look, Running, boxed, say
from ctune.callback import Callback
from ctune.experiment.trial import Trial
from ctune.result import (
    AUTO_RESULT_KEYS,
    CONFIG,
    DATE,
    DONE,
    EXPERIMENT_TAG,
    HOSTNAME,
    ITERATIONS_SINCE_RESTORE,
    NODE_IP,
    PID,
    SHOULD_CHECKPOINT,
    TIME_SINCE_RESTORE,
    TIMESTAMP,
    TRAINING_ITERATION,
    TRIAL_ID,
)
from ctune.search.sample import Domain
from ctune.utils.log import Verbosity, in_notebook
from ctune.utils.util import flatten_dict, unflattened_lookup

if TYPE_CHECKING:
    from ctune._checkpoint import Checkpoint

__all__ = [
    "AirVerbosity",
    "BLACKLISTED_KEYS",
    "DEFAULT_COLUMNS",
    "IS_NOTEBOOK",
    "ORDER",
    "ProgressReporter",
    "TrainReporter",
    "TuneReporterBase",
    "TuneTerminalReporter",
    "VALID_SUMMARY_TYPES",
    "get_air_verbosity",
]

IS_NOTEBOOK = in_notebook()
DEFAULT_COLUMNS = _display.DEFAULT_COLUMNS
ORDER = [Trial.RUNNING, Trial.TERMINATED, Trial.PAUSED, Trial.PENDING, Trial.ERROR]
VALID_SUMMARY_TYPES: set[type[Any]]  # see __getattr__
# Keys of results that say nothing to people.
BLACKLISTED_KEYS = {
    CONFIG,
    DATE,
    DONE,
    EXPERIMENT_TAG,
    HOSTNAME,
    ITERATIONS_SINCE_RESTORE,
    NODE_IP,
    PID,
    SHOULD_CHECKPOINT,
    TIME_SINCE_RESTORE,
    TIMESTAMP,
    TRIAL_ID,
    "_report_on",
}

_BLOCKS_AT_ONCE = 20  # about starts and ends of trials; then one every
_BLOCK_S = 2.0
_LOOKED_AT = 64  # trials of a status, between two looks
_FEW_TRIALS = 20
_FEW_ROWS = 5  # of each status, if there are more trials than that
_MAX_ROWS = 200  # of the last table
_MAX_FAILED = 20
_FIRST_BLOCK_S = 0.3  # a shorter run needs no live block, nor rich


class AirVerbosity(enum.IntEnum):
    """Levels of `verbose`: nothing; the run and its trials; also each result and checkpoint."""

    SILENT = 0
    DEFAULT = 1
    VERBOSE = 2

    def __repr__(self) -> str:
        return str(self.value)


def get_air_verbosity(verbose: int | AirVerbosity | Verbosity) -> AirVerbosity | None:
    """Returns the level that a value of `verbose` means, at most 2.

    Returns:
        None if the environment variable RAY_AIR_NEW_OUTPUT is "0".

    Raises:
        ValueError: It is negative, or no number.
    """
    if os.environ.get("RAY_AIR_NEW_OUTPUT") == "0":
        return None
    if isinstance(verbose, AirVerbosity):
        return verbose
    return AirVerbosity(min(2, int(verbose)))


def __getattr__(name: str) -> Any:
    if name == "VALID_SUMMARY_TYPES":  # the only thing here that needs NumPy
        return _display.summary_types()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class ProgressReporter(Callback):
    """Base of the reporters: says what happens to trials.

    At level 1 it does not follow every trial. It looks now and then which ones have started and
    ended, and tells of some if there are too many; so what it costs does not depend on their
    number. A subclass that overrides a hook hears of every event.

    Args:
        verbosity: How much to say; see `AirVerbosity`.
        progress_metrics: The only keys of results to show. Default: all.
    """

    _heartbeat_freq = 30  # seconds between two reports
    _start_end_verbosity = AirVerbosity.DEFAULT
    _intermediate_result_verbosity = AirVerbosity.VERBOSE
    _addressing_tmpl = "Trial {}"

    def __init__(
        self,
        verbosity: AirVerbosity,
        progress_metrics: Collection[str] | None = None,
    ) -> None:
        self._verbosity = AirVerbosity(verbosity)
        self._progress_metrics = progress_metrics
        self._running: Running | None = None
        self._block: Block | None = None
        self._reset(time.time())

    def _reset(self, start_time: float) -> None:
        self._start_time = start_time
        self._last_heartbeat_time = -math.inf
        self._heard = True  # whether anybody reads
        self._shown: dict[str, int] = {}  # trial -> iteration whose result has been told
        self._started: dict[str, Trial] = {}  # those told of that run
        self._ended: set[str] = set()  # those told of that have ended
        self._credit = float(_BLOCKS_AT_ONCE)
        self._credited = start_time
        self._told_of_gaps = False

    @property
    def verbosity(self) -> AirVerbosity:
        """How much it says."""
        return self._verbosity

    @property
    def _deaf_to(self) -> tuple[str, ...]:
        """Hooks that a run need not call: they would say nothing, or it looks by itself."""
        hooks = ["on_trial_result", "on_checkpoint", "on_trial_start", "on_trial_complete"]
        if self._verbosity >= self._intermediate_result_verbosity:
            hooks = []
        if self._verbosity < self._start_end_verbosity:
            hooks += ["on_trial_error", "on_trial_recover"]
        return tuple(h for h in hooks if getattr(type(self), h) is getattr(ProgressReporter, h))

    def setup(  # type: ignore[override]
        self, start_time: float | None = None, **kwargs: Any
    ) -> None:
        """Called before a run, at last with its start in seconds since the epoch."""
        self._reset(time.time() if start_time is None else start_time)

    def _watch(self, running: Running) -> None:
        """Ties it to a run, whose engine answers what it asks."""
        self._running = running
        self._block = Block()

    def _unwatch(self) -> None:
        """Called when the run has ended: takes the live block off the terminal."""
        if self._block is not None:
            self._block.clear()
        self._running = self._block = None
        self._started.clear()
        self._ended.clear()

    def experiment_started(
        self,
        experiment_name: str,
        experiment_path: str,
        searcher_str: str,
        scheduler_str: str,
        total_num_samples: int | None,
        tensorboard_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Says where results will be.

        Args:
            experiment_name: Name of the experiment.
            experiment_path: Its directory.
            searcher_str, scheduler_str: What searches, and what stops trials.
            total_num_samples: Number of trials; sys.maxsize for endless.
            tensorboard_path: Directory with files for TensorBoard, if there are some.
        """
        lines = [f"\nView detailed results here: {experiment_path}"]
        if tensorboard_path:
            lines.append(
                "To visualize your results with TensorBoard, run: "
                f"`tensorboard --logdir {tensorboard_path}`"
            )
        self._say(*lines)

    def print_heartbeat(self, trials: Sequence[Trial], *args: Any, force: bool = False) -> None:
        """Says how things are, if it is time for that.

        Args:
            trials: All trials. In a run its engine is asked instead.
            *args: Further lines, such as the resources in use.
            force: Say all at once: the last report.
        """
        if self._verbosity < self._start_end_verbosity:
            return
        look = Listed(trials) if self._running is None else self._running
        if self._running is not None:
            self._look_for_news(look, force)
        if self._redraw(look, args, force):
            return
        if force or time.time() - self._last_heartbeat_time >= self._heartbeat_freq:
            self._print_heartbeat(trials, *args, force=force)
            self._last_heartbeat_time = time.time()

    def _print_heartbeat(self, trials: Sequence[Trial], *args: Any, force: bool = False) -> None:
        raise NotImplementedError(f"{type(self).__name__}._print_heartbeat() is missing.")

    def _redraw(self, look: Look, args: Sequence[str], force: bool) -> bool:
        """Whether there is a live block, which is up to date now. It is gone after `force`."""
        return False

    @property
    def _live(self) -> bool:
        return self._block is not None and self._block.possible

    # News.

    def _look_for_news(self, look: Look, force: bool) -> None:
        """Tells of trials that have started and ended since the last look."""
        deaf_to = self._deaf_to
        if "on_trial_start" not in deaf_to:
            return
        for trial in look.trials_with(Trial.RUNNING, _LOOKED_AT):
            if trial.trial_id not in self._started:
                self._tell_start(trial)
        for trial in look.trials_with(Trial.TERMINATED, _LOOKED_AT):
            if trial.trial_id not in self._started and trial.trial_id not in self._ended:
                self._tell_start(trial)
        for trial_id, trial in list(self._started.items()):
            if trial.is_finished():
                del self._started[trial_id]
                self._ended.add(trial_id)
                if trial.status == Trial.TERMINATED and "on_trial_complete" in deaf_to:
                    self._tell_end(trial)

    def _may_tell(self) -> bool:
        """Whether there was not too much of late."""
        now = time.time()
        self._credit = min(
            _BLOCKS_AT_ONCE, self._credit + max(0.0, now - self._credited) / _BLOCK_S
        )
        self._credited = now
        if self._credit >= 1.0:
            self._credit -= 1.0
            return True
        if not self._told_of_gaps:
            self._told_of_gaps = True
            self._say(
                "\nTrials start and end fast: from here on only some are told of. "
                "verbose=2 tells of all."
            )
        return False

    def _tell_start(self, trial: Trial) -> None:
        self._started[trial.trial_id] = trial
        # On a terminal the live block shows it.
        if not self._live and self._may_tell():
            self._say_start(trial)

    def _tell_end(self, trial: Trial) -> None:
        if self._may_tell():
            self._say_end(trial, "completed", table=not self._live)

    # Hooks.

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Shows the trial's configuration."""
        if self._verbosity >= self._start_end_verbosity:
            self._say_start(trial)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Shows the result, at level 2."""
        if self._verbosity < self._intermediate_result_verbosity:
            return
        number = result.get(TRAINING_ITERATION, "?")
        self._shown[trial.trial_id] = number
        self._say(
            f"\n{self._named(trial)} finished iteration {number} at {self._when()}",
            *self._result_table(trial, result),
        )

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Shows the last result, unless that has been shown."""
        if self._verbosity >= self._start_end_verbosity:
            self._say_end(trial, "completed")

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Shows the error file and the last result."""
        if self._verbosity >= self._start_end_verbosity and self._may_tell():
            self._say_end(trial, "errored", f"Error file: {trial.error_file}")

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Says that a trial has failed and will be tried again."""
        if self._verbosity >= self._start_end_verbosity and self._may_tell():
            self._say_end(
                trial,
                "errored",
                f"Error file: {trial.error_file}",
                f"It is tried again; it has failed {_times(trial.num_failures)}.",
                table=False,
            )

    def on_checkpoint(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        checkpoint: Checkpoint,
        **info: Any,
    ) -> None:
        """Says where a checkpoint is, at level 2."""
        if self._verbosity >= self._intermediate_result_verbosity:
            number = (trial.last_result or {}).get(TRAINING_ITERATION, 0)
            where = "(local)" if getattr(checkpoint, "filesystem", None) is None else ""
            where = where or f"({getattr(checkpoint.filesystem, 'type_name', 'remote')})"
            self._say(
                f"\n{self._named(trial)} saved a checkpoint for iteration {number} at: "
                f"{where}{checkpoint.path}"
            )

    # Text.

    def _say(self, *lines: str) -> None:
        self._heard = self._heard and say(*lines)

    def _named(self, trial: Trial) -> str:
        return self._addressing_tmpl.format(trial)

    def _when(self) -> str:
        passed = _display.duration(time.time() - self._start_time)
        return f"{_display.now()}. Total running time: {passed}"

    def _say_start(self, trial: Trial) -> None:
        shown = {k: v for k, v in flatten_dict(trial.config or {}).items()}
        if not shown:
            self._say(f"\n{self._named(trial)} started without a configuration.")
            return
        rows = [(str(key), _display.five_decimals(shown[key])) for key in sorted(shown, key=str)]
        self._say(
            f"\n{self._named(trial)} started with configuration:",
            _two_columns(f"{self._named(trial)} config", rows),
        )

    def _say_end(self, trial: Trial, how: str, *more: str, table: bool = True) -> None:
        result = trial.last_result or {}
        number = result.get(TRAINING_ITERATION, 0)
        lines = [f"{self._named(trial)} {how} after {number} iterations at {self._when()}", *more]
        if self._shown.pop(trial.trial_id, None) != number and table:
            lines += self._result_table(trial, result)
        if len(lines) > 1 or not self._live or self._verbosity == AirVerbosity.VERBOSE:
            lines.insert(0, "")
        self._say(*lines)

    def _result_table(self, trial: Trial, result: dict[str, Any]) -> list[str]:
        flat = flatten_dict(result)
        keys = [
            key
            for key, value in flat.items()
            if value is not None
            and str(key) not in BLACKLISTED_KEYS
            and not str(key).startswith("config/")
        ]
        if self._progress_metrics is not None:
            keys = [key for key in keys if key in self._progress_metrics]
        automatic = sorted(key for key in keys if key in AUTO_RESULT_KEYS)
        keys = automatic + sorted((k for k in keys if k not in AUTO_RESULT_KEYS), key=str)
        if not keys:
            return []
        rows = [(str(key), _display.five_decimals(flat[key])) for key in keys]
        return [_two_columns(f"{self._named(trial)} result", rows)]


class TuneReporterBase(ProgressReporter):
    """What reporters of runs with many trials have in common: the report on all of them.

    Args:
        verbosity, progress_metrics: As for `ProgressReporter`.
        num_samples: Number of trials.
        metric, mode: What is optimised, and "min" or "max".
        config: The search space; its domains and grids are the parameters that are shown.
    """

    def __init__(
        self,
        verbosity: AirVerbosity,
        num_samples: int = 0,
        metric: str | None = None,
        mode: str | None = None,
        config: dict[str, Any] | None = None,
        progress_metrics: Collection[str] | None = None,
    ) -> None:
        super().__init__(verbosity, progress_metrics)
        self._num_samples: int | None = num_samples
        self._metric = metric
        self._mode = mode
        self._parameters = sorted(_tuned(config or {}))

    def setup(  # type: ignore[override]
        self, start_time: float | None = None, total_samples: int | None = None, **kwargs: Any
    ) -> None:
        """As `ProgressReporter.setup`, with the number of trials."""
        super().setup(start_time, **kwargs)
        self._num_samples = total_samples

    def _report(
        self, look: Look, args: Iterable[str], force: bool, rows: int, columns: int | None
    ) -> list[str]:
        """Returns the lines of a report.

        Args:
            look: The trials.
            args: Lines about other things.
            force: Whether it is the last one.
            rows: How many trials of one status, if there are many.
            columns: Of the terminal; None: as many as it takes.
        """
        counts = look.counts()
        total = sum(counts.values())
        parts = " | ".join(f"{counts[s]} {s}" for s in ORDER if counts.get(s))
        status = f"Trial status: {parts or 'none yet'}"
        if self._num_samples is not None and total < self._num_samples:
            status += f" (of {_display.total_text(self._num_samples)})"
        lines = [status, f"Current time: {self._when()}", *map(str, args)]
        best = look.best(self._metric, self._mode) if self._metric and self._mode else None
        if best is not None and self._metric:
            value = flatten_dict(best.last_result).get(self._metric)
            lines.append(
                f"Current best trial: {best.trial_id} with {self._metric}={value} and "
                f"params={best.config}"
            )
        if force:
            wanted = dict.fromkeys(ORDER, _MAX_ROWS)
        else:
            wanted = dict.fromkeys(ORDER, rows)
        trials: list[Trial] = []
        rest = []
        for state in ORDER:
            number = counts.get(state, 0)
            limit = min(number, wanted[state], _MAX_ROWS - len(trials))
            trials += look.trials_with(state, limit) if limit else []
            if number > limit:
                rest.append(f"{number - limit} more {state}")
        if not force and best is not None and best not in trials and not best.is_finished():
            trials.append(best)
        lines += self._table(trials, columns)
        if rest:
            lines.append(", ".join(rest))
        return lines

    def _table(self, trials: Sequence[Trial], columns: int | None) -> list[str]:
        if not trials:
            return []
        results = [flatten_dict(trial.last_result or {}) for trial in trials]
        params = self._parameters or _evaluated(trials)
        metrics = [key for key in DEFAULT_COLUMNS if any(r.get(key) is not None for r in results)]
        if self._metric and self._metric not in metrics:
            metrics.append(self._metric)
        hidden = {*BLACKLISTED_KEYS, *AUTO_RESULT_KEYS}
        users = _display.user_metrics(results, hidden, 4, _display.is_summary_type)
        metrics += (name for name in users if name not in metrics)
        head = ["Trial name", "status", *(_display.tail(p, 20) for p in params)]
        head += [_display.tail(DEFAULT_COLUMNS.get(m, str(m)), 20) for m in metrics]
        rows = [
            [
                str(trial),
                trial.status,
                *(_display.cell(_parameter(trial, p)) for p in params),
                *(_display.cell(result.get(m)) for m in metrics),
            ]
            for trial, result in zip(trials, results, strict=True)
        ]
        needed = 2 + len(params) + metrics.index(self._metric) if self._metric else -1
        return _fitting(head, rows, len(params), needed, columns)

    def _failures(self, look: Look, columns: int | None) -> list[str]:
        number, trials = look.failed(_MAX_FAILED)
        if not number:
            return []
        rows = [
            [
                str(trial),
                f"{trial.num_failures}{'*' if trial.status == Trial.TERMINATED else ''}",
                str(trial.error_file or ""),
            ]
            for trial in trials
        ]
        table = boxed(["Trial name", "# failures", "error file"], rows, right=[1])
        if columns is not None and len(table.split("\n", 1)[0]) > columns:
            table = "\n".join(f"{name} ({times}): {path}" for name, times, path in rows)
        lines = [f"\nNumber of errored trials: {number}", table]
        if number > len(trials):
            lines.append(f"{number - len(trials)} more")
        if any("*" in row[1] for row in rows):
            lines.append("* ended well when it was tried again")
        return lines


class TuneTerminalReporter(TuneReporterBase):
    """Writes to standard output: a block that is redrawn on a terminal, plain lines elsewhere."""

    def experiment_started(
        self,
        experiment_name: str,
        experiment_path: str,
        searcher_str: str,
        scheduler_str: str,
        total_num_samples: int | None,
        tensorboard_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Says what is going to run, and where results will be."""
        if self._verbosity < self._start_end_verbosity:
            return
        rows = [
            ("Search algorithm", searcher_str),
            ("Scheduler", scheduler_str),
            ("Number of trials", _display.total_text(total_num_samples)),
        ]
        head = ["Configuration for experiment", experiment_name]
        self._say(boxed(head, rows))
        super().experiment_started(
            experiment_name,
            experiment_path,
            searcher_str,
            scheduler_str,
            total_num_samples,
            tensorboard_path,
            **kwargs,
        )

    def _redraw(self, look: Look, args: Sequence[str], force: bool) -> bool:
        if self._block is None or not self._block.possible:
            return False
        if force:
            self._block.clear()
            return False
        if time.time() - self._start_time >= _FIRST_BLOCK_S and self._heard:
            room = max(3, _display.height() - 12)
            rows = max(1, room // 4) if sum(look.counts().values()) > room else room
            lines = self._report(look, args, False, rows, _display.width())
            self._block.show(["", *"\n".join(lines).split("\n")])
        return True

    def _print_heartbeat(self, trials: Sequence[Trial], *args: Any, force: bool = False) -> None:
        look = Listed(trials) if self._running is None else self._running
        many = sum(look.counts().values()) > _FEW_TRIALS
        columns = _display.width() if _display.on_terminal() else None
        lines = self._report(look, args, force, _FEW_ROWS if many else _FEW_TRIALS, columns)
        if force:
            lines += self._failures(look, columns)
        self._say("", *lines)


class TrainReporter(ProgressReporter):
    """Reports on one training instead of many trials."""

    _intermediate_result_verbosity = AirVerbosity.DEFAULT
    _addressing_tmpl = "Training"

    def _print_heartbeat(self, trials: Sequence[Trial], *args: Any, force: bool = False) -> None:
        """A training's results say how it goes."""


# --- parameters and tables -----------------------------------------------------------


def _tuned(node: dict[str, Any], path: str = "") -> Iterable[str]:
    """Yields the paths of a space's domains and grids."""
    for key, value in node.items():
        if isinstance(value, Domain) or (isinstance(value, dict) and "grid_search" in value):
            yield f"{path}{key}"
        elif isinstance(value, dict):
            yield from _tuned(value, f"{path}{key}/")


def _evaluated(trials: Iterable[Trial]) -> list[str]:
    keys: dict[str, None] = {}
    for trial in trials:
        keys.update(dict.fromkeys(map(str, trial.evaluated_params or {})))
    return list(keys)


def _parameter(trial: Trial, key: str) -> Any:
    found = (trial.evaluated_params or {}).get(key)
    if found is None:
        found = unflattened_lookup(key, trial.config or {}, default=None)
    return found


def _two_columns(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """One name above names and values."""
    left = max(len(name) for name, _ in rows)
    right = max(len(value) for _, value in rows)
    size = max(left + 3 + right, len(title))
    texts = [[f"{name}{value.rjust(size - len(name))}"] for name, value in rows]
    return boxed([title], texts)


def _fitting(
    head: list[str], rows: list[list[str]], params: int, needed: int, columns: int | None
) -> list[str]:
    """A table that leaves columns out until it fits.

    Args:
        head, rows: The whole table: name, status, parameters, metrics.
        params: Number of parameters.
        needed: The column that stays: the metric.
        columns: How wide it may be; None: as it is.
    """
    sizes = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    first = 2 + params
    # Two parameters, and what is optimised, tell most.
    order = [*range(first - 1, 3, -1), *range(len(head) - 1, first - 1, -1), 3, 2]
    left_out: set[int] = set()
    for column in order:
        width = sum(s for i, s in enumerate(sizes) if i not in left_out)
        if columns is None or width + 3 * (len(sizes) - len(left_out)) + 1 <= columns:
            break
        if column != needed and column < len(head):
            left_out.add(column)
    kept = [i for i in range(len(head)) if i not in left_out]
    table = boxed(
        [head[i] for i in kept],
        [[row[i] for i in kept] for row in rows],
        right=range(2, len(kept)),
    )
    missing = sum(1 for i in left_out if i < first)
    more = f"{missing} more parameter{'s' if missing > 1 else ''}"
    return [table, more] if missing else [table]


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
