"""Going on with a run: what its journal says it was, and whether this one may go on with it.

The journal begins with the settings of its run (`run_settings`). A replay uses those; the run
goes on with its own. What decided about trials so far must be the same, since its decisions
are made again: scheduler, searcher, metric, space. Later stop conditions, more samples, other
machines, retries and checkpoint policies may be new.
"""

from __future__ import annotations

import collections
import copy
import fnmatch
import json
import logging
import os
import random
import re
import time
import weakref
from collections.abc import Iterable, Mapping
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from ctune import _ctune
from ctune._checkpoint import sync_path
from ctune._config import ResumeConfig
from ctune._encode import brief, loads
from ctune._environment import environment_number
from ctune.callback import Callback, CallbackList
from ctune.error import TuneError
from ctune.schedulers import FIFOScheduler, PopulationBasedTraining, TrialScheduler
from ctune.schedulers.pbt import GLOBAL_LOG, REPLAYED
from ctune.search import (
    BasicVariantGenerator,
    ConcurrencyLimiter,
    SearchAlgorithm,
    Searcher,
    SearchGenerator,
)
from ctune.search.sample import Domain
from ctune.utils.util import flatten_dict

if TYPE_CHECKING:
    from ctune._plan import Plan

__all__ = [
    "Began",
    "CallbackStates",
    "check_past",
    "innermost",
    "keep_searcher",
    "past_of",
    "recover",
    "run_settings",
]

logger = logging.getLogger("ctune")

_SHOWN = 200  # characters of a value that are compared
_CALLBACKS_S = 10.0
_NO_LIMIT = 2**62


def past_of(directory: str) -> dict[str, Any] | None:
    """Returns the settings of the run whose journal is in a directory, None without one.

    A run that was cut before its first turn was written has not begun: None, too.

    Raises:
        TuneError: There is a journal, but not one that can be gone on with; or there are trials
            and no journal.
    """
    names = os.listdir(directory) if os.path.isdir(directory) else []
    if not any(name.endswith(".ctj") for name in names):
        states = fnmatch.filter(names, "experiment_state-*.json")
        if not all(_is_empty(os.path.join(directory, name)) for name in states):
            raise TuneError(
                f"resume: the experiment in {directory!r} has no journal (journal-*.ctj): it was "
                "written by Ray Tune, its journal was removed, or it was run beside others, and "
                "then goes on with all of them in their order. It can be opened, with "
                "`ctune.ExperimentAnalysis(path)`. Use another name for a new experiment."
            )
        return None
    text = _ctune.Driver.settings_in(directory)
    if text is None and _is_blank(directory):
        return None
    if text is None:
        raise TuneError(
            f"resume: the journal in {directory!r} does not tell what its run was, or its "
            f"beginning is damaged. `ctune repair {directory}` says more."
        )
    settings: dict[str, Any] = json.loads(text)
    return settings


