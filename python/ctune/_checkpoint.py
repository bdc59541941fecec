"""Checkpoints: directories in which a trial keeps what it needs to go on."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow.fs

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


def _local_path(path: Any) -> str:
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise TypeError(f"path: must be the path of a directory, got {path!r:.80}.")
    if "://" in text:
        raise NotImplementedError(
            f"path: only local checkpoints are supported, got {text!r}. Copy the files to "
            "a local directory."
        )
    return text


class _CheckpointMeta(type):
    def __getattr__(cls, name: str) -> Any:
        raise _gone(name)


class Checkpoint(metaclass=_CheckpointMeta):
    """A directory of files that a trainable wrote and can continue from.

    Nothing is read or copied before it is asked for. Two checkpoints of the same
    directory are equal.

    Args:
        path: The directory.
        filesystem: Only None, the local file system.

    Raises:
        NotImplementedError: `filesystem` is given, or `path` is a URI.
        TypeError: `path` is no path.
    """

    path: str

    def __init__(
        self,
        path: str | os.PathLike[str],
        filesystem: pyarrow.fs.FileSystem | None = None,
    ) -> None:
        if filesystem is not None:
            raise NotImplementedError(
                "filesystem: only local checkpoints are supported, got "
                f"{type(filesystem).__name__}. Leave `filesystem` out."
            )
        self.path = _local_path(path)

    def __getattr__(self, name: str) -> Any:
        raise _gone(name)

    @property
    def filesystem(self) -> pyarrow.fs.FileSystem:
        """The file system of `path` as pyarrow knows it. Needs pyarrow."""
        try:
            from pyarrow.fs import LocalFileSystem
        except ImportError:
            raise ImportError(
                'Checkpoint.filesystem needs pyarrow: pip install "ctune[storage]"'
            ) from None
        return LocalFileSystem()

    @classmethod
    def from_directory(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """Returns a checkpoint of the local directory `path`, without copying it."""
        return cls(path)

    def to_directory(self, path: str | os.PathLike[str] | None = None) -> str:
        """Copies the files into `path` and returns it.

        Args:
            path: Made if missing; files of the same names are overwritten.
                Default: a new temporary directory, which the caller removes.
        """
        if path is None:
            target = tempfile.mkdtemp(prefix="checkpoint_")
        else:
            target = os.fspath(path)
        shutil.copytree(self.path, target, dirs_exist_ok=True)
        return target

    @contextmanager
    def as_directory(self) -> Iterator[str]:
        """Context manager: the checkpoint as a local directory, for reading only.

        A local checkpoint is not copied: the directory is the checkpoint itself.
        """
        yield self.path

    def get_metadata(self) -> dict[str, Any]:
        """Returns what set_metadata() stored; {} if nothing was."""
        try:
            with open(self._metadata_path(), encoding="utf-8") as file:
                data: dict[str, Any] = json.load(file)
        except FileNotFoundError:
            return {}
        return data

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Stores a dict of JSON values beside the files, in place of the old one."""
        try:
            text = json.dumps(dict(metadata))
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"metadata: must be a dict of JSON values, got {metadata!r:.80}: {error}."
            ) from None
        with open(self._metadata_path(), "w", encoding="utf-8") as file:
            file.write(text)

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Adds to the stored dict; keys that exist are overwritten."""
        self.set_metadata({**self.get_metadata(), **metadata})

    def _metadata_path(self) -> str:
        return os.path.join(self.path, _METADATA_FILE)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checkpoint) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"Checkpoint(filesystem=local, path={self.path})"

    # Copying and pickling look up methods that __getattr__ would otherwise explain away.
    def __reduce__(self) -> tuple[type[Checkpoint], tuple[str]]:
        return type(self), (self.path,)


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


def write_progress(directory: str, progress: Mapping[str, Any]) -> None:
    """Stores in a checkpoint how far training had come.

    A checkpoint travels as a path, to another worker or another run; with this file its
    counters travel with it.
    """
    with open(os.path.join(directory, _PROGRESS_FILE), "w", encoding="utf-8") as file:
        json.dump(dict(progress), file)


def read_progress(directory: str) -> dict[str, Any]:
    """Returns what write_progress() stored; {} for a directory that holds none."""
    try:
        with open(os.path.join(directory, _PROGRESS_FILE), encoding="utf-8") as file:
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


def persist(source: str, target: str, progress: Mapping[str, Any]) -> None:
    """Copies the directory `source` to `target`, which appears complete or not at all.

    Cost: a read and a write of every file. A hard link or a move would be cheaper, but
    the user may write to the same files again after reporting them.

    Raises:
        OSError: Reading or writing failed; `target` does not exist then.
    """
    aside = aside_of(target)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        shutil.copytree(source, aside)
        write_progress(aside, progress)
        # Left over where a trial starts again from an older checkpoint.
        shutil.rmtree(target, ignore_errors=True)
        os.rename(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
