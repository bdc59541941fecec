"""Files of this machine and of remote storage: read in the same way, copied in between.

A checkpoint in remote storage is whole if there is no file `.checkpoint_<n>.part` beside it:
that is written before its first file and removed after its last one, as object stores cannot
rename.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import shutil
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from ctune._encode import brief

if TYPE_CHECKING:
    import pyarrow.fs

__all__ = [
    "LOCAL",
    "ArrowFiles",
    "Files",
    "arrow",
    "describe",
    "download",
    "download_folder",
    "is_uri",
    "locate",
    "parallel",
    "pending_of",
    "upload",
]

_LANES = 8
_CHUNK = 1 << 20

# One slash suffices, so that a slip such as "s3:/bucket" makes no directory "s3:".
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def arrow(what: str) -> Any:
    """Returns the module pyarrow.fs.

    Args:
        what: What needs it, for the error.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import pyarrow.fs
    except ImportError:
        raise ImportError(f'{what} needs pyarrow: pip install "ctune[storage]"') from None
    return pyarrow.fs


def is_uri(path: str) -> bool:
    """Whether a path names a file system, too."""
    return _URI.match(path) is not None


def locate(parameter: str, path: str, filesystem: Any = None) -> tuple[Any, str]:
    """Returns the file system of a path, None for this machine's, and the path on it.

    Args:
        parameter: What the path is called, for errors.
        path: A local path, or a URI; with `filesystem` a bare path on that.
        filesystem: A `pyarrow.fs.FileSystem`, or None.

    Raises:
        ValueError: pyarrow does not know the URI (its ArrowInvalid, which is a ValueError),
            or a URI is given with a file system.
        TypeError: `filesystem` is none.
        ImportError: pyarrow is needed and not installed.
    """
    if filesystem is not None:
        fs = arrow(f"{parameter} with storage_filesystem")
        if not isinstance(filesystem, fs.FileSystem):
            raise TypeError(
                "storage_filesystem: must be a pyarrow.fs.FileSystem, got "
                f"{brief(filesystem)}. Wrap one of fsspec: PyFileSystem(FSSpecHandler(...))."
            )
        if is_uri(path):
            raise ValueError(
                f"{parameter}: must be a bare path on storage_filesystem, got the URI "
                f"{brief(path)}. "
                "Leave out the scheme, or storage_filesystem."
            )
    elif is_uri(path):
        fs = arrow(f"{parameter}: {brief(path)}")
        try:
            filesystem, path = fs.FileSystem.from_uri(path)
        except (ValueError, OSError) as error:
            raise type(error)(f"{parameter}: {brief(path)} cannot be opened: {error}") from None
    if filesystem is None or filesystem.type_name == "local":
        return None, os.path.abspath(os.path.expanduser(path))
    return filesystem, path.rstrip("/") or path


def describe(filesystem: Any, path: str) -> str:
    """Returns a place as messages name it."""
    if filesystem is None:
        return path
    kind = filesystem.type_name
    return f"{kind}://{path}" if re.fullmatch(r"\w+", kind) else f"{path} on {kind}"


class Files(Protocol):
    """What readers need of a file system. Paths are absolute."""

    def open(self, path: str) -> BinaryIO:
        """Opens a file for reading. Raises OSError."""

    def names(self, path: str) -> list[str]:
        """Returns what a directory holds. Raises OSError."""

    def is_dir(self, path: str) -> bool:
        """Whether there is such a directory."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file or directory."""

    def changed(self, path: str) -> float:
        """Returns when a file was written last, in seconds since the epoch. Raises OSError."""


class _LocalFiles:
    """Files of this machine."""

    def open(self, path: str) -> BinaryIO:
        return open(path, "rb")

    def names(self, path: str) -> list[str]:
        return os.listdir(path)

    def is_dir(self, path: str) -> bool:
        return os.path.isdir(path)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def changed(self, path: str) -> float:
        return os.path.getmtime(path)


LOCAL: Files = _LocalFiles()


