"""Copies what a run writes into remote storage, beside the run.

One thread per experiment. It is told of checkpoints, and copies them at once; everything else
it finds by size and time of the files, every `sync_period` seconds and at the end. The run
waits for it only when too many checkpoints wait for their turn.

**A sync is a consistent cut.** Its parts are looked at in one order (snapshots, then results,
then segments of the journal, then checkpoints) and copied in the reverse one, so that at each
moment what stands in storage is whole: the checkpoints that the journal there names are there,
no result is there that this journal does not know, and none is missing there that is older than
a snapshot, as no segment behind that would bring it back. Only then go the checkpoints that the
run had given up before the cut, and segments of the journal that a snapshot made superfluous.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ctune._files import arrow, parallel, pending_of, upload
from ctune._storage import MARKER, StorageContext
from ctune._transfer import Ledger, Stamp, folder_stamp

if TYPE_CHECKING:
    from ctune._checkpoint import Checkpoint
    from ctune.experiment.trial import Trial

__all__ = ["Uploader", "Uploads"]

logger = logging.getLogger("ctune")

_SEGMENT = ".ctj"
_ATTEMPTS = 6
_FIRST_WAIT_S = 0.5
_LEAST_PERIOD_S = 0.01
_MOST_WAITING = 16  # checkpoints, before the run waits
_HELD_PER_WAITING = 4  # given up while a sync copies them, for each that may wait
_MOST_STALE = 16  # checkpoints given up that storage still has, before a sync for their sake
_STALE_S = 10.0
_CLOSE_GRACE_S = 30.0
_MOST_REFUSED = 16  # files in a row, before a sync gives up
_SHOWN = 10
_CHECKPOINT = re.compile(r"checkpoint_\d+")
_JOURNAL = re.compile(r"(journal|snapshot)-(\d+)\.(ctj|json|bin|pkl)")
# Copied up to the last whole line: a reader never sees half a row.
_LINES = ("result.json", "progress.csv")


@dataclass(frozen=True)
class _File:
    """A file as it was when a sync looked at it; `part` is its path below the experiment's."""

    part: str
    stamp: Stamp


