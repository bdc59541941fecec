"""Where the files of an experiment and of its trials are kept.

Local storage is written in place. An experiment in remote storage is written to a *staging
folder* on this machine, from which `_upload` copies it:

    <base>/<key>/driver_artifacts/<experiment>/   as it stands in storage
    <base>/<key>/working_dirs/<experiment>/       working directories of trials
    <base>/<key>/uploaded/<experiment>.json       what was copied

*base* is CTUNE_STAGING_DIR, by default ~/.cache/ctune/staging; *key* names the storage. A
storage that only this process can name, such as one in memory, has a temporary base.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import posixpath
import re
import socket
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ctune._config import SyncConfig
from ctune._files import LOCAL, ArrowFiles, Files, arrow, describe, locate

__all__ = [
    "MARKER",
    "WRITER",
    "StorageContext",
    "check_marker",
    "has_marker",
    "worker_environment",
    "working_directory",
]

MARKER = ".validate_storage_marker"
# In remote storage, which knows no locks: who writes to the experiment.
WRITER = ".ctune.writer"

logger = logging.getLogger("ctune")

_WORKING_ROOTS = "_CTUNE_WORKING_ROOTS"
_DRIVER = "driver_artifacts"
_ANSWER_S = 60.0
_SECRETS = ("key", "secret", "token", "password", "credential", "sas")

T = TypeVar("T")


@dataclass
class StorageContext:
    """Three path pieces: storage path, experiment directory, trial directory.

    Attributes:
        storage_path: Directory that holds experiments; a bare path on the file system.
        experiment_dir_name: Name of the experiment's directory in it.
        trial_dir_name: Name of the trial's directory in that; None for an experiment.
        remote_filesystem: The `pyarrow.fs.FileSystem`; None for this machine's.
        sync_config: When files are copied to remote storage.
    """

    storage_path: str
    experiment_dir_name: str
    trial_dir_name: str | None = None
    remote_filesystem: Any = None
    sync_config: SyncConfig = field(default_factory=SyncConfig)
    # What reads the remote experiment, once it was made: trials share one listing.
    _readers: list[Files] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        storage_path: str,
        experiment_dir_name: str,
        storage_filesystem: Any = None,
        sync_config: SyncConfig | None = None,
    ) -> StorageContext:
        """Returns the storage of an experiment from the arguments of run().

        Raises:
            ValueError, TypeError, ImportError: As `_files.locate()`.
        """
        filesystem, path = locate("storage_path", storage_path, storage_filesystem)
        return cls(path, experiment_dir_name, None, filesystem, sync_config or SyncConfig())

    @classmethod
    def of_trial_dir(cls, trial_dir: str, filesystem: Any = None) -> StorageContext:
        """Returns the storage of a trial whose directory is `trial_dir`."""
        experiment, trial = os.path.split(trial_dir)
        storage, name = os.path.split(experiment)
        return cls(storage, name, trial, filesystem)

    def of_trial(self, trial_dir_name: str) -> StorageContext:
        """Returns the storage of a trial of this experiment."""
        return StorageContext(
            self.storage_path,
            self.experiment_dir_name,
            trial_dir_name,
            self.remote_filesystem,
            self.sync_config,
            self._readers,
        )

    @property
    def remote(self) -> bool:
        """Whether files are copied to somewhere else."""
        return self.remote_filesystem is not None

    @property
    def storage_filesystem(self) -> Any:
        """The file system as pyarrow knows it. Needs pyarrow."""
        if self.remote_filesystem is not None:
            return self.remote_filesystem
        return arrow("storage_filesystem").LocalFileSystem()

    @property
    def storage_fs_path(self) -> str:
        """The same as `storage_path`."""
        return self.storage_path

    @property
    def experiment_fs_path(self) -> str:
        """Path of the experiment's directory in storage."""
        return os.path.join(self.storage_path, self.experiment_dir_name)

    @property
    def trial_fs_path(self) -> str:
        """Path of the trial's directory in storage."""
        return os.path.join(self.experiment_fs_path, self._trial())

    @property
    def experiment_local_path(self) -> str:
        """Where this machine writes the experiment: in storage, if that is local."""
        if not self.remote:
            return self.experiment_fs_path
        return os.path.join(self.staging_path, _DRIVER, self.experiment_dir_name)

    @property
    def trial_local_path(self) -> str:
        """Where this machine writes the trial."""
        return os.path.join(self.experiment_local_path, self._trial())

    @property
    def staging_path(self) -> str:
        """Folder of this machine below which experiments of a remote storage are written."""
        return _staging(self.remote_filesystem, self.storage_path)

    @property
    def ledger_path(self) -> str:
        """The file that says what was copied."""
        name = urllib.parse.quote(self.experiment_dir_name, safe="")
        return os.path.join(self.staging_path, "uploaded", f"{name}.json")

    @property
    def working_path(self) -> str:
        """Folder of the trials' working directories."""
        if not self.remote:
            return self.experiment_fs_path
        return working_directory(self.experiment_local_path, self.staging_path)

    @property
    def place(self) -> str:
        """The experiment's directory as messages name it."""
        return describe(self.remote_filesystem, self.experiment_fs_path)

    def _trial(self) -> str:
        if self.trial_dir_name is None:
            raise RuntimeError("trial_dir_name: is not set, so there is no trial path.")
        return self.trial_dir_name

    def in_storage(self, local_path: str) -> str:
        """Returns where a file or folder of the local copy stands in storage."""
        if not self.remote:
            return local_path
        part = os.path.relpath(local_path, self.experiment_local_path)
        if part.startswith(".."):
            return local_path
        return posixpath.normpath(posixpath.join(self.experiment_fs_path, part))

    def staged(self, path: str) -> str:
        """Returns where a file or folder of the storage stands on this machine, if it does."""
        if not self.remote:
            return path
        part = posixpath.relpath(path, self.experiment_fs_path)
        return os.path.normpath(os.path.join(self.experiment_local_path, part))

    def files(self, path: str) -> tuple[Files, str]:
        """Returns what reads a folder of the storage, and its path there.

        The local copy is read as long as it is there.
        """
        local = self.staged(path)
        if not self.remote or os.path.isdir(local):
            return LOCAL, local
        return self.reader(), path

    def reader(self) -> Files:
        """Returns what reads the experiment in storage."""
        if not self.remote:
            return LOCAL
        if not self._readers:
            self._readers.append(ArrowFiles(self.remote_filesystem, self.experiment_fs_path))
        return self._readers[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": []}

    def exists(self) -> bool:
        """Whether something has the experiment's place, in storage or on its way there.

        Raises:
            OSError: The storage does not answer.
        """
        if os.path.exists(self.experiment_local_path):
            return True
        return self.remote and bool(
            self.ask(
                lambda: (
                    self.remote_filesystem.get_file_info(self.experiment_fs_path).type
                    != arrow("storage").FileType.NotFound
                )
            )
        )

    def prepare(self) -> None:
        """Makes the experiment's directory with its marker, in storage and on this machine.

        Raises:
            OSError: The storage cannot be written to, or does not answer.
        """
        if self.remote:
            if not self.holds(MARKER) and os.path.exists(self.ledger_path):
                os.remove(self.ledger_path)  # what it says of was removed there
            self.ask(lambda: self._write(MARKER, b""))
        directory = self.experiment_local_path
        try:
            os.makedirs(directory, exist_ok=True)
            with open(os.path.join(directory, MARKER), "wb"):
                pass
        except OSError as error:
            parameter = "CTUNE_STAGING_DIR" if self.remote else "storage_path"
            raise type(error)(
                error.errno,
                f"{parameter}: cannot write to {directory!r} ({error.strerror}). Choose a "
                "directory that can be written to and has room",
            ) from error

    def write(self, name: str, data: bytes) -> None:
        """Writes a small file into the experiment's directory in storage, making that.

        Raises:
            OSError: It cannot be written.
        """
        if self.remote:
            self.ask(lambda: self._write(name, data))
            return
        directory = self.experiment_fs_path
        os.makedirs(directory, exist_ok=True)
        aside = os.path.join(directory, f".{name}.tmp")
        with open(aside, "wb") as file:
            file.write(data)
        os.replace(aside, os.path.join(directory, name))

    def _write(self, name: str, data: bytes) -> None:
        filesystem, directory = self.remote_filesystem, self.experiment_fs_path
        filesystem.create_dir(directory, recursive=True)
        path = posixpath.join(directory, name)
        with filesystem.open_output_stream(path, compression=None) as stream:
            stream.write(data)

    def holds(self, name: str) -> bool:
        """Whether the experiment's directory in storage has such a file.

        Raises:
            OSError: Storage does not answer.
        """
        path = os.path.join(self.experiment_fs_path, name)
        if not self.remote:
            return os.path.exists(path)
        info = self.ask(lambda: self.remote_filesystem.get_file_info(path))
        return bool(info.type != arrow("storage").FileType.NotFound)

    def claim(self) -> None:
        """Leaves word in remote storage that this process writes to the experiment.

        Logs a warning if another one did and may be at it still. That is no lock: nobody can
        tell from here whether a process of another machine has died. What storage refuses
        does not matter here; the uploads will say it.
        """
        own: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid()}
        try:
            before = self.ask(self._writer)
            if before is not None and _may_live(before, own):
                logger.warning(
                    "Process %s on %s, which has written to %s since %s, has not said that it "
                    "ended. If it is still at work, end one of the two runs: each writes over "
                    "what the other one uploads.",
                    before.get("pid"),
                    before.get("host"),
                    self.place,
                    before.get("since"),
                )
            own["since"] = time.strftime("%Y-%m-%d %H:%M:%S")
            self.ask(lambda: self._write(WRITER, json.dumps(own).encode()))
        except OSError:
            pass

    def disclaim(self) -> None:
        """Takes the word back that claim() left."""
        path = posixpath.join(self.experiment_fs_path, WRITER)
        try:
            self.ask(lambda: self.remote_filesystem.delete_file(path))
        except OSError:
            pass

    def _writer(self) -> dict[str, Any] | None:
        path = posixpath.join(self.experiment_fs_path, WRITER)
        try:
            with self.remote_filesystem.open_input_stream(path) as stream:
                found = json.loads(stream.read())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def check_marker(self) -> None:
        """Checks that the storage is the one that prepare() made.

        Raises:
            RuntimeError: The marker is gone.
            OSError: The storage does not answer.
        """
        if not self.holds(MARKER):
            raise RuntimeError(_marker_text(self.place))

    def ask(self, question: Callable[[], T], timeout_s: float = _ANSWER_S) -> T:
        """Returns what the storage answers, or says that it does not.

        Raises:
            OSError: It raised an error, or did not answer in time.
        """
        answer: list[T] = []
        failure: list[Exception] = []

        def run() -> None:
            try:
                answer.append(question())
            except Exception as error:
                failure.append(error)

        thread = threading.Thread(target=run, name="ctune-storage", daemon=True)
        thread.start()
        thread.join(timeout_s)
        if answer:
            return answer[0]
        why = failure[0] if failure else f"no answer within {timeout_s:g} s"
        raise OSError(
            f"storage_path: {self.place} cannot be used: {why}. Check the path, the credentials "
            "and the network."
        ) from (failure[0] if failure else None)

    def last_journal(self) -> int:
        """Returns the highest number of a journal's segment, here or in storage; -1: none.

        Raises:
            OSError: The storage does not answer.
        """
        local = self.experiment_local_path
        names = os.listdir(local) if os.path.isdir(local) else []
        if self.remote:
            selector = arrow("storage").FileSelector(self.experiment_fs_path, allow_not_found=True)
            infos = self.ask(lambda: self.remote_filesystem.get_file_info(selector))
            names += [info.base_name for info in infos]
        return last_segment(names)

    def journal_end(self) -> tuple[int, int]:
        """Returns number and size of the last segment of the journal on this machine."""
        number = last_segment(os.listdir(self.experiment_local_path))
        path = os.path.join(self.experiment_local_path, f"journal-{number:06}.ctj")
        return number, os.path.getsize(path) if number >= 0 else 0


