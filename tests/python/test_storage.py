"""Remote storage: what a run leaves there, and what happens when it fails.

R12 and R13 (`storage_path`, `storage_filesystem`) and R22 (`sync_config`) of run(). The storage
is a directory behind a pyarrow file system that tests can break, or a real S3 server.
"""

import errno
import json
import logging
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from storage_faults import Faulty

import ctune
from ctune import Checkpoint, CheckpointConfig, ExperimentAnalysis, SyncConfig, Trainable
from ctune._files import pending_of
from ctune._result import Result
from ctune._storage import StorageContext
from ctune._transfer import fetch_checkpoints, fetch_experiment
from ctune._upload import Uploader

pafs = pytest.importorskip("pyarrow.fs")

STEPS = 5


@pytest.fixture(scope="module", autouse=True)
def inline():
    ctune.shutdown()
    ctune.init(executor="inline", num_cpus=1)
    yield
    ctune.shutdown()


@pytest.fixture
def far(tmp_path):
    """The directory that stands for the remote machine."""
    where = tmp_path / "far"
    where.mkdir()
    return where


@pytest.fixture
def faults(far):
    return Faulty(far)


@pytest.fixture
def filesystem(faults):
    return pafs.PyFileSystem(faults)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """What failed is tried again at once."""
    monkeypatch.setattr(Uploader, "_pause", lambda self, seconds: None)


class Saves(Trainable):
    def setup(self, config):
        self.x = config.get("x", 0)
        self.n = 0

    def step(self):
        self.n += 1
        return {"loss": self.x + self.n, "done": self.n >= STEPS}

    def save_checkpoint(self, folder):
        os.makedirs(os.path.join(folder, "inner"))
        for name in ("state", "inner/more"):
            with open(os.path.join(folder, name), "w") as file:
                file.write(f"{self.x} {self.n}")

    def load_checkpoint(self, folder):
        with open(os.path.join(folder, "state")) as file:
            self.n = int(file.read().split()[1])


def run(filesystem, trainable=Saves, **arguments):
    settings = {
        "storage_filesystem": filesystem,
        "storage_path": "bucket/results",
        "name": "e",
        "config": {"x": ctune.grid_search([10, 20])},
        "metric": "loss",
        "mode": "min",
        "verbose": 0,
    }
    if isinstance(trainable, type):
        settings["checkpoint_config"] = CheckpointConfig(checkpoint_frequency=1, num_to_keep=2)
    return ctune.run(trainable, **{**settings, **arguments})