class Uploader:
    """Copies one experiment.

    Args:
        storage: Of the experiment; remote, and prepared.
        attempts: How often a copy is tried before it waits for the next sync.
        first_wait_s: Pause after the first failed attempt; each further one is twice as long.
        most_waiting: How many checkpoints may wait before the run does.
        clock: Returns seconds.
    """

    def __init__(
        self,
        storage: StorageContext,
        *,
        attempts: int = _ATTEMPTS,
        first_wait_s: float = _FIRST_WAIT_S,
        most_waiting: int = _MOST_WAITING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._filesystem = storage.remote_filesystem
        self._local = storage.experiment_local_path
        self._attempts = attempts
        self._first_wait_s = first_wait_s
        self._most_waiting = most_waiting
        self._clock = clock
        settings = storage.sync_config
        self._period_s = max(_LEAST_PERIOD_S, float(settings.sync_period))
        self._timeout_s = float(settings.sync_timeout)
        self._artifacts = settings.sync_artifacts
        self._artifacts_on_checkpoint = (
            settings.sync_artifacts and settings.sync_artifacts_on_checkpoint
        )
        self._ledger = Ledger(storage.ledger_path)
        self._kept: dict[str, set[str]] = {}
        self._folders: set[str] = set()
        self._stale: set[str] = set()
        self._unsent: dict[str, str] = {}
        self._refused = 0  # how many files in a row
        self._why = ""
        self._deadline = 0.0
        # Shared with the run.
        self._change = threading.Condition()
        self._waiting: deque[str] = deque()
        self._dropped: set[str] = set()
        self._held = 0  # how many of these could not be removed here yet
        self._in_flight: str | None = None
        self._in_sync = False
        self._closing = False
        self._abandoned = False
        self._told = False
        self._thread: threading.Thread | None = None

    # What the run calls.

    def start(self) -> None:
        """Starts the thread."""
        self._ledger = Ledger(self._storage.ledger_path)
        self._thread = threading.Thread(target=self._work, name="ctune-upload", daemon=True)
        self._thread.start()

    def checkpoint(self, path: str) -> None:
        """Hands over a checkpoint that is whole. Waits while too many wait already."""
        with self._change:
            self._waiting.append(path)
            self._change.notify_all()
            if not self._behind():
                return
            if not self._told:
                self._told = True
                logger.warning(
                    "The run waits for the upload to %s: %d checkpoints are not there yet. Save "
                    "less often, or keep the run in local storage.",
                    self._storage.place,
                    len(self._waiting),
                )
            while self._behind() and self._alive():
                self._change.wait(1.0)

    def _behind(self) -> bool:
        most = self._most_waiting
        return len(self._waiting) > most or self._held > _HELD_PER_WAITING * most

    def drop(self, path: str) -> None:
        """Hands over a checkpoint that is to be removed, here and in storage.

        Here it goes at once, unless it is being copied.
        """
        with self._change:
            held = self._in_sync or path == self._in_flight
            if held:
                self._held += 1
            elif path in self._waiting:
                self._waiting.remove(path)
            self._dropped.add(path)
            self._change.notify_all()
        if not held:
            _discard(path)

    def close(self, kept: dict[str, set[str]] | None = None) -> dict[str, str]:
        """Copies what is left and ends the thread.

        Args:
            kept: Name of a trial's directory -> names of the checkpoints that it has. Others of
                these trials are removed from storage: a run that was cut left them there.

        Returns:
            Local path -> error, of what could not be copied. Without any, the local folder is
            removed: storage has everything.
        """
        if self._thread is None:
            return {}
        with self._change:
            self._kept = kept or {}
            self._closing = True
            self._change.notify_all()
        until = self._clock() + 2 * self._timeout_s + _CLOSE_GRACE_S
        while self._alive() and self._clock() < until:
            self._thread.join(1.0)
        if self._alive():
            self._abandoned = True
            self._unsent = dict.fromkeys(["", *self._not_sent()], "the storage does not answer")
        unsent = {os.path.join(self._local, part): why for part, why in self._unsent.items()}
        if unsent:
            self._report(unsent)
        else:
            self._remove_local()
        return unsent

    def abandon(self) -> None:
        """Ends the thread as soon as it can, without a last sync: the run was broken off."""
        self._abandoned = True
        with self._change:
            self._closing = True
            self._change.notify_all()
        logger.warning(
            "The upload to %s was broken off. What it lacks is in %s.",
            self._storage.place,
            self._local,
        )

    def _alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _report(self, unsent: dict[str, str]) -> None:
        shown = [f"  {path}: {why}" for path, why in sorted(unsent.items())[:_SHOWN]]
        if len(unsent) > _SHOWN:
            shown.append(f"  ... and {len(unsent) - _SHOWN} more")
        logger.error(
            "%d files of the experiment could not be uploaded to %s. They are kept in %s:\n%s\n"
            "Run the experiment again with resume=True to upload them.",
            len(unsent),
            self._storage.place,
            self._local,
            "\n".join(shown),
        )

    def _remove_local(self) -> None:
        shutil.rmtree(self._local, ignore_errors=True)
        shutil.rmtree(self._storage.working_path, ignore_errors=True)
        self._ledger.remove()
        root = self._storage.staging_path
        for path in (self._local, self._storage.working_path, self._storage.ledger_path):
            while path != root:
                path = os.path.dirname(path)
                try:
                    os.rmdir(path)
                except OSError:  # another experiment's is there
                    break

    # The thread.

    def _work(self) -> None:
        due = self._clock() + self._period_s
        busy_s = 0.0
        last = self._clock()
        try:
            while True:
                with self._change:
                    while not (self._closing or self._waiting or self._dropped):
                        left = due - self._clock()
                        if left <= 0:
                            break
                        self._change.wait(left)
                    closing = self._closing
                if self._abandoned:
                    return
                now = self._clock()
                forced = len(self._stale) >= _MOST_STALE and now - last >= max(_STALE_S, busy_s)
                if closing or now >= due or forced:
                    self._sync(closing)
                    last = self._clock()
                    busy_s = last - now
                    due = last + self._period_s
                    if closing:
                        return
                self._deadline = self._clock() + self._timeout_s
                self._refused = 0
                self._forget()
                self._send_next()
        except Exception as error:  # what nobody foresaw must not be lost with the thread
            logger.exception("The upload to %s ended.", self._storage.place)
            self._unsent = dict.fromkeys(["", *self._not_sent()], str(error))
        finally:
            with self._change:
                self._change.notify_all()

    def _send_next(self) -> None:
        with self._change:
            path = self._in_flight = self._waiting[0] if self._waiting else None
        if path is None:
            return
        part = self._part(path)
        self._attempt_checkpoint(part)
        if self._artifacts_on_checkpoint:
            self._send_artifacts(os.path.dirname(part))

    def _attempt_checkpoint(self, part: str) -> bool:
        path = os.path.join(self._local, part)
        sent = self._attempt(part, lambda: self._send_checkpoint(part), path)
        with self._change:  # one that could not be sent waits for the next sync
            if path in self._waiting:
                self._waiting.remove(path)
            self._in_flight = None
            self._change.notify_all()
        return sent

    def _forget(self) -> None:
        """Removes from this machine what the run gave up, and remembers what storage has."""
        with self._change:
            dropped, self._dropped, self._held = self._dropped, set(), 0
            self._waiting = deque(path for path in self._waiting if path not in dropped)
            self._change.notify_all()
        for path in dropped:
            _discard(path)
            part = self._part(path)
            self._unsent.pop(part, None)
            if self._ledger.checkpoints.pop(part, None) is not None:
                self._stale.add(part)

    def _leave_behind(self) -> None:
        """Gives up checkpoints in storage that the run does not have, at its end."""
        for part in list(self._ledger.checkpoints):
            trial, name = posixpath.split(part)
            if trial in self._kept and name not in self._kept[trial]:
                del self._ledger.checkpoints[part]
                self._stale.add(part)

    # A sync.

    def _sync(self, last: bool = False) -> None:
        """Copies everything that is there now."""
        with self._change:
            self._in_sync = True
        try:
            self._copy_all(last)
        finally:
            with self._change:
                self._in_sync = False

    def _copy_all(self, last: bool) -> None:
        self._deadline = self._clock() + self._timeout_s
        self._forget()
        self._leave_behind()
        stale = set(self._stale)
        self._unsent = {}
        snapshots = [file for file in self._journal_files() if not file.part.endswith(_SEGMENT)]
        plain = list(self._plain_files())
        segments = [file for file in self._journal_files() if file.part.endswith(_SEGMENT)]
        checkpoints = list(self._checkpoints())
        self._refused = 0
        whole = self._attempt(MARKER, self._storage.check_marker)
        for part in checkpoints if whole else ():
            whole &= self._attempt_checkpoint(part)
        for file in segments:
            whole = whole and self._attempt_file(file)
        if whole:
            parallel([partial(self._attempt_file, file) for file in plain])
        told = whole and not any(file.part in self._unsent for file in plain)
        for file in snapshots:
            told = told and self._attempt_file(file)
        if not told:
            why = next(iter(self._unsent.values()))
            for file in (*segments, *plain, *snapshots):
                if self._ledger.files.get(file.part) != file.stamp:
                    self._unsent.setdefault(file.part, f"waits for others ({why})")
        if self._artifacts:
            self._send_artifacts("")
        if whole:
            self._clean(stale)
        if self._unsent and not last:
            logger.warning(
                "%d files could not be uploaded to %s; they are tried again with the next sync. "
                "The first is %s: %s",
                len(self._unsent),
                self._storage.place,
                *next(iter(self._unsent.items())),
            )
        try:
            self._ledger.write()
        except OSError as error:
            logger.warning("What was uploaded could not be noted down: %s", error)

    def _plain_files(self) -> Iterator[_File]:
        """Yields what changed, without journals and checkpoints."""
        for part, stamp in self._walk(self._local, ""):
            if self._ledger.files.get(part) != stamp and not _JOURNAL.fullmatch(part):
                yield _File(part, stamp)

    def _walk(self, folder: str, prefix: str) -> Iterator[tuple[str, Stamp]]:
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return
        for entry in entries:
            name = entry.name
            if (name.startswith(".") and name != MARKER) or name.endswith((".part", ".tmp")):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not (prefix and _CHECKPOINT.fullmatch(name)):
                    yield from self._walk(entry.path, f"{prefix}{name}/")
                continue
            try:
                info = entry.stat()
            except FileNotFoundError:  # replaced or removed at this moment
                continue
            yield f"{prefix}{name}", (info.st_size, info.st_mtime_ns)

    def _journal_files(self) -> list[_File]:
        """Returns what changed of the journal: segments by number, then snapshots, behind
        their other files."""
        found = []
        for entry in list(os.scandir(self._local)):  # all names first: but the last one is whole
            name = _JOURNAL.fullmatch(entry.name)
            if name is not None:
                try:
                    info = entry.stat()
                except FileNotFoundError:  # a snapshot made it superfluous
                    continue
                stamp = (info.st_size, info.st_mtime_ns)
                if self._ledger.files.get(entry.name) != stamp:
                    place = (name[1], int(name[2]), name[3] == "json")
                    found.append((place, _File(entry.name, stamp)))
        return [file for _, file in sorted(found, key=lambda f: f[0])]

    def _checkpoints(self) -> Iterator[str]:
        """Yields the checkpoints that storage lacks, oldest first."""
        with os.scandir(self._local) as trials:
            folders = [t.path for t in trials if t.is_dir(follow_symlinks=False)]
        for folder in folders:
            for name in sorted(os.listdir(folder), key=lambda n: (len(n), n)):
                part = f"{os.path.basename(folder)}/{name}"
                if not _CHECKPOINT.fullmatch(name):
                    continue
                try:
                    stamp = folder_stamp(os.path.join(folder, name))
                except FileNotFoundError:
                    continue
                if self._ledger.checkpoints.get(part) != stamp:
                    yield part

    def _not_sent(self) -> list[str]:
        try:
            files = [*self._journal_files(), *self._plain_files()]
            return [*self._checkpoints(), *(file.part for file in files)]
        except OSError:
            return []

    def _clean(self, stale: set[str]) -> None:
        """Removes from storage what the run gave up before the cut."""
        for part in stale:
            if self._attempt(part, partial(self._remove_checkpoint, part)):
                self._stale.discard(part)
        kept = [name for name in os.listdir(self._local) if _JOURNAL.fullmatch(name)]
        first = min((_number(name) for name in kept), default=0)
        gone = [
            part
            for part in self._ledger.files
            if _JOURNAL.fullmatch(part) and part not in kept and _number(part) < first
        ]
        for part in sorted(gone, key=_number, reverse=True):
            if not self._attempt(part, partial(self._filesystem.delete_file, self._remote(part))):
                return
            self._ledger.files.pop(part, None)

    # One file, one checkpoint.

    def _part(self, path: str) -> str:
        return os.path.relpath(path, self._local)

    def _remote(self, part: str) -> str:
        return posixpath.join(self._storage.experiment_fs_path, part)

    def _attempt(self, part: str, action: Callable[[], object], local: str | None = None) -> bool:
        """Does something until it works; after too many failures it counts as not sent.

        Args:
            part: What it is about.
            action: What to do.
            local: A path; without it there is nothing to do any more.
        """
        wait = self._first_wait_s
        # Once a file was refused that often, others show whether the storage is back.
        for attempt in range(1, 2 if self._refused else self._attempts + 1):
            if self._abandoned or self._clock() >= self._deadline:
                self._unsent.setdefault(part, f"not within sync_timeout={self._timeout_s:g} s")
                return False
            if self._refused >= _MOST_REFUSED:
                break
            try:
                action()
            except Exception as error:
                if local is not None and not os.path.exists(local):
                    return True  # given up or replaced by the run meanwhile
                self._unsent[part] = self._why = f"{type(error).__name__}: {error}"
                if attempt < self._attempts and not self._refused:
                    self._pause(wait)
                wait *= 2
            else:
                self._unsent.pop(part, None)
                self._refused = 0
                return True
        self._unsent.setdefault(part, self._why)
        self._refused += 1
        return False

    def _pause(self, seconds: float) -> None:
        """Waits; no longer than until the sync's time is over, or the run is broken off."""
        until = min(self._clock() + seconds, self._deadline)
        while not self._abandoned and (left := until - self._clock()) > 0:
            time.sleep(min(left, 0.5))

    def _make_folder(self, remote: str) -> None:
        if remote not in self._folders:
            self._filesystem.create_dir(remote, recursive=True)
            self._folders.add(remote)

    def _attempt_file(self, file: _File, folder: str | None = None) -> bool:
        local = os.path.join(folder or self._local, file.part)
        return self._attempt(file.part, lambda: self._send(file, local), local)

    def _send(self, file: _File, local: str) -> None:
        size = file.stamp[0]
        if file.part.endswith(_LINES):
            size = _whole_lines(local, size)
        remote = self._remote(file.part)
        self._make_folder(posixpath.dirname(remote))
        upload(self._filesystem, local, remote, size)
        # What was appended since has another size, so the next sync sees it.
        self._ledger.files[file.part] = file.stamp

    def _send_checkpoint(self, part: str) -> None:
        local, remote = os.path.join(self._local, part), self._remote(part)
        stamp = folder_stamp(local)
        if self._ledger.checkpoints.get(part) == stamp:
            return
        self._make_folder(posixpath.dirname(remote))
        pending = pending_of(remote)
        with self._filesystem.open_output_stream(pending, compression=None) as stream:
            stream.write(b"")
        # Another one may have had its place, whole or not.
        self._ledger.checkpoints.pop(part, None)
        self._filesystem.create_dir(remote, recursive=True)
        self._filesystem.delete_dir_contents(remote)
        files = []
        for folder, names, found in os.walk(local):
            inner = posixpath.join(remote, os.path.relpath(folder, local)).removesuffix("/.")
            for name in names:
                self._filesystem.create_dir(posixpath.join(inner, name), recursive=True)
            files += [(os.path.join(folder, n), posixpath.join(inner, n)) for n in found]
        parallel([partial(upload, self._filesystem, *pair) for pair in files], len(files))
        if folder_stamp(local) != stamp:
            raise OSError("the checkpoint was replaced while it was uploaded")
        self._filesystem.delete_file(pending)
        self._ledger.checkpoints[part] = stamp

    def _remove_checkpoint(self, part: str) -> None:
        if part in self._ledger.checkpoints:  # a new one of that name is there
            return
        remote = self._remote(part)
        pending = pending_of(remote)
        with self._filesystem.open_output_stream(pending, compression=None) as stream:
            stream.write(b"")
        self._filesystem.delete_dir_contents(remote, missing_dir_ok=True)
        if self._filesystem.get_file_info(remote).type != arrow("storage").FileType.NotFound:
            self._filesystem.delete_dir(remote)
        self._filesystem.delete_file(pending)

    def _send_artifacts(self, trial: str) -> None:
        """Copies what trials wrote into their working directories."""
        root = self._storage.working_path
        for part, stamp in list(
            self._walk(os.path.join(root, trial), f"{trial}/" if trial else "")
        ):
            if self._ledger.files.get(part) != stamp:
                self._attempt_file(_File(part, stamp), root)


def _names(trial: Trial) -> set[str]:
    return {os.path.basename(path) for path, _, _ in trial._all_checkpoints()}


def _number(name: str) -> int:
    found = _JOURNAL.fullmatch(name)
    return -1 if found is None else int(found[2])


def _discard(path: str) -> None:
    """Removes a checkpoint; it is gone at once, and nobody sees a part of it."""
    parent, name = os.path.split(path)
    aside = os.path.join(parent, f".{name}.gone")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        os.rename(path, aside)
    except OSError:  # it is gone already
        return
    shutil.rmtree(aside, ignore_errors=True)


def _whole_lines(path: str, size: int) -> int:
    """Returns the size of a file up to the last line that ends before `size`."""
    with open(path, "rb") as file:
        end = size
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            at = file.read(end - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
    return 0


class Uploads:
    """The uploaders of a run, one for each experiment in remote storage.

    Args:
        storages: Of the run's experiments.
    """

    def __init__(self, storages: list[StorageContext]) -> None:
        remote = {s.experiment_local_path: s for s in storages if s.remote}
        self._storages = list(remote.values())
        self._claimed: list[StorageContext] = []
        self._uploaders = {path: Uploader(storage) for path, storage in remote.items()}

    def start(self) -> None:
        """Starts them."""
        for storage, uploader in zip(self._storages, self._uploaders.values(), strict=True):
            storage.claim()
            self._claimed.append(storage)
            uploader.start()

    def hooks(self) -> dict[str, Callable[..., None]]:
        """Returns what hears of checkpoints, by kind of note."""
        if not self._uploaders:
            return {}
        return {"CHECKPOINT": self._checkpoint, "CHECKPOINT_DROP": self._drop}

    def close(self, trials: list[Trial], broken_off: bool = False) -> None:
        """Copies what is left; tells what could not be copied.

        Args:
            trials: All of the run.
            broken_off: Whether there is no time for that.
        """
        for directory, uploader in self._uploaders.items():
            if broken_off:
                uploader.abandon()
            else:
                own = [t for t in trials if t.local_experiment_path == directory]
                uploader.close({t.relative_logdir: _names(t) for t in own})
        while self._claimed and not broken_off:
            self._claimed.pop().disclaim()

    def _of(self, checkpoint: Checkpoint) -> tuple[Uploader | None, str]:
        path = checkpoint.staged_path
        for directory, uploader in self._uploaders.items():
            if path.startswith(directory + os.sep):
                return uploader, path
        return None, path

    def _checkpoint(self, checkpoint: Checkpoint, **info: Any) -> None:
        uploader, path = self._of(checkpoint)
        if uploader is not None:
            uploader.checkpoint(path)

    def _drop(self, checkpoint: Checkpoint, **info: Any) -> None:
        uploader, path = self._of(checkpoint)
        if uploader is not None:
            uploader.drop(path)
        else:  # of an experiment in local storage, beside one in remote storage
            shutil.rmtree(path, ignore_errors=True)
