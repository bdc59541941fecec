"""Executors under run(): processes that die in every way, threads, executors in Python."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from array import array
from pathlib import Path

import pytest

import ctune as tune
from ctune.execution import Event, Executor
from ctune.schedulers import ASHAScheduler

EXAMPLE = Path(__file__).parents[2] / "examples" / "thread_executor.py"


@pytest.fixture(autouse=True)
def fresh_runtime():
    tune.shutdown()
    yield
    tune.shutdown()


def run(trainable, tmp_path, executor="process", num_cpus=2, **options):
    tune.init(executor=executor, num_cpus=num_cpus)
    return tune.run(
        trainable, storage_path=str(tmp_path), verbose=0, raise_on_failed_trial=False, **options
    )


def only_error(analysis):
    (trial,) = analysis.trials
    assert trial.status == "ERROR"
    return Path(trial.error_file).read_text()


def thread_executor(slots):
    spec = importlib.util.spec_from_file_location("thread_executor", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ThreadExecutor(slots)


def python(code, *args, **options):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)], env=env, **options
    )


# --- how workers die -----------------------------------------------------------------


def die(how):
    if how == "segv":
        import ctypes

        ctypes.string_at(0)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "exit":
        os._exit(3)
    elif how == "sysexit":
        sys.exit(3)
    elif how == "raise":
        raise ValueError("diverged")


WAYS = {
    "segv": "was killed by signal 11 (SIGSEGV)",
    "kill": "was killed by signal 9 (SIGKILL); if nobody sent it, the system did because memory",
    "exit": "exited with code 3",
    "sysexit": "SystemExit: 3",
    "raise": "ValueError: diverged",
}


@pytest.mark.parametrize("how", WAYS)
def test_a_worker_that_dies_is_a_failed_trial_that_says_how(tmp_path, how):
    def train(config):
        tune.report({"loss": 1.0})
        die(how)

    analysis = run(train, tmp_path)
    assert WAYS[how] in only_error(analysis)
    assert analysis.trials[0].last_result["loss"] == 1.0  # what it had reported is kept


@pytest.mark.parametrize("how", WAYS)
def test_a_worker_that_dies_at_its_start_is_a_failed_trial_that_says_how(tmp_path, how):
    class Dying(tune.Trainable):
        def setup(self, config):
            die(how)

        def step(self):
            return {}

    assert WAYS[how] in only_error(run(Dying, tmp_path))


def test_a_trial_whose_worker_died_is_tried_again_from_its_checkpoint(tmp_path):
    class Mortal(tune.Trainable):
        def setup(self, config):
            self.count = 0

        def step(self):
            self.count += 1
            if self.count == 3 and not os.path.exists("died"):
                Path("died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return {"count": self.count, "done": self.count == 5}

        def save_checkpoint(self, checkpoint_dir):
            return {"count": self.count}

        def load_checkpoint(self, checkpoint):
            self.count = checkpoint["count"]

    analysis = run(
        Mortal,
        tmp_path,
        max_failures=1,
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
    )
    (trial,) = analysis.trials
    assert trial.status == "TERMINATED" and trial.num_failures == 1
    assert trial.last_result["count"] == 5
    assert trial.last_result["iterations_since_restore"] == 3


def test_others_go_on_when_some_workers_die(tmp_path):
    def train(config):
        for i in range(3):
            tune.report({"loss": i})
        if config["i"] % 3 == 0:
            os._exit(1)

    analysis = run(train, tmp_path, num_cpus=8, config={"i": tune.grid_search(list(range(24)))})
    states = {t.config["i"]: t.status for t in analysis.trials}
    assert states == {i: "ERROR" if i % 3 == 0 else "TERMINATED" for i in range(24)}


def test_what_a_trial_prints_does_not_disturb_the_protocol(tmp_path, capfd):
    def train(config):
        print("printed in the worker")
        os.write(1, b"\x00\xff\x08 raw bytes\n")
        tune.report({"loss": 1})

    analysis = run(train, tmp_path)
    assert analysis.trials[0].status == "TERMINATED"
    assert "printed in the worker" in capfd.readouterr().out


def test_a_worker_s_own_children_die_with_it(tmp_path):
    def train(config):
        import subprocess

        child = subprocess.Popen(["sleep", "1000"])
        daemon = subprocess.run(
            ["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"],
            capture_output=True,
            text=True,
        )
        tune.report({"child": child.pid, "daemon": int(daemon.stdout)})
        os.kill(os.getpid(), signal.SIGKILL)

    result = run(train, tmp_path).trials[0].last_result
    wait_until_gone([result["child"]])
    if sys.platform == "linux":
        wait_until_gone([result["daemon"]])


# --- the helper ----------------------------------------------------------------------


def test_a_trainable_that_cannot_be_loaded_fails_with_the_traceback(tmp_path):
    class Unloadable:
        def __reduce__(self):
            return (eval, ("__import__('no_such_module_at_all')",))

    def train(config, thing=None):
        tune.report({"loss": 1})

    analysis = run(tune.with_parameters(train, thing=Unloadable()), tmp_path)
    text = only_error(analysis)
    assert "could not be loaded in the worker processes" in text
    assert "No module named 'no_such_module_at_all'" in text


def test_a_trainable_that_kills_whoever_loads_it_is_named_as_the_cause(tmp_path):
    class Deadly:
        def __reduce__(self):
            return (eval, ("__import__('os').abort()",))

    def train(config, thing=None):
        tune.report({"loss": 1})

    text = only_error(run(tune.with_parameters(train, thing=Deadly()), tmp_path))
    assert "was killed by signal 6 (SIGABRT) while it loaded the trainable" in text


def test_no_worker_is_forked_from_a_process_with_threads(tmp_path, monkeypatch):
    (tmp_path / "starts_a_thread.py").write_text(
        "import os, threading, time\n"
        "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
        "LOADED_IN = os.getpid()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def train(config):
        import starts_a_thread

        tune.report({"own": starts_a_thread.LOADED_IN == os.getpid()})

    class Importing:
        def __reduce__(self):
            return (__import__, ("starts_a_thread",))

    analysis = run(tune.with_parameters(_with(train), thing=Importing()), tmp_path, num_samples=3)
    assert [t.last_result["own"] for t in analysis.trials] == [True] * 3


def _with(train):
    def inner(config, thing=None):
        train(config)

    return inner


def test_modules_of_a_trainable_are_loaded_once_and_not_in_every_worker(tmp_path, monkeypatch):
    (tmp_path / "loaded_once.py").write_text("import os\nLOADED_IN = os.getpid()\n")
    monkeypatch.syspath_prepend(tmp_path)

    class Importing:
        def __reduce__(self):
            return (__import__, ("loaded_once",))

    def train(config, thing=None):
        tune.report({"parent": thing.LOADED_IN == os.getppid()})

    options = {"num_samples": 3, "reuse_actors": False}
    analysis = run(tune.with_parameters(train, thing=Importing()), tmp_path, **options)
    assert [t.last_result["parent"] for t in analysis.trials] == [True] * 3


def test_workers_draw_different_random_numbers(tmp_path):
    import numpy as np

    def train(config):
        import random

        tune.report({"numpy": float(np.random.rand()), "python": random.random()})

    analysis = run(train, tmp_path, num_samples=4, reuse_actors=False)
    for key in ("numpy", "python"):
        assert len({t.last_result[key] for t in analysis.trials}) == 4


def test_objects_in_configs_reach_the_worker(tmp_path):
    import numpy as np

    def train(config):
        tune.report({"sum": float(config["array"].sum()), "call": config["call"](2)})

    config = {"array": np.arange(4.0), "call": tune.grid_search([lambda x: x + 1, lambda x: x * 5])}
    analysis = run(train, tmp_path, config=config)
    assert sorted(t.last_result["call"] for t in analysis.trials) == [3, 10]
    assert {t.last_result["sum"] for t in analysis.trials} == {6.0}


class Homesick:
    """Can be loaded in the process that made it only."""

    def __init__(self, home):
        if os.getpid() != home:
            raise RuntimeError(f"{os.getpid()} is not at home")
        self.home = home

    def __reduce__(self):
        return (Homesick, (self.home,))


def test_an_object_that_only_the_driver_can_load_fails_its_trial_alone(tmp_path):
    def train(config):
        tune.report({"loss": 1})

    config = {"thing": tune.grid_search([1, Homesick(os.getpid())])}
    analysis = run(train, tmp_path, config=config)
    assert [t.status for t in analysis.trials] == ["TERMINATED", "ERROR"]
    assert "is not at home" in Path(analysis.trials[1].error_file).read_text()


def test_trials_run_in_processes_of_their_own_and_in_their_directory(tmp_path):
    def train(config):
        tune.report(
            {
                "cwd": os.getcwd(),
                "before": os.environ["TUNE_ORIG_WORKING_DIR"],
                "group": os.getpgrp(),
            }
        )

    analysis = run(train, tmp_path, num_samples=2, reuse_actors=False)
    pids = {t.last_result["pid"] for t in analysis.trials}
    assert len(pids) == 2 and os.getpid() not in pids
    for trial in analysis.trials:
        assert trial.last_result["cwd"] == trial.local_path
        assert trial.last_result["before"] == os.getcwd()
        assert trial.last_result["group"] == trial.last_result["pid"]


def test_reused_workers_serve_many_trials(tmp_path):
    def train(config):
        tune.report({"loss": config["i"]})

    config = {"i": tune.grid_search(list(range(10)))}
    analysis = run(train, tmp_path, config=config, reuse_actors=True)
    assert len({t.last_result["pid"] for t in analysis.trials}) <= 2
    assert sorted(t.last_result["loss"] for t in analysis.trials) == list(range(10))


# --- no process outlives the driver --------------------------------------------------

DRIVER = """
    import os, sys, time
    import ctune as tune

    def train(config):
        import subprocess
        child = subprocess.Popen(["sleep", "1000"])
        with open(os.path.join(where, str(os.getpid())), "w") as f:
            f.write(f"{os.getppid()} {os.getpid()} {child.pid}")
        while True:
            time.sleep(0.05)
            if config["report"]:
                tune.report({"loss": 1})

    where = sys.argv[1]
    tune.init(executor="process", num_cpus=2)
    tune.run(train, config={"report": tune.grid_search([True, False])}, verbose=0,
             storage_path=where + "/results", raise_on_failed_trial=False)