def tree(folder):
    """Path -> content of each file below a folder."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


def staged(filesystem, path="bucket/results", name="e", **settings):
    """An experiment in remote storage, prepared; its staging folder has one trial."""
    storage = StorageContext(path, name, None, filesystem, SyncConfig(**settings))
    storage.prepare()
    trial = os.path.join(storage.experiment_local_path, "t_00000")
    os.makedirs(trial)
    put(storage, "journal-000000.ctj", b"first")
    put(storage, "t_00000/result.json", b'{"n": 1}\n')
    return storage


def put(storage, part, data):
    path = os.path.join(storage.experiment_local_path, part)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    return path


def save(storage, number, content=b"weights", trial="t_00000"):
    """A checkpoint as a worker leaves it; returns its path."""
    name = f"{trial}/checkpoint_{number:06d}"
    put(storage, f"{name}/a", content)
    put(storage, f"{name}/inner/b", content)
    return os.path.join(storage.experiment_local_path, name)


def whole_checkpoints(far, trial="t_00000", experiment="bucket/results/e"):
    folder = far / experiment / trial
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(n for n in names if n.startswith("checkpoint_") and f".{n}.part" not in names)


# --- what stands there at the end ------------------------------------------------------------


def test_a_run_stands_whole_in_storage_and_the_staging_folder_is_gone(filesystem, far, tmp_path):
    analysis = run(filesystem)
    there = tree(far / "bucket/results/e")
    run(None, storage_path=tmp_path / "near")
    near = tree(tmp_path / "near/e")

    def kinds(files):
        return sorted(os.path.basename(path) for path in files if "tfevents" not in path)

    def known(files):
        return [n for n in kinds(files) if not n.startswith(("experiment_state", ".ctune.lock"))]

    assert known(there) == known(near)
    assert not any(path.endswith(".part") for path in there)
    staging = analysis.trials[0].storage.staging_path
    assert not os.path.exists(staging)


def test_trials_and_results_name_their_places(filesystem):
    places = []

    class Looks(ctune.Callback):
        def on_trial_result(self, trial, **info):
            places.append((trial.path, trial.local_path, os.path.isdir(trial.local_path)))

        def on_checkpoint(self, checkpoint, **info):
            with checkpoint.as_directory() as folder:
                places.append((checkpoint.path, folder, os.path.exists(f"{folder}/state")))

    analysis = run(filesystem, callbacks=[Looks()])
    assert all(there.startswith("bucket/results/e/") for there, _, _ in places)
    assert all(os.path.isabs(here) and exists for _, here, exists in places)
    trial = analysis.best_trial
    assert trial.remote_experiment_path == "bucket/results/e" == analysis.experiment_path
    assert trial.path == f"bucket/results/e/{trial.relative_logdir}"
    assert trial.local_path != trial.path
    assert trial.storage.storage_filesystem == filesystem
    assert trial.storage.trial_fs_path == trial.path
    result = ctune.ResultGrid(analysis)[0]
    assert result.filesystem == filesystem
    assert result.path == analysis.trials[0].path
    assert repr(result.checkpoint).startswith("Checkpoint(filesystem=py::faulty, path=bucket/")


def test_a_finished_run_is_read_from_storage(filesystem):
    analysis = run(filesystem)
    for opened in (
        analysis,
        ExperimentAnalysis("bucket/results/e", storage_filesystem=filesystem,
                           default_metric="loss", default_mode="min"),
    ):  # fmt: skip
        assert [t.status for t in opened.trials] == ["TERMINATED"] * 2
        assert opened.best_config == {"x": 10}
        assert opened.best_dataframe["loss"].tolist() == [11, 12, 13, 14, 15]
        assert len(opened.dataframe()) == 2
        with opened.best_checkpoint.as_directory() as folder:
            assert open(f"{folder}/inner/more").read() == "10 4"
        assert not os.path.exists(folder)
        last = opened.get_last_checkpoint(opened.best_trial)
        assert os.path.basename(last.path) == "checkpoint_000004"
    one = Result.from_path(analysis.trials[1].path, filesystem)
    assert one.metrics["loss"] == 25
    assert len(one.metrics_dataframe) == 5
    assert len(one.best_checkpoints) == 2


def test_an_experiment_that_was_broken_off_is_read_from_its_trials(filesystem, far):
    analysis = run(filesystem)
    for name in os.listdir(far / "bucket/results/e"):
        if name.startswith("experiment_state"):
            os.remove(far / "bucket/results/e" / name)
    folder = far / analysis.trials[0].path
    (folder / ".checkpoint_000004.part").write_bytes(b"")  # its upload never ended
    opened = ExperimentAnalysis("bucket/results/e", storage_filesystem=filesystem)
    assert sorted(t.config["x"] for t in opened.trials) == [10, 20]
    first = next(t for t in opened.trials if t.path == analysis.trials[0].path)
    assert os.path.basename(first.checkpoint.path) == "checkpoint_000003"


def test_errors_are_read_from_storage(filesystem):
    def fails(config):
        raise KeyError("mine")

    analysis = run(filesystem, fails, raise_on_failed_trial=False)
    assert not os.path.exists(analysis.trials[0].local_path)
    assert "mine" in analysis.trials[0].get_error()
    for opened in (analysis, ExperimentAnalysis("bucket/results/e", storage_filesystem=filesystem)):
        assert all(isinstance(e, KeyError) for e in ctune.ResultGrid(opened).errors)


def test_a_second_run_of_the_name_leaves_the_journal_of_the_first(filesystem, far):
    run(filesystem)
    before = tree(far)
    run(filesystem)
    after = tree(far)
    journals = [path for path in before if path.endswith(".ctj")]
    assert journals
    assert all(after[path] == before[path] for path in journals)
    assert sum(path.endswith("result.json") for path in after) == 4


# --- URIs ------------------------------------------------------------------------------------


def test_a_file_uri_is_written_in_place(tmp_path):
    analysis = run(None, storage_path=f"file://{tmp_path}")
    assert analysis.experiment_path == str(tmp_path / "e")
    assert analysis.trials[0].local_path == analysis.trials[0].path
    assert len(ExperimentAnalysis(f"file://{tmp_path}/e").trials) == 2
    assert pickle.loads(pickle.dumps(analysis)).trials[0].path == analysis.trials[0].path
    local = run(pafs.LocalFileSystem(), storage_path=str(tmp_path), name="l")
    assert local.trials[0].path.startswith(str(tmp_path / "l"))


def test_a_mock_uri_is_remote(tmp_path):
    analysis = run(None, storage_path="mock:///results")
    assert analysis.filesystem.type_name == "mock"
    assert analysis.best_dataframe["loss"].tolist() == [11, 12, 13, 14, 15]
    assert not os.path.exists(analysis.trials[0].storage.staging_path)


@pytest.mark.parametrize(
    ("path", "fs", "error", "words"),
    [
        ("foo://b/x", None, ValueError, "storage_path.*foo"),
        ("s3:/b/x", None, ValueError, "storage_path.*s3:/b/x"),
        ("s3://b/x", "given", ValueError, "storage_path.*bare path.*s3://b/x"),
        ("b/x", 3, TypeError, "storage_filesystem.*3"),
    ],
)
def test_a_wrong_place_is_refused_before_any_trial(filesystem, path, fs, error, words):
    started = []
    with pytest.raises(error, match=words):
        run(filesystem if fs == "given" else fs, started.append, storage_path=path)
    assert started == []


def test_storage_that_does_not_answer_is_one_early_error(filesystem, faults):
    started = []
    faults.fail = lambda operation, path: OSError(errno.ECONNREFUSED, "nobody there")
    with pytest.raises(OSError, match="storage_path.*bucket/results/e.*nobody there.*credentials"):
        run(filesystem, started.append)
    assert started == []
    storage = StorageContext("bucket", "e", None, filesystem)
    silent = threading.Event()
    with pytest.raises(OSError, match="no answer within"):
        storage.ask(silent.wait, timeout_s=0.05)
    silent.set()


def test_a_missing_pyarrow_names_the_extra():
    code = (
        "import sys; sys.modules['pyarrow'] = None; sys.modules['pyarrow.fs'] = None\n"
        "import ctune\n"
        "for call in (lambda: ctune.run(print, storage_path='s3://b/x'),\n"
        "             lambda: ctune.Checkpoint('s3://b/x'),\n"
        "             lambda: ctune.ExperimentAnalysis('s3://b/x')):\n"
        "    try:\n"
        "        call()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.count('pip install "ctune[storage]"') == 3, done.stderr


# --- checkpoints -----------------------------------------------------------------------------


def test_a_remote_checkpoint_is_a_checkpoint(filesystem, faults, far, tmp_path):
    (far / "c/inner").mkdir(parents=True)
    (far / "c/a").write_text("1")
    (far / "c/inner/b").write_text("2")
    checkpoint = Checkpoint("c", filesystem)
    assert checkpoint.filesystem == filesystem
    assert checkpoint == Checkpoint("c", filesystem) != Checkpoint("c")
    copy = checkpoint.to_directory(tmp_path / "copy")
    assert tree(copy) == {"a": b"1", "inner/b": b"2"}
    with checkpoint.as_directory() as folder:
        assert tree(folder) == {"a": b"1", "inner/b": b"2"}
    assert checkpoint.get_metadata() == {}
    checkpoint.set_metadata({"k": 1})
    checkpoint.update_metadata({"l": 2})
    assert Checkpoint("c", filesystem).get_metadata() == {"k": 1, "l": 2}
    assert Checkpoint(f"file://{tmp_path}/copy").path == str(tmp_path / "copy")
    with pytest.raises(FileNotFoundError, match="no directory.*nothing"):
        Checkpoint("nothing", filesystem).to_directory()
    (far / ".c.part").write_text("")
    with pytest.raises(FileNotFoundError, match="upload.*did not end"):
        checkpoint.to_directory()
    assert not os.path.exists(tmp_path / "gone")


def test_a_remote_checkpoint_can_be_reported_and_restored(filesystem, far, tmp_path):
    (far / "c").mkdir()
    (far / "c/state").write_text("7 3")

    def again(config):
        ctune.report({"loss": 1}, checkpoint=Checkpoint("c", filesystem))

    analysis = run(None, again, storage_path=tmp_path)
    with analysis.trials[0].checkpoint.as_directory() as folder:
        assert open(f"{folder}/state").read() == "7 3"
    trainable = Saves({})
    trainable.restore(Checkpoint("c", filesystem))
    assert trainable.n == 3


def test_a_checkpoint_is_never_half_there(filesystem, faults, far):
    """Whatever the call at which the upload dies: what counts as whole is whole."""
    calls = None
    for stop in range(200):
        name = f"e{stop}"
        storage = staged(filesystem, name=name)
        paths = [save(storage, n, f"weights {n}".encode()) for n in range(2)]
        broken = Uploader(storage, attempts=1)
        faults.calls.clear()
        faults.fail = lambda operation, path, stop=stop: (
            OSError("gone") if len(faults.calls) > stop else None
        )
        broken._sync()
        faults.fail = lambda operation, path: None
        whole = whole_checkpoints(far, experiment=f"bucket/results/{name}")
        for one in whole:
            local = storage.experiment_local_path
            there = tree(far / f"bucket/results/{name}/t_00000/{one}")
            assert there == tree(os.path.join(local, "t_00000", one))
        journal = far / f"bucket/results/{name}/journal-000000.ctj"
        if journal.exists():  # it may name both, so both are there
            assert whole == ["checkpoint_000000", "checkpoint_000001"]
        if (far / f"bucket/results/{name}/t_00000/result.json").exists():
            assert journal.read_bytes() == b"first"
        calls = len(faults.calls)
        if calls <= stop:
            break
        # The next one, with what the first noted down, completes it.
        last = Uploader(storage)
        last.start()
        assert last.close() == {}
        assert len(whole_checkpoints(far, experiment=f"bucket/results/{name}")) == 2
        assert not os.path.exists(paths[0])
    assert calls is not None and calls <= stop
    assert stop > 15


def test_what_retention_gives_up_goes_after_what_takes_its_place_is_there(filesystem, faults, far):
    storage = staged(filesystem, sync_period=3600)
    uploader = Uploader(storage)
    uploader._sync()
    first, second = save(storage, 0), save(storage, 1)
    assert uploader._attempt_checkpoint("t_00000/checkpoint_000000")
    uploader.drop(first)
    uploader._forget()
    assert not os.path.exists(first)
    assert whole_checkpoints(far) == ["checkpoint_000000"]  # the journal there may name it
    faults.fail = lambda operation, path: (
        OSError("no") if operation == "write" and "checkpoint_000001" in path else None
    )
    uploader._sync()
    assert whole_checkpoints(far) == ["checkpoint_000000"]
    faults.fail = lambda operation, path: None
    uploader._sync()
    assert whole_checkpoints(far) == ["checkpoint_000001"]
    order = [(o, p) for o, p in faults.calls if o in ("delete", "rmdir")]
    removed = next(n for n, (o, p) in enumerate(order) if o == "rmdir" and "000000" in p)
    sent = next(n for n, (o, p) in enumerate(order) if o == "delete" and "000001.part" in p)
    assert sent < removed
    assert os.path.exists(second)


def test_a_checkpoint_given_up_before_its_turn_is_not_copied(filesystem, faults, far):
    storage = staged(filesystem, sync_period=3600)
    uploader = Uploader(storage)
    for number in range(4):
        uploader.checkpoint(save(storage, number))
        if number:
            uploader.drop(os.path.join(storage.experiment_local_path,
                                       f"t_00000/checkpoint_{number - 1:06d}"))  # fmt: skip
    uploader.start()
    assert uploader.close() == {}
    assert whole_checkpoints(far) == ["checkpoint_000003"]
    assert faults.count("write", "checkpoint_000001") == 0


def test_a_checkpoint_that_took_the_place_of_another_is_copied_again(filesystem, far):
    storage = staged(filesystem)
    uploader = Uploader(storage)
    path = save(storage, 0, b"old")
    put(storage, "t_00000/checkpoint_000000/only_old", b"1")
    uploader._sync()
    shutil.rmtree(path)
    save(storage, 0, b"new")
    uploader._sync()
    there = tree(far / "bucket/results/e/t_00000/checkpoint_000000")
    assert there == {"a": b"new", "inner/b": b"new"}


# --- failures --------------------------------------------------------------------------------


def test_an_upload_that_fails_three_times_is_tried_again(filesystem, faults, far, caplog):
    failed = []

    def fail(operation, path):
        if operation == "write" and "result.json" in path and len(failed) < 3:
            failed.append(path)
            return OSError(errno.ECONNRESET, "connection lost")
        return None

    faults.fail = fail
    with caplog.at_level(logging.WARNING):
        analysis = run(filesystem)
    assert len(failed) == 3
    assert not [r for r in caplog.records if "upload" in r.getMessage()]
    assert not os.path.exists(analysis.trials[0].local_path)
    assert len(analysis.trial_dataframes[analysis.trials[0].trial_id]) == STEPS


def test_pauses_between_attempts_double(filesystem, faults, monkeypatch):
    storage = staged(filesystem)
    pauses = []
    uploader = Uploader(storage, attempts=5, first_wait_s=0.5)
    monkeypatch.setattr(uploader, "_pause", pauses.append)
    faults.fail = lambda operation, path: OSError("down") if operation == "write" else None
    uploader._sync()
    assert pauses == [0.5, 1.0, 2.0, 4.0]  # of the first file; the others are not waited for


def test_storage_that_fails_for_ever_ends_the_run_with_a_list(filesystem, faults, far, caplog):
    def fail(operation, path):
        lasting = operation == "write" and not path.endswith(".validate_storage_marker")
        return OSError(errno.ENETUNREACH, "network is down") if lasting else None

    faults.fail = fail
    with caplog.at_level(logging.WARNING):
        analysis = run(filesystem)
    text = caplog.records[-1].getMessage()
    assert "could not be uploaded to bucket/results/e on py::faulty" in text
    trial = analysis.best_trial
    assert os.path.dirname(trial.local_path) in text
    assert "network is down" in text
    assert "checkpoint_000004" in text
    # All of it is on this machine, and the analysis reads it there.
    names = os.listdir(trial.local_path)
    assert {"result.json", "params.json", "checkpoint_000003", "checkpoint_000004"} <= set(names)
    assert len(analysis.best_dataframe) == STEPS
    with analysis.best_checkpoint.as_directory() as folder:
        assert folder.startswith(trial.local_path)
    # Once it is back, whoever uploads that folder next completes it.
    faults.fail = lambda operation, path: None
    again = Uploader(trial.storage)
    again.start()
    assert again.close() == {}
    opened = ExperimentAnalysis("bucket/results/e", storage_filesystem=filesystem)
    assert [t.status for t in opened.trials] == ["TERMINATED"] * 2
    assert not os.path.exists(trial.local_path)


def test_a_storage_that_was_removed_is_not_filled_anew(filesystem, faults, far, caplog):
    class Removes(ctune.Callback):
        def on_trial_complete(self, **info):
            shutil.rmtree(far / "bucket/results/e", ignore_errors=True)

    with caplog.at_level(logging.ERROR):
        analysis = run(filesystem, callbacks=[Removes()])
    assert "has no .validate_storage_marker any more" in caplog.text
    assert os.path.exists(os.path.join(analysis.trials[0].local_path, "result.json"))


def test_a_local_directory_that_was_removed_fails_the_trial(tmp_path):
    """execution.md, section 8: without the marker a checkpoint is an error."""

    def saves(config):
        os.remove(tmp_path / "e" / ".validate_storage_marker")
        with tempfile.TemporaryDirectory() as folder:
            ctune.report({"loss": 1}, checkpoint=Checkpoint(folder))

    with pytest.raises(ctune.TuneError):
        run(None, saves, storage_path=tmp_path, config={})
    opened = ExperimentAnalysis(tmp_path / "e")
    assert "has no .validate_storage_marker any more" in opened.trials[0].get_error()

    class Classy(Saves):
        def step(self):
            os.remove(tmp_path / "f" / ".validate_storage_marker")
            return super().step()

    with pytest.raises(ctune.TuneError):
        run(None, Classy, storage_path=tmp_path, config={}, name="f")
    assert "RuntimeError" in ExperimentAnalysis(tmp_path / "f").trials[0].get_error()


def test_a_full_staging_disk_ends_the_run_and_what_there_is_goes_up(
    filesystem, far, tmp_path, monkeypatch
):
    where = tmp_path / "disk"
    where.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(where)], capture_output=True
        ).returncode
    ):
        pytest.skip("mounting a small disk needs root")
    try:
        monkeypatch.setattr("ctune._storage._staging", lambda fs, path: str(where / "key"))

        def fills(config):
            for n in range(100_000):
                ctune.report({"loss": n, "text": "x" * 500})

        with pytest.raises(OSError, match=r"(?i)no space left"):
            run(filesystem, fills, config={})
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)
    results = [data for path, data in tree(far).items() if path.endswith("result.json")]
    lines = [json.loads(line)["loss"] for line in results[0].splitlines()]
    assert lines == list(range(len(lines))) and len(lines) > 100


KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
import pyarrow.fs as pafs
from ctune._storage import StorageContext
from ctune import _upload
fs = pafs.SubTreeFileSystem({far!r}, pafs.LocalFileSystem())
storage = StorageContext("bucket", "e", None, fs)
count = 0
real = _upload.upload
def upload(*arguments):
    global count
    count += 1
    if count == {stop}:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*arguments)
_upload.upload = upload
uploader = _upload.Uploader(storage)
uploader.start()
uploader.close()
"""


