"""The worker's side of a trial: carries out commands, whoever brings them."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from ctune import _ctune, _encode
from ctune._checkpoint import (
    Checkpoint,
    TrainingResult,
    aside_of,
    checkpoint_name,
    clean,
    publish,
)
from ctune._session import TrialInfo
from ctune._storage import has_marker, working_directory
from ctune._work import Care, Work
from ctune.execution._streams import ProcessStreams, SharedStreams, flush_everything
from ctune.result import RESULT_DUPLICATE, TRAINING_ITERATION, TRIAL_INFO

if TYPE_CHECKING:
    from ctune.execution._prints import Outlet
    from ctune.trainable.trainable import Trainable

__all__ = ["SYNC_CHECKPOINTS", "TrialHost", "failure_text"]

logger = logging.getLogger("ctune")

# Tells a worker process what the run says about its checkpoints: "1" or "0".
SYNC_CHECKPOINTS = "_CTUNE_SYNC_CHECKPOINTS"
# Frames of files below it are left out at the top of users' tracebacks.
_OWN_FILES = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class TrialHost:
    """Serves one trial after another in one worker.

    Args:
        trainable: The class whose instances train, name -> class if there are several, or
            a Work.
        own_process: Whether the process belongs to this host alone: then the working
            directory is the trial's, unless RAY_CHDIR_TO_TRIAL_DIR is "0".

        sync_checkpoints: Whether a checkpoint must be on the disk before it counts. Default:
            as the run says that started this process.

    Attributes:
        error: What the trainable raised in the command at hand, or None.
        prints: Where this process leads its output; None: nowhere.
    """

    def __init__(
        self,
        trainable: type[Trainable] | dict[str, type[Trainable]] | Work | None = None,
        *,
        own_process: bool = False,
        sync_checkpoints: bool | None = None,
    ) -> None:
        self.error: BaseException | None = None
        self.prints: Outlet | None = None
        self._trainable: Trainable | None = None
        self._own_process = own_process
        if sync_checkpoints is None:
            sync_checkpoints = os.environ.get(SYNC_CHECKPOINTS) == "1"
        self._sync_checkpoints = sync_checkpoints
        self._take(trainable)
        self._care = Care()
        self._streams: ProcessStreams | SharedStreams | None = None
        self._handlers: dict[str, Callable[[_ctune.Command], _ctune.Event]] = {
            "START": self._start,
            "STEP": self._step,
            "SAVE": self._save,
            "RESTORE": self._restore,
            "RESET": self._reset,
            "EXPORT": self._export,
            "STOP": self._stop,
            "KILL": self._stop,
        }

    @property
    def trainable(self) -> Trainable | None:
        """The instance at work, whose step() the engine may call by itself.

        None before START, after STOP, and if all calls must come through handle().
        """
        if self._streams is not None and self._streams.shared:
            return None
        return self._trainable

    def handle(self, command: _ctune.Command) -> _ctune.Event:
        """Carries out a command and returns the event that answers it.

        What the trainable raises becomes an event too; only KeyboardInterrupt leaves, and
        not from a host with its own process.
        """
        self.error = None
        try:
            if command.kind in ("START", "RESET"):
                self._receive(command)
        except BaseException as error:
            event = self._failed(error, "START_FAILED" if command.kind == "START" else "FAILED")
        else:
            with self._redirected():
                event = self._handlers[command.kind](command)
        if command.kind in ("STOP", "KILL"):
            self._close_streams()
            if self._own_process:  # whoever hears of the end may end this process
                flush_everything(c=self.prints is not None)
        event.trial = command.trial
        event.serial = command.serial
        return event

    def on_error(self, error: BaseException, kind: str = "FAILED") -> _ctune.Event:
        """Returns the event for an exception that the trainable raised."""
        self.error = error
        text = failure_text(error)
        return _ctune.Event(kind, text=text, blob=_pickled(error, text))

    def load(self, name: str | None) -> type[Trainable]:
        """Returns the trainable class; called at each START.

        Args:
            name: Which one, if there are several.
        """
        assert self._class is not None
        if isinstance(self._class, dict):
            assert name is not None
            return self._class[name]
        return self._class

    def close(self) -> None:
        """Stops the trainable if there is one; an error in that is only logged."""
        with self._redirected():
            self._stop_trainable()
        self._close_streams()

    def _stop_trainable(self) -> None:
        trainable, self._trainable = self._trainable, None
        if trainable is None:
            return
        try:
            trainable.stop()
        except BaseException as error:
            self._check_interrupt(error)
            logger.warning(  # the trial has its results: not a failure
                "Trial %s raised an error while it was being stopped.",
                trainable.trial_name,
                exc_info=True,
            )

    def _start(self, command: _ctune.Command) -> _ctune.Event:
        kind = "START_FAILED"
        try:
            self._enter(command)
            self._trainable = self.load(command.trainable)(self._config_of(command))
            if self._first_checkpoint(command) is not None:
                kind = "RESTORE_FAILED"
                self._restore_first(command)
            kind = "FAILED"
            self._catch_up(command)
        except BaseException as error:
            return self._failed(error, kind)
        return self._served("STARTED")

    def _catch_up(self, command: _ctune.Command) -> None:
        """Steps to where the trial was before its run was cut; its results are known."""
        trainable = self._at_work()
        reached = trainable.training_iteration
        trainable._unheard = True
        while reached < command.upto:
            result = trainable.train()
            if RESULT_DUPLICATE in result:  # the function is shorter now: the next step tells
                break
            reached = result.get(TRAINING_ITERATION, reached + 1)
        trainable._unheard = False

    def _first_checkpoint(self, command: _ctune.Command) -> str | None:
        return command.checkpoint if command.checkpoint is not None else self._care.restore

    def _restore_first(self, command: _ctune.Command) -> None:
        """Loads the trial's own checkpoint, or the one that was given for all."""
        if command.checkpoint is not None:
            self._at_work().restore(command.checkpoint)
        elif self._care.restore is not None:
            # That is where it starts, not how far it has come: it counts from 0.
            self._at_work().restore(TrainingResult(Checkpoint(self._care.restore), {}))

    def _step(self, command: _ctune.Command) -> _ctune.Event:
        try:
            result = self._at_work().train()
        except BaseException as error:
            return self._failed(error)
        return _ctune.Event("RESULT", result=result)

    def _save(self, command: _ctune.Command) -> _ctune.Event:
        trainable = self._at_work()
        if not _saves_itself(trainable):
            return _ctune.Event("SAVED")
        info = trainable._info
        parent = command.trial_dir or (info.trial_dir if info is not None else None)
        if parent is None:
            parent = tempfile.mkdtemp(prefix="ctune_")
        target = os.path.join(parent, checkpoint_name(command.index))
        aside = aside_of(target)
        try:
            if info is not None:
                info.check_storage()
            shutil.rmtree(aside, ignore_errors=True)
            process = os.getpid()
            trainable.save(aside)
            if os.getpid() != process:
                os._exit(0)  # a child that the trial forked, and that came back
            publish(aside, target, sync=self._sync_checkpoints)
        except BaseException as error:
            shutil.rmtree(aside, ignore_errors=True)
            return self._failed(error, "SAVE_FAILED")
        return _ctune.Event("SAVED", path=target)

    def _restore(self, command: _ctune.Command) -> _ctune.Event:
        try:
            assert command.checkpoint is not None
            self._at_work().restore(command.checkpoint)
        except BaseException as error:
            return self._failed(error, "RESTORE_FAILED")
        return _ctune.Event("RESTORED")

    def _reset(self, command: _ctune.Command) -> _ctune.Event:
        kind = "FAILED"
        try:
            self._enter(command)
            trainable = self._at_work()
            if not trainable.reset(self._config_of(command)):
                return _ctune.Event("RESET_REFUSED")
            if self._first_checkpoint(command) is not None:
                kind = "RESTORE_FAILED"
                self._restore_first(command)
            kind = "FAILED"
            self._catch_up(command)
        except BaseException as error:
            return self._failed(error, kind)
        return self._served("RESET")

    def _export(self, command: _ctune.Command) -> _ctune.Event:
        try:
            self._at_work().export_model(self._care.export_formats)
        except BaseException as error:
            return self._failed(error)
        return _ctune.Event("EXPORTED")

    def _stop(self, command: _ctune.Command) -> _ctune.Event:
        self._stop_trainable()
        return _ctune.Event("STOPPED")

    def _failed(self, error: BaseException, kind: str = "FAILED") -> _ctune.Event:
        self._check_interrupt(error)
        return self.on_error(error, kind)

    def _check_interrupt(self, error: BaseException) -> None:
        """Ctrl-C in the driver's own process is meant for the run, not for a trial."""
        if isinstance(error, KeyboardInterrupt) and not self._own_process:
            raise error

    def _at_work(self) -> Trainable:
        assert self._trainable is not None, "START comes first"
        return self._trainable

    def _served(self, kind: str) -> _ctune.Event:
        hostname, address, pid = _ctune.host()
        return _ctune.Event(kind, text=hostname, path=address, code=pid)

    def _take(self, given: type[Trainable] | dict[str, type[Trainable]] | Work | None) -> None:
        self._class = given.trainable if isinstance(given, Work) else given
        self._cares = given.care if isinstance(given, Work) else {}

    def _receive(self, command: _ctune.Command) -> None:
        """Turns to the trial that is to be served now: opens its files."""
        self._close_streams()
        if self.prints is not None:
            self.prints.lead(command.trial_name)
        self._care = self._cares.get(command.experiment or "", Care())
        if self._care.log_files == (None, None) or command.trial_dir is None:
            return
        kind = ProcessStreams if self._own_process else SharedStreams
        self._streams = kind(working_directory(command.trial_dir), self._care.log_files)

    def _close_streams(self) -> None:
        if self._streams is not None:
            self._streams.close()
            self._streams = None

    def _redirected(self) -> AbstractContextManager[None]:
        return self._streams if isinstance(self._streams, SharedStreams) else nullcontext()

    def _enter(self, command: _ctune.Command) -> None:
        """Makes the trial's directory the working directory, and tidies it up."""
        if command.trial_dir:
            clean(command.trial_dir)
        if not self._own_process:
            return
        os.environ.setdefault("TUNE_ORIG_WORKING_DIR", os.getcwd())
        if command.trial_dir and os.environ.get("RAY_CHDIR_TO_TRIAL_DIR", "1") != "0":
            directory = working_directory(command.trial_dir)
            os.makedirs(directory, exist_ok=True)
            os.chdir(directory)

    def _config_of(self, command: _ctune.Command) -> dict[str, Any]:
        directory = command.trial_dir
        config: dict[str, Any] = dict(command.config or {})
        config[TRIAL_INFO] = TrialInfo(
            trial_id=command.trial_id or "",
            trial_name=command.trial_name or "",
            trial_dir=directory,
            experiment_name=command.experiment,
            resources=command.resources or {},
            checkpoint_index=command.index,
            marked=directory is not None and has_marker(os.path.dirname(directory)),
            sync_checkpoints=self._sync_checkpoints,
        )
        return config


