"""Copies of experiments from and to remote storage: what uploads and downloads share.

A *ledger* says of each file that was copied which size and time it had: after a crash the next
upload goes on where this one ended.
"""

from __future__ import annotations

import json
import logging
import os
import posixpath
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Literal

from ctune._files import arrow, download, download_folder, parallel
from ctune._storage import WRITER, StorageContext

__all__ = ["Ledger", "Stamp", "fetch_checkpoints", "fetch_experiment", "folder_stamp"]

logger = logging.getLogger("ctune")

_CHECKPOINT = re.compile(r"checkpoint_\d+")

# Size and modification time in nanoseconds.
Stamp = tuple[int, int]
# Of a checkpoint that is in storage, but not on this machine.
ELSEWHERE: Stamp = (0, 0)


def stamp_of(path: str) -> Stamp:
    """Returns what tells one state of a file from another."""
    info = os.stat(path)
    return info.st_size, info.st_mtime_ns


class Ledger:
    """What was copied of an experiment, by path below its directory.

    Args:
        path: The file that holds it; a damaged one counts as none.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.files: dict[str, Stamp] = {}
        self.checkpoints: dict[str, Stamp] = {}
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            self.files = {name: (s[0], s[1]) for name, s in content["files"].items()}
            self.checkpoints = {name: (s[0], s[1]) for name, s in content["checkpoints"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            pass

    def write(self) -> None:
        """Writes the file; it appears whole or not at all. Raises OSError."""
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        aside = f"{self._path}.part"
        with open(aside, "w", encoding="utf-8") as file:
            json.dump({"files": self.files, "checkpoints": self.checkpoints}, file)
        os.replace(aside, self._path)

    def remove(self) -> None:
        """Removes the file."""
        try:
            os.remove(self._path)
        except FileNotFoundError:
            pass


# --- an experiment out of storage ----------------------------------------------------


class _Remote:
    """What storage has of an experiment, from one listing."""

    def __init__(self, storage: StorageContext) -> None:
        root = storage.experiment_fs_path
        selector = arrow("storage").FileSelector(root, recursive=True, allow_not_found=True)
        infos = storage.ask(
            lambda: storage.remote_filesystem.get_file_info(selector), timeout_s=600.0
        )
        self.files: dict[str, int] = {}
        self.checkpoints: dict[str, dict[str, int]] = {}
        pending: set[str] = set()
        for info in infos:
            part = posixpath.relpath(info.path, root)
            inside = _checkpoint_of(part)
            if not info.is_file:
                if inside == part:
                    self.checkpoints.setdefault(part, {})
            elif inside is not None:
                self.checkpoints.setdefault(inside, {})[part] = info.size
            elif _CHECKPOINT.fullmatch(info.base_name[1:-5]) and info.base_name.endswith(".part"):
                pending.add(part)
            elif part != WRITER:
                self.files[part] = info.size
        # What is left of an upload or a removal that did not end.
        self.halves = {
            posixpath.join(posixpath.dirname(part), posixpath.basename(part)[1:-5])
            for part in pending
        }
        for checkpoint in self.halves:
            self.checkpoints.pop(checkpoint, None)

    def latest(self) -> Iterator[str]:
        """Yields the newest whole checkpoint of each trial."""
        newest: dict[str, str] = {}
        for checkpoint in sorted(self.checkpoints, key=lambda c: (len(c), c)):
            newest[posixpath.dirname(checkpoint)] = checkpoint
        return iter(newest.values())


def _checkpoint_of(part: str) -> str | None:
    """Returns the checkpoint directory that a path below the experiment's is in."""
    names = part.split("/")
    for depth, name in enumerate(names):
        if depth and _CHECKPOINT.fullmatch(name):
            return "/".join(names[: depth + 1])
    return None


def _segment(part: str) -> int:
    number = re.fullmatch(r"journal-(\d+)\.ctj", part)
    return -1 if number is None else int(number[1])


def _head(sizes: dict[str, int]) -> tuple[int, int]:
    """Returns how far a journal has come: number of its last segment, and that one's size."""
    return max(((_segment(part), size) for part, size in sizes.items()), default=(-1, 0))


