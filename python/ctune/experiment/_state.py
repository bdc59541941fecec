"""What an experiment leaves on disk of its trials: written, read, and put together again.

The file `experiment_state-<session>.json` is one JSON object: `trial_data` is a list of pairs
of JSON texts (what a trial is, how it went), `runner_data` and `stats` tell of the run. It
is the reference's form; `ctune` holds the version of what is ours in it. Objects that JSON
lacks stand in it as `ctune.utils.serialization` says. The head, all but `trial_data`, is the
first line. Of a pair, these keys are ours:

- `bundles`, `strategy`: what the trial asks for. `placement_group_factory` says the same as
  a pickle, `storage` and `checkpoint_manager` say where files are, all as
  `types.SimpleNamespace`: the reference opens no file without them.
- `metric_n_steps`: the newest 10 values only; the newest 5 are among them.
- `checkpoints`: pairs of directory name and metrics, oldest first; `checkpoint_config`.
- `{"_type": "CTUNE_LARGE"}` in place of a pickle above 64 KiB: `params.pkl`, or the last
  line of `result.json`, has the object.

A run that was killed leaves an old file or none. What the file does not know is taken from the
trials' own directories then.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import pickle
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from numbers import Number
from types import SimpleNamespace
from typing import Any, Protocol

from ctune._checkpoint import read_progress
from ctune._config import CheckpointConfig
from ctune._ctune import json_text
from ctune._encode import dumps
from ctune._files import LOCAL, Files, pending_of
from ctune._unpickle import read_pickle
from ctune.result import (
    CHECKPOINT_DIR_NAME,
    CONFIG,
    DEBUG_METRICS,
    DONE,
    EXPR_ERROR_FILE,
    EXPR_ERROR_PICKLE_FILE,
    EXPR_PARAM_FILE,
    EXPR_PARAM_PICKLE_FILE,
    EXPR_PROGRESS_FILE,
    EXPR_RESULT_FILE,
    TIMESTAMP,
    TRAINING_ITERATION,
    TRIAL_ID,
)
from ctune.utils.serialization import FALLBACK, TuneFunctionEncoder, from_fallback, is_fallback
from ctune.utils.util import flatten_dict, unflatten_dict

__all__ = [
    "Stored",
    "checkpoints_of",
    "of_folder",
    "read_results",
    "read_state",
    "resolve",
    "state_at",
    "state_file",
    "write_state",
]

logger = logging.getLogger("ctune")

VERSION = 1
LARGE = "CTUNE_LARGE"
_LARGE_BYTES = 1 << 16
_MOST_KNOWN = 256
_DATE = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"
_STATE_NAME = re.compile(r"experiment_state-(.+)\.json")
_TRIAL_NAME = re.compile(
    rf"(?P<name>.+?)_(?P<id>[0-9a-f]{{5,8}}_\d{{5,}}|[0-9a-f]{{8}})(?:_(?P<tag>.*))?_{_DATE}"
)
_TRIAL_FILES = (EXPR_PARAM_FILE, EXPR_RESULT_FILE, EXPR_PROGRESS_FILE, EXPR_ERROR_FILE)

_LIST = ', "trial_data": [\n'  # behind the head, which is the first line

JournalEnd = tuple[int, int]  # number and size of the last segment
Checkpoints = list[tuple[str, dict[str, Any], int]]


@dataclass
class Stored:
    """A trial as it stands on disk.

    Attributes:
        path: Its directory; None if unknown.
        state: What it is, as in the first text of its pair.
        run: How it went, as in the second.
        large: Whether objects were left out for their size.
        files: What reads its directory.
    """

    path: str | None
    state: dict[str, Any]
    run: dict[str, Any] = field(default_factory=dict)
    large: bool = False
    files: Files = LOCAL


# --- Writing ---


class _Writable(Protocol):
    def _stored(self) -> Stored: ...


class StateEncoder(TuneFunctionEncoder):
    """Writes the same object once, leaves out large ones, and never fails.

    One is used for all trials of a file: they share the objects of their configs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[Any, Any]] = {}
        self._requests: dict[str, str] = {}

    def default(self, obj: Any) -> Any:
        """Returns the form in which an object is written."""
        known = self._known.get(id(obj))
        if known is None:
            try:
                form = super().default(obj)
            except Exception:  # what cannot be pickled
                form = _text(obj)
            if is_fallback(form) and len(form["value"]) > 2 * _LARGE_BYTES:
                form = {"_type": LARGE}
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            # The object is kept, so that no other one gets its id.
            known = self._known[id(obj)] = (obj, form)
        return known[1]

    def request(self, bundles: list[dict[str, float]], strategy: str) -> str:
        """Returns the pickle of what a trial asks for; most trials ask for the same."""
        key = f"{bundles} {strategy}"
        if key not in self._requests:
            total = {name: sum(b.get(name, 0) for b in bundles) for b in bundles for name in b}
            asked = SimpleNamespace(bundles=bundles, strategy=strategy, required_resources=total)
            self._requests[key] = pickle.dumps(asked, 4).hex()
        return self._requests[key]

    def text(self, value: Any) -> str:
        """Returns `value` as JSON; keys that JSON lacks make a pickle of their dict."""
        text = json_text(value, self.default)
        if text is not None:
            return text
        try:
            return self.encode(value)
        except (TypeError, ValueError, RecursionError):
            return self.encode(self._tame(value, 0))

    def _tame(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict) and all(isinstance(key, str) for key in value) and depth < 100:
            return {key: self._tame(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)) and depth < 100:
            return [self._tame(item, depth + 1) for item in value]
        if isinstance(value, (dict, list, tuple)):
            try:
                return {"_type": FALLBACK, "value": dumps(value).hex()}
            except Exception:
                return _text(value)
        return value


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return object.__repr__(value)