def test_a_second_upload_completes_that_of_a_process_that_was_killed(far):
    fs = pafs.SubTreeFileSystem(str(far), pafs.LocalFileSystem())
    storage = staged(fs, "bucket")
    for number in range(3):
        save(storage, number, f"weights {number}".encode())
    expected = {
        path: data
        for path, data in tree(storage.experiment_local_path).items()
        if not path.endswith(".lock")
    }
    code = KILLED.format(here=os.path.dirname(__file__), far=str(far), stop=4)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert whole_checkpoints(far, experiment="bucket/e") == ["checkpoint_000000"]
    assert (far / "bucket/e/t_00000/.checkpoint_000001.part").exists()
    assert fetch_experiment(storage, "none")  # what this machine has is ahead, and stays
    again = Uploader(storage)
    again.start()
    assert again.close() == {}
    assert tree(far / "bucket/e") == expected


def test_what_was_sent_to_a_storage_that_is_empty_now_is_sent_again(filesystem, far):
    storage = staged(filesystem)
    save(storage, 0)
    Uploader(storage)._sync()
    shutil.rmtree(far / "bucket")
    storage.prepare()
    uploader = Uploader(storage)
    uploader.start()
    assert uploader.close() == {}
    assert whole_checkpoints(far) == ["checkpoint_000000"]
    assert (far / "bucket/results/e/t_00000/result.json").exists()


