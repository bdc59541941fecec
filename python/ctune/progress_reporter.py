"""Reporters of the older kind: status, a table of trials and their errors, as one text.

run() uses them with RAY_AIR_NEW_OUTPUT=0 and in notebooks, and then takes one of the user's as
`progress_reporter`. Otherwise those of `ctune.experimental.output` speak.
"""

from __future__ import annotations

import datetime
import time
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha1
from importlib import import_module
from typing import Any

from ctune import _display
from ctune._display import Listed, Look, Running
from ctune.callback import Callback
from ctune.experiment.trial import DEBUG_PRINT_INTERVAL, Trial
from ctune.logger.logger import pretty_print
from ctune.result import (
    AUTO_RESULT_KEYS,
    CONFIG,
    DEFAULT_METRIC,
    DONE,
    EXPERIMENT_TAG,
    NODE_IP,
    PID,
    TRAINING_ITERATION,
    TRIAL_ID,
)
from ctune.utils.log import Verbosity, has_verbosity, in_notebook
from ctune.utils.util import flatten_dict, unflattened_lookup

__all__ = [
    "CLIReporter",
    "IS_NOTEBOOK",
    "JupyterNotebookReporter",
    "ProgressReporter",
    "RemoteReporterMixin",
    "SKIP_RESULTS_IN_REPORT",
    "TrialProgressCallback",
    "TuneReporterBase",
]

IS_NOTEBOOK = in_notebook()
SKIP_RESULTS_IN_REPORT = {CONFIG, DONE, EXPERIMENT_TAG, TRIAL_ID}

_ORDER = (Trial.RUNNING, Trial.PAUSED, Trial.PENDING, Trial.TERMINATED, Trial.ERROR)