def pair_of(stored: Stored, encoder: StateEncoder) -> tuple[str, str]:
    """Returns a trial's two texts."""
    state, run = dict(stored.state), dict(stored.run)
    state["placement_group_factory"] = encoder.request(state["bundles"], state["strategy"])
    checkpoints = run["checkpoints"]
    if stored.path is not None:
        name = os.path.basename(stored.path)
        state["storage"] = _foreign(trial_fs_path=stored.path, trial_dir_name=name)
        kept = [
            SimpleNamespace(
                checkpoint=SimpleNamespace(path=os.path.join(stored.path, name)), metrics=metrics
            )
            for name, metrics in checkpoints
        ]
        run["checkpoint_manager"] = _foreign(
            best_checkpoint_results=kept, latest_checkpoint_result=kept[-1] if kept else None
        )
    return encoder.text(state), encoder.text(run)


def _foreign(**attributes: Any) -> Any:
    """Returns what the reference reads as an object with these attributes."""
    try:
        return {"_type": FALLBACK, "value": dumps(SimpleNamespace(**attributes)).hex()}
    except Exception:  # metrics that cannot be pickled
        return None


def state_file(directory: str, session: str) -> str:
    """Returns the path of a session's state file."""
    return os.path.join(directory, f"experiment_state-{session}.json")


def write_state(
    directory: str,
    session: str,
    trials: Iterable[_Writable],
    *,
    start_time: float | None = None,
    metric: str | None = None,
    stands_in: str | None = None,
    journal: JournalEnd | None = None,
    known: str | None = None,
) -> str:
    """Writes the state file of a session; it appears whole or not at all.

    Args:
        directory: The experiment's.
        session: When the run started, as "2026-11-23_21-02-12".
        trials: All of them. None at the start of a run says that directories of earlier
            runs are not part of it.
        start_time: The same in seconds since the epoch; default: now.
        metric: What the run optimizes.
        stands_in: Where the experiment will stand in the end. Default: `directory`.
        journal: Up to where the journal is in it.
        known: A state file that says the same of the trials; see `state_at`.

    Returns:
        The file's path.

    Raises:
        OSError: Writing failed; an older file is as it was.
    """
    started = time.time() if start_time is None else start_time
    path = state_file(directory, session)
    aside = f"{path}.part"
    home = stands_in or directory
    encoder = StateEncoder()
    head = {
        "ctune": {"version": VERSION, "directory": home, "journal": journal},
        "runner_data": {"_session_str": session, "_start_time": started, "_metric": metric},
        "stats": {"start_time": started},
    }
    try:
        with open(aside, "w", encoding="utf-8") as file:
            file.write(json.dumps(head)[:-1] + _LIST)
            if known is not None:
                with open(known, encoding="utf-8") as before:
                    before.readline()
                    shutil.copyfileobj(before, file)
                trials = ()
            comma = ""
            for trial in trials:
                stored = trial._stored()
                if stored.path is not None and os.path.dirname(stored.path) != home:
                    # One run may have several experiments, side by side.
                    stored.state["relative_logdir"] = os.path.relpath(stored.path, home)
                file.write(comma + encoder.text(pair_of(stored, encoder)))
                comma = ",\n"
            if known is None:
                file.write("\n]}\n")
        os.replace(aside, path)
    except BaseException:
        if os.path.exists(aside):
            os.remove(aside)
        raise
    return path