def _may_live(writer: dict[str, Any], own: dict[str, Any]) -> bool:
    """Whether a process other than this one may still be at work."""
    if writer.get("host") != own["host"]:
        return True
    if writer.get("pid") == own["pid"]:
        return False
    try:
        os.kill(int(writer["pid"]), 0)
    except (KeyError, TypeError, ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:  # another user's
        pass
    return True


def has_marker(experiment_dir: str) -> bool:
    """Whether a directory of this machine is one that a run made."""
    return os.path.exists(os.path.join(experiment_dir, MARKER))


def check_marker(experiment_dir: str) -> None:
    """Checks that it still is.

    Raises:
        RuntimeError: The marker is gone.
    """
    if not has_marker(experiment_dir):
        raise RuntimeError(_marker_text(experiment_dir))


def _marker_text(place: str) -> str:
    return (
        f"storage_path: {place} has no {MARKER} any more, which the run wrote at its start: the "
        "directory was removed or replaced. Leave it alone while the experiment runs."
    )


# --- the staging folder --------------------------------------------------------------

_of_this_process: dict[int, tuple[Any, str]] = {}


def last_segment(names: Iterable[str]) -> int:
    """Returns the highest number of a journal's segment among names of files; -1: none."""
    numbers = (int(m[1]) for n in names if (m := re.fullmatch(r"journal-(\d+)\.ctj", n)))
    return max(numbers, default=-1)


def _staging(filesystem: Any, storage_path: str) -> str:
    identity = _identity(filesystem)
    if identity is None:
        known = _of_this_process.get(id(filesystem))
        if known is None:  # the file system is kept, so that no other one gets its id
            known = (filesystem, tempfile.mkdtemp(prefix="ctune-staging-"))
            _of_this_process[id(filesystem)] = known
        base, identity = known[1], ""
    else:
        base = os.environ.get("CTUNE_STAGING_DIR") or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"),
            "ctune",
            "staging",
        )
    key = hashlib.sha256(f"{identity}\n{storage_path}".encode()).hexdigest()[:16]
    return os.path.join(os.path.abspath(base), key)