class ProgressReporter:
    """Base class of what reports on a run as it goes on.

    Override `should_report` and `report`; run() calls them a few times a second at most, and
    less often if they take long. An exception that one raises ends the run.

    Example:
        >>> class Bell(ProgressReporter):
        ...     def should_report(self, trials, done=False):
        ...         return done
        ...
        ...     def report(self, trials, done, *sys_info):
        ...         print(f"{len(trials)} trials have ended.")
    """

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Called before the first trial starts.

        Args:
            start_time: Seconds since the epoch.
            total_samples: Number of trials to come.
            metric, mode: As run() was given them.
        """

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """Returns whether `report` should be called now.

        Args:
            trials: All trials of the run.
            done: Whether the run has ended.
        """
        raise NotImplementedError(f"{type(self).__name__}.should_report() is missing.")

    def report(self, trials: list[Trial], done: bool, *sys_info: Any) -> None:
        """Reports.

        Args:
            trials: All trials of the run.
            done: Whether the run has ended.
            *sys_info: Texts about the scheduler and about the resources in use.
        """
        raise NotImplementedError(f"{type(self).__name__}.report() is missing.")


class _SummaryTypes:
    """A class attribute that needs NumPy, which is loaded when somebody asks."""

    def __get__(self, instance: object, owner: type[Any]) -> set[type[Any]]:
        return _display.summary_types()


class TuneReporterBase(ProgressReporter):
    """What the reporters here have in common.

    Args:
        metric_columns: Keys of results to show, nested ones as "a/b": a list, or a dict of
            key -> name of the column. Default: the usual ones and some of the user's. Columns
            without any value are left out.
        parameter_columns: Parameters to show, likewise. Default: all that are sampled.
        total_samples: Number of trials. Default: what run() knows.
        max_progress_rows: Rows of the table of trials.
        max_error_rows: Rows of the table of errors.
        max_column_length: Characters of names and values; longer ones are cut.
        max_report_frequency: Seconds between two reports. The last one comes in any case.
        infer_limit: How many of the user's metrics to show if `metric_columns` is not given.
        print_intermediate_tables: Whether the table of trials is part of each report, or only
            of the last one. Default: with `verbose` of 3.
        metric, mode: What is optimised, and "min" or "max". Default: those of run().
        sort_by_metric: Whether the table begins with the best trials of each status.
    """

    DEFAULT_COLUMNS = _display.DEFAULT_COLUMNS
    # Types of the values that are found to be the user's metrics.
    VALID_SUMMARY_TYPES = _SummaryTypes()

    # Answers for a run, which knows the trials without walking over them.
    _running: Running | None = None

    def __init__(
        self,
        *,
        metric_columns: list[str] | dict[str, str] | None = None,
        parameter_columns: list[str] | dict[str, str] | None = None,
        total_samples: int | None = None,
        max_progress_rows: int = 20,
        max_error_rows: int = 20,
        max_column_length: int = 20,
        max_report_frequency: int = 5,
        infer_limit: int = 3,
        print_intermediate_tables: bool | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sort_by_metric: bool = False,
    ) -> None:
        self._total_samples = total_samples
        self._metrics_override = metric_columns is not None
        if metric_columns is None:
            metric_columns = dict(self.DEFAULT_COLUMNS)
        self._metric_columns = _columns("metric_columns", metric_columns)
        self._parameter_columns = _columns("parameter_columns", parameter_columns or [])
        self._max_progress_rows = max_progress_rows
        self._max_error_rows = max_error_rows
        self._max_column_length = max_column_length
        self._max_report_frequency = max_report_frequency
        self._infer_limit = infer_limit
        self._print_intermediate_tables = (
            has_verbosity(Verbosity.V3_TRIAL_DETAILS)
            if print_intermediate_tables is None
            else print_intermediate_tables
        )
        self._own = (metric, mode)
        self._metric = metric
        self._mode = mode
        self._sort_by_metric = sort_by_metric
        self._start_time = time.time()
        self._last_report_time = 0.0

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Called before the first trial starts.

        Raises:
            ValueError: The reporter has a metric or mode of its own, and run() has, too.
        """
        self.set_start_time(start_time)
        if total_samples is not None:
            self.set_total_samples(total_samples)
        self.set_search_properties(metric, mode)
        self._last_report_time = 0.0
        if self._sort_by_metric and not (self._metric and self._mode):
            warnings.warn(
                "sort_by_metric has no effect without a metric and a mode: give them to "
                f"{type(self).__name__} or to run().",
                stacklevel=2,
            )

    def set_search_properties(self, metric: str | None, mode: str | None) -> bool:
        """Takes what is optimised. Returns True.

        Raises:
            ValueError: The reporter was made with a metric or a mode.
        """
        if any(self._own) and (metric or mode):
            raise ValueError(
                f"metric, mode: were given to {type(self).__name__} and to the run. Give them to "
                "one of the two only."
            )
        if metric:
            self._metric = metric
        if mode:
            self._mode = mode
        if self._metric is None and self._mode:
            self._metric = DEFAULT_METRIC
        return True

    def set_total_samples(self, total_samples: int) -> None:
        """Sets the number of trials."""
        self._total_samples = total_samples

    def set_start_time(self, timestamp: float | None = None) -> None:
        """Sets the start, in seconds since the epoch. Default: now."""
        self._start_time = time.time() if timestamp is None else timestamp

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """Returns True if `done`, or if the last time was `max_report_frequency` ago."""
        now = time.time()
        if done or now - self._last_report_time >= self._max_report_frequency:
            self._last_report_time = now
            return True
        return False

    def add_metric_column(self, metric: str, representation: str | None = None) -> None:
        """Adds a key of results to the table.

        Args:
            metric: The key.
            representation: Name of the column. Default: the key.

        Raises:
            ValueError: It is there already, or has another name although columns are a list.
        """
        self._metrics_override = True
        _add("metric", self._metric_columns, metric, representation)

    def add_parameter_column(self, parameter: str, representation: str | None = None) -> None:
        """Adds a parameter to the table.

        Args:
            parameter: Its path, nested as "a/b".
            representation: Name of the column. Default: the path.

        Raises:
            ValueError: It is there already, or has another name although columns are a list.
        """
        _add("parameter", self._parameter_columns, parameter, representation)

    def _look(self, trials: list[Trial]) -> Look:
        running = self._running
        if running is not None and trials is running.driver.trials:
            return running
        return Listed(trials)

    def _progress_str(
        self,
        trials: list[Trial],
        done: bool,
        *sys_info: Any,
        fmt: str = "psql",
        delim: str = "\n",
    ) -> str:
        """Returns the whole report.

        Args:
            trials: All trials.
            done: Whether it is the last report.
            *sys_info: Further lines.
            fmt: Format of tables, as `tabulate` knows it.
            delim: What separates lines.
        """
        look = self._look(trials)
        passed = _clock(time.time() - self._start_time)
        lines = [
            "== Status ==",
            f"Current time: {_display.now()} (running for {passed})",
            *map(str, sys_info),
            *self._best(look),
        ]
        if has_verbosity(Verbosity.V1_EXPERIMENT):
            lines += self._numbers(trials, look)
            if self._has_table(done):
                lines += self._table(look, fmt)
            lines += self._failures(look, fmt)
        return delim.join(lines) + delim

    def _has_table(self, done: bool) -> bool:
        return self._print_intermediate_tables or (done and has_verbosity(Verbosity.V2_TRIAL_NORM))

    def _best(self, look: Look) -> list[str]:
        if not self._metric or not self._mode:
            return []
        best = look.best(self._metric, self._mode)
        if best is None:
            return []
        value = flatten_dict(best.last_result).get(self._metric)
        params: Any = best.config
        if self._parameter_columns:
            params = {
                key: unflattened_lookup(key, best.config, default=None)
                for key in self._parameter_columns
            }
        return [
            f"Current best trial: {best.trial_id} with {self._metric}={value} and "
            f"parameters={params}"
        ]

    def _numbers(self, trials: list[Trial], look: Look) -> list[str]:
        counts = look.counts()
        number = sum(counts.values())
        if not number:
            return []
        total = "" if self._total_samples is None else _display.total_text(self._total_samples)
        states = ", ".join(f"{counts[s]} {s}" for s in sorted(counts) if counts[s])
        where = getattr(trials[0], "local_experiment_path", None)
        lines = [] if where is None else [f"Result logdir: {where}"]
        return [*lines, f"Number of trials: {number}{total and '/' + total} ({states})"]

    def _table(self, look: Look, fmt: str) -> list[str]:
        counts = look.counts()
        shown, hidden = self._share_rows(counts)
        trials = [t for s in _ORDER for t in self._first(look, s, counts.get(s, 0), shown[s])]
        if not trials:
            return []
        results = [flatten_dict(trial.last_result or {}) for trial in trials]
        columns = dict(_pairs(self._metric_columns))
        if not self._metrics_override:
            columns.update({key: key for key in self._infer(results)})
        columns = {k: v for k, v in columns.items() if any(r.get(k) is not None for r in results)}
        params = dict(_pairs(self._parameter_columns)) or {
            key: key for key in sorted({k for t in trials for k in t.evaluated_params or {}})
        }
        size = self._max_column_length
        head = ["Trial name", "status", "loc"]
        head += [_wrapped(str(name), size) for name in (*params.values(), *columns.values())]
        rows = [
            [
                str(trial),
                trial.status,
                _place(result),
                *(_shortened(_parameter(trial, key), size) for key in params),
                *(_value(result.get(key), size) for key in columns),
            ]
            for trial, result in zip(trials, results, strict=True)
        ]
        lines = [_tabulate(rows, head, fmt)]
        if hidden:
            states = ", ".join(f"{n} {s}" for s, n in hidden.items())
            lines.append(f"... {sum(hidden.values())} more trials not shown ({states})")
        return lines

    def _share_rows(self, counts: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        """Returns how many trials of each status are shown, and how many are not.

        Rows are dealt out one by one, so that no status takes them all.
        """
        shown = dict.fromkeys(_ORDER, 0)
        free = self._max_progress_rows
        while free > 0:
            unseen = [s for s in _ORDER if shown[s] < counts.get(s, 0)]
            if not unseen:
                break
            for status in unseen[:free]:
                shown[status] += 1
            free -= len(unseen)
        hidden = {s: counts.get(s, 0) - shown[s] for s in _ORDER}
        return shown, {s: n for s, n in hidden.items() if n}

    def _first(self, look: Look, status: str, number: int, limit: int) -> list[Trial]:
        if not limit:
            return []
        if not (self._sort_by_metric and self._metric and self._mode):
            return look.trials_with(status, limit)
        metric, sign = self._metric, -1.0 if self._mode == "max" else 1.0

        def rank(trial: Trial) -> tuple[bool, float]:
            value = flatten_dict(trial.last_result or {}).get(metric)
            return (False, sign * value) if _display.is_number(value) else (True, 0.0)

        return sorted(look.trials_with(status, number), key=rank)[:limit]

    def _infer(self, results: Iterable[dict[str, Any]]) -> list[str]:
        hidden = {*SKIP_RESULTS_IN_REPORT, *AUTO_RESULT_KEYS}
        types = self.VALID_SUMMARY_TYPES
        return _display.user_metrics(results, hidden, self._infer_limit, types.__contains__)

    def _failures(self, look: Look, fmt: str) -> list[str]:
        number, trials = look.failed(self._max_error_rows)
        if not number:
            return []
        lines = [f"Number of errored trials: {number}"]
        if number > len(trials):
            lines.append(f"The first {len(trials)} of them ({number - len(trials)} more):")
        rows: list[list[str]] = []
        for trial in trials:
            mark = "*" if trial.status == Trial.TERMINATED else ""
            rows.append([str(trial), f"{trial.num_failures}{mark}", str(trial.error_file or "")])
        head = ["Trial name", "# failures", "error file"]
        lines.append(_tabulate(rows, head, fmt, colalign=("left", "right", "left")))
        if any(row[1].endswith("*") for row in rows):
            lines.append("* ended well when it was tried again")
        return lines


class RemoteReporterMixin:
    """Lets the output of a reporter be shown elsewhere: a queue takes what is displayed."""

    _queue: Any = None

    @property
    def output_queue(self) -> Any:
        """What takes texts with `put`, or None."""
        return self._queue

    @output_queue.setter
    def output_queue(self, value: Any) -> None:
        self._queue = value

    def display(self, string: str) -> None:
        """Shows a text that came out of the queue."""


class CLIReporter(TuneReporterBase):
    """Prints reports.

    Args: those of `TuneReporterBase`.
    """

    def _print(self, msg: str) -> None:
        """Prints one report. Override it to send reports elsewhere."""
        _display.say(msg)

    def report(self, trials: list[Trial], done: bool, *sys_info: Any) -> None:
        """Prints a report on all trials."""
        self._print(self._progress_str(trials, done, *sys_info))


class JupyterNotebookReporter(TuneReporterBase, RemoteReporterMixin):
    """Shows reports as HTML in a notebook.

    Args:
        overwrite: Whether there is one output, which is updated; or one for each report. Other
            outputs of the cell stay.
        metric_columns, parameter_columns, total_samples, max_progress_rows, max_error_rows,
            max_column_length, max_report_frequency, infer_limit, print_intermediate_tables,
            metric, mode, sort_by_metric: As for `TuneReporterBase`. There is always a table.
    """

    def __init__(
        self,
        *,
        overwrite: bool = True,
        metric_columns: list[str] | dict[str, str] | None = None,
        parameter_columns: list[str] | dict[str, str] | None = None,
        total_samples: int | None = None,
        max_progress_rows: int = 20,
        max_error_rows: int = 20,
        max_column_length: int = 20,
        max_report_frequency: int = 5,
        infer_limit: int = 3,
        print_intermediate_tables: bool | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sort_by_metric: bool = False,
    ) -> None:
        super().__init__(
            metric_columns=metric_columns,
            parameter_columns=parameter_columns,
            total_samples=total_samples,
            max_progress_rows=max_progress_rows,
            max_error_rows=max_error_rows,
            max_column_length=max_column_length,
            max_report_frequency=max_report_frequency,
            infer_limit=infer_limit,
            print_intermediate_tables=print_intermediate_tables,
            metric=metric,
            mode=mode,
            sort_by_metric=sort_by_metric,
        )
        if not in_notebook():
            warnings.warn(
                "JupyterNotebookReporter writes HTML, but this is no notebook. Give a "
                "CLIReporter as progress_reporter to see text.",
                stacklevel=2,
            )
        self._overwrite = overwrite
        self._handle: Any = None

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """As `TuneReporterBase.setup`; a new run gets a new output."""
        super().setup(*args, **kwargs)
        self._handle = None

    def report(self, trials: list[Trial], done: bool, *sys_info: Any) -> None:
        """Shows a report on all trials."""
        text = self._progress_html(trials, done, *sys_info)
        if self.output_queue is not None:
            self.output_queue.put(text)
        else:
            self.display(text)

    def display(self, string: str) -> None:
        """Shows HTML, in the output that is there if there is to be one only.

        Raises:
            ImportError: IPython is missing.
        """
        self._handle = _show_html(string, self._handle if self._overwrite else None)

    def _progress_html(self, trials: list[Trial], done: bool, *sys_info: Any) -> str:
        look = self._look(trials)
        facts = [
            ("Current time:", _display.now()),
            ("Running for:", _clock(time.time() - self._start_time)),
        ]
        sections = [("Status", _tabulate(facts, (), "html"))]
        sections.append(("System", "<br>".join(_escaped(str(info)) for info in sys_info)))
        messages = [*self._best(look), *self._numbers(trials, look)]
        sections.append(("Trials", "<br>".join(map(_escaped, messages))))
        table = self._table(look, "html")
        failures = self._failures(look, "html")
        if failures:
            sections.append(("Errors", "<br>".join(failures)))
        columns = "".join(
            f'<div style="padding-right: 2em"><h4>{title}</h4>{body}</div>'
            for title, body in sections
        )
        return (
            '<div class="tuneStatus"><div style="display: flex; flex-wrap: wrap">'
            f'{columns}</div><div style="overflow-x: auto">{"<br>".join(table)}</div></div>'
        )


class TrialProgressCallback(Callback):
    """Tells of results and of trials that end, with RAY_AIR_NEW_OUTPUT=0 and in notebooks.

    With `verbose` of 3 whole results, with 2 one line; of each trial at most every 5 seconds, and
    in any case when it ends.

    Args:
        metric: The result key that the line shows. Default: all of the user's.
        progress_metrics: Result keys to show instead.
    """

    def __init__(
        self, metric: str | None = None, progress_metrics: Collection[str] | None = None
    ) -> None:
        self._metric = metric
        self._progress_metrics = set(progress_metrics or ())
        self._last_print: dict[Trial, float] = {}
        self._completed: set[Trial] = set()
        self._newest: dict[Trial, dict[str, Any]] = {}
        self._handle: Any = None

    @property
    def _deaf_to(self) -> tuple[str, ...]:
        """Hooks that a run need not call, because nothing would be said."""
        if has_verbosity(Verbosity.V2_TRIAL_NORM) or type(self) is not TrialProgressCallback:
            return ()
        return ("on_trial_result", "on_trial_error", "on_trial_complete")

    def _print(self, msg: str) -> None:
        """Prints a text. Override it to send texts elsewhere."""
        _display.say(msg)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Tells of a result."""
        self.log_result(trial, result, error=False)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Tells of an error, and of the last result."""
        self.log_result(trial, trial.last_result, error=True)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Says that a trial has completed, unless its last result has said so."""
        if trial not in self._completed and not in_notebook():
            if has_verbosity(Verbosity.V3_TRIAL_DETAILS):
                self._print(f"Trial {trial} completed.")
            elif has_verbosity(Verbosity.V2_TRIAL_NORM):
                self._print(self._line(trial, trial.last_result) + " This trial completed.")
        self._completed.discard(trial)
        self._last_print.pop(trial, None)

    def log_result(self, trial: Trial, result: dict[str, Any], error: bool = False) -> None:
        """Tells of a result, if it is time for that.

        Args:
            trial: Whose it is.
            result: The result.
            error: Whether the trial has failed.
        """
        done = bool(result.get(DONE)) and trial not in self._completed
        now = time.time()
        due = now - self._last_print.get(trial, -1e9) > DEBUG_PRINT_INTERVAL
        if not (done or error or due):
            return
        self._last_print[trial] = now
        if in_notebook():
            self.display_result(trial, result, error, done)
        else:
            self.print_result(trial, result, error, done)
        if done:
            self._completed.add(trial)

    def print_result(self, trial: Trial, result: dict[str, Any], error: bool, done: bool) -> None:
        """Prints a result: whole at level 3, as a line at level 2.

        Args:
            trial: Whose it is.
            result: The result.
            error: Whether the trial has failed.
            done: Whether it is its last result.
        """
        if has_verbosity(Verbosity.V3_TRIAL_DETAILS):
            self._print(f"Result for {trial}:")
            text = pretty_print({k: v for k, v in result.items() if v is not None}, {"hist_stats"})
            self._print("".join(f"  {line}\n" for line in text.rstrip("\n").split("\n")))
            if done:
                self._print(f"Trial {trial} completed.")
        elif has_verbosity(Verbosity.V2_TRIAL_NORM):
            if error:
                self._print(
                    f"The trial {trial} errored with parameters={trial.config}. "
                    f"Error file: {trial.error_file}"
                )
                return
            self._print(self._line(trial, result) + (" This trial completed." if done else ""))

    def _line(self, trial: Trial, result: dict[str, Any]) -> str:
        if self._metric is not None and _display.is_number(result.get(self._metric)):
            shown = f"{self._metric}={result[self._metric]:.2f}"
        else:
            wanted = self._shown_keys(result)
            shown = ",".join(f"{key}={result[key]}" for key in wanted if key in result)
        return f"Trial {trial} reported {shown} with parameters={trial.config}."

    def _shown_keys(self, result: Mapping[str, Any]) -> list[str]:
        if self._progress_metrics:
            return sorted(self._progress_metrics)
        hidden = {*SKIP_RESULTS_IN_REPORT, *AUTO_RESULT_KEYS}
        return [key for key in result if key not in hidden]

    def generate_trial_table(
        self, trials: Mapping[Trial, dict[str, Any]], columns: Sequence[str]
    ) -> str:
        """Returns the newest results as a table in HTML.

        Args:
            trials: Trial -> result.
            columns: The keys to show.
        """
        rows = [
            [str(trial), *(_value(result.get(key), 60) for key in columns)]
            for trial, result in trials.items()
        ]
        return _tabulate(rows, ["Trial name", *columns], "html")

    def display_result(self, trial: Trial, result: dict[str, Any], error: bool, done: bool) -> None:
        """Shows the newest result of each trial in a notebook, in one table; see `print_result`."""
        if not has_verbosity(Verbosity.V2_TRIAL_NORM):
            return
        self._newest.pop(trial, None)
        self._newest[trial] = result
        while len(self._newest) > 100:  # what has reported least lately goes
            del self._newest[next(iter(self._newest))]
        keys = {key: None for r in self._newest.values() for key in self._shown_keys(r)}
        table = self.generate_trial_table(self._newest, [TRAINING_ITERATION, *keys])
        text = f'<div class="trialProgress"><h4>Newest results</h4>{table}</div>'
        self._handle = _show_html(text, self._handle)


# --- columns and cells ---------------------------------------------------------------


def _columns(parameter: str, given: Any) -> list[str] | dict[str, str]:
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, (list, tuple)):
        return list(given)
    raise ValueError(
        f"{parameter}: must be a list of keys, or a dict of key -> name of the column, got "
        f"{given!r:.80}."
    )


def _add(
    kind: str, columns: list[str] | dict[str, str], key: str, representation: str | None
) -> None:
    if key in columns:
        raise ValueError(f"{kind}: there is a column for {key!r} already.")
    if isinstance(columns, dict):
        columns[key] = representation or key
    elif representation is not None and representation != key:
        raise ValueError(
            f"representation: columns were given as a list, so that {key!r} cannot be called "
            f"{representation!r}. Give a dict to {kind}_columns to name columns."
        )
    else:
        columns.append(key)


def _pairs(columns: list[str] | dict[str, str]) -> Iterable[tuple[str, str]]:
    return columns.items() if isinstance(columns, dict) else ((c, c) for c in columns)


def _place(result: Mapping[str, Any]) -> str:
    """The machine and process of a trial, as its newest result says."""
    where, pid = result.get(NODE_IP), result.get(PID)
    return "" if where is None else f"{where}:{pid}"


def _parameter(trial: Trial, key: str) -> Any:
    found = (trial.evaluated_params or {}).get(key)
    if found is None:
        found = unflattened_lookup(key, trial.config or {}, default=None)
    return found


def _value(value: Any, limit: int) -> Any:
    if value is None or _display.is_summary_type(type(value)):
        return value
    return _display.cell(value, limit)


def _shortened(value: Any, limit: int) -> Any:
    """Cuts a long parameter; four digits tell apart those that begin alike."""
    if value is None or isinstance(value, bool) or _display.is_summary_type(type(value)):
        return value
    text = _display.cell(value, 10**6)
    if len(text) <= limit:
        return text
    return f"{text[: max(1, limit - 5)]}_{sha1(text.encode()).hexdigest()[:4]}"


def _wrapped(name: str, limit: int) -> str:
    """Breaks a long name into two lines."""
    if len(name) <= limit:
        return name
    name = _display.tail(name, 2 * limit)
    at = max(name.rfind(mark, 0, limit) for mark in "_/ .") + 1
    at = at if 0 < at and len(name) - at <= limit else limit
    return f"{name[:at]}\n{name[at:]}"


def _tabulate(rows: Sequence[Sequence[Any]], head: Sequence[str], fmt: str, **more: Any) -> str:
    from tabulate import tabulate

    text: str = tabulate(rows, headers=head, tablefmt=fmt, showindex=False, **more)
    return text


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)


def _clock(seconds: float) -> str:
    passed = datetime.timedelta(seconds=max(0.0, seconds))
    days = f"{passed.days} days, " if passed.days else ""
    rest = seconds - passed.days * 86400
    return f"{days}{int(rest) // 3600:02d}:{int(rest) // 60 % 60:02d}:{rest % 60:05.2f}"


def _show_html(text: str, handle: Any) -> Any:
    """Shows HTML in the output of a handle, or in a new one. Returns the handle."""
    try:
        ipython: Any = import_module("IPython.display")
    except ImportError as error:
        raise ImportError(
            "JupyterNotebookReporter needs IPython: pip install ipython. Or use a CLIReporter."
        ) from error
    if handle is None:
        return ipython.display(ipython.HTML(text), display_id=True)
    handle.update(ipython.HTML(text))
    return handle