def state_at(directory: str, journal: JournalEnd, stands_in: str | None = None) -> str | None:
    """Returns the newest state file if it tells all that the journal does.

    Args:
        directory: The experiment's, as in `write_state`.
        journal: Where its journal ends.
        stands_in: As in `write_state`.
    """
    names = filter(_STATE_NAME.fullmatch, os.listdir(directory))
    newest = max(names, default=None)
    if newest is None:
        return None
    path = os.path.join(directory, newest)
    with open(path, encoding="utf-8") as file:
        head = file.readline()
    try:
        own = json.loads(head.removesuffix(_LIST) + "}")["ctune"]
    except (ValueError, KeyError, TypeError):
        return None
    known = own.get("version"), own.get("directory"), own.get("journal")
    return path if known == (VERSION, stands_in or directory, list(journal)) else None


# --- Reading ---


def read_state(path: str, files: Files = LOCAL) -> tuple[str, list[Stored]]:
    """Reads an experiment.

    Args:
        path: Its directory, or one state file. Of several files in a directory the newest
            by name counts.
        files: What reads it.

    Returns:
        The directory and its trials: those of the state file, then trials whose directories
        the file does not know, by name. Results that are newer than the file are taken from
        the trials' directories.

    Raises:
        ValueError: There is no experiment, or its file is damaged and nothing else is there,
            or was written by a newer version.
        OSError: Something cannot be read.
    """
    if path.endswith(".json"):
        return os.path.dirname(path), _listed(path, files)
    if not files.is_dir(path):
        raise ValueError(
            f"experiment_checkpoint_path: there is no directory {path}. It must be "
            "<storage_path>/<name> of a run."
        )
    folders, found_files = set(), []
    for name in files.names(path):
        if _STATE_NAME.fullmatch(name):
            found_files.append(name)
        elif not name.startswith(".") and files.is_dir(os.path.join(path, name)):
            folders.add(name)
    stored: list[Stored] = []
    session = None
    damage = None
    if found_files:
        newest = max(found_files)
        session = _STATE_NAME.fullmatch(newest)[1]  # type: ignore[index]
        file = os.path.join(path, newest)
        try:
            stored = _refreshed(_listed(file, files), files.changed(file), files)
        except _Damaged as error:
            damage = error
            logger.warning("%s", error)
    known = {one.path for one in stored}
    for name in sorted(folders):
        folder = os.path.join(path, name)
        if folder not in known and (session is None or _belongs(folder, session, files)):
            found = of_folder(folder, files=files)
            if found is not None:
                stored.append(found)
    if not stored and not found_files:
        raise ValueError(
            f"experiment_checkpoint_path: {path} holds no experiment: neither a file "
            "experiment_state-*.json nor directories of trials. It must be "
            "<storage_path>/<name> of a run."
        )
    if not stored and damage is not None:
        raise ValueError(str(damage)) from None
    return path, stored


_REMEDY = " If its directory is opened, the trials are read from theirs."


class _Damaged(ValueError):
    """A state file that cannot be read."""


def _listed(file: str, files: Files) -> list[Stored]:
    """Returns the trials that a state file lists."""
    try:
        with files.open(file) as stream:
            content = json.load(stream)
        version = content.get("ctune", {}).get("version", VERSION)
        pairs = list(content["trial_data"])
        if version > VERSION:
            raise ValueError(
                f"{file} was written by a newer version of ctune (form {version}; this one "
                f"reads up to {VERSION}). Upgrade: pip install -U ctune"
            )
    except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError) as error:
        raise _Damaged(f"{file} is damaged: {type(error).__name__}: {error}.{_REMEDY}") from None
    except UnicodeDecodeError as error:
        raise _Damaged(f"{file} is damaged: {error}.{_REMEDY}") from None
    directory = os.path.dirname(file)
    found = []
    for number, pair in enumerate(pairs):
        try:
            state, run = json.loads(pair[0]), json.loads(pair[1])
            folder = state["relative_logdir"]
            state["trial_id"], state["trainable_name"], state["status"]  # noqa: B018
            path = os.path.normpath(os.path.join(directory, folder)) if folder else None
            found.append(Stored(path, state, run, LARGE in pair[0] or LARGE in pair[1], files))
        except (KeyError, IndexError, TypeError, RecursionError, ValueError) as error:
            raise _Damaged(
                f"{file} is damaged: entry {number} of trial_data: {type(error).__name__}: "
                f"{error}.{_REMEDY}"
            ) from None
    return found


