"""Checkpoints: directories in which a trial keeps what it needs to go on."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ctune._encode import brief
from ctune._files import LOCAL, Files, arrow, download_folder, is_uri, locate

if TYPE_CHECKING:
    import pyarrow.fs

    from ctune._storage import StorageContext

__all__ = ["Checkpoint", "TrainingResult"]

_METADATA_FILE = ".metadata.json"
# How far training had come when a checkpoint was made; see write_progress().
_PROGRESS_FILE = ".ctune_progress.json"

# Names of an older interface, and what takes their place.
_GONE = {
    "from_dict": "write the dict to a file in a directory and use from_directory()",
    "to_dict": "read the file that holds your data, below as_directory()",
    "from_bytes": "write the bytes to a file in a directory and use from_directory()",
    "to_bytes": "read the file that holds your data, below as_directory()",
    "from_uri": "use Checkpoint(path, filesystem=...)",
    "to_uri": "use the attributes `path` and `filesystem`",
    "from_checkpoint": "use the checkpoint as it is",
    "uri": "use the attributes `path` and `filesystem`",
    "get_preprocessor": "use get_metadata()",
    "set_preprocessor": "use set_metadata()",
}


def _gone(name: str) -> AttributeError:
    if name in _GONE:
        return AttributeError(f"Checkpoint.{name} does not exist: {_GONE[name]}.")
    return AttributeError(f"Checkpoint has no attribute {name!r}.")


class _CheckpointMeta(type):
    def __getattr__(cls, name: str) -> Any:
        raise _gone(name)


class Checkpoint(metaclass=_CheckpointMeta):
    """A directory of files that a trainable wrote and can continue from.

    Nothing is read or copied before it is asked for. Two checkpoints of the same
    directory are equal.

    Args:
        path: The directory: a local path or a URI; with `filesystem` a bare path on that.
        filesystem: A `pyarrow.fs.FileSystem`. Default: that of the path.

    Attributes:
        path: The directory as a bare path on `filesystem`.

    Raises:
        TypeError: `path` is no path, or `filesystem` no file system.
        ValueError: The URI is unknown, or is given with a file system.
        ImportError: The path is not local, and pyarrow is not installed.
    """

    path: str
    _filesystem: Any = None
    _local: str | None = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        filesystem: pyarrow.fs.FileSystem | None = None,
    ) -> None:
        text: object = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
        if not isinstance(text, str):
            raise TypeError(f"path: must be the path of a directory, got {brief(path)}.")
        self.path = text
        if filesystem is not None or is_uri(text):
            self._filesystem, self.path = locate("path", text, filesystem)

    @classmethod
    def _staged(cls, local: str, storage: StorageContext) -> Checkpoint:
        """Returns a checkpoint of remote storage that may still be on this machine, too."""
        checkpoint = cls(storage.in_storage(local), storage.remote_filesystem)
        checkpoint._local = local
        return checkpoint

    @property
    def staged_path(self) -> str:
        """Where it was written on this machine; of others the same as `path`."""
        return self._local or self.path

    @property
    def local_path(self) -> str | None:
        """The directory on this machine; None if it is only in remote storage."""
        if self._filesystem is None:
            return self.path
        return self._local if self._local is not None and os.path.isdir(self._local) else None

    def __getattr__(self, name: str) -> Any:
        raise _gone(name)

    @property
    def filesystem(self) -> pyarrow.fs.FileSystem:
        """The file system of `path` as pyarrow knows it. Needs pyarrow."""
        if self._filesystem is not None:
            return self._filesystem
        return arrow("Checkpoint.filesystem").LocalFileSystem()

    @classmethod
    def from_directory(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """Returns a checkpoint of the local directory `path`, without copying it."""
        return cls(path)

    def to_directory(self, path: str | os.PathLike[str] | None = None) -> str:
        """Copies the files into `path` and returns it.

        Args:
            path: Made if missing; files of the same names are overwritten.
                Default: a new temporary directory, which the caller removes.

        Raises:
            FileNotFoundError: There is no such checkpoint.
            OSError: Its upload never ended, or files cannot be copied.
        """
        if path is None:
            target = tempfile.mkdtemp(prefix="checkpoint_")
        else:
            target = os.fspath(path)
        local = self.local_path
        if local is not None:
            shutil.copytree(local, target, dirs_exist_ok=True)
        else:
            download_folder(self._filesystem, self.path, target)
        return target

    @contextmanager
    def as_directory(self) -> Iterator[str]:
        """Context manager: the checkpoint as a local directory, for reading only.

        A local checkpoint is not copied: the directory is the checkpoint itself. Of one in
        remote storage it is a temporary copy.
        """
        local = self.local_path
        if local is not None:
            yield local
            return
        with tempfile.TemporaryDirectory(prefix="checkpoint_") as folder:
            yield self.to_directory(folder)

    def get_metadata(self) -> dict[str, Any]:
        """Returns what set_metadata() stored; {} if nothing was."""
        local = self.local_path
        try:
            if local is not None:
                with open(os.path.join(local, _METADATA_FILE), "rb") as file:
                    text = file.read()
            else:
                with self._filesystem.open_input_stream(f"{self.path}/{_METADATA_FILE}") as stream:
                    text = stream.read()
        except FileNotFoundError:
            return {}
        data: dict[str, Any] = json.loads(text)
        return data

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Stores a dict of JSON values beside the files, in place of the old one."""
        try:
            text = json.dumps(dict(metadata))
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"metadata: must be a dict of JSON values, got {brief(metadata)}: {error}."
            ) from None
        local = self.local_path
        if local is not None:
            # Replaced, not rewritten: so an upload sees that the checkpoint has changed.
            aside = os.path.join(local, f"{_METADATA_FILE}.part")
            with open(aside, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(aside, os.path.join(local, _METADATA_FILE))
        else:
            with self._filesystem.open_output_stream(f"{self.path}/{_METADATA_FILE}") as stream:
                stream.write(text.encode())

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Adds to the stored dict; keys that exist are overwritten."""
        self.set_metadata({**self.get_metadata(), **metadata})

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Checkpoint)
            and self.path == other.path
            and self._filesystem == other._filesystem
        )

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        kind = "local" if self._filesystem is None else self._filesystem.type_name
        return f"Checkpoint(filesystem={kind}, path={self.path})"

    # Copying and pickling look up methods that __getattr__ would otherwise explain away.
    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.__dict__.copy())


@dataclass
class TrainingResult:
    """What `Trainable.save()` returns and `Trainable.restore()` accepts.

    Attributes:
        checkpoint: The files.
        metrics: How far training had come: `training_iteration`, `time_total_s`, and
            `timesteps_total` and `episodes_total` if the trainable counts them.
    """

    checkpoint: Checkpoint | None
    metrics: dict[str, Any] = field(default_factory=dict)


def _rebuilt(kind: type[Checkpoint], state: dict[str, Any]) -> Checkpoint:
    checkpoint = kind.__new__(kind)
    checkpoint.__dict__.update(state)
    return checkpoint


def write_progress(directory: str, progress: Mapping[str, Any]) -> None:
    """Stores in a checkpoint how far training had come.

    A checkpoint travels as a path, to another worker or another run; with this file its
    counters travel with it.
    """
    with open(os.path.join(directory, _PROGRESS_FILE), "w", encoding="utf-8") as file:
        json.dump(dict(progress), file)


def read_progress(directory: str, files: Files = LOCAL) -> dict[str, Any]:
    """Returns what write_progress() stored; {} for a directory that holds none."""
    try:
        with files.open(os.path.join(directory, _PROGRESS_FILE)) as file:
            progress: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return {}
    return progress


def checkpoint_name(index: int) -> str:
    """Returns the name of a trial's checkpoint directory, e.g. "checkpoint_000003"."""
    return f"checkpoint_{index:06d}"


def aside_of(directory: str) -> str:
    """Returns a path beside `directory` under which it is filled before a rename."""
    parent, name = os.path.split(directory)
    return os.path.join(parent, f".{name}.part")


def clean(directory: str) -> None:
    """Removes what checkpoints left that were being made or removed in a process that died."""
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        if name.startswith(".checkpoint_") and name.endswith(".part"):
            shutil.rmtree(os.path.join(directory, name), ignore_errors=True)


def publish(aside: str, target: str, *, sync: bool = False) -> None:
    """Gives the filled directory `aside` its name, so that it is seen whole or not at all.

    Args:
        aside: Removed if anything fails.
        target: In the same directory. What has that name already is removed: it is left over
            where a trial starts again from an older checkpoint.
        sync: Wait until the files are on the disk itself: before that no older checkpoint may
            be removed for this one.

    Raises:
        OSError: It cannot be written.
    """
    try:
        if sync:
            _sync_tree(aside)
        if os.path.lexists(target):
            old = f"{aside_of(target)[:-5]}.old.part"  # never half removed under its name
            shutil.rmtree(old, ignore_errors=True)
            os.rename(target, old)
            shutil.rmtree(old, ignore_errors=True)
        os.rename(aside, target)
        if sync:
            sync_path(os.path.dirname(target))
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def sync_path(path: str) -> None:
    """Waits until a file, or the names in a directory, are on the disk itself."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_tree(directory: str) -> None:
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                sync_path(path)
        sync_path(folder)


_FICLONE = 0x40049409  # Linux: the target shares the source's blocks until one is written to
_CANNOT_CLONE: set[tuple[int, int]] = set()  # pairs of devices


def _copy_file(source: str, target: str, *, follow_symlinks: bool = True) -> str:
    """Copies a file, as shutil.copy2 does; on file systems that can share blocks at no cost."""
    if not sys.platform.startswith("linux") or not _clone(source, target):
        return shutil.copy2(source, target, follow_symlinks=follow_symlinks)
    shutil.copystat(source, target, follow_symlinks=follow_symlinks)
    return target


def _clone(source: str, target: str) -> bool:
    import fcntl

    if not os.path.isfile(source):  # to open a pipe would wait for its writer
        return False
    with open(source, "rb") as old, open(target, "wb") as new:
        devices = (os.fstat(old.fileno()).st_dev, os.fstat(new.fileno()).st_dev)
        if devices in _CANNOT_CLONE:
            return False
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            _CANNOT_CLONE.add(devices)
            return False
    return True


def persist(source: str, target: str, progress: Mapping[str, Any], *, sync: bool = False) -> None:
    """Copies the directory `source` to `target`, which appears complete or not at all.

    Files share their blocks with the source where the file system can do that (Btrfs, XFS);
    elsewhere each is read and written. Hard links would be as cheap, but the user may write
    to the same files again after reporting them, and so into this checkpoint.

    Args:
        sync: As of publish().

    Raises:
        OSError: Reading or writing failed; `target` does not exist then.
    """
    aside = aside_of(target)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        shutil.copytree(source, aside, copy_function=_copy_file)
        write_progress(aside, progress)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    publish(aside, target, sync=sync)