# --- the run and the upload side by side -----------------------------------------------------


def test_the_run_waits_when_too_many_checkpoints_wait(filesystem, faults, caplog):
    storage = staged(filesystem, sync_period=3600)
    uploader = Uploader(storage, most_waiting=2)
    uploader.start()
    faults.gate.clear()
    paths = [save(storage, number) for number in range(4)]
    for path in paths[:2]:
        uploader.checkpoint(path)  # at once
    blocked = threading.Thread(target=lambda: [uploader.checkpoint(p) for p in paths[2:]])
    blocked.start()
    blocked.join(0.2)
    assert blocked.is_alive()
    with caplog.at_level(logging.ERROR):
        faults.gate.set()
        blocked.join(30)
    assert not blocked.is_alive()
    assert uploader.close() == {}


def test_what_retention_gives_up_takes_no_place_in_the_queue(filesystem, faults, far):
    storage = staged(filesystem, sync_period=3600)
    uploader = Uploader(storage, most_waiting=3)
    uploader.start()
    faults.gate.clear()
    uploader.checkpoint(save(storage, 0))
    wait_until(lambda: faults.count("write", "checkpoint_000000") > 0)
    folder = os.path.join(storage.experiment_local_path, "t_00000")
    for number in range(1, 30):  # would wait for ever at the fourth
        uploader.checkpoint(save(storage, number))
        uploader.drop(os.path.join(folder, f"checkpoint_{number - 1:06d}"))
    # The one under way is not touched; all others are gone.
    assert sorted(n for n in os.listdir(folder) if n.startswith("checkpoint_")) == [
        "checkpoint_000000", "checkpoint_000029",
    ]  # fmt: skip
    faults.gate.set()
    assert uploader.close() == {}
    assert whole_checkpoints(far) == ["checkpoint_000029"]