class ArrowFiles:
    """Files below one directory of remote storage.

    The directory is listed once, with all that is in it, when it is first asked for: object
    stores answer one question about a thousand files as fast as one about a single file.

    Args:
        filesystem: Where it is.
        root: The directory.
    """

    def __init__(self, filesystem: pyarrow.fs.FileSystem, root: str) -> None:
        self._filesystem = filesystem
        self._root = root
        self._listed: dict[str, dict[str, Any]] | None = None

    def _folders(self) -> dict[str, dict[str, Any]]:
        """Returns directory -> name -> its FileInfo."""
        if self._listed is None:
            selector = arrow("storage").FileSelector(
                self._root, recursive=True, allow_not_found=True
            )
            found: dict[str, dict[str, Any]] = {}
            for info in self._filesystem.get_file_info(selector):
                if info.is_file:
                    found.setdefault(posixpath.dirname(info.path), {})[info.base_name] = info
                else:
                    found.setdefault(info.path, {})
            # Object stores do not list directories that nobody made.
            for folder in list(found):
                while folder != self._root and folder:
                    folder, name = posixpath.split(folder)
                    found.setdefault(folder, {}).setdefault(name, None)
            self._listed = found
        return self._listed

    def open(self, path: str) -> BinaryIO:
        """Reads a file whole: one request."""
        with self._filesystem.open_input_stream(path, compression=None) as stream:
            return io.BytesIO(stream.read())

    def names(self, path: str) -> list[str]:
        """Returns what a directory holds."""
        if path not in self._folders():
            raise FileNotFoundError(f"there is no directory {describe(self._filesystem, path)}")
        return list(self._folders()[path])

    def is_dir(self, path: str) -> bool:
        """Whether there is such a directory."""
        return path in self._folders()

    def exists(self, path: str) -> bool:
        """Whether there is such a file or directory."""
        folder, name = posixpath.split(path)
        return self.is_dir(path) or name in self._folders().get(folder, ())

    def changed(self, path: str) -> float:
        """Returns when a file was written last, in seconds since the epoch."""
        folder, name = posixpath.split(path)
        info = self._folders().get(folder, {}).get(name)
        if info is None:
            raise FileNotFoundError(f"there is no file {describe(self._filesystem, path)}")
        when: float | None = info.mtime.timestamp() if info.mtime is not None else None
        return 0.0 if when is None else when


# --- copies --------------------------------------------------------------------------


def pending_of(checkpoint: str) -> str:
    """Returns the path in storage that says that a checkpoint there is not whole."""
    parent, name = posixpath.split(checkpoint.rstrip("/"))
    return posixpath.join(parent, f".{name}.part")


def parallel(jobs: Iterable[Callable[[], object]], most: int = _LANES) -> None:
    """Calls functions in some threads at once, in order, and returns when all have returned.

    The first exception ends it; jobs under way are waited for. Threads are daemons: a transfer
    that hangs does not keep the process from ending.
    """
    waiting = iter(jobs)
    lock = threading.Lock()
    failures: list[BaseException] = []

    def lane() -> None:
        while not failures:
            with lock:
                job = next(waiting, None)
            if job is None:
                return
            try:
                job()
            except BaseException as error:
                failures.append(error)

    threads = [
        threading.Thread(target=lane, name=f"ctune-transfer-{n}", daemon=True)
        for n in range(min(most, _LANES))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def upload(filesystem: Any, local: str, remote: str, size: int | None = None) -> None:
    """Copies a file into storage.

    Args:
        filesystem: Of `remote`, whose directory exists.
        local, remote: The two paths.
        size: How much of it: of files that grow, what was there at some time.
    """
    left = float("inf") if size is None else size
    with (
        open(local, "rb") as source,
        filesystem.open_output_stream(remote, compression=None) as target,
    ):
        while left > 0:
            data = source.read(int(min(_CHUNK, left)))
            if not data:
                break
            target.write(data)
            left -= len(data)


def download(filesystem: Any, remote: str, local: str) -> None:
    """Copies a file out of storage; it appears whole or not at all."""
    os.makedirs(os.path.dirname(local), exist_ok=True)
    aside = os.path.join(os.path.dirname(local), f".{os.path.basename(local)}.part")
    try:
        with (
            filesystem.open_input_stream(remote, compression=None) as source,
            open(aside, "wb") as target,
        ):
            shutil.copyfileobj(source, target, _CHUNK)
        os.replace(aside, local)
    except BaseException:
        if os.path.exists(aside):
            os.remove(aside)
        raise


def download_folder(filesystem: Any, remote: str, local: str) -> None:
    """Copies a checkpoint out of storage. If `local` is not there, it appears whole or not at all.

    Raises:
        FileNotFoundError: There is none, or its upload did not end.
        OSError: Files cannot be copied.
    """
    fs = arrow("storage")
    infos = filesystem.get_file_info(fs.FileSelector(remote, recursive=True, allow_not_found=True))
    place = describe(filesystem, remote)
    if not infos and filesystem.get_file_info(remote).type != fs.FileType.Directory:
        raise FileNotFoundError(f"there is no directory {place}")
    if filesystem.get_file_info(pending_of(remote)).type != fs.FileType.NotFound:
        raise FileNotFoundError(f"the upload of {place} did not end: there is no whole checkpoint")
    aside = local
    if not os.path.isdir(local):
        parent, name = os.path.split(os.path.abspath(local))
        aside = os.path.join(parent, f".{name}.part")
        shutil.rmtree(aside, ignore_errors=True)
    os.makedirs(aside, exist_ok=True)

    def fetch(info: Any) -> None:
        target = os.path.join(aside, posixpath.relpath(info.path, remote))
        if info.is_file:
            download(filesystem, info.path, target)
        else:
            os.makedirs(target, exist_ok=True)

    try:
        parallel([partial(fetch, info) for info in infos], len(infos))
        if aside != local:
            os.rename(aside, local)
    except BaseException:
        if aside != local:
            shutil.rmtree(aside, ignore_errors=True)
        raise
