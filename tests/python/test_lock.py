"""One experiment, one writer: who holds it is named, and a dead holder is forgotten."""

import logging
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

import ctune
from ctune import _ctune
from ctune._lock import LOCK_FILE, locked


@pytest.fixture(autouse=True)
def inline():
    ctune.init(executor="inline", num_cpus=1)
    yield
    ctune.shutdown()


def train(config):
    ctune.report({"n": 1})


def run(path, trainable=train, **arguments):
    return ctune.run(trainable, storage_path=str(path), name="e", verbose=0, **arguments)


HOLDER = """
import os, sys, time
import ctune

def train(config):
    if sys.argv[2] == "fork" and os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    print("running", flush=True)
    time.sleep(60)

ctune.init(executor="inline", num_cpus=1)
ctune.run(train, storage_path=sys.argv[1], name="e", verbose=0)
"""


@pytest.fixture
def holder(tmp_path, request):
    """Another process whose run is under way; a session, so that its children can be ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), request.param],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "running\n"
    yield process
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("holder", ["alone"], indirect=True)
def test_a_second_process_is_told_who_runs_the_experiment(tmp_path, holder):
    before = sorted(os.listdir(tmp_path / "e"))
    with pytest.raises(ctune.TuneError) as raised:
        run(tmp_path)
    said = str(raised.value)
    assert re.search(rf"locked by process {holder.pid} on \S+ since \d{{4}}-", said), said
    assert str(tmp_path / "e" / LOCK_FILE) in said and "another name" in said
    assert sorted(os.listdir(tmp_path / "e")) == before


@pytest.mark.parametrize("holder", ["alone", "fork"], indirect=True)
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "e" / LOCK_FILE).read_text().startswith(f"process {holder.pid} ")
    assert run(tmp_path).trials[0].last_result["n"] == 1
    assert (tmp_path / "e" / LOCK_FILE).read_text() == ""


def test_two_runs_of_one_process_exclude_each_other(tmp_path):
    reached, go_on = threading.Event(), threading.Event()

    class Waits(ctune.Callback):
        def on_trial_result(self, **info):
            reached.set()
            assert go_on.wait(60)

    first = threading.Thread(target=run, args=(tmp_path,), kwargs={"callbacks": [Waits()]})
    first.start()
    try:
        assert reached.wait(60)
        with pytest.raises(ctune.TuneError, match=f"locked by process {os.getpid()} on"):
            run(tmp_path)
    finally:
        go_on.set()
        first.join(60)
    assert len(run(tmp_path).trials) == 1


def test_half_written_files_of_a_dead_writer_are_removed(tmp_path):
    run(tmp_path)
    left = [
        ".tmp-snapshot-000001.json", ".tmp-snapshot-000001.bin", ".tuner.pkl.tmp",
        f".{'0a' * 16}-tmp", f".{'0a' * 16}-tmp-searcher",
        "callback-states-2026-11-28_13-38-37.pkl.tmp",
        "experiment_state-2026-11-28_13-38-37.json.part",
    ]  # fmt: skip
    mine = ["mine.tmp", ".mine.pkl.tmp", ".mine-tmp", "mine.json.part"]
    for name in left + mine:
        (tmp_path / "e" / name).write_text("{")
    run(tmp_path)
    assert not [name for name in left if (tmp_path / "e" / name).exists()]
    assert all((tmp_path / "e" / name).exists() for name in mine)


def test_a_run_that_fails_lets_go(tmp_path):
    class Fails(ctune.Callback):
        def on_trial_result(self, **info):
            raise ValueError("on purpose")

    with pytest.raises(ctune.TuneError, match="on purpose"):
        run(tmp_path, callbacks=[Fails()])
    assert len(run(tmp_path).trials) == 1


def test_an_experiment_inside_another_ones_directory_is_its_own(tmp_path):
    def outer(config):
        inner = ctune.run(train, storage_path=str(tmp_path / "e"), name="inner", verbose=0)
        ctune.report({"n": inner.trials[0].last_result["n"]})

    assert run(tmp_path, outer).trials[0].last_result["n"] == 1


def test_where_files_cannot_be_locked_a_warning_says_so(tmp_path, monkeypatch, caplog):
    def cannot(path):
        raise NotImplementedError(f"{path} cannot be locked: its file system knows no locks")

    monkeypatch.setattr("ctune._lock._ctune.Lock", cannot)
    with caplog.at_level(logging.WARNING, "ctune"), locked([str(tmp_path)]):
        pass
    assert "knows no locks. See to it that only one run" in caplog.text


def test_a_lock_can_be_taken_again_once_it_is_let_go(tmp_path):
    path = str(tmp_path / "lock")
    first = _ctune.Lock(path)
    with pytest.raises(RuntimeError, match="is locked by process"):
        _ctune.Lock(path)
    first.release()
    first.release()
    second = _ctune.Lock(path)
    del second
    _ctune.Lock(path).release()
    with pytest.raises(OSError, match="cannot be opened"):
        _ctune.Lock(str(tmp_path / "missing" / "lock"))