def _belongs(folder: str, session: str, files: Files) -> bool:
    """Whether a directory that the state file lacks was made in its session or later."""
    dated = re.search(rf"_({_DATE})$", folder)
    if dated is not None:
        return dated[1] >= session
    try:
        started = time.mktime(time.strptime(session, "%Y-%m-%d_%H-%M-%S"))
        return files.changed(os.path.join(folder, EXPR_PARAM_FILE)) >= started
    except (OSError, ValueError):
        return False


def _refreshed(listed: list[Stored], written: float, files: Files) -> list[Stored]:
    """Replaces what results tell that are newer than the state file."""
    for stored in listed:
        if stored.path is None:
            continue
        file = os.path.join(stored.path, EXPR_RESULT_FILE)
        try:
            if files.changed(file) <= written:
                continue
            # Copies have new times as well, so that the content decides.
            last = _last_result(file, files)
        except OSError:
            continue
        known = stored.run.get("last_result") or {}
        if _progress(last) <= _progress(known):
            continue
        found = of_folder(stored.path, files=files)
        if found is not None:
            stored.run = {**stored.run, **found.run}
            stored.state["status"] = found.state["status"]
    return listed


def _progress(result: Any) -> tuple[float, float]:
    values = (result.get(key) for key in (TIMESTAMP, TRAINING_ITERATION))
    stamp, iteration = (v if isinstance(v, (int, float)) else -1 for v in values)
    return stamp, iteration


def _last_result(file: str, files: Files) -> dict[str, Any]:
    """Returns the last whole line of a result.json; {} if there is none."""
    with files.open(file) as stream:
        size = stream.seek(0, os.SEEK_END)
        reach = 4096
        while True:
            stream.seek(max(0, size - reach))
            for line in reversed(stream.read().split(b"\n")[0 if reach >= size else 1 :]):
                try:
                    result = json.loads(line)
                except ValueError:
                    continue
                return result if isinstance(result, dict) else {}
            if reach >= size:
                return {}
            reach *= 8


def resolve(value: Any) -> Any:
    """Returns what stored JSON stands for; dicts and lists are changed in place.

    Pickles that cannot be read become `Unread`; large objects stay as `is_large` finds them.
    """
    if isinstance(value, dict):
        if "_type" in value and is_fallback(value):
            return from_fallback(value["value"])
        for key, item in value.items():
            if isinstance(item, (dict, list)):
                value[key] = resolve(item)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            if isinstance(item, (dict, list)):
                value[place] = resolve(item)
    return value


