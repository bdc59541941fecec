"""What workers print, for a driver that draws on the terminal: brought to it line by line.

A worker leads its output into pipes of its own whenever it begins with a trial, and hands the
driver the other ends over a socket, with a label. So the driver knows whose a line is, what a
worker has printed outlives it, and one that prints more than is read waits for nobody but
itself.

The socket: one datagram of UTF-8 text, the label, with the pipes' ends as SCM_RIGHTS.
"""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ctune.execution._streams import flush_everything

__all__ = ["Outlet", "Prints"]

logger = logging.getLogger("ctune")

# What is shown at once: what comes within a moment, because to draw the block costs, too.
_MOMENT_S = 0.05
_BATCH = 256 << 10  # bytes, about
_READ = 64 << 10
_LONGEST = 16 << 10  # a longer line is shown in parts
_UNFINISHED_S = 1.0  # after which a line without an end is shown,
_BAR_S = 10.0  # and one that begins again and again, as progress bars do
_DRAINED = 1 << 20  # at the end, of each pipe: as much as one can hold

Line = tuple[str, str]  # label, text


class _Pipe:
    """The driver's end of one stream of a worker."""

    def __init__(self, fd: int, label: str) -> None:
        self.fd = fd
        self._label = label
        self._rest = b""
        self._bar = False
        self._since: float | None = None

    @property
    def due(self) -> float | None:
        """When the unfinished line is to be shown."""
        if self._since is None:
            return None
        return self._since + (_BAR_S if self._bar else _UNFINISHED_S)

    def take(self, data: bytes, now: float) -> list[Line]:
        """Returns the lines that are whole now."""
        *whole, rest = (self._rest + data).split(b"\n")
        if whole:
            self._since, self._bar = None, False
        self._bar = self._bar or b"\r" in rest
        rest = _newest(rest)
        while len(rest) > _LONGEST:
            end = _LONGEST
            while end > _LONGEST - 4 and rest[end] & 0xC0 == 0x80:
                end -= 1  # not within a character
            whole.append(rest[:end])
            rest = rest[end:]
        self._rest = rest
        if not rest:
            self._since = None
        elif self._since is None:
            self._since = now
        return [self._line(line) for line in whole]

    def unfinished(self) -> list[Line]:
        """Returns the line that has no end yet, if it says something."""
        rest, self._rest, self._since = self._rest, b"", None
        return [self._line(rest)] if rest.strip() else []

    def _line(self, data: bytes) -> Line:
        text = _newest(data).rstrip(b"\r").decode("utf-8", "backslashreplace")
        return self._label, text


def _newest(line: bytes) -> bytes:
    """Returns what a terminal would show of a line that begins anew at carriage returns."""
    return line[line.rstrip(b"\r").rfind(b"\r") + 1 :]