@pytest.mark.parametrize("given", [{"sync_period": -1}, {"sync_timeout": "1h"}])
def test_times_of_a_sync_config_are_checked(given):
    with pytest.raises(ValueError, match=f"^{next(iter(given))}: must be seconds"):
        SyncConfig(**given)


def test_the_run_does_not_wait_for_a_slow_storage(filesystem, faults, far):
    """Nothing can be written there until the last trial has ended; then all of it is."""
    trials_ended = []

    class Holds(ctune.Callback):
        def setup(self, **info):
            faults.gate.clear()

        def on_trial_complete(self, trial, **info):
            trials_ended.append(trial)
            if len(trials_ended) == 2:
                faults.gate.set()

    analysis = run(filesystem, callbacks=[Holds()])
    assert len(trials_ended) == 2
    assert len(whole_checkpoints(far, analysis.trials[0].relative_logdir)) == 2


def test_files_go_up_every_period(filesystem, faults, far):
    storage = staged(filesystem, sync_period=0.02)
    uploader = Uploader(storage)
    uploader.start()
    path = far / "bucket/results/e/t_00000/result.json"
    wait_until(path.exists)
    with open(os.path.join(storage.experiment_local_path, "t_00000/result.json"), "ab") as file:
        file.write(b'{"n": 2}\n{"n":')
    wait_until(lambda: path.read_bytes().count(b"\n") == 2)
    assert path.read_bytes() == b'{"n": 1}\n{"n": 2}\n'  # half a line is no result
    assert uploader.close() == {}