def _is_empty(path: str) -> bool:
    """Whether a list of trials was written by a run that was cut before its first turn."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return False
    return "ctune" in found and found.get("trial_data") == []


def _is_blank(directory: str) -> bool:
    """Whether the journal is sound and nothing ever happened in it."""
    return all(
        one["kind"] == "whole" and one["turns_kept"] == 0 for one in _ctune.repair(directory, True)
    )


def check_past(past: Mapping[str, Any], now: Mapping[str, Any], directory: str) -> None:
    """Raises ValueError that names what is not as it was when the run began.

    Args:
        past, now: The part "run" of the settings of both.
    """
    where = f"The experiment in {directory!r}"
    if past.get("trainables") == now["trainables"]:
        _check_objective(past, now, where)
    for key, parameter, what in (
        ("trainables", "run_or_experiment", "the trainable"),
        ("scheduler", "scheduler", "the scheduler"),
        ("searcher", "search_alg", "the search algorithm"),
    ):
        if past.get(key) != now[key]:
            raise ValueError(
                f"{parameter}: {where} was begun with {what} {_words(past.get(key))} and cannot "
                f"go on with {_words(now[key])}. Use the same, or another name for a new "
                "experiment."
            )
    _check_spaces(past.get("spaces", []), now["spaces"], where)
    for parameter, asked in past.get("asked", {}).items():
        if asked != now["asked"][parameter]:
            raise ValueError(
                f"{parameter}: {where} was begun {'with' if asked else 'without'} a function here "
                f"and cannot go on {'without' if asked else 'with'} one: what it said about each "
                "trial is in the journal. Give it as it was, or another name for a new experiment."
            )
    if len(now["num_samples"]) > 1 and past.get("num_samples") != now["num_samples"]:
        raise ValueError(
            f"num_samples: {where} holds several experiments, whose trials are made one after "
            f"the other: {past.get('num_samples')} cannot become {now['num_samples']}."
        )


def _check_objective(past: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    if now["scheduler"][0] == FIFOScheduler.__name__ and len(now["searcher"]) == 1:
        return  # nothing was decided by it
    for key in ("metric", "mode"):
        if past.get(key) != now[key]:
            raise ValueError(
                f"{key}: {where} was begun with {past.get(key)!r} and cannot go on with "
                f"{now[key]!r}: trials were judged by it. Use the same."
            )


def _words(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return str(value)
    first, *rest = map(str, value)
    return f"{first}({', '.join(rest)})" if rest else first


def _check_spaces(past: list[Any], now: list[Any], where: str) -> None:
    for before, after in zip(past, now, strict=False):
        gone = sorted(set(before) - set(after))
        new = sorted(set(after) - set(before))
        if gone or new:
            raise ValueError(
                f"config: {where} was begun with another search space: "
                + " and ".join(
                    f"{', '.join(map(repr, keys))} {'is' if len(keys) == 1 else 'are'} {what}"
                    for keys, what in ((gone, "missing now"), (new, "new"))
                    if keys
                )
                + ". Use the same keys, or another name for a new experiment."
            )
        for key, (kind, text) in before.items():
            if after[key] == [kind, text]:
                continue
            if kind == after[key][0] == "value":
                logger.warning(
                    "config: %r was %s and is %s now. Trials that were made keep what they have.",
                    key,
                    text,
                    after[key][1],
                )
                continue
            raise ValueError(
                f"config: {where} was begun with {text} for {key!r} and cannot go on with "
                f"{after[key][1]}. Use the same, or another name for a new experiment."
            )


# Number of an object (it may be neither hashed nor compared) -> it, and a copy from before its
# run. Copies are small: settings.
_PLAIN = (bool, int, float, str, bytes, random.Random)
_BEGAN: dict[int, tuple[weakref.ref[Any], Any]] = {}


class Began:
    """Gives the policies of one run back as they were before an earlier one of this process.

    What several of them share, they share afterwards.
    """

    def __init__(self, goes_on: bool) -> None:
        self._goes_on = goes_on
        self._found: dict[int, Any] = {}
        self._copies: dict[int, Any] = {}

    def __call__(self, parameter: str, policy: Any) -> Any:
        """Returns a scheduler, searcher or stop condition without what it remembers of a run.

        A replay tells it all of that again. Where a notebook goes on with the objects that it
        began with, copies from before the run take their places.
        """
        if isinstance(policy, list):
            return [self(parameter, one) for one in policy]
        if type(policy) is ConcurrencyLimiter:
            inner = self(parameter, policy.searcher)
            if not self._goes_on:
                return policy
            return ConcurrencyLimiter(inner, policy.max_concurrent, policy.batch)
        if id(policy) not in self._found:
            self._found[id(policy)] = _as_it_began(parameter, policy, self._goes_on, self._copies)
        return self._found[id(policy)]


def _as_it_began(parameter: str, policy: Any, goes_on: bool, copies: dict[int, Any]) -> Any:
    # A searcher that can save itself is restored; see keep_searcher.
    forgets = not isinstance(policy, Searcher) or type(policy).save is not Searcher.save
    kinds = (TrialScheduler, _ctune.Stopper, BasicVariantGenerator)
    if not isinstance(policy, kinds) and forgets:
        return policy
    key = id(policy)
    if not goes_on or key not in _BEGAN:
        kept = _copied(policy, copies) if _can_be_copied(policy) else None
        _BEGAN[key] = weakref.ref(policy, lambda _: _BEGAN.pop(key, None)), kept
    elif _BEGAN[key][1] is not None:
        return copy.deepcopy(_BEGAN[key][1], copies)
    else:
        logger.warning(
            "%s: this %s was in a run of this process before, and is told of its results again. "
            "If it keeps them in mind, give a new one.",
            parameter,
            type(policy).__name__,
        )
    return policy


def _copied(policy: Any, copies: dict[int, Any]) -> Any:
    try:
        return copy.deepcopy(policy, copies)
    except Exception:  # of a class that says how, and cannot
        return None


def _can_be_copied(policy: Any) -> bool:
    """Whether it is ours, or holds nothing that may be shared with others."""
    return type(policy).__module__.partition(".")[0] == "ctune" or _is_plain(vars(policy))


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple, set, frozenset, collections.deque)):
        return all(map(_is_plain, value))
    # Of NumPy: numbers, arrays and random streams. Its module of these loads when it is used.
    numpys = type(value).__module__.partition(".")[0] == "numpy"
    return value is None or numpys or isinstance(value, _PLAIN)


# --- what a run is -----------------------------------------------------------------------


def run_settings(plan: Plan, searcher_state: str | None) -> str:
    """Returns the settings of a run, as the JSON text with which its journal begins.

    Args:
        searcher_state: File with the searcher's first state; see `keep_searcher`.
    """
    checkpoint = plan.checkpoint_config
    control = {
        "resources": plan.total_resources,
        "max_pending": plan.max_pending,
        "max_dirname": plan.max_dirname,
        "fail_fast": {False: 0, True: 1, "raise": 2}[plan.fail_fast],
        "reuse_actors": plan.reuse_actors,
        "force_stop_s": plan.force_stop_s,
        "restore_retries": environment_number("TUNE_RESTORE_RETRY_NUM", 0),
        "utc_offset": time.localtime(plan.started).tm_gmtoff,
        "ordered": plan.executor == "inline",
        "required": list(plan.required),
        "checkpoint": {
            "frequency": checkpoint.checkpoint_frequency or 0,
            "at_end": bool(checkpoint.checkpoint_at_end),
            "num_to_keep": checkpoint.num_to_keep or 0,
            "score": checkpoint.checkpoint_score_attribute,
            "score_min": checkpoint.checkpoint_score_order == "min",
        },
        "experiments": [
            {
                "name": one.name,
                "dir": one.directory,
                "trainable": one.trainable_name,
                "request": {"CPU": 1.0} if callable(one.resources) else one.resources,
                "max_failures": one.max_failures,
            }
            for one in plan.experiments
        ],
    }
    settings = {
        "control": control,
        "resume": None if plan.resume is None else _fates(plan),
        "run": {
            **plan.identity,
            "searcher_state": searcher_state,
            "session": _began(plan),
            "logs": _logs(plan),
            "limits": _limits(plan),
        },
    }
    return json.dumps(settings)


def _limits(plan: Plan) -> list[int | None]:
    """How many trials could be live at once in the runs so far, each limit once; None: any."""
    now = plan.identity["max_concurrent"]
    if plan.past is None:
        return [now]
    before: list[int | None] = plan.past.get("limits") or [plan.past.get("max_concurrent")]
    return before if now in before else [*before, now]


def _began(plan: Plan) -> str:
    """The session in which the run began, by which its files are told from older ones."""
    return plan.session if plan.past is None else str(plan.past.get("session", ""))


def _logs(plan: Plan) -> list[int] | None:
    """Where the scheduler's own log began in the directory of each experiment, if it has one."""
    keeper = _log_keeper(plan.scheduler)
    if keeper is not None:
        keeper._forget_logs()
    if plan.past is not None:
        known: list[int] | None = plan.past.get("logs")
        return known
    if keeper is None:
        return None
    paths = [os.path.join(one.directory, GLOBAL_LOG) for one in plan.experiments]
    return [os.path.getsize(path) if os.path.exists(path) else 0 for path in paths]


