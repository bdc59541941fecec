"""Runs a plan: builds the C driver, watches it, hands back the analysis."""

from __future__ import annotations

import logging
import numbers
import os
import pickle
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from ctune import _ctune
from ctune._encode import UnpicklableError
from ctune._environment import environment_number
from ctune._lock import locked
from ctune._progress import Progress
from ctune._resume import CallbackStates, keep_searcher, recover, run_settings
from ctune._runtime import SYNC_POLICIES
from ctune._standstill import Standstills, Watch
from ctune._transfer import fetch_checkpoints
from ctune._upload import Uploads
from ctune.analysis.experiment_analysis import ExperimentAnalysis
from ctune.callback import Callback, CallbackList
from ctune.error import TuneError
from ctune.experiment._state import JournalEnd, state_at, write_state
from ctune.experiment.trial import Trial
from ctune.utils.util import flatten_dict

if TYPE_CHECKING:
    from ctune._plan import ExperimentPlan, Plan
    from ctune.execution._prints import Prints

__all__ = ["execute", "execute_simulation"]

logger = logging.getLogger("ctune")

# Note of the engine -> hook of Callback.
_HOOKS = {
    "TRIAL_STARTED": "on_trial_start",
    "RESULT": "on_trial_result",
    "CHECKPOINT": "on_checkpoint",
    "SAVED": "on_trial_save",
    "TRIAL_COMPLETE": "on_trial_complete",
    "TRIAL_RECOVER": "on_trial_recover",
    "TRIAL_ERROR": "on_trial_error",
    "EXPERIMENT_END": "on_experiment_end",
    "STEP_BEGIN": "on_step_begin",
    "STEP_END": "on_step_end",
}

_SNAPSHOT_BYTES = 64 << 20
_INTERRUPT_GRACE_S = 10.0
_CLOSE_GRACE_S = 5.0
_HEARTBEAT_S = 0.25
_STATE_S_PER_TRIAL = 100e-6  # measured
_STATE_S = 1.5