def _has_large(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("_type") == LARGE or any(map(_has_large, value.values()))
    return isinstance(value, list) and any(map(_has_large, value))


def config_of(stored: Stored) -> dict[str, Any]:
    """Returns a stored trial's configuration."""
    config = stored.state.get(CONFIG)
    if stored.large and stored.path is not None and _has_large(config):
        found = _pickled_config(stored.path, stored.files)
        if found is not None:
            return found
    config = resolve(config)
    return config if isinstance(config, dict) else {}


def last_result_of(stored: Stored) -> dict[str, Any]:
    """Returns a stored trial's last result."""
    result = stored.run.get("last_result")
    if stored.large and stored.path is not None and _has_large(result):
        try:
            return _last_result(os.path.join(stored.path, EXPR_RESULT_FILE), stored.files)
        except OSError:
            pass
    result = resolve(result)
    return result if isinstance(result, dict) else {}


# --- Checkpoints ---


def checkpoints_of(
    run: dict[str, Any], path: str | None, files: Files = LOCAL
) -> tuple[Checkpoints, CheckpointConfig]:
    """Returns a stored trial's checkpoints, oldest first, and how they are kept.

    Each is (directory, metrics, number). The directories are those below `path`, wherever
    they were when they were written.
    """
    if path is None:
        return [], CheckpointConfig()
    if "checkpoints" in run:
        listed = [(name, resolve(metrics)) for name, metrics in run["checkpoints"]]
        settings = run.get("checkpoint_config") or {}
    else:
        try:
            listed, settings = _managed(resolve(run.get("checkpoint_manager")))
        except (AttributeError, KeyError, TypeError):  # a form that we do not know
            return checkpoints_of(_folder_run(path, files.names(path), files)[0], path)
    numbered = [
        (os.path.join(path, name), metrics, _number(name, place))
        for place, (name, metrics) in enumerate(listed)
    ]
    return sorted(numbered, key=lambda c: c[2]), _kept(settings)


def _managed(manager: Any) -> tuple[list[tuple[str, dict[str, Any]]], dict[str, Any]]:
    """Returns names and metrics of checkpoints, and settings, as the reference keeps them."""
    results = list(manager._checkpoint_results)
    latest = manager._latest_checkpoint_result
    if latest is not None and latest not in results:
        results.append(latest)
    listed = [(os.path.basename(r.checkpoint.path), r.metrics) for r in results]
    return listed, vars(manager._checkpoint_config)


def _number(name: str, otherwise: int) -> int:
    digits = re.fullmatch(r"checkpoint_(\d+)", name)
    return int(digits[1]) if digits else otherwise


_KEPT = (
    "num_to_keep",
    "checkpoint_score_attribute",
    "checkpoint_score_order",
    "checkpoint_frequency",
    "checkpoint_at_end",
)


def kept_settings(config: CheckpointConfig) -> dict[str, Any]:
    """Returns the settings as they are stored."""
    return {name: getattr(config, name) for name in _KEPT}


def _kept(settings: dict[str, Any]) -> CheckpointConfig:
    try:
        return CheckpointConfig(**{name: settings[name] for name in _KEPT if name in settings})
    except (TypeError, ValueError):
        return CheckpointConfig()


# --- A trial's own directory ---


def read_results(folder: str, files: Files = LOCAL) -> Iterator[dict[str, Any]]:
    """Yields the results of a trial from its result.json.

    A last line that was being written when the run was killed is left out.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line before the last is damaged.
    """
    file = os.path.join(folder, EXPR_RESULT_FILE)
    damage: str | None = None
    with _opened(files, file, errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            if damage is not None:
                raise ValueError(damage)
            try:
                result = json.loads(line)
                if isinstance(result, dict):
                    yield result
                else:
                    damage = f"{file}: line {number} is no result: {line[:40]!r}."
            except (ValueError, RecursionError) as error:
                damage = f"{file}: line {number} is damaged: {error}."


def _opened(files: Files, path: str, **options: Any) -> io.TextIOWrapper:
    return io.TextIOWrapper(files.open(path), encoding="utf-8", **options)


def _read_table(folder: str, files: Files) -> Iterator[dict[str, Any]]:
    """Yields the results of a trial from its progress.csv."""
    with _opened(files, os.path.join(folder, EXPR_PROGRESS_FILE), newline="") as file:
        for row in csv.DictReader(file):
            flat = {key: _cell(value) for key, value in row.items() if key and value}
            yield unflatten_dict(flat)


def _cell(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


class _Statistics:
    """Of each metric its max, min, average, last value, and averages of the last values."""

    def __init__(self) -> None:
        self.analysis: dict[str, dict[str, Any]] = {}
        self._newest: dict[str, list[Any]] = {}

    def add(self, result: dict[str, Any]) -> None:
        step = result.get(TRAINING_ITERATION) or 1
        flat = {key: value for key, value in result.items() if key != CONFIG}
        for name, value in flatten_dict(flat).items():
            if not isinstance(value, Number) or name in DEBUG_METRICS:
                continue
            known = self.analysis.get(name)
            if known is None:
                self.analysis[name] = {"max": value, "min": value, "avg": value}
                self._newest[name] = [value]
            else:
                known["max"] = max(value, known["max"])
                known["min"] = min(value, known["min"])
                known["avg"] = 1 / step * (value + (step - 1) * known["avg"])
                newest = self._newest[name]
                newest.append(value)
                del newest[:-10]

    def done(self) -> dict[str, dict[str, Any]]:
        """Returns metric -> its statistics."""
        for name, known in self.analysis.items():
            newest = self._newest[name]
            known["last"] = newest[-1]
            known["last-5-avg"] = sum(newest[-5:]) / len(newest[-5:])
            known["last-10-avg"] = sum(newest) / len(newest)
        return self.analysis

    def steps(self) -> dict[str, dict[str, list[Any]]]:
        """Returns metric -> "10" -> that many of its newest values."""
        return {name: {"10": values} for name, values in self._newest.items()}


def _results_of(folder: str, names: Iterable[str], files: Files) -> Iterator[dict[str, Any]]:
    if EXPR_RESULT_FILE in names:
        return read_results(folder, files)
    return _read_table(folder, files) if EXPR_PROGRESS_FILE in names else iter(())


def _folder_run(
    folder: str, names: Iterable[str], files: Files, strict: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns how a trial went, by its files, and its last result."""
    statistics = _Statistics()
    last: dict[str, Any] = {}
    by_name: dict[str, dict[str, Any]] = {}
    by_iteration: dict[Any, dict[str, Any]] = {}
    saved = sorted(name for name in names if re.fullmatch(r"checkpoint_\d+", name))
    if files is not LOCAL:
        saved = [name for name in saved if pending_of(name) not in names]
    try:
        for last in _results_of(folder, names, files):
            statistics.add(last)
            if saved:
                by_name[str(last.get(CHECKPOINT_DIR_NAME))] = last
                by_iteration[last.get(TRAINING_ITERATION)] = last
    except (ValueError, TypeError, csv.Error, OSError) as error:
        if strict:
            raise
        logger.warning("Only a part of the results is read: %s", error)
    checkpoints = []
    for name in saved:
        metrics = by_name.get(name)
        if metrics is None:
            try:
                progress = read_progress(os.path.join(folder, name), files)
            except (OSError, ValueError):
                progress = {}
            metrics = by_iteration.get(progress.get(TRAINING_ITERATION, object()), progress)
        checkpoints.append([name, metrics])
    failed = EXPR_ERROR_FILE in names
    failures = 0
    if failed:
        with _opened(files, os.path.join(folder, EXPR_ERROR_FILE), errors="replace") as f:
            failures = sum(line.startswith("Failure # ") for line in f)
    return {
        "start_time": None,
        "num_failures": failures,
        "num_failures_after_restore": 0,
        "error_filename": EXPR_ERROR_FILE if failed else None,
        "pickled_error_filename": (
            EXPR_ERROR_PICKLE_FILE if EXPR_ERROR_PICKLE_FILE in names else None
        ),
        "last_result": last,
        "last_result_time": last.get(TIMESTAMP),
        "metric_analysis": statistics.done(),
        "metric_n_steps": statistics.steps(),
        "checkpoints": checkpoints,
    }, last


def of_folder(folder: str, strict: bool = False, files: Files = LOCAL) -> Stored | None:
    """Returns the trial whose directory this is, as far as its files tell; None: no trial's.

    A trial whose last result is `done` is TERMINATED; otherwise, with an error.txt, it is
    ERROR; otherwise PENDING, as nobody runs it. A function that returns after its last
    report leaves no mark in its directory: it is PENDING, too.

    Args:
        folder: The directory.
        strict: Whether damaged results are an error. Otherwise those before the damage count,
            with a warning.
        files: What reads it.

    Raises:
        ValueError: Results are damaged, and `strict` is True.
        OSError: A file cannot be read.
    """
    try:
        names = set(files.names(folder))
    except NotADirectoryError:
        return None
    if not names.intersection(_TRIAL_FILES):
        return None
    run, last = _folder_run(folder, names, files, strict)
    config = _pickled_config(folder, files) if EXPR_PARAM_PICKLE_FILE in names else None
    if config is None and EXPR_PARAM_FILE in names:
        try:
            with files.open(os.path.join(folder, EXPR_PARAM_FILE)) as file:
                config = json.load(file)
        except ValueError:
            pass
    if not isinstance(config, dict):
        config = last.get(CONFIG, {})
    base = os.path.basename(folder)
    parts = _TRIAL_NAME.fullmatch(base)
    trainable = parts["name"] if parts else base
    environment = config.get("env")
    if environment is not None:
        trainable = trainable.removesuffix(f"_{environment}")
    status = "PENDING"
    if last.get(DONE):
        status = "TERMINATED"
    elif run["error_filename"] is not None:
        status = "ERROR"
    return Stored(
        folder,
        {
            "trainable_name": trainable,
            "trial_id": str(last.get(TRIAL_ID) or (parts["id"] if parts else base)),
            "config": config,
            "evaluated_params": {},
            "experiment_tag": (parts["tag"] or "") if parts else "",
            "status": status,
            "relative_logdir": base,
            "custom_trial_name": f"{parts['name']}_{parts['id']}" if parts else base,
            "bundles": [{"CPU": 1.0}],
            "strategy": "PACK",
        },
        run,
        files=files,
    )


def _pickled_config(folder: str, files: Files) -> dict[str, Any] | None:
    """Returns the configuration with its objects; None if it cannot be read."""
    try:
        with files.open(os.path.join(folder, EXPR_PARAM_PICKLE_FILE)) as file:
            config = read_pickle(file.read())
    except OSError:
        return None
    return config if isinstance(config, dict) else None
