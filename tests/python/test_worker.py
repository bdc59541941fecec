"""The worker's side: what TrialHost does with each command, and the helper process."""

import os
import pickle
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest

import ctune as tune
from ctune import _ctune
from ctune._pickling import Payload
from ctune._storage import StorageContext
from ctune._work import Care, Work
from ctune.execution import TrialHost
from ctune.execution._host import failure_text
from ctune.execution.worker import helper_argv, process_options
from ctune.trainable import wrap_function


class Counter(tune.Trainable):
    """Counts, saves its count, and misbehaves as its config says."""

    def setup(self, config):
        if config.get("refuse"):
            raise RuntimeError("no such data set")
        self.count = 0
        self.stopped = False

    def step(self):
        self.count += 1
        if self.config.get("fail_at") == self.count:
            raise ValueError("diverged")
        return {"count": self.count}

    def save_checkpoint(self, checkpoint_dir):
        if self.config.get("unsavable"):
            raise OSError("disk full")
        return {"count": self.count}

    def load_checkpoint(self, checkpoint):
        self.count = checkpoint["count"]

    def reset_config(self, new_config):
        if new_config.get("stubborn"):
            return False
        self.setup(new_config)
        return True

    def cleanup(self):
        self.stopped = True
        if self.config.get("messy"):
            raise RuntimeError("cannot clean up")


def command(kind, trial_dir=None, **fields):
    """A command as the engine makes it; TrialHost only reads attributes."""
    basis = {
        "kind": kind,
        "trial": 7,
        "serial": 99,
        "index": 0,
        "upto": 0,
        "source": None,
        "config": {},
        "resources": {"CPU": 1.0},
        "checkpoint": None,
        "trial_id": "abc_00007",
        "trial_name": "Counter_abc_00007",
        "trial_dir": None if trial_dir is None else str(trial_dir),
        "experiment": "exp",
        "trainable": None,
    }
    return SimpleNamespace(**{**basis, **fields})


def started(tmp_path, **config):
    host = TrialHost(Counter)
    event = host.handle(command("START", tmp_path, config=config))
    assert event.kind == "STARTED", event.text
    return host


def test_an_answer_carries_the_trial_and_serial_of_its_command(tmp_path):
    host = TrialHost(Counter)
    event = host.handle(command("START", tmp_path))
    assert (event.kind, event.trial, event.serial) == ("STARTED", 7, 99)
    assert event.code == os.getpid()
    assert (event.text, event.path, event.code) == _ctune.host()


def test_the_trainable_knows_its_trial(tmp_path):
    host = TrialHost(Counter)
    host.handle(command("START", tmp_path, config={"x": 1}, resources={"CPU": 2.0}))
    trainable = host.trainable
    assert trainable.trial_id == "abc_00007"
    assert trainable.trial_name == "Counter_abc_00007"
    assert trainable.logdir == str(tmp_path)
    assert trainable.trial_resources.required_resources == {"CPU": 2.0}
    assert trainable.config == {"x": 1}  # nothing of ours in it


def test_a_step_is_a_result_with_the_automatic_keys(tmp_path):
    event = started(tmp_path).handle(command("STEP"))
    assert event.kind == "RESULT"
    assert event.result["count"] == 1
    assert event.result["training_iteration"] == 1
    assert event.result["trial_id"] == "abc_00007"


def test_an_exception_in_setup_is_a_failed_start(tmp_path):
    host = TrialHost(Counter)
    event = host.handle(command("START", tmp_path, config={"refuse": True}))
    assert event.kind == "START_FAILED"
    assert "RuntimeError: no such data set" in event.text
    assert host.handle(command("STOP")).kind == "STOPPED"


def test_a_failure_s_text_begins_at_the_user_s_code(tmp_path):
    host = started(tmp_path, fail_at=1)
    event = host.handle(command("STEP"))
    assert event.kind == "FAILED"
    lines = event.text.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert __file__ in lines[1] and "in step" in lines[1]
    assert lines[-1] == "ValueError: diverged"
    error = pickle.loads(event.blob)
    assert isinstance(error, ValueError) and error.args == ("diverged",)