class WorkerTraceback(Exception):
    """The cause of an exception that was raised in a worker: its traceback there, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Interrupts:
    """Ctrl-C while a run is under way: the first stops gracefully, a second at once.

    Only in the main thread, where Python delivers signals. The handlers that were there
    are put back on exit.
    """

    def __init__(self, driver: _ctune.Driver) -> None:
        self._driver = driver
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        signals = []
        if environment_number("TUNE_DISABLE_SIGINT_HANDLER", 0) == 0:
            signals.append(signal.SIGINT)
        if hasattr(signal, "SIGUSR1"):
            signals.append(signal.SIGUSR1)
        for number in signals:
            self._before[number] = signal.signal(number, self._stop)

    def _stop(self, number: int, frame: Any) -> None:
        logger.warning(
            "Stop signal received: running steps are finished and everything is kept. "
            "Press Ctrl+C again to stop at once."
        )
        self._driver.interrupt(1)
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, self._before[signal.SIGINT])

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _no_snapshot(why: str) -> None:
    logger.warning("No snapshot was written, so the journal is kept whole for now: %s", why)


def _overridden(callback: Callback, name: str) -> bool:
    """Whether the callback does something of its own in this hook."""
    if name in getattr(callback, "_deaf_to", ()):
        return False
    method = getattr(type(callback), name, None)
    if name in vars(callback):
        return True
    return method is not None and method is not getattr(Callback, name, None)


def _logged(hook: Callable[..., Any]) -> Callable[..., None]:
    """on_checkpoint must not end the run: what it raises is logged."""

    def call(**kwargs: Any) -> None:
        try:
            hook(**kwargs)
        except Exception:
            logger.exception("A callback's on_checkpoint failed; the run goes on.")

    return call


def _hooks(plan: Plan, progress: Progress) -> dict[str, tuple[Callable[..., Any], ...]]:
    """Note -> the callables that hear it, callbacks first, in list order."""
    hooks: dict[str, tuple[Callable[..., Any], ...]] = {}
    for note, name in _HOOKS.items():
        calls = [getattr(c, name) for c in plan.callbacks if _overridden(c, name)]
        if name == "on_checkpoint":
            calls = [_logged(c) for c in calls]
        if name == "on_experiment_end":
            calls = []  # called by execute(), also when the run fails
        if calls:
            hooks[note] = tuple(calls)
    for note, call in progress.hooks().items():
        hooks[note] = (*hooks.get(note, ()), call)
    if plan.checkpoint_config.checkpoint_score_attribute is not None:
        hooks["CHECKPOINT"] = (
            *hooks.get("CHECKPOINT", ()),
            _score_watch(plan.checkpoint_config.checkpoint_score_attribute),
        )
    return hooks


def _score_watch(attribute: str) -> Callable[..., None]:
    """Returns what tells of checkpoints without a score, once per trial: they rank last."""
    told: set[str] = set()

    def look(*, trial: Trial, **info: Any) -> None:
        value = flatten_dict(trial.last_result).get(attribute)
        if trial.trial_id not in told and not isinstance(value, numbers.Number):
            told.add(trial.trial_id)
            logger.error(
                "checkpoint_score_attribute: the result of trial %s has %s; its checkpoint "
                "counts as worse than all with a number.",
                trial,
                f"no {attribute!r}"
                if value is None
                else f"no number in {attribute!r}: {value!r:.40}",
            )

    return look


def _executor(plan: Plan, prints: Prints | None) -> Any:
    """What the driver wants: None = inline, a dict = processes, or an Executor."""
    if plan.executor == "inline":
        return None
    if plan.executor == "process":
        from ctune.execution.worker import process_options

        return process_options(plan, prints)
    prepare = getattr(plan.executor, "prepare", None)
    if prepare is not None:
        prepare(plan.trainable)
    return plan.executor


def _prints(plan: Plan, progress: Progress) -> AbstractContextManager[Prints | None]:
    """Returns what reads the output of workers, if a live block would be drawn over it."""
    streams = [fd for fd in (1, 2) if os.isatty(fd)]
    if plan.executor != "process" or not streams or not progress.draws:
        return nullcontext()
    from ctune.execution._prints import Prints

    return Prints(progress.print_above, streams)


def _host_factory(plan: Plan) -> Callable[[], Any]:
    from ctune.execution._host import TrialHost

    return lambda: TrialHost(plan.trainable, sync_checkpoints=plan.sync_checkpoints)


def _checkpoints(plan: Plan) -> Callable[[str], Any]:
    """Returns what makes checkpoints of paths on this machine."""
    from ctune._checkpoint import Checkpoint

    def make(path: str) -> Checkpoint:
        for one in plan.experiments:
            if one.storage.remote and path.startswith(one.directory + os.sep):
                return Checkpoint._staged(path, one.storage)
        return Checkpoint(path)

    return make


def _facts(one: ExperimentPlan) -> tuple[str, str, str, dict[str, float], int, bool]:
    request = {"CPU": 1.0} if callable(one.resources) else one.resources
    exports = bool(one.care.export_formats)
    return one.name, one.directory, one.trainable_name, request, one.max_failures, exports


def _request_hook(plan: Plan) -> Callable[[int, dict[str, Any]], Any] | None:
    """Returns what answers for a trial of an experiment: its resources, None the default."""
    hooks = [one.resources if callable(one.resources) else None for one in plan.experiments]
    if not any(hooks):
        return None

    def ask(experiment: int, config: dict[str, Any]) -> Any:
        hook = hooks[experiment]
        return None if hook is None else hook(config)

    return ask


def _namer(plan: Plan, name: str) -> Callable[[Trial], str | None] | None:
    """Returns what names a trial, by its experiment; None where that has no creator."""
    creators: list[Callable[[Trial], str | None] | None]
    creators = [getattr(one, name) for one in plan.experiments]
    if name == "trial_name_creator":
        # The engine names trials, but cannot tell what a parameter `env` is called.
        for place, one in enumerate(plan.experiments):
            if creators[place] is None and one.named_by_env:
                creators[place] = Trial._default_name
    if not any(creators):
        return None

    def create(trial: Trial) -> str | None:
        assert trial._view is not None
        place = trial._view.experiment
        creator = creators[place]
        found = None if creator is None else creator(trial)
        if name == "trial_dirname_creator" and isinstance(found, str):
            return _unused(plan.experiments[place].directory, found)
        return found

    return create


def _unused(directory: str, name: str) -> str:
    """Returns a name that no directory has yet: that of an earlier run keeps its results."""
    found = name = re.sub("[/()]", "_", name)
    while os.path.exists(os.path.join(directory, found)):
        found = f"{name}_{os.urandom(2).hex()}"
    return found


def _stoppers(plan: Plan) -> Any:
    if plan.time_budget_s is None:
        return plan.stop
    from ctune.stopper import TimeoutStopper

    budget = TimeoutStopper(plan.time_budget_s)
    return budget if plan.stop is None else [*_as_list(plan.stop), budget]


def _as_list(stop: Any) -> list[Any]:
    return list(stop) if isinstance(stop, list) else [stop]


def _options(
    plan: Plan,
    trials_of: Any,
    progress: Progress,
    settings: str | None,
    prints: Prints | None = None,
) -> dict[str, Any]:
    checkpoint = plan.checkpoint_config
    return {
        "settings": settings,
        "scheduler": plan.scheduler,
        "searcher": plan.search_alg,
        "stopper": _stoppers(plan),
        "executor": _executor(plan, prints),
        "trial_factory": trials_of,
        "host_factory": _host_factory(plan),
        "request_hook": _request_hook(plan),
        "name_hook": _namer(plan, "trial_name_creator"),
        "dirname_hook": _namer(plan, "trial_dirname_creator"),
        "heartbeat": progress.heartbeat if progress.wanted else None,
        "heartbeat_s": _HEARTBEAT_S,
        "stands_still": Standstills(plan),
        "stands_still_s": plan.stands_still_s,
        "no_snapshot": _no_snapshot,
        "checkpoint_factory": _checkpoints(plan),
        "hooks": _hooks(plan, progress),
        "write_params": int(plan.json),
        "experiments": [_facts(one) for one in plan.experiments],
        "experiment_dir": plan.experiment_dir,
        "resources": plan.total_resources,
        "max_pending": plan.max_pending,
        "max_dirname": plan.max_dirname,
        "fail_fast": {False: 0, True: 1, "raise": 2}[plan.fail_fast],
        "reuse_actors": int(plan.reuse_actors),
        "checkpoint_frequency": checkpoint.checkpoint_frequency or 0,
        "checkpoint_at_end": int(bool(checkpoint.checkpoint_at_end)),
        "num_to_keep": checkpoint.num_to_keep or 0,
        "score_attribute": checkpoint.checkpoint_score_attribute,
        "score_min": int(checkpoint.checkpoint_score_order == "min"),
        "required": plan.required,
        "force_stop_s": plan.force_stop_s,
        "restore_retries": environment_number("TUNE_RESTORE_RETRY_NUM", 0),
        "json": int(plan.json),
        "csv": int(plan.csv),
        "errors": 1,
        # A run never writes into another's segment.
        "journal": plan.experiments[0].storage.last_journal() + 1,
        "journal_sync": SYNC_POLICIES.index(plan.journal_sync),
        "snapshot_bytes": environment_number("CTUNE_SNAPSHOT_BYTES", _SNAPSHOT_BYTES),
        # So that they cost little; who sets a limit gets just that.
        "snapshot_times": 0 if os.environ.get("CTUNE_SNAPSHOT_BYTES") else 2,
        "interrupt_grace": _INTERRUPT_GRACE_S,
    }


def _heartbeat(progress: Progress, states: CallbackStates) -> Callable[[], None]:
    def beat() -> None:
        states.heartbeat()
        if progress.wanted:
            progress.heartbeat()

    return beat


def _trial_exception(driver: _ctune.Driver) -> BaseException | None:
    """The exception that a trial raised, for fail_fast="raise"."""
    if driver.exception is not None:
        return driver.exception
    if driver.failure is not None:
        text, blob = driver.failure
        error = pickle.loads(blob)
        if isinstance(error, BaseException):
            if error.__cause__ is None:
                error.__cause__ = WorkerTraceback(text)  # its own stayed in the worker
            return error
    return None


def _drive(plan: Plan, driver: _ctune.Driver) -> None:
    """Runs to the end; turns what a policy or callback raised into a TuneError."""
    try:
        driver.run()
        return
    except UnpicklableError as error:
        raise TuneError(_unpicklable(driver, error)) from error
    except Exception as error:
        ended = error
        if plan.fail_fast != "raise":
            if isinstance(error, (TuneError, ValueError, OSError)) and not _from_python(error):
                raise
            raise TuneError(_traceback_of(error)) from error
    # Out here it keeps its own cause and context.
    raise _trial_exception(driver) or ended


def _unpicklable(driver: _ctune.Driver, error: UnpicklableError) -> str:
    """Returns what says which parameter of which trial cannot be pickled, and the remedy."""
    from ctune._pickling import find_unpicklable

    for trial in reversed(driver.trials):
        place = [] if error.value is trial.config else _place_of(error.value, trial.config)
        if place is not None:
            break
    else:
        trial, place = None, []
    inner = find_unpicklable(error.value)
    where = "a config" if trial is None else f"the config of trial {trial}"
    return (
        f"config: {repr('/'.join(place)) if place else 'an object'} in {where} cannot be pickled, "
        f"for its worker or for params.pkl{f', because of {inner}' if inner else ''}: {error}. "
        "Make such objects inside the trainable, once it runs."
    )


def _place_of(value: Any, node: Any) -> list[str] | None:
    """Returns the keys under which an object stands in a config; None: it does not."""
    children: Iterable[tuple[Any, Any]] = ()
    if isinstance(node, dict):
        children = node.items()
    elif isinstance(node, (list, tuple)):
        children = enumerate(node)
    for key, child in children:
        below = [] if child is value else _place_of(value, child)
        if below is not None:
            return [str(key), *below]
    return None


def _from_python(error: BaseException) -> bool:
    """Whether Python code below the driver raised it, not the engine itself."""
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    return tb is not None and tb.tb_frame.f_code.co_filename != __file__


def _finish(plan: Plan, driver: _ctune.Driver, ran_s: float, before: JournalEnd | None) -> None:
    """Writes the list of trials for others, unless that would take long; the journal has all.

    Args:
        before: Where the journal ended, if all trials had ended when the run went on.
    """
    start = time.monotonic()
    if driver.stats()["turns"] > 1:
        before = None
    if not _states_are_cheap(driver, ran_s):
        return
    if _write_states(plan, driver.trials, before):
        logger.info(
            "Wrote the state of the experiment to %s in %.4fs.",
            plan.experiment_dir,
            time.monotonic() - start,
        )


def _fetch_checkpoints(plan: Plan, trials: list[Trial]) -> None:
    """Brings what trials go on from to this machine, if it is only in remote storage."""
    for one in plan.experiments:
        if not one.storage.remote:
            continue
        wanted: list[str] = []
        for trial in trials:
            view = trial._view
            if view is None or trial.is_finished() or trial.local_experiment_path != one.directory:
                continue
            source = [] if view.source is None else [view.source]
            # The one before, in case the newest cannot be restored.
            wanted += [path for path, _, _ in [*view.checkpoints()[-2:], *source]]
        fetch_checkpoints(one.storage, wanted)


def _trials(driver: _ctune.Driver) -> int:
    return sum(driver.counts().values())


def _all_ended(driver: _ctune.Driver) -> bool:
    counts = driver.counts()
    return counts[Trial.TERMINATED] + counts[Trial.ERROR] == sum(counts.values())


def _states_are_cheap(driver: _ctune.Driver, ran_s: float) -> bool:
    return _trials(driver) * _STATE_S_PER_TRIAL <= max(_STATE_S, 0.01 * ran_s)


def _write_states(plan: Plan, trials: list[Trial], before: JournalEnd | None = None) -> bool:
    """Writes the file by which others know the trials of each experiment's directory.

    Without it they find them in the trials' own directories; False if so.

    Args:
        before: Where the journal ended when the trials were last as they are now.
    """
    sound = True
    end = plan.experiments[0].storage.journal_end()
    by_directory: dict[str | None, list[Trial]] = {}
    for one in plan.experiments:
        by_directory[one.directory] = []
    for trial in trials:
        by_directory.setdefault(trial.local_experiment_path, []).append(trial)
    stored = {one.directory: one.storage.experiment_fs_path for one in plan.experiments}
    for directory, own in by_directory.items():
        if directory is None:
            continue
        stands_in = stored.get(directory)
        try:
            write_state(
                directory,
                plan.session,
                own,
                start_time=plan.started,
                metric=plan.metric,
                stands_in=stands_in,
                journal=end,
                known=None if before is None else state_at(directory, before, stands_in),
            )
        except Exception:
            sound = False
            logger.exception(
                "The list of trials in %s could not be written; the run goes on.", directory
            )
    return sound


def _begin(progress: Progress, driver: _ctune.Driver) -> None:
    try:
        progress.start(driver)
    except ValueError:
        raise
    except Exception as error:
        raise TuneError(_traceback_of(error)) from error


def _last_report(progress: Progress, failing: bool) -> Exception | None:
    """Returns what a reporter raised, if that is to be raised when all is put away."""
    try:
        progress.end()
    except Exception as error:
        if not failing:
            failure = TuneError(_traceback_of(error))
            failure.__cause__ = error
            return failure
        logger.exception("The last report failed, too.")
    return None


def _end_callbacks(
    plan: Plan, trials: list[Trial], failing: bool, failure: Exception | None
) -> None:
    """Each callback hears of the end, also after another one, the run or a report failed."""
    for callback in plan.callbacks:
        if not _overridden(callback, "on_experiment_end"):
            continue
        try:
            callback.on_experiment_end(trials=trials)
        except Exception as error:
            if failing or failure is not None:
                logger.exception("A callback's on_experiment_end failed, too.")
            else:
                failure = error
    if failure is not None:
        raise failure


def _traceback_of(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def execute(plan: Plan) -> ExperimentAnalysis:
    """Runs the plan to its end and returns the analysis.

    Raises:
        TuneError: A trial failed (unless raise_on_failed_trial=False), or a scheduler,
            searcher, stopper or callback did; or another run writes to the experiment.
    """
    progress = Progress(plan)
    with (
        locked(one.directory for one in plan.experiments),
        _prints(plan, progress) as prints,
    ):
        return _execute(plan, progress, prints)


def _execute(plan: Plan, progress: Progress, prints: Prints | None) -> ExperimentAnalysis:
    uploads = Uploads([one.storage for one in plan.experiments])
    settings = run_settings(plan, keep_searcher(plan))
    options = _options(plan, Trial._attached(plan), progress, settings, prints)
    states = CallbackStates(plan)
    if states.wanted:
        options["heartbeat"] = _heartbeat(progress, states)
    for note, call in uploads.hooks().items():
        options["hooks"][note] = (*options["hooks"].get(note, ()), call)
    before = None if plan.past is None else plan.experiments[0].storage.journal_end()
    driver = _ctune.Driver(options)
    start = time.monotonic()
    recovered = False
    try:
        if plan.past is not None:
            recover(plan, driver)
            _fetch_checkpoints(plan, driver.trials)
        recovered = True
        states.restore()
        uploads.start()
        # Trials of earlier runs are not part of this one. Where all have ended, the file of
        # before says so.
        if not _trials(driver) or not _all_ended(driver):
            before = None
            if _states_are_cheap(driver, 0.0):
                _write_states(plan, driver.trials)
        CallbackList(plan.callbacks).setup(**plan.public_spec, total_num_samples=plan.total_samples)
        states.save()
        _begin(progress, driver)
        with _Interrupts(driver), Watch(driver, plan.stands_still_s):
            _drive(plan, driver)
            interrupted = driver.interrupted()
        _finish(plan, driver, time.monotonic() - start, before)
    finally:
        failing = sys.exc_info()[0] is not None
        if prints is not None:
            prints.flush()
        failure = _last_report(progress, failing)
        driver.close(0.0 if failing else _CLOSE_GRACE_S)
        if prints is not None:
            prints.flush()
        if plan.payload is not None:
            plan.payload.close()
        if failing and recovered and _states_are_cheap(driver, time.monotonic() - start):
            _write_states(plan, driver.trials)
        try:
            _end_callbacks(plan, driver.trials, failing, failure)
        finally:
            states.save()
            broken_off = isinstance(sys.exc_info()[1], KeyboardInterrupt)
            uploads.close(driver.trials, broken_off=broken_off)
    return _conclude(plan, driver, interrupted, progress)


def _conclude(
    plan: Plan, driver: _ctune.Driver, interrupted: bool, progress: Progress
) -> ExperimentAnalysis:
    trials = driver.trials
    incomplete = [t for t in trials if t.status != Trial.TERMINATED]
    if incomplete and plan.raise_on_failed_trial and not interrupted:
        raise TuneError("Trials did not complete", incomplete)
    if incomplete:
        logger.error("Trials did not complete: %s", incomplete)
    progress.conclude()
    if interrupted:
        logger.warning(
            "%s was interrupted. What it has is in %s. To go on: %s",
            plan.subject,
            plan.experiments[0].storage.place,
            plan.resume_hint,
        )
    return ExperimentAnalysis(
        plan.experiments[0].storage.experiment_fs_path,
        trials=trials,
        default_metric=plan.metric,
        default_mode=plan.mode,
        storage_filesystem=plan.experiments[0].storage.remote_filesystem,
    )


def execute_simulation(plan: Plan) -> _ctune.Driver:
    """Runs a plan of simulated workers: no files, no display. The driver knows the result.

    Raises:
        TuneError: A policy failed, or lets no trial run although some wait.
    """
    options = _options(plan, Trial._attached(plan), Progress(plan), None)
    driver = _ctune.Driver({**options, "journal": -1})
    try:
        with _Interrupts(driver):
            _drive(plan, driver)
    finally:
        driver.close(0.0)
    return driver
