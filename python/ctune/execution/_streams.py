"""What a trial prints, in files of its own as well: log_to_file."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, cast

__all__ = ["ProcessStreams", "SharedStreams", "flush_everything", "prepare_process"]

_FORMAT = "[%(levelname)s %(asctime)s] %(filename)s: %(lineno)d  %(message)s"


def _open(directory: str, name: str) -> int:
    """Opens a trial's file for appending and returns its descriptor."""
    path = os.path.join(directory, os.path.expanduser(name))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class _Records(logging.Handler):
    """Writes log records of ctune into the file for stderr.

    Args:
        write: Takes the bytes of a record.
        spare: Writes a record where people look, if nobody else does. Python does so by
            itself only for loggers without any handler.
    """

    def __init__(
        self, write: Callable[[bytes], Any], spare: Callable[[logging.LogRecord], Any]
    ) -> None:
        super().__init__()
        self._write = write
        self._spare = None if logging.getLogger("ctune").hasHandlers() else spare
        self.setFormatter(logging.Formatter(_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        self._write(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))
        if self._spare is not None and record.levelno >= logging.WARNING:
            self._spare(record)


# --- a process of its own ---


class _Descriptor(io.RawIOBase):
    """Standard output or error; while it leads to a file, where it led before, too.

    Attributes:
        original: Descriptor of where it led before, or None.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.original: int | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd if self.original is None else self.original)

    def write(self, data: Any) -> int:
        _write_all(self._fd, data)
        self.write_original(data)
        return len(data)

    def write_original(self, data: bytes) -> None:
        if self.original is not None:
            try:
                _write_all(self.original, data)
            except OSError:
                pass  # nobody reads there any more: the file has it


_NAMES = ("stdout", "stderr")


def prepare_process() -> None:
    """Replaces sys.stdout and sys.stderr by streams that can also write to files.

    Before the trainable is loaded: log handlers that its modules make keep these.
    """
    for fd, name in enumerate(_NAMES, 1):
        old = getattr(sys, name)
        old.flush()
        new = io.TextIOWrapper(
            cast("Any", _Descriptor(fd)),
            encoding=old.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )
        setattr(sys, name, new)


class ProcessStreams:
    """The files of the trial that this process serves.

    The descriptors 1 and 2 lead to the files, so that they get what C code and child
    processes print; Python's streams write to where the descriptors led before, too.

    Args:
        directory: The trial's working directory.
        names: Of the files for stdout and stderr; None: no file.

    Raises:
        OSError: A file cannot be opened.
    """

    shared = False

    def __init__(self, directory: str, names: tuple[str | None, str | None]) -> None:
        self._open: list[_Descriptor] = []
        self._records: _Records | None = None
        try:
            for stream, fd, name in zip((sys.stdout, sys.stderr), (1, 2), names, strict=True):
                if name is not None:
                    self._lead(stream, fd, _open(directory, name))
        except BaseException:
            self.close()
            raise
        if names[1] is not None:
            self._records = _Records(lambda text: _write_all(2, text), self._show)
            logging.getLogger("ctune").addHandler(self._records)

    def _lead(self, stream: Any, fd: int, file: int) -> None:
        stream.flush()
        descriptor = stream.buffer
        assert isinstance(descriptor, _Descriptor), "prepare_process() comes first"
        descriptor.original = os.dup(fd)
        os.dup2(file, fd)
        os.close(file)
        self._open.append(descriptor)

    def _show(self, record: logging.LogRecord) -> None:
        self._open[-1].write_original(f"{record.getMessage()}\n".encode("utf-8", "replace"))

    def close(self) -> None:
        """Puts the descriptors back."""
        if self._records is not None:
            logging.getLogger("ctune").removeHandler(self._records)
            self._records = None
        if self._open:
            flush_everything()
        for descriptor in self._open:
            assert descriptor.original is not None
            os.dup2(descriptor.original, descriptor.fileno())
            os.close(descriptor.original)
            descriptor.original = None
        self._open.clear()


def flush_everything(c: bool = True) -> None:
    """What Python and C have in their buffers belongs to the trial that printed it.

    Args:
        c: Whether C, too; it costs an import.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    if not c:
        return
    try:
        import ctypes

        ctypes.CDLL(None).fflush(None)
    except (ImportError, OSError, AttributeError):
        pass


# --- a process that others use, too ---


class _Here(threading.local):
    """Descriptors of the files of the trial that is at work in this thread."""

    files: tuple[int | None, int | None] = (None, None)


_here = _Here()
_lock = threading.Lock()
_at_work = 0
_router: tuple[_Router, _Router] | None = None
_records: _Records | None = None


def _put(index: int, data: bytes) -> None:
    file = _here.files[index]
    if file is not None:
        _write_all(file, data)


class _Bytes:
    """The binary side of a _Router."""

    def __init__(self, stream: Any, index: int) -> None:
        self._stream = stream
        self._index = index

    def write(self, data: Any) -> Any:
        _put(self._index, bytes(data))
        return self._stream.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Router:
    """Stands in for sys.stdout or sys.stderr while trials are at work.

    Writes to the stream in whose place it is, and to the file of the trial that is at
    work in the thread that writes.
    """

    def __init__(self, stream: Any, index: int) -> None:
        self.stream = stream
        self._index = index

    def write(self, text: str) -> Any:
        _put(self._index, text.encode("utf-8", "backslashreplace"))
        return self.stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Any:
        return _Bytes(self.stream.buffer, self._index)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _show(record: logging.LogRecord) -> None:
    stream = sys.stderr.stream if isinstance(sys.stderr, _Router) else sys.stderr
    stream.write(f"{record.getMessage()}\n")


def _install() -> None:
    global _at_work, _router, _records
    with _lock:
        _at_work += 1
        if _at_work > 1:
            return
        _router = (_Router(sys.stdout, 0), _Router(sys.stderr, 1))
        sys.stdout, sys.stderr = _router
        _records = _Records(lambda text: _put(1, text), _show)
        logging.getLogger("ctune").addHandler(_records)


def _remove() -> None:
    global _at_work, _router, _records
    with _lock:
        _at_work -= 1
        if _at_work > 0:
            return
        assert _router is not None and _records is not None
        logging.getLogger("ctune").removeHandler(_records)
        for router, name in zip(_router, _NAMES, strict=True):
            if getattr(sys, name) is router:  # the trainable may have put its own
                setattr(sys, name, router.stream)
        _router = _records = None


class SharedStreams:
    """The files of a trial in a process that serves others, too.

    A context manager: sys.stdout and sys.stderr lead to the files within, and for its
    thread only. What C code and child processes print does not get there.

    Args, Raises: As ProcessStreams.
    """

    shared = True

    def __init__(self, directory: str, names: tuple[str | None, str | None]) -> None:
        self._files: list[int | None] = [None, None]
        try:
            for index, name in enumerate(names):
                if name is not None:
                    self._files[index] = _open(directory, name)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> None:
        self._before = _here.files
        _here.files = (self._files[0], self._files[1])
        _install()

    def __exit__(self, *exc: object) -> None:
        _remove()
        _here.files = self._before

    def close(self) -> None:
        """Closes the files."""
        for index, file in enumerate(self._files):
            if file is not None:
                os.close(file)
            self._files[index] = None