"""


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    except OSError:
        pass
    if os.path.isdir("/proc/self"):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pids):
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"alive: {[p for p in pids if alive(p)]}"
        time.sleep(0.01)


def family_of(directory):
    """The pids of helper, workers and workers' children, once two workers run."""
    deadline = time.monotonic() + 60
    while True:
        texts = [p.read_text().split() for p in directory.iterdir() if p.name.isdigit()]
        if len(texts) == 2 and all(len(t) == 3 for t in texts):
            return sorted({int(pid) for text in texts for pid in text})
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_a_driver_that_is_killed(tmp_path, number):
    driver = python(DRIVER, tmp_path)
    try:
        family = family_of(tmp_path)
        assert len(family) == 5 and all(map(alive, family))
    finally:
        driver.send_signal(number)
        driver.wait()
    wait_until_gone(family)


def test_ctrl_c_twice_ends_the_run_and_every_process(tmp_path):
    driver = python(DRIVER, tmp_path, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        family = family_of(tmp_path)
        os.killpg(driver.pid, signal.SIGINT)  # as a terminal sends it
        time.sleep(0.5)
        os.killpg(driver.pid, signal.SIGINT)
        driver.wait(timeout=60)
    finally:
        driver.kill()
        driver.wait()
    wait_until_gone(family)


def test_a_run_leaves_no_process_behind(tmp_path):
    def train(config):
        tune.report({"helper": os.getppid()})

    analysis = run(train, tmp_path, num_samples=4, reuse_actors=False)
    pids = {t.last_result["helper"] for t in analysis.trials}
    assert len(pids) == 1
    wait_until_gone(pids | {t.last_result["pid"] for t in analysis.trials})


# --- executors in Python -------------------------------------------------------------


def parabola(config):
    for epoch in range(1, 28):
        tune.report({"loss": (config["x"] - 3) ** 2 + 1 / epoch})


def test_an_executor_of_under_100_lines_drives_a_whole_asha_run(tmp_path):
    assert len(EXAMPLE.read_text().splitlines()) < 100
    tune.init(executor=thread_executor(4))
    analysis = tune.run(
        parabola,
        config={"x": tune.uniform(0, 10)},
        num_samples=32,
        metric="loss",
        mode="min",
        scheduler=ASHAScheduler(max_t=27, grace_period=1, reduction_factor=3),
        storage_path=str(tmp_path),
        verbose=0,
    )
    assert [t.status for t in analysis.trials] == ["TERMINATED"] * 32
    iterations = sorted(t.last_result["training_iteration"] for t in analysis.trials)
    assert iterations[0] == 1 and iterations[-1] == 27  # some stopped early, some did not
    best = min(analysis.trials, key=lambda t: abs(t.config["x"] - 3))
    assert analysis.best_config == best.config


class Scripted(Executor):
    """Answers each command by a function, at once."""

    def __init__(self, answer):
        self.answer = answer
        self.commands = []
        self.events = []
        self.closed = 0

    def capacity(self):
        return {"CPU": 1}

    def submit(self, command):
        self.commands.append(command)
        self.events.extend(self.answer(command))

    def wait(self, timeout):
        events, self.events = self.events, []
        return events

    def interrupt(self):
        pass

    def close(self):
        self.closed += 1


def say(command, kind, **fields):
    return [Event(kind, trial=command.trial, serial=command.serial, **fields)]


def obedient(command):
    if command.kind == "STEP":
        return say(command, "RESULT", result={"loss": 0.5, "done": command.serial > 5})
    kinds = {"START": "STARTED", "STOP": "STOPPED", "KILL": "STOPPED", "RESET": "RESET"}
    return say(command, kinds[command.kind])


def run_scripted(executor, tmp_path, **options):
    tune.init(executor=executor)
    return tune.run(parabola, config={"x": 1}, storage_path=str(tmp_path), verbose=0, **options)


def test_commands_tell_an_executor_all_it_needs(tmp_path):
    executor = Scripted(obedient)
    analysis = run_scripted(executor, tmp_path, name="exp")
    start, *steps, stop = executor.commands
    assert (start.kind, start.trial, start.config) == ("START", 0, {"x": 1})
    assert start.experiment == "exp" and start.resources == {"CPU": 1}
    assert start.trial_dir == analysis.trials[0].local_path
    assert start.trial_id == analysis.trials[0].trial_id
    assert {c.kind for c in steps} == {"STEP"} and stop.kind == "STOP"
    assert len({c.serial for c in executor.commands}) == len(executor.commands)
    assert executor.closed == 1


def test_a_lost_worker_of_a_python_executor_is_a_failed_trial(tmp_path):
    def lose(command):
        if command.kind == "STEP":
            return say(command, "LOST", text="node 17 was preempted", code=15)
        return obedient(command)

    analysis = run_scripted(Scripted(lose), tmp_path, raise_on_failed_trial=False)
    assert "node 17 was preempted" in only_error(analysis)


@pytest.mark.parametrize(
    "answer, message",
    [
        (lambda c: ["no event"], "must answer with Event objects"),
        (lambda c: say(c, "RESULT"), "RESULT needs a result dict"),
        (lambda c: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_broken_executor_ends_the_run_with_its_own_error(tmp_path, answer, message):
    executor = Scripted(answer)
    with pytest.raises(Exception, match=message):
        run_scripted(executor, tmp_path)
    assert executor.closed == 1


def test_what_is_no_executor_is_refused_with_the_methods_it_lacks():
    with pytest.raises(ValueError, match="executor: must be one of 'inline', 'process'"):
        tune.init(executor=object())


def test_the_base_class_names_the_method_that_is_missing():
    for name, args in [("capacity", ()), ("submit", (None,)), ("wait", (1,)), ("close", ())]:
        with pytest.raises(NotImplementedError, match=rf"Executor\.{name}\(\) is missing"):
            getattr(Executor(), name)(*args)


# --- leaks ---------------------------------------------------------------------------


def test_ten_thousand_steps_leave_no_memory_behind_in_a_worker(tmp_path):
    class Counting(tune.Trainable):
        def step(self):
            return {"blocks": sys.getallocatedblocks(), "nested": {"text": "x" * 100}}

        def reset_config(self, new_config):
            return True

    (trial,) = run(Counting, tmp_path, stop={"training_iteration": 12_000}).trials
    lines = (Path(trial.path) / "result.json").read_text().splitlines()
    blocks = [json.loads(line)["blocks"] for line in lines]
    assert len(blocks) == 12_000
    assert blocks[-1] - blocks[2_000] < 100


def test_ten_thousand_commands_leave_no_memory_behind_in_the_driver(tmp_path, monkeypatch):
    # The thread of TensorBoard's logger may be behind, and holds what it has not written.
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    blocks = array("q")  # numbers that are no objects

    def answer(command):
        if command.kind != "STEP":
            return obedient(command)
        blocks.append(sys.getallocatedblocks())
        done = len(blocks) == 12_000
        return say(command, "RESULT", result={"loss": 0.5, "text": "x" * 100, "done": done})

    executor = Scripted(answer)
    executor.commands = type("Nothing", (), {"append": lambda self, command: None})()
    run_scripted(executor, tmp_path)
    assert blocks[-1] - blocks[2_000] < 200