def _log_keeper(scheduler: Any) -> PopulationBasedTraining | None:
    """A scheduler that logs what it does, also within another one."""
    inner = getattr(scheduler, "_base_scheduler", scheduler)
    return inner if isinstance(inner, PopulationBasedTraining) else None


def _fates(plan: Plan) -> dict[str, Any]:
    assert plan.resume is not None
    return {
        "finished": plan.resume.finished.value,
        "unfinished": plan.resume.unfinished.value,
        "errored": plan.resume.errored.value,
        "resize": plan.resize,
        **_extends(plan.past or {}, plan.identity),
    }


def identity(
    *,
    trainables: Iterable[str],
    spaces: Iterable[Mapping[str, Any]],
    scheduler: Any,
    search_alg: SearchAlgorithm,
    metric: Any,
    mode: str | None,
    num_samples: Iterable[int],
    stop: Any,
    time_budget_s: float | None,
    asked: Mapping[str, bool],
) -> dict[str, Any]:
    """Returns what is compared when a run goes on, in a form that JSON keeps."""
    found: dict[str, Any] = {
        "trainables": list(trainables),
        "spaces": [_space(space) for space in spaces],
        "scheduler": _scheduler(scheduler),
        "searcher": [type(one).__name__ for one in _layers(search_alg)],
        "max_concurrent": _limit(search_alg),
        "metric": metric,
        "mode": mode or None,
        "num_samples": list(num_samples),
        "stop": _conditions(stop),
        "time_budget_s": time_budget_s,
        "asked": dict(asked),
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def _shown(value: Any) -> str:
    try:
        return repr(value)[:_SHOWN]
    except Exception:
        return type(value).__name__


def _space(space: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Path -> what is there: a domain or grid, or a value; objects by their type."""
    found = {}
    for path, leaf in flatten_dict(dict(space)).items():
        if isinstance(leaf, Domain):
            found[str(path)] = ("domain", _domain(leaf))
        elif path == "grid_search" or str(path).endswith("/grid_search"):
            found[str(path)] = ("grid", _plain(leaf))
        else:
            found[str(path)] = ("value", _plain(leaf))
    return found


def _domain(domain: Domain) -> str:
    if domain.is_function():
        return type(domain).__name__
    sampler = domain.get_sampler()
    return f"{type(domain).__name__}({domain.domain_str}, {sampler})"[:_SHOWN]


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_plain, value))}]"[:_SHOWN]
    if value is None or isinstance(value, (bool, int, float, str)):
        return _shown(value)
    return type(value).__name__


def _scheduler(scheduler: Any) -> list[str]:
    state = scheduler.__getstate__() if isinstance(scheduler, _ctune.NativeScheduler) else {}
    options = state.get("options") if isinstance(state, dict) else None
    name = type(scheduler).__name__
    return [name] if options is None else [name, *map(_plain_tree, options)]


def _plain_tree(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_plain_tree(v)}' for k, v in value.items())}}}"[:_SHOWN]
    return _domain(value) if isinstance(value, Domain) else _plain(value)


def _layers(search_alg: Any) -> list[Any]:
    """A search algorithm, and what it wraps."""
    layers = [search_alg]
    while isinstance(inner := getattr(layers[-1], "searcher", None), Searcher):
        layers.append(inner)
    return [one for one in layers if not isinstance(one, ConcurrencyLimiter)]


def innermost(search_alg: SearchAlgorithm) -> Searcher | None:
    """Returns the Searcher that suggests configs, None if there is none."""
    last = _layers(search_alg)[-1]
    return last if isinstance(last, Searcher) else None


def _limiter(search_alg: SearchAlgorithm) -> ConcurrencyLimiter | None:
    searcher = getattr(search_alg, "searcher", None)
    return searcher if isinstance(searcher, ConcurrencyLimiter) else None


def _limit(search_alg: SearchAlgorithm) -> int | None:
    limiter = _limiter(search_alg)
    return None if limiter is None else limiter.max_concurrent


def _conditions(stop: Any) -> Any:
    if stop is None or isinstance(stop, (bool, int, float, str)):
        return stop
    if isinstance(stop, Mapping):
        return {str(key): _conditions(value) for key, value in stop.items()}
    if isinstance(stop, (list, tuple)):
        return [_conditions(one) for one in stop]
    return {"": type(stop).__name__, "state": _arguments(stop)}


def _arguments(stop: Any) -> Any:
    """What a condition was made with; None of what cannot be compared."""
    try:
        state = stop if isinstance(stop, FunctionType) else stop.__getstate__()
        if isinstance(stop, _ctune.Stopper) and isinstance(state, tuple):
            state = state[0]  # the others are what it remembers, and attributes
        return json.loads(json.dumps(state, default=_identity))
    except Exception:
        return None


def _identity(value: Any) -> Any:
    """Returns what tells two members of a stop condition apart, or two functions."""
    if isinstance(value, _ctune.Stopper):
        return _conditions(value)
    cells = [cell.cell_contents for cell in value.__closure__ or ()]
    given = repr([value.__defaults__, value.__kwdefaults__, cells])
    return [_code(value.__code__), re.sub(" at 0x[0-9a-f]+", "", given)]


def _code(code: CodeType) -> list[Any]:
    """Returns what a function does, wherever it stands."""
    consts = [_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), consts]


def _extends(past: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, bool]:
    """Whether trials may go on now that a stop condition ended, or that the end of all did."""
    before, after = past.get("time_budget_s"), now["time_budget_s"]
    later = _later(past.get("stop"), now["stop"])
    longer = before is not None and (after is None or after > before)
    return {
        "extend": later,
        # Functions may look at more than their code. The replay asks them; what a snapshot has
        # of before it stays as it is.
        "extend_said": "function" in json.dumps(now["stop"]).lower(),
        "extend_all": later or longer,
        # A trial that meets another one of these thresholds has ended all the same.
        "recheck": _has_thresholds(now["stop"], past.get("stop")),
    }


def _has_thresholds(now: Any, past: Any) -> bool:
    """Whether a stop condition is a dict, of metrics that each trial is known to report."""
    both = isinstance(now, dict) and isinstance(past, dict)
    return both and "" not in now and set(now) <= set(past)


def _later(before: Any, after: Any) -> bool:
    if before is None or before == after:
        return False
    if isinstance(before, dict) and isinstance(after, dict) and "" not in before:
        return any(
            key not in after
            or (
                isinstance(value, (int, float))
                and isinstance(after[key], (int, float))
                and after[key] > value
            )
            for key, value in before.items()
        )
    return True


# --- doing it ----------------------------------------------------------------------------


def keep_searcher(plan: Plan) -> str | None:
    """Keeps the state with which a searcher written in Python begins: its random streams.

    Returns:
        Name of the file in the experiment's directory; None if there is nothing to keep. A run
        that goes on has that of its beginning.
    """
    if plan.past is not None:
        known: str | None = plan.past.get("searcher_state")
        return known
    searcher = innermost(plan.search_alg)
    if searcher is None or not isinstance(plan.search_alg, SearchGenerator):
        return None
    name = f"searcher-begin-{plan.session}.pkl"
    try:
        path = os.path.join(plan.experiment_dir, name)
        searcher.save(path)
        if plan.journal_sync != "none" and os.path.isfile(path):  # the journal will name it
            sync_path(path)
    except NotImplementedError:
        return None
    except Exception as error:
        logger.warning(
            "The state of %s cannot be kept (%s): where this run is cut and goes on, it may "
            "suggest otherwise.",
            type(searcher).__name__,
            error,
        )
        return None
    return name


class CallbackStates:
    """Keeps what callbacks say that they need when the run goes on.

    A replay tells them nothing, so they are where they were when their states were last
    written: at the end, or at most `_CALLBACKS_S` before the driver was killed.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._callbacks = CallbackList(plan.callbacks)
        self._due = 0.0
        self._restored = False
        self.wanted = any(_has_state(one) for one in plan.callbacks)

    def restore(self) -> None:
        """Hands the callbacks the states that were written last in this run, if any were."""
        if self._plan.past is not None and self.wanted:
            self._restore(self._plan)
        self._restored = True

    def _restore(self, plan: Plan) -> None:
        assert plan.past is not None
        pattern = CallbackList.CKPT_FILE_TMPL
        first = pattern.format(plan.past.get("session", ""))
        names = fnmatch.filter(os.listdir(plan.experiment_dir), pattern.format("*"))
        newest = max((name for name in names if name >= first), default=None)
        if newest is None:
            return
        try:
            with open(os.path.join(plan.experiment_dir, newest), "rb") as file:
                states = loads(file.read())
        except Exception as error:
            logger.warning(
                "The states of callbacks in %s cannot be read (%s): they begin anew.",
                os.path.join(plan.experiment_dir, newest),
                error,
            )
            return
        self._callbacks.set_state(states)

    def heartbeat(self) -> None:
        """Writes the states now and then."""
        if self.wanted and time.monotonic() >= self._due:
            self.save()

    def save(self) -> None:
        """Writes the states. What fails is logged, and not tried again."""
        if not self.wanted or not self._restored:
            return
        self._due = time.monotonic() + _CALLBACKS_S
        try:
            self._callbacks.save_to_dir(self._plan.experiment_dir, self._plan.session)
        except Exception:
            self.wanted = False
            logger.exception(
                "The states of callbacks cannot be kept in %s: where this run is cut and goes "
                "on, they begin anew.",
                self._plan.experiment_dir,
            )


def _has_state(callback: Any) -> bool:
    return getattr(type(callback), "get_state", None) is not Callback.get_state


def recover(plan: Plan, driver: _ctune.Driver) -> None:
    """Replays the journal of the run that `plan` goes on with.

    Raises:
        TuneError, ValueError: The journal is damaged, or the run cannot be what it was.
    """
    assert plan.past is not None
    searcher, limiter = innermost(plan.search_alg), _limiter(plan.search_alg)
    kept = plan.past.get("searcher_state")
    # Other limits would let it suggest where it could not then, and the other way round.
    limits_vary = len(_limits(plan)) > 1
    if searcher is not None and kept is not None:
        try:
            searcher.restore(os.path.join(plan.experiment_dir, kept))
        except Exception as error:
            logger.warning("The searcher's first state is missing or damaged: %r", error)
    if limiter is not None and limits_vary:
        now = limiter.max_concurrent
        limiter.set_max_concurrency(_NO_LIMIT)
    start = time.monotonic()
    told: list[Any] = []
    token = REPLAYED.set(told)
    try:
        found = driver.recover(plan.experiment_dir, limits_vary)
    except (RuntimeError, NotImplementedError) as error:
        raise TuneError(f"resume: the journal cannot be gone on with: {error}") from error
    finally:
        REPLAYED.reset(token)
    keeper, logs = _log_keeper(plan.scheduler), plan.past.get("logs")
    if keeper is not None and logs is not None:
        folders = {one.directory: logs[i] for i, one in enumerate(plan.experiments)}
        keeper._replayed(folders, told, [trial.trial_id for trial in driver.trials])
    if limiter is not None and limits_vary:
        limiter.set_max_concurrency(now)
    logger.info(
        "%s goes on: %d events were replayed in %.2f s.",
        plan.experiment_dir,
        found["events"],
        time.monotonic() - start,
    )
    if found["differing"] and searcher is not None:  # random search learns nothing
        logger.warning(
            "search_alg: %s did not suggest again what it had suggested for %d trials; they keep "
            "what they have, and it is told their results all the same.",
            type(searcher).__name__,
            found["differing"],
        )


def resume_config_checked(config: Any) -> ResumeConfig:
    """Returns a resume config.

    Raises:
        ValueError: It is something else, or asks for what does not exist.
    """
    if not isinstance(config, ResumeConfig):
        raise ValueError(f"resume_config: must be a ResumeConfig, got {brief(config)}.")
    for name in ("finished", "unfinished", "errored"):
        value = getattr(config, name)
        if not isinstance(value, ResumeConfig.ResumeType):
            raise ValueError(
                f"resume_config: {name} must be a ResumeConfig.ResumeType, got {brief(value)}."
            )
    return config