def _saves_itself(trainable: Trainable) -> bool:
    """Whether a SAVE has work to do: functions persist what they report by themselves."""
    from ctune.trainable.function_trainable import FunctionTrainable

    return not isinstance(trainable, FunctionTrainable)


def failure_text(error: BaseException) -> str:
    """Returns the traceback of an exception, without our own frames at its top."""
    whole = traceback.TracebackException.from_exception(error)
    if os.environ.get("RAY_AIR_FULL_TRACEBACKS", "0") != "1":
        part: traceback.TracebackException | None = whole
        while part is not None:
            _drop_own_frames(part)
            part = part.__cause__ or part.__context__
    # The engine's texts are UTF-8, which has no form for what Python makes of alien bytes.
    return "".join(whole.format()).encode("utf-8", "backslashreplace").decode()


def _drop_own_frames(part: traceback.TracebackException) -> None:
    stack = part.stack
    own = 0
    while own < len(stack) and stack[own].filename.startswith(_OWN_FILES):
        own += 1
    if own < len(stack):
        del stack[:own]
    elif part.__cause__ is not None:
        del stack[:]  # ours from end to end: what caused it is the user's


def _pickled(error: BaseException, text: str) -> bytes:
    """Pickles an exception so that it can be loaded elsewhere; else one that says it."""
    try:
        data = _encode.dumps(error)
        _encode.loads(data)
    except Exception:
        return _encode.dumps(RuntimeError(text))
    return data