def _identity(filesystem: Any) -> str | None:
    """Returns a text that is the same for the same storage in another process; or None.

    Credentials are left out: they change, and the storage stays.
    """
    handler = getattr(filesystem, "handler", None)
    try:
        if handler is not None:
            inner = getattr(handler, "fs", None)
            if inner is None or "memory" in filesystem.type_name:
                return None
            return f"{filesystem.type_name} {inner.to_json()}"
        _, arguments = filesystem.__reduce__()
        return f"{filesystem.type_name} {json.dumps(_public(arguments), sort_keys=True)}"
    except Exception:  # no storage has to be describable
        return None


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _public(item)
            for name, item in value.items()
            if not any(word in str(name).lower() for word in _SECRETS)
        }
    if isinstance(value, (list, tuple)):
        return [_public(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    found = _identity(value)
    if found is None:
        raise TypeError(f"{value!r} has no name outside of this process")
    return found


def working_directory(directory: str, staging: str | None = None) -> str:
    """Returns the working directory of the trial, or of the trials, of a directory.

    It is another one where results go to remote storage: what trials write goes there only
    if they are asked to.

    Args:
        directory: A trial's directory, or an experiment's, on this machine.
        staging: The staging folder; default: those that this worker process knows.
    """
    given = os.environ.get(_WORKING_ROOTS, "") if staging is None else staging
    for root in filter(None, given.split(os.pathsep)):
        part = os.path.relpath(directory, os.path.join(root, _DRIVER))
        if not part.startswith(".."):
            return os.path.join(root, "working_dirs", part)
    return directory


def worker_environment(storages: Iterable[StorageContext]) -> dict[str, str]:
    """Returns the environment variables by which workers know the working directories."""
    roots = sorted({storage.staging_path for storage in storages if storage.remote})
    return {_WORKING_ROOTS: os.pathsep.join(roots)} if roots else {}