def fetch_experiment(
    storage: StorageContext, checkpoints: Literal["none", "latest", "all"] = "latest"
) -> bool:
    """Brings an experiment from remote storage to where this machine writes it.

    To be called before the journal of a run that goes on is opened. Of local storage nothing
    is copied. What a crashed run of this machine left behind is ahead of storage and stays;
    only what is missing is added. If another machine has gone on since, its state counts: the
    local folder is moved aside, to `<folder>.old-<time>`, with a warning.

    Args:
        storage: Of the experiment.
        checkpoints: Which to copy, if they are not there: "latest" is the newest whole one of
            each trial, which the trial goes on from. fetch_checkpoints() brings others.

    Returns:
        Whether there is an experiment: a journal in `storage.experiment_local_path`.

    Raises:
        OSError: Storage does not answer, or this machine has no room.
    """
    if checkpoints not in ("none", "latest", "all"):
        raise ValueError(f'checkpoints: must be "none", "latest" or "all", got {checkpoints!r}.')
    directory = storage.experiment_local_path
    if not storage.remote:
        return _head(_local_sizes(directory))[0] >= 0
    there = _Remote(storage)
    here = _head(_local_sizes(directory))
    ledger = Ledger(storage.ledger_path)
    if here < _head(there.files):
        _move_aside(directory)
        ledger.files, ledger.checkpoints = {}, {}
    wanted = [part for part in there.files if not os.path.exists(os.path.join(directory, part))]

    def fetch(part: str) -> None:
        local = os.path.join(directory, part)
        download(storage.remote_filesystem, posixpath.join(storage.experiment_fs_path, part), local)
        ledger.files[part] = stamp_of(local)

    parallel([partial(fetch, part) for part in wanted])
    chosen = {
        "none": [],
        "latest": list(there.latest()),
        "all": list(there.checkpoints),
    }[checkpoints]
    for checkpoint in chosen:
        local = os.path.join(directory, checkpoint)
        if not os.path.isdir(local):
            remote = posixpath.join(storage.experiment_fs_path, checkpoint)
            download_folder(storage.remote_filesystem, remote, local)
            ledger.checkpoints[checkpoint] = folder_stamp(local)
    # What is not on this machine is known all the same: it may have to be removed there.
    ledger.checkpoints = {
        **dict.fromkeys(there.checkpoints, ELSEWHERE),
        **ledger.checkpoints,
        **dict.fromkeys(there.halves, ELSEWHERE),
    }
    os.makedirs(directory, exist_ok=True)
    ledger.write()
    return _head(_local_sizes(directory))[0] >= 0


def fetch_checkpoints(storage: StorageContext, local_paths: Iterable[str]) -> None:
    """Brings checkpoints from storage that are not on this machine.

    Those of which storage has no whole one are passed over.

    Args:
        storage: Of the experiment.
        local_paths: Where they belong, below `storage.experiment_local_path`.

    Raises:
        OSError: Storage does not answer, or this machine has no room.
    """
    if not storage.remote:
        return
    lacking = [path for path in local_paths if not os.path.isdir(path)]
    if not lacking:
        return
    ledger = Ledger(storage.ledger_path)

    def fetch(local: str) -> None:
        remote = storage.in_storage(local)
        try:
            download_folder(storage.remote_filesystem, remote, local)
        except FileNotFoundError:
            return
        part = posixpath.relpath(remote, storage.experiment_fs_path)
        ledger.checkpoints[part] = folder_stamp(local)

    parallel([partial(fetch, path) for path in lacking])
    ledger.write()


def folder_stamp(path: str) -> Stamp:
    """Returns what tells a checkpoint from another one that took its place."""
    info = os.stat(path)
    return info.st_ino, info.st_mtime_ns


def _local_sizes(directory: str) -> dict[str, int]:
    if not os.path.isdir(directory):
        return {}
    with os.scandir(directory) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def _move_aside(directory: str) -> None:
    if not os.path.isdir(directory):
        return
    old = f"{directory}.old-{int(time.time())}"
    os.rename(directory, old)
    if any(_segment(name) >= 0 for name in os.listdir(old)):
        logger.warning(
            "The experiment has gone on elsewhere since this machine wrote %s. That folder is now "
            "%s; remove it if nothing in it is missing from storage.",
            directory,
            old,
        )
    else:
        shutil.rmtree(old, ignore_errors=True)