class Prints:
    """The driver's side: a thread reads what workers print and shows it.

    Args:
        show: Takes labels and lines, from this thread or from one that calls flush() or
            close(). While it waits, so do workers that print, and nobody else.
        streams: Descriptors of workers, of 1 and 2, whose output is wanted.
    """

    def __init__(self, show: Callable[[Sequence[Line]], Any], streams: Sequence[int]) -> None:
        self._show: Callable[[Sequence[Line]], Any] | None = show
        self._streams = streams
        self._pipes: set[_Pipe] = set()
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._inbox, outbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._inbox.setblocking(False)
        # The helper inherits it; its number must not be among those that the helper is given.
        self._outbox = fcntl.fcntl(outbox.fileno(), fcntl.F_DUPFD, 16)
        outbox.close()
        self._woken, self._wake = os.pipe()
        self._selector.register(self._inbox, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._read, name="ctune-prints", daemon=True)
        self._thread.start()

    @property
    def outlet(self) -> tuple[int, ...]:
        """What an Outlet is made of in a process that inherits from this one."""
        return self._outbox, *self._streams

    def __enter__(self) -> Prints:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def flush(self) -> None:
        """Shows all lines that have been printed until now."""
        with self._lock:
            self._welcome()
            for pipe in list(self._pipes):
                left, size = _DRAINED, 1
                while left > 0 and size > 0:
                    lines, size = self._take(pipe)
                    left -= size
                    self._tell(lines)

    def close(self) -> None:
        """Shows what is left, and reads no more. Once; workers must have ended.

        What a process that they have left behind prints later goes nowhere.
        """
        self._closing.set()
        os.write(self._wake, b"x")
        self._thread.join()
        self.flush()
        for pipe in list(self._pipes):
            self._tell(self._drop(pipe))
        self._selector.close()
        self._inbox.close()
        for fd in (self._outbox, self._woken, self._wake):
            os.close(fd)

    def _read(self) -> None:
        while not self._closing.is_set():
            with self._lock:
                due = min((p.due for p in self._pipes if p.due is not None), default=None)
            self._selector.select(None if due is None else max(0.0, due - time.monotonic()))
            with self._lock:
                self._look()

    def _look(self) -> None:
        """Reads what comes in a moment, by turns."""
        lines: list[Line] = []
        total, left = 0, _MOMENT_S
        end = time.monotonic() + left
        while total < _BATCH and left > 0 and not self._closing.is_set():
            for key, _ in self._selector.select(left):
                if key.fileobj is self._inbox:
                    self._welcome()
                elif isinstance(key.data, _Pipe):
                    more, size = self._take(key.data)
                    lines += more
                    total += size
            left = end - time.monotonic()
        now = time.monotonic()
        for pipe in self._pipes:
            if pipe.due is not None and pipe.due <= now:
                lines += pipe.unfinished()
        self._tell(lines)

    def _tell(self, lines: Sequence[Line]) -> None:
        if not lines or self._show is None:
            return
        try:
            self._show(lines)
        except (OSError, ValueError, SystemExit):  # the terminal is gone; rich would exit
            self._show = None  # workers must not wait for a reader
        except Exception:
            self._show = None
            logger.exception("What trials print cannot be shown any more; the run goes on.")

    def _welcome(self) -> None:
        while self._inbox.fileno() >= 0:
            self._keep_room()
            try:
                label, fds, _, _ = socket.recv_fds(self._inbox, _READ, 2)
            except OSError:  # nothing there
                return
            if not label:  # after _keep_room()
                self._selector.unregister(self._inbox)
                self._inbox.close()
            for fd in fds:
                os.set_inheritable(fd, False)
                os.set_blocking(fd, False)
                pipe = _Pipe(fd, label.decode("utf-8", "replace"))
                self._pipes.add(pipe)
                self._selector.register(fd, selectors.EVENT_READ, pipe)

    def _keep_room(self) -> None:
        """Leaves half of all descriptors to others: workers print without a name then."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        try:
            lowest = os.dup(self._woken)
            os.close(lowest)
        except OSError:
            lowest = limit
        if 0 <= limit // 2 < lowest:
            self._inbox.shutdown(socket.SHUT_RD)  # what is under way still comes

    def _take(self, pipe: _Pipe) -> tuple[list[Line], int]:
        try:
            data = os.read(pipe.fd, _READ)
        except BlockingIOError:
            return [], 0
        except OSError:
            data = b""
        if not data:
            return self._drop(pipe), 0
        return pipe.take(data, time.monotonic()), len(data)

    def _drop(self, pipe: _Pipe) -> list[Line]:
        self._pipes.discard(pipe)
        self._selector.unregister(pipe.fd)
        os.close(pipe.fd)
        return pipe.unfinished()


class Outlet:
    """The worker's side: leads standard output and error of this process to the driver.

    Args:
        fd: The socket.
        *streams: Which descriptors.
    """

    def __init__(self, fd: int, *streams: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, fileno=fd)
        self._socket.set_inheritable(False)
        self._streams = streams
        self._leads = 0  # the process whose output it leads
        _by_lines()

    @property
    def fd(self) -> int:
        """The socket."""
        return self._socket.fileno()

    def lead(self, trial: str | None = None) -> None:
        """What this process prints from now on is shown as that of a trial.

        If nobody takes it, it goes where it went before.
        """
        pid = os.getpid()
        label = f"pid={pid}" if trial is None else f"{trial} pid={pid}"
        if self._leads == pid:  # else it has just been forked
            flush_everything()
        self._leads = pid
        pipes: list[tuple[int, int]] = []
        try:
            for _ in self._streams:
                pipes.append(os.pipe())
            socket.send_fds(self._socket, [label.encode("utf-8", "replace")], [r for r, _ in pipes])
            for stream, (_, write) in zip(self._streams, pipes, strict=True):
                os.dup2(write, stream)
        except OSError:
            pass
        finally:
            for fd in (fd for pair in pipes for fd in pair):
                os.close(fd)


def _by_lines() -> None:
    """C's standard output would keep what it gets until there is a lot, as in any pipe."""
    try:
        import ctypes

        library = ctypes.CDLL(None)
        for name in ("stdout", "__stdoutp"):
            if hasattr(library, name):
                stdout = ctypes.c_void_p.in_dll(library, name)
                library.setvbuf(stdout, None, 1, 0)  # _IOLBF
    except (ImportError, OSError):
        pass