def test_full_tracebacks_are_there_for_those_who_ask(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AIR_FULL_TRACEBACKS", "1")
    event = started(tmp_path, fail_at=1).handle(command("STEP"))
    assert "_host.py" in event.text


def test_the_text_of_a_chained_exception_leaves_our_frames_out_of_each_part():
    def leave(config):
        sys.exit(3)

    host = TrialHost(wrap_function(leave))
    host.handle(command("START"))
    event = host.handle(command("STEP"))
    assert "SystemExit: 3" in event.text
    assert "RuntimeError: The trainable function called sys.exit(3)." in event.text
    assert "function_trainable.py" not in event.text


def test_an_exception_that_cannot_be_pickled_travels_as_its_text():
    class Unpicklable(Exception):
        def __init__(self, a, b):
            super().__init__("only one argument")

    try:
        raise Unpicklable(1, 2)
    except Unpicklable as error:
        event = TrialHost().on_error(error)
        text = failure_text(error)
    loaded = pickle.loads(event.blob)
    assert type(loaded) is RuntimeError and str(loaded) == text


def test_ctrl_c_in_the_driver_s_own_process_is_not_the_trial_s_failure():
    def interrupted(config):
        raise KeyboardInterrupt

    host = TrialHost(wrap_function(interrupted))
    host.handle(command("START"))
    with pytest.raises(KeyboardInterrupt):
        host.handle(command("STEP"))
    host = TrialHost(wrap_function(interrupted), own_process=True)
    host._enter = lambda command: None  # not into another directory
    host.handle(command("START"))
    assert host.handle(command("STEP")).kind == "FAILED"


def test_a_checkpoint_appears_complete_under_its_number(tmp_path):
    host = started(tmp_path)
    host.handle(command("STEP"))
    event = host.handle(command("SAVE", tmp_path, index=3))
    assert event.kind == "SAVED"
    assert event.path == str(tmp_path / "checkpoint_000003")
    assert os.listdir(tmp_path) == ["checkpoint_000003"]  # nothing aside is left
    other = TrialHost(Counter)
    start = command("START", tmp_path, checkpoint=event.path)
    assert other.handle(start).kind == "STARTED"
    result = other.handle(command("STEP")).result
    assert result["count"] == 2 and result["training_iteration"] == 2


def test_saving_again_replaces_a_checkpoint_of_an_earlier_life(tmp_path):
    host = started(tmp_path)
    old = tmp_path / "checkpoint_000000"
    old.mkdir()
    (old / "left_over").touch()
    event = host.handle(command("SAVE", tmp_path, index=0))
    assert event.kind == "SAVED"
    assert not (old / "left_over").exists()


def test_a_failed_save_leaves_nothing_behind(tmp_path):
    host = started(tmp_path, unsavable=True)
    event = host.handle(command("SAVE", tmp_path))
    assert event.kind == "SAVE_FAILED"
    assert "OSError: disk full" in event.text
    assert os.listdir(tmp_path) == []
    assert host.handle(command("STEP")).kind == "RESULT"  # it goes on


def test_a_function_has_saved_what_it_reported(tmp_path):
    host = TrialHost(wrap_function(lambda config: tune.report({"a": 1})))
    host.handle(command("START", tmp_path))
    host.handle(command("STEP"))
    event = host.handle(command("SAVE", tmp_path))
    assert (event.kind, event.path) == ("SAVED", None)
    assert host.handle(command("STOP")).kind == "STOPPED"


def test_a_checkpoint_that_is_missing_is_a_failed_restore(tmp_path):
    host = started(tmp_path)
    gone = str(tmp_path / "gone")
    event = host.handle(command("RESTORE", checkpoint=gone))
    assert event.kind == "RESTORE_FAILED" and gone in event.text
    event = TrialHost(Counter).handle(command("START", checkpoint=gone))
    assert event.kind == "RESTORE_FAILED"


def test_reset_hands_the_worker_to_another_trial(tmp_path):
    host = started(tmp_path)
    host.handle(command("STEP"))
    event = host.handle(
        command("RESET", tmp_path, trial=8, source=7, config={"y": 2}, trial_id="abc_00008")
    )
    assert (event.kind, event.trial) == ("RESET", 8)
    assert host.trainable.config == {"y": 2}
    result = host.handle(command("STEP", trial=8)).result
    assert result["count"] == 1 and result["trial_id"] == "abc_00008"
    assert result["training_iteration"] == 1


def test_a_trainable_may_refuse_to_be_reset(tmp_path):
    host = started(tmp_path)
    event = host.handle(command("RESET", tmp_path, config={"stubborn": True}))
    assert event.kind == "RESET_REFUSED"


def test_stop_cleans_up_and_an_error_there_is_only_logged(tmp_path, caplog):
    host = started(tmp_path)
    trainable = host.trainable
    assert host.handle(command("STOP")).kind == "STOPPED"
    assert trainable.stopped and host.trainable is None
    host = started(tmp_path, messy=True)
    assert host.handle(command("STOP")).kind == "STOPPED"
    assert "while it was being stopped" in caplog.text


def test_only_a_process_of_its_own_enters_the_trial_s_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_ORIG_WORKING_DIR", "")
    monkeypatch.delenv("TUNE_ORIG_WORKING_DIR")
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "trial"
    TrialHost(Counter).handle(command("START", inside))
    assert os.getcwd() == str(tmp_path) and "TUNE_ORIG_WORKING_DIR" not in os.environ
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    TrialHost(Counter, own_process=True).handle(command("START", inside))
    assert os.getcwd() == str(tmp_path)
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "1")
    TrialHost(Counter, own_process=True).handle(command("START", inside))
    assert os.getcwd() == str(inside)
    assert os.environ["TUNE_ORIG_WORKING_DIR"] == str(tmp_path)


