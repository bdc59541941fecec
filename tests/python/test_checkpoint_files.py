"""Checkpoints on disk: whole or not at all, whatever kills or fills, and nobody's but ours."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import ctune
from ctune import _checkpoint
from ctune._checkpoint import aside_of, clean, persist, publish
from ctune.execution import TrialHost


def tree(directory):
    return {
        os.path.relpath(os.path.join(folder, name), directory): os.path.getsize(
            os.path.join(folder, name)
        )
        for folder, _, names in os.walk(directory)
        for name in names
    }


@pytest.fixture
def source(tmp_path):
    """A directory to be made a checkpoint."""
    path = tmp_path / "source"
    (path / "deep").mkdir(parents=True)
    (path / "model").write_text("first")
    (path / "deep" / "part").write_text("part")
    return path


@pytest.mark.parametrize("sync", [False, True])
def test_a_checkpoint_is_a_copy_that_later_writes_do_not_reach(tmp_path, source, sync):
    target = tmp_path / "checkpoint_000000"
    persist(str(source), str(target), {"training_iteration": 3}, sync=sync)
    with open(source / "model", "r+") as file:  # in place, as some libraries do
        file.write("SECOND")
    assert (target / "model").read_text() == "first"
    assert (target / "deep" / "part").read_text() == "part"
    assert sorted(os.listdir(tmp_path)) == ["checkpoint_000000", "source"]


def test_files_that_share_blocks_are_whole_copies(tmp_path, source, monkeypatch):
    """The same where the file system can do it; here the system call is made up."""
    asked = []

    def ioctl(new, request, old):
        asked.append(request)
        os.write(new, os.pread(old, 1 << 20, 0))

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    monkeypatch.setattr(_checkpoint, "_CANNOT_CLONE", set())
    target = tmp_path / "checkpoint_000000"
    persist(str(source), str(target), {})
    assert (target / "model").read_text() == "first"
    if sys.platform.startswith("linux"):
        assert len(asked) == 2


def test_what_has_the_name_already_gives_way(tmp_path, source):
    target = tmp_path / "checkpoint_000000"
    target.mkdir()
    (target / "stale").write_text("")
    persist(str(source), str(target), {})
    assert "stale" not in tree(target) and "model" in tree(target)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint_000000", "source"]


def test_a_failed_copy_leaves_what_was_there(tmp_path, source, monkeypatch):
    target = tmp_path / "checkpoint_000000"
    persist(str(source), str(target), {})
    before = tree(target)

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_checkpoint, "sync_path", full)
    with pytest.raises(OSError, match="No space"):
        persist(str(source), str(target), {}, sync=True)
    assert tree(target) == before
    assert sorted(os.listdir(tmp_path)) == ["checkpoint_000000", "source"]


@pytest.mark.parametrize(
    ("policy", "keep", "syncs"),
    [("none", 1, False), ("interval", None, False), ("interval", 1, True), ("always", None, True)],
)
@pytest.mark.parametrize("kind", ["class", "function"])
def test_checkpoints_are_synced_where_older_ones_go(
    tmp_path, monkeypatch, source, policy, keep, syncs, kind
):
    class Job(ctune.Trainable):
        def step(self):
            return {"n": self.training_iteration}

        def save_checkpoint(self, directory):
            with open(os.path.join(directory, "n"), "w") as file:
                file.write("1")

    def job(config):
        for n in range(2):
            ctune.report({"n": n}, checkpoint=ctune.Checkpoint.from_directory(str(source)))

    synced = []
    monkeypatch.setattr(_checkpoint, "_sync_tree", synced.append)
    ctune.init(executor="inline", num_cpus=1, journal_sync=policy)
    frequency = {"checkpoint_frequency": 1} if kind == "class" else {}
    try:
        ctune.run(
            Job if kind == "class" else job,
            stop={"training_iteration": 2},
            storage_path=str(tmp_path / "results"),
            verbose=0,
            checkpoint_config=ctune.CheckpointConfig(num_to_keep=keep, **frequency),
        )
    finally:
        ctune.shutdown()
    assert len(synced) == (2 if syncs else 0)


# --- processes that are killed ------------------------------------------------------------------

SAVES = """
import os, sys
import ctune

FILES = 20

class Job(ctune.Trainable):
    def step(self):
        return {"n": self.training_iteration}

    def save_checkpoint(self, directory):
        for i in range(FILES):
            with open(os.path.join(directory, f"f{i}"), "w") as file:
                file.write("x" * 5000)

    def load_checkpoint(self, directory):
        pass

def job(config):
    import tempfile
    while True:
        with tempfile.TemporaryDirectory() as directory:
            Job.save_checkpoint(None, directory)
            ctune.report({"n": 1}, checkpoint=ctune.Checkpoint.from_directory(directory))

class Counts(ctune.Callback):
    count = 0

    def on_checkpoint(self, **info):
        self.count += 1
        if self.count == 3:
            print("saved", flush=True)

