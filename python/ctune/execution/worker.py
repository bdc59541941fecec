"""Worker processes: how the driver starts the helper, what the helper and workers do.

The driver starts one helper per run, a fresh interpreter that inherits nothing but a
socket. It loads the trainable once and forks a worker for each trial that starts, so that
a worker costs a fork and not an import. A process with several threads must not fork (a
lock held by another thread would stay locked for ever): if loading the trainable started
threads, the helper begins anew, and each worker loads the trainable for itself.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from ctune import _ctune
from ctune._pickling import load_trainable, map_payload
from ctune._storage import worker_environment
from ctune._work import Work
from ctune.execution._host import SYNC_CHECKPOINTS, TrialHost, failure_text
from ctune.execution._streams import flush_everything, prepare_process

if TYPE_CHECKING:
    from ctune._plan import Plan
    from ctune.execution._prints import Outlet, Prints

__all__ = ["helper_argv", "main", "process_options"]

_START_TIMEOUT_S = 60.0
# Libraries that would start a thread per core in every worker.
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Descriptors of payload and segment (-1 for none) for a helper that began anew.
_PAYLOAD_FDS = "_CTUNE_PAYLOAD_FDS"


def process_options(plan: Plan, prints: Prints | None = None) -> dict[str, Any]:
    """Returns what the C driver needs to start the helper of a run.

    Args:
        plan: The run.
        prints: Gets what workers print. Default: they print where the driver prints.
    """
    assert plan.payload is not None
    asked = [one.resources for one in plan.experiments]
    cpus = min(1.0 if callable(one) else one.get("CPU", 1.0) for one in asked)
    threads = str(max(1, int(cpus)))
    return {
        "argv": helper_argv(
            logs=isinstance(plan.trainable, Work) and plan.trainable.logs,
            outlet=() if prints is None else prints.outlet,
        ),
        "env": {
            **{name: threads for name in _THREAD_LIMITS if name not in os.environ},
            **worker_environment(one.storage for one in plan.experiments),
            SYNC_CHECKPOINTS: str(int(plan.sync_checkpoints)),
        },
        "payload": plan.payload.data,
        "payload_fd": plan.payload.fd,
        "start_timeout": _START_TIMEOUT_S,
        "work_limit": plan.trial_timeout_s,
    }


# Whether this process, or the one that it was forked from, is a helper.
is_worker = False


def helper_argv(logs: bool = False, outlet: tuple[int, ...] = ()) -> list[str]:
    """Returns the helper's command line, to which the pool adds the socket's number.

    Args:
        logs: Whether output of trials goes to files.
        outlet: What leads the output to the driver.
    """
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

    # Absolute, because workers change the directory.
    path = [os.path.abspath(entry) for entry in sys.path]
    code = (
        f"import sys; sys.path[:] = {ascii(path)}; "
        f"from ctune.execution.worker import main; main(int(sys.argv[1]), {logs}, {outlet})"
    )
    return [sys.executable, *_args_from_interpreter_flags(), "-c", code]


def main(control: int, logs: bool = False, outlet: tuple[int, ...] = ()) -> None:
    """The helper: loads the trainable and forks workers until the driver is gone."""
    global is_worker
    is_worker = True
    prints: Outlet | None = None
    if outlet:
        from ctune.execution._prints import Outlet

        prints = Outlet(*outlet)
        prints.lead()
    if logs:
        prepare_process()
    kept = os.environ.pop(_PAYLOAD_FDS, None)
    host: TrialHost | None = None if kept is None else _LoadingHost(*_read_kept(kept))
    # Closes what else is open.
    helper = _ctune.Helper(control, -1 if prints is None else prints.fd)
    if os.environ.get("CTUNE_COMPAT"):
        from ctune.compat import install

        install()  # the trainable may name modules of ray
    if host is None:
        payload = helper.payload()
        if payload is None:
            return
        host = _load(helper, *payload, control, prints)
    else:
        helper.loaded()
    for stream in (sys.stdout, sys.stderr):
        # What a trial prints is seen at once, and never twice.
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    host.prints = prints
    gc.collect()
    gc.freeze()  # collections in workers do not touch, and so copy, what they share
    _fork_workers(helper, host)


class _LoadingHost(TrialHost):
    """Loads the trainable in the worker itself."""

    def __init__(self, payload: bytes, segment: memoryview | None) -> None:
        super().__init__(own_process=True)
        self._payload: bytes | None = payload
        self._segment = segment

    def _receive(self, command: _ctune.Command) -> None:
        if self._payload is not None:
            self._take(load_trainable(self._payload, self._segment))
            self._payload = self._segment = None
        super()._receive(command)


def _load(
    helper: _ctune.Helper, payload: bytes, fd: int, control: int, prints: Outlet | None
) -> TrialHost:
    try:
        trainable = load_trainable(payload, map_payload(fd))
    except BaseException as error:
        helper.unloadable(
            "The trainable could not be loaded in the worker processes.\n" + failure_text(error)
        )
        return TrialHost(own_process=True)
    if _count_threads() > 1:
        _begin_anew(payload, fd, control, -1 if prints is None else prints.fd)
    if fd >= 0:
        os.close(fd)
    helper.loaded()
    return TrialHost(trainable, own_process=True)


def _count_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        import threading

        return threading.active_count()


def _begin_anew(payload: bytes, fd: int, *kept: int) -> None:
    """Replaces this process by a helper that has no threads and loads nothing."""
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(payload)
        file.flush()
        file.seek(0)
        for passed in (file.fileno(), fd, *kept):
            if passed >= 0:
                os.set_inheritable(passed, True)
        os.environ[_PAYLOAD_FDS] = f"{file.fileno()} {fd}"
        os.execv(sys.executable, sys.orig_argv)


def _read_kept(fds: str) -> tuple[bytes, memoryview | None]:
    payload, segment = map(int, fds.split())
    with open(payload, "rb") as file:
        return file.read(), map_payload(segment)


def _fork_workers(helper: _ctune.Helper, host: TrialHost) -> None:
    while (order := helper.next()) is not None:
        worker, socket = order
        try:
            pid = os.fork()
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            _work(helper, host, socket)
        helper.forked(worker, pid)
        os.close(socket)


def _work(helper: _ctune.Helper, host: TrialHost, socket: int) -> None:
    """A worker's whole life. It leaves without the helper's clean-up."""
    code = 1
    try:
        if helper.become_worker():
            _reseed()
            connection = _ctune.Connection(socket)
            # A child that the trial forks and that returns to us must not answer, too.
            os.register_at_fork(after_in_child=connection.close)
            if connection.serve(host):
                atexit._run_exitfuncs()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        flush_everything(c=host.prints is not None)
        os._exit(code)


def _reseed() -> None:
    """Gives each worker random numbers of its own, as a process of its own would have.

    The module random does so by itself.
    """
    mtrand = sys.modules.get("numpy.random.mtrand")
    if mtrand is not None:
        mtrand.seed()