def test_a_trial_prints_into_its_working_directory(tmp_path, monkeypatch):
    # Which is another one than that of its results where these go to remote storage.
    monkeypatch.setenv("_CTUNE_WORKING_ROOTS", str(tmp_path))

    class Prints(tune.Trainable):
        def step(self):
            print("here")
            return {}

    host = TrialHost(Work(Prints, {"exp": Care(("out", None))}))
    events = [host.handle(command("START", tmp_path / "driver_artifacts" / "exp" / "trial"))]
    events += [host.handle(command(kind)) for kind in ("STEP", "STOP")]
    assert [event.kind for event in events] == ["STARTED", "RESULT", "STOPPED"]
    assert (tmp_path / "working_dirs" / "exp" / "trial" / "out").read_text() == "here\n"


def test_the_helper_imports_from_where_the_driver_does_also_after_a_chdir(monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "sub dir/it's", *sys.path])
    argv = helper_argv()
    assert argv[0] == sys.executable
    code = argv[-1].partition("; from ctune")[0] + "; print(sys.path)"
    out = subprocess.run(
        [*argv[:-1], code, "3"], capture_output=True, text=True, check=True, cwd="/"
    ).stdout
    assert eval(out)[:2] == [os.getcwd(), os.path.join(os.getcwd(), "sub dir/it's")]


def test_libraries_get_the_threads_that_a_trial_has_cpus_for(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    one = SimpleNamespace(resources={"CPU": 2.0}, storage=StorageContext("/tmp", "e"))
    plan = SimpleNamespace(
        payload=Payload(b"x"),
        experiments=(one,),
        trainable=Counter,
        trial_timeout_s=0.0,
        sync_checkpoints=False,
    )
    env = process_options(plan)["env"]
    assert "OMP_NUM_THREADS" not in env  # the user has spoken
    assert env["MKL_NUM_THREADS"] == "2"
    one.resources = {"CPU": 0.5}
    assert process_options(plan)["env"]["MKL_NUM_THREADS"] == "1"


def test_the_helper_needs_neither_numpy_nor_the_driver_s_display():
    code = textwrap.dedent("""
        import sys
        import ctune.execution.worker
        heavy = ["numpy", "pandas", "rich", "pyarrow", "asyncio", "multiprocessing"]
        print([name for name in heavy if name in sys.modules])
    """)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    ).stdout
    assert out.strip() == "[]"


def test_a_connection_says_what_is_wrong_with_its_descriptor():
    with pytest.raises(ValueError, match="got -1"):
        _ctune.Connection(-1)
    with pytest.raises(TypeError):
        _ctune.Connection("x")
    with pytest.raises(ValueError, match="descriptor 3, got 5"):
        _ctune.Helper(5)


def test_a_connection_whose_driver_is_gone_ends_without_an_error():
    import socket

    ours, theirs = socket.socketpair()
    connection = _ctune.Connection(theirs.detach())
    ours.close()
    assert connection.serve(TrialHost(Counter)) is False


def test_a_connection_refuses_bytes_that_are_no_frame():
    import socket

    ours, theirs = socket.socketpair()
    connection = _ctune.Connection(theirs.detach())
    ours.sendall(b"\x08\x00\x00\x00garbage garbage")
    with pytest.raises(RuntimeError, match="damaged frame"):
        connection.serve(TrialHost(Counter))
    ours.close()


def test_a_trainable_knows_whether_it_lives_in_a_worker(tmp_path):
    class Where(tune.Trainable):
        def step(self):
            return {"worker": self.is_actor(), "done": True}

    analysis = tune.run(Where, storage_path=tmp_path, verbose=0)
    assert analysis.trials[0].last_result["worker"] is True
    assert Where().is_actor() is False