ctune.init(executor=sys.argv[2], num_cpus=1)
keep = {"checkpoint_frequency": 1} if sys.argv[3] == "Job" else {}
ctune.run(
    globals()[sys.argv[3]],
    storage_path=sys.argv[1],
    name="e",
    verbose=0,
    callbacks=[Counts()],
    checkpoint_config=ctune.CheckpointConfig(num_to_keep=3, **keep),
)
"""


def killed(tmp_path, executor, trainable, delay):
    """The trial's directory of a run that is killed while it saves."""
    driver = subprocess.Popen(
        [sys.executable, "-c", SAVES, str(tmp_path), executor, trainable],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert driver.stdout.readline() == "saved\n"
        time.sleep(delay)  # a random moment
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        driver.stdout.close()
    [trial] = [d for d in (tmp_path / "e").iterdir() if d.is_dir()]
    return trial


def check_killed(tmp_path, executor, trainable, delay):
    trial = killed(tmp_path, executor, trainable, delay)
    until = time.monotonic() + 30
    before = None
    while before != (now := tree(trial)) and time.monotonic() < until:
        before = now  # the worker dies a moment after the driver
        time.sleep(0.02)
    visible = [d for d in trial.iterdir() if d.name.startswith("checkpoint_")]
    assert visible
    for checkpoint in visible:
        files = {n: size for n, size in tree(checkpoint).items() if n.startswith("f")}
        assert files == {f"f{i}": 5000 for i in range(20)}, checkpoint
        json.loads((checkpoint / ".ctune_progress.json").read_text())
    return trial


@pytest.mark.parametrize("trainable", ["Job", "job"])
@pytest.mark.parametrize("executor", ["inline", "process"])
def test_a_kill_while_saving_leaves_whole_checkpoints_only(tmp_path, executor, trainable):
    check_killed(tmp_path, executor, trainable, random.random() * 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_a_kill_at_any_moment_leaves_whole_checkpoints_only(tmp_path, seed):
    draws = random.Random(seed)
    check_killed(
        tmp_path,
        draws.choice(["inline", "process"]),
        draws.choice(["Job", "job"]),
        draws.random() * 0.05,
    )


def test_what_a_dead_process_left_is_removed_at_the_next_start(tmp_path):
    class Job(ctune.Trainable):
        def step(self):
            return {}

    left = [".checkpoint_000003.part", ".checkpoint_000001.old.part"]
    for name in left:
        (tmp_path / name / "deep").mkdir(parents=True)
    (tmp_path / "checkpoint_000000").mkdir()
    (tmp_path / ".mine.part").mkdir()
    host = TrialHost(Job)
    unused = ("checkpoint", "trainable", "resources", "trial_id", "trial_name", "experiment")
    command = SimpleNamespace(
        kind="START", trial=0, serial=1, index=0, upto=0, trial_dir=str(tmp_path), config={},
        **dict.fromkeys(unused),
    )  # fmt: skip
    assert host.handle(command).kind == "STARTED"
    assert sorted(os.listdir(tmp_path)) == [".mine.part", "checkpoint_000000"]
    host.close()
    clean(str(tmp_path / "missing"))


def test_nothing_is_published_twice(tmp_path):
    aside = aside_of(str(tmp_path / "checkpoint_000000"))
    with pytest.raises(OSError):
        publish(aside, str(tmp_path / "checkpoint_000000"))
    assert os.listdir(tmp_path) == []


# --- full disks ---------------------------------------------------------------------------------


@pytest.fixture(params=["class", "function"])
def heavy(request):
    """A trainable whose checkpoints grow until they do not fit on the disk."""

    def write(directory, n):
        with open(os.path.join(directory, "n"), "wb") as file:
            file.write(bytes(n * 60_000))

    class Job(ctune.Trainable):
        def step(self):
            return {"n": self.training_iteration + 1}

        def save_checkpoint(self, directory):
            write(directory, self.training_iteration)

        def load_checkpoint(self, directory):
            pass

    def job(config):
        import tempfile

        for n in range(1, 10):
            with tempfile.TemporaryDirectory() as directory:
                write(directory, n)
                ctune.report({"n": n}, checkpoint=ctune.Checkpoint.from_directory(directory))

    return Job if request.param == "class" else job


def test_a_checkpoint_that_does_not_fit_fails_its_trial_and_keeps_the_others(small_disk, heavy):
    from ctune.cli.scripts import cli

    ctune.init(executor="inline", num_cpus=1)
    frequency = {"checkpoint_frequency": 1} if isinstance(heavy, type) else {}
    try:
        [trial] = ctune.run(
            heavy,
            storage_path=str(small_disk),
            name="e",
            verbose=0,
            stop={"training_iteration": 9},
            checkpoint_config=ctune.CheckpointConfig(**frequency),
            raise_on_failed_trial=False,
        ).trials
    finally:
        ctune.shutdown()
    assert trial.status == "ERROR"
    with open(trial.error_file) as file:
        assert "No space left on device" in file.read()
    names = sorted(n for n in os.listdir(trial.path) if "checkpoint_" in n)
    assert names == [f"checkpoint_{n:06d}" for n in range(len(names))] and names
    for n, name in enumerate(names, 1):
        assert os.path.getsize(os.path.join(trial.path, name, "n")) == n * 60_000
    with open(os.path.join(trial.path, "result.json")) as file:
        assert [json.loads(line)["n"] for line in file][: len(names)] == [*range(1, len(names) + 1)]
    assert cli(["repair", str(small_disk / "e")]) == 0


def test_a_snapshot_that_does_not_fit_leaves_the_journal_sound(small_disk, caplog, capsys):
    from ctune.cli.scripts import cli

    def fills(config):
        ctune.report({"n": 1})
        with open(os.path.join(str(small_disk), "ballast"), "wb") as file:
            try:
                while True:
                    file.write(bytes(4096))
                    file.flush()
            except OSError:
                pass
            file.truncate(os.path.getsize(file.name) - 8192)  # room for the last events

    ctune.init(executor="inline", num_cpus=1)
    try:
        ctune.run(
            fills,
            storage_path=str(small_disk),
            name="e",
            verbose=0,
            config={"long": "x" * 20_000},
        )
    except OSError as error:
        assert "make room" in str(error)
    finally:
        ctune.shutdown()
    assert not any(n.startswith((".tmp", "snapshot")) for n in os.listdir(small_disk / "e"))
    assert cli(["repair", str(small_disk / "e")]) == 0
    assert "Nothing is damaged." in capsys.readouterr().out