def wait_until(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_only_what_changed_is_copied_again(filesystem, faults):
    storage = staged(filesystem)
    save(storage, 0)
    uploader = Uploader(storage)
    uploader._sync()
    faults.calls.clear()
    uploader._sync()
    assert faults.count("write") == 0
    put(storage, "t_00000/result.json", b'{"n": 1}\n{"n": 2}\n')
    uploader._sync()
    assert [path for o, path in faults.calls if o == "write"] == [
        "bucket/results/e/t_00000/result.json"
    ]


def test_superfluous_segments_go_and_the_journal_goes_in_order(filesystem, faults, far):
    storage = staged(filesystem)
    for name in (
        "journal-000001.ctj", "snapshot-000001.bin", "snapshot-000001.json", "snapshot-000001.pkl",
        "journal-000002.ctj",
    ):  # fmt: skip
        put(storage, name, name.encode())
    uploader = Uploader(storage)
    uploader._sync()
    written = [os.path.basename(p) for o, p in faults.calls if o == "write"]
    journal = [name for name in written if name.startswith(("journal", "snapshot"))]
    assert journal == [
        "journal-000000.ctj", "journal-000001.ctj", "journal-000002.ctj",
        "snapshot-000001.bin", "snapshot-000001.pkl", "snapshot-000001.json",
    ]  # fmt: skip
    os.remove(os.path.join(storage.experiment_local_path, "journal-000000.ctj"))
    uploader._sync()
    left = os.listdir(far / "bucket/results/e")
    assert sorted(n for n in left if n.startswith("journal")) == [
        "journal-000001.ctj", "journal-000002.ctj",
    ]  # fmt: skip


def test_a_snapshot_in_storage_follows_the_results_that_it_knows(filesystem, faults, far):
    storage = staged(filesystem)
    put(storage, "snapshot-000001.json", b"old")
    uploader = Uploader(storage)
    look = uploader._plain_files

    def look_and_go_on():
        yield from look()
        put(storage, "snapshot-000002.json", b"new")  # of results that were not looked at

    def snapshots():
        return sorted(path.name for path in (far / "bucket/results/e").glob("snapshot-*"))

    uploader._plain_files = look_and_go_on
    uploader._sync()
    assert snapshots() == ["snapshot-000001.json"]
    uploader._plain_files = look
    put(storage, "t_00000/result.json", b'{"n": 1}\n{"n": 2}\n')
    faults.fail = lambda operation, path: (
        OSError("as asked") if operation == "write" and path.endswith("result.json") else None
    )
    uploader._first_wait_s = 0.0
    uploader._sync()
    assert snapshots() == ["snapshot-000001.json"]
    faults.fail = lambda operation, path: None
    uploader._sync()
    assert snapshots() == ["snapshot-000001.json", "snapshot-000002.json"]
    written = [os.path.basename(path) for operation, path in faults.calls if operation == "write"]
    assert written[-2:] == ["result.json", "snapshot-000002.json"]


def test_a_sync_gives_up_after_its_time(filesystem, faults):
    storage = staged(filesystem, sync_timeout=10)
    now = [0.0]
    uploader = Uploader(storage, clock=lambda: now[0])

    def fail(operation, path):
        now[0] += 4 if operation == "write" else 0
        return OSError("slow") if operation == "write" else None

    faults.fail = fail
    faults.calls.clear()
    uploader._sync()
    assert faults.count("write") == 3  # of six attempts; the time is over at the fourth
    assert set(uploader._unsent) == {
        "journal-000000.ctj", ".validate_storage_marker", "t_00000/result.json",
    }  # fmt: skip
    now[0] = 100.0
    faults.fail = lambda operation, path: None
    uploader._sync()
    assert uploader._unsent == {}


# --- artifacts -------------------------------------------------------------------------------


def writes_a_file(config):
    with open("artifact.txt", "w") as file:
        file.write("mine")
    os.makedirs("deep", exist_ok=True)
    with open("deep/one.bin", "wb") as file:
        file.write(b"1")
    ctune.report({"loss": 1})


@pytest.mark.parametrize("wanted", [False, True])
def test_working_directories_go_up_only_if_asked_to(far, wanted):
    fs = pafs.SubTreeFileSystem(str(far), pafs.LocalFileSystem())
    ctune.shutdown()
    ctune.init(executor="process", num_cpus=1)
    try:
        analysis = run(
            fs, writes_a_file, config={},
            sync_config=SyncConfig(sync_artifacts=wanted),
        )  # fmt: skip
    finally:
        ctune.shutdown()
        ctune.init(executor="inline", num_cpus=1)
    there = tree(far / analysis.trials[0].path)
    assert ("artifact.txt" in there) == wanted
    assert ("deep/one.bin" in there) == wanted
    assert "result.json" in there
    assert not os.path.exists(analysis.trials[0].storage.staging_path)


# --- back from storage -----------------------------------------------------------------------


def test_an_experiment_comes_back_into_an_empty_folder(filesystem, far, tmp_path, monkeypatch):
    analysis = run(filesystem)
    there = tree(far / "bucket/results/e")
    for which, kept in (("none", set()), ("latest", {4}), ("all", {3, 4})):
        base = str(tmp_path / which)
        monkeypatch.setattr("ctune._storage._staging", lambda fs, path, base=base: base)
        storage = StorageContext("bucket/results", "e", None, filesystem)
        assert fetch_experiment(storage, which)
        here = tree(storage.experiment_local_path)
        assert all(there[path] == data for path, data in here.items())
        for trial in analysis.trials:
            names = os.listdir(os.path.join(storage.experiment_local_path, trial.relative_logdir))
            assert {int(n[11:]) for n in names if n.startswith("checkpoint_")} == kept
        lacking = {p for p in there if p not in here}
        assert all("/checkpoint_" in path for path in lacking)
    # The folder is as if this machine had uploaded it: nothing goes up again.
    assert Uploader(storage)._not_sent() == []
    one = os.path.join(storage.experiment_local_path, "t_00000", "checkpoint_000009")
    fetch_checkpoints(storage, [one])
    assert not os.path.exists(one)
    base = str(tmp_path / "none")
    monkeypatch.setattr("ctune._storage._staging", lambda fs, path: base)
    storage = StorageContext("bucket/results", "e", None, filesystem)
    older = analysis.trials[0].relative_logdir + "/checkpoint_000003"
    local = os.path.join(storage.experiment_local_path, older)
    fetch_checkpoints(storage, [local])
    assert tree(local) == tree(far / "bucket/results/e" / older)


def test_nothing_comes_back_from_an_empty_storage(filesystem, tmp_path):
    storage = StorageContext("bucket/results", "nothing", None, filesystem)
    assert not fetch_experiment(storage)
    assert not fetch_experiment(StorageContext(str(tmp_path), "nothing"))
    with pytest.raises(ValueError, match="checkpoints.*some"):
        fetch_experiment(storage, "some")


def test_a_half_uploaded_checkpoint_does_not_come_back(filesystem, far, tmp_path, monkeypatch):
    storage = staged(filesystem)
    for number in range(2):
        save(storage, number)
    Uploader(storage)._sync()
    (far / pending_of("bucket/results/e/t_00000/checkpoint_000001")).write_bytes(b"")
    monkeypatch.setattr("ctune._storage._staging", lambda fs, path: str(tmp_path / "other"))
    assert fetch_experiment(storage, "all")
    names = os.listdir(os.path.join(storage.experiment_local_path, "t_00000"))
    assert [n for n in names if n.startswith("checkpoint_")] == ["checkpoint_000000"]


def test_what_another_machine_wrote_since_counts(filesystem, far, caplog):
    storage = staged(filesystem)
    Uploader(storage)._sync()
    (far / "bucket/results/e/journal-000000.ctj").write_bytes(b"first and more")
    with caplog.at_level(logging.WARNING):
        assert fetch_experiment(storage)
    assert "gone on elsewhere" in caplog.text
    local = storage.experiment_local_path
    assert open(f"{local}/journal-000000.ctj", "rb").read() == b"first and more"
    aside = [n for n in os.listdir(os.path.dirname(local)) if ".old-" in n]
    assert len(aside) == 1


@pytest.mark.parametrize(
    ("host", "pid", "warned"),
    [("elsewhere", 7, True), (None, os.getppid(), True), (None, 2**22 + 1, False)],
)
def test_a_writer_that_has_not_said_that_it_ended_is_named(
    filesystem, far, caplog, host, pid, warned
):
    folder = far / "bucket/results/e"
    folder.mkdir(parents=True)
    word = {"host": host or socket.gethostname(), "pid": pid, "since": "2026-01-01 00:00:00"}
    (folder / ".ctune.writer").write_text(json.dumps(word))
    own = []

    class Looks(ctune.Callback):
        def on_trial_result(self, **info):
            own.append(json.loads((folder / ".ctune.writer").read_text())["pid"])

    run(filesystem, callbacks=[Looks()])
    said = f"Process {pid} on {word['host']}, which has written to"
    assert (said in caplog.text) == warned
    assert set(own) == {os.getpid()}
    assert not (folder / ".ctune.writer").exists()


def test_a_tuner_is_known_by_its_place_in_storage(filesystem, far):
    config = ctune.RunConfig(
        name="t", storage_path="bucket", storage_filesystem=filesystem, verbose=0
    )
    tuner = ctune.Tuner(Saves, param_space={"x": 1}, run_config=config)
    assert ctune.Tuner.can_restore("bucket/t", filesystem)
    assert not ctune.Tuner.can_restore("bucket/u", filesystem)
    grid = tuner.fit()
    assert grid.filesystem == filesystem
    assert grid[0].metrics["loss"] == 1 + STEPS
    assert (far / "bucket/t/tuner.pkl").exists()
    with open(far / "bucket/t/tuner.pkl", "rb") as file:
        assert pickle.load(file)["run_config"].storage_filesystem is None


RESUMED = """
import os, signal, sys
import pyarrow.fs as pafs
import ctune
from ctune import CheckpointConfig, SyncConfig, Trainable

class Saves(Trainable):
    def setup(self, config):
        self.x, self.n = config["x"], 0

    def step(self):
        self.n += 1
        return {"loss": self.x + self.n, "done": self.n >= 12}

    def save_checkpoint(self, folder):
        with open(os.path.join(folder, "state"), "w") as file:
            file.write(str(self.n))

    def load_checkpoint(self, folder):
        with open(os.path.join(folder, "state")) as file:
            self.n = int(file.read())

class Kills(ctune.Callback):
    seen = 0

    def on_trial_result(self, **info):
        self.seen += 1
        if self.seen == 14:  # storage has what was there at the tenth
            os.kill(os.getpid(), signal.SIGKILL)

    def on_trial_save(self, **info):
        if self.seen == 10:
            for uploader in ctune._run_uploads:
                uploader._sync()

from ctune import _upload
ctune._run_uploads = []
start = _upload.Uploader.start
def started(self):
    ctune._run_uploads.append(self)
    start(self)
_upload.Uploader.start = started

far, cut = sys.argv[1], sys.argv[2] == "cut"
fs = pafs.SubTreeFileSystem(far, pafs.LocalFileSystem())
ctune.init(executor="inline", num_cpus=1)
analysis = ctune.run(
    Saves, config={"x": ctune.grid_search([10, 20])}, storage_filesystem=fs, storage_path="b",
    name="e", metric="loss", mode="min", verbose=0, resume=None if cut else True,
    checkpoint_config=CheckpointConfig(checkpoint_frequency=2, num_to_keep=2),
    callbacks=[Kills()] if cut else [], sync_config=SyncConfig(sync_period=3600),
)
for trial in analysis.trials:
    frame = analysis.trial_dataframes[trial.trial_id]
    print(trial.status, frame["training_iteration"].tolist() == list(range(1, 13)))
"""


@pytest.mark.parametrize("staging", ["kept", "lost"])
def test_a_run_that_was_killed_goes_on_from_storage(far, tmp_path, staging):
    """With what the crash left on this machine, and without."""
    env = {**os.environ, "CTUNE_STAGING_DIR": str(tmp_path / "one")}
    command = [sys.executable, "-c", RESUMED, str(far)]
    killed = subprocess.run([*command, "cut"], env=env, capture_output=True, timeout=100)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (far / "b/e/journal-000000.ctj").stat().st_size > 0
    if staging == "lost":
        shutil.rmtree(tmp_path / "one")
    done = subprocess.run(
        [*command, "resume"], env=env, capture_output=True, timeout=100, text=True
    )
    assert done.stdout.split() == ["TERMINATED", "True"] * 2, done.stderr
    for folder in (far / "b/e").glob("Saves_*"):
        assert whole_checkpoints(far, folder.name, "b/e") == [
            "checkpoint_000004", "checkpoint_000005",
        ]  # fmt: skip
    assert not list((far / "b/e").rglob("*.part"))
    assert not os.path.exists(tmp_path / "one") or not os.listdir(tmp_path / "one")


# --- a real S3 server ------------------------------------------------------------------------

SERVER = """
import logging, sys
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()  # until the test is gone
"""


@pytest.fixture(scope="module")
def s3():
    """The address of a server that speaks S3, with the bucket "bucket"."""
    pytest.importorskip("moto")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(server.stdout.readline())
        maker = _s3(port, allow_bucket_creation=True)
        maker.create_dir("bucket")
        yield port
    finally:
        server.stdin.close()
        server.wait(10)


def _s3(port, **options):
    return pafs.S3FileSystem(
        access_key="a", secret_key="b", region="us-east-1", scheme="http",
        endpoint_override=f"127.0.0.1:{port}", **options,
    )  # fmt: skip


def keys(filesystem, path):
    infos = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    return {info.path: info.size for info in infos if info.is_file}


def test_a_run_with_worker_processes_on_s3(s3, monkeypatch):
    ctune.shutdown()
    ctune.init(executor="process", num_cpus=2)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    options = f"endpoint_override=127.0.0.1%3A{s3}&scheme=http&region=us-east-1"
    try:
        analysis = run(None, storage_path=f"s3://bucket/results?{options}", name="p")
    finally:
        ctune.shutdown()
        ctune.init(executor="inline", num_cpus=1)
    assert analysis.filesystem.type_name == "s3"
    found = keys(_s3(s3), "bucket/results/p")
    assert not any(path.endswith(".part") for path in found)
    for trial in analysis.trials:
        names = {p.removeprefix(trial.path + "/") for p in found if p.startswith(trial.path)}
        assert {"result.json", "progress.csv", "params.json", "params.pkl"} <= names
        checkpoints = {n.split("/")[0] for n in names if n.startswith("checkpoint_")}
        assert checkpoints == {"checkpoint_000003", "checkpoint_000004"}
        assert not os.path.exists(trial.local_path)
    opened = ExperimentAnalysis(
        f"s3://bucket/results/p?{options}", default_metric="loss", default_mode="max"
    )
    assert opened.best_config == {"x": 20}
    assert opened.best_dataframe["loss"].tolist() == [21, 22, 23, 24, 25]
    with opened.best_checkpoint.as_directory() as folder:
        assert open(f"{folder}/inner/more").read() == "20 5"
    storage = StorageContext("bucket/results", "p", None, _s3(s3))
    assert fetch_experiment(storage)
    assert tree(storage.experiment_local_path).keys() >= {".validate_storage_marker"}
    assert Uploader(storage)._not_sent() == []


def test_a_bucket_that_is_not_there_is_one_early_error(s3):
    started = []
    with pytest.raises(OSError, match="storage_path.*s3://nobucket/x/e cannot be used"):
        run(_s3(s3), started.append, storage_path="nobucket/x")
    assert started == []


def test_a_server_that_is_not_there_is_one_early_error():
    started = []
    nobody = pafs.S3FileSystem(
        access_key="a", secret_key="b", region="us-east-1", scheme="http",
        endpoint_override="127.0.0.1:1", retry_strategy=pafs.AwsStandardS3RetryStrategy(1),
    )  # fmt: skip
    with pytest.raises(OSError, match="storage_path.*s3://bucket/x/e cannot be used.*connect"):
        run(nobody, started.append, storage_path="bucket/x")
    assert started == []


def test_half_an_upload_to_s3_is_completed(s3):
    storage = staged(_s3(s3), "bucket/half")
    save(storage, 0)
    uploader = Uploader(storage, attempts=1)
    uploader._make_folder("bucket/half/e/t_00000")
    pending = pending_of("bucket/half/e/t_00000/checkpoint_000000")
    with storage.remote_filesystem.open_output_stream(pending) as stream:
        stream.write(b"")
    with storage.remote_filesystem.open_output_stream(
        "bucket/half/e/t_00000/checkpoint_000000/left_over"
    ) as stream:
        stream.write(b"half")
    checkpoint = Checkpoint("bucket/half/e/t_00000/checkpoint_000000", _s3(s3))
    with pytest.raises(FileNotFoundError, match="did not end"):
        checkpoint.to_directory()
    uploader.start()
    assert uploader.close() == {}
    with checkpoint.as_directory() as folder:
        assert tree(folder) == {"a": b"weights", "inner/b": b"weights"}
