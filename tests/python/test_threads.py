"""Other threads while a run works: they go on, and may look at everything."""

import os
import sys
import threading
import time

import pytest

import ctune
from ctune import Trainable
from ctune.schedulers import ASHAScheduler


@pytest.fixture(autouse=True)
def own_runtime():
    ctune.shutdown()
    yield
    ctune.shutdown()


class Ramp(Trainable):
    def setup(self, config):
        self.level = config["level"]

    def step(self):
        return {"score": self.level * (self.iteration + 1), "half": self.iteration / 2.0}

    def save_checkpoint(self, checkpoint_dir):
        return None

    def load_checkpoint(self, checkpoint):
        pass


def fork_reads_trials(trials):
    """Whether a child of this process can read what its parent knows."""
    pid = os.fork()
    if pid == 0:
        ok = all(isinstance(t.last_result, dict) and t.status for t in trials)
        os._exit(0 if ok else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class Look(ctune.Callback):
    """Starts a thread that reads trials for as long as the run lasts."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.looks = 0
        self.wrong = []
        self.forks = 0
        self.over = threading.Event()
        self.thread = None

    def on_trial_start(self, iteration, trials, trial, **info):
        if self.thread is None:
            self.trials = trials
            self.thread = threading.Thread(target=self.read)
            self.thread.start()

    def on_experiment_end(self, trials, **info):
        self.over.set()
        self.thread.join()

    def read(self):
        while not self.over.is_set():
            for trial in list(self.trials):
                self.look(trial)
            self.scheduler.debug_string()
            if self.forks < 3:
                self.forks += 1
                if not fork_reads_trials(list(self.trials)):
                    self.wrong.append("a forked child could not read")

    def look(self, trial):
        result = trial.last_result
        if "score" in result:  # before the first report there are facts on the worker only
            if result["score"] != trial.config["level"] * result["training_iteration"]:
                self.wrong.append(result)
        history = trial.metric_analysis.get("half")
        if history and not history["min"] <= history["last"] <= history["max"]:
            self.wrong.append(history)
        if trial.status not in {"PENDING", "RUNNING", "PAUSED", "TERMINATED", "ERROR"}:
            self.wrong.append(trial.status)
        str(trial), trial.evaluated_params, trial.checkpoint, trial.placement_group_factory
        self.looks += 1


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_other_threads_read_a_run_that_works(executor, tmp_path):
    ctune.init(executor=executor, num_cpus=2)
    scheduler = ASHAScheduler(max_t=200, grace_period=5)
    look = Look(scheduler)
    analysis = ctune.run(
        Ramp,
        config={"level": ctune.uniform(1, 2)},
        num_samples=40,
        metric="score",
        mode="max",
        scheduler=scheduler,
        stop={"training_iteration": 200},
        storage_path=str(tmp_path),
        callbacks=[look],
        reuse_actors=False,
        verbose=0,
    )
    assert not look.wrong
    assert look.looks > 0
    assert look.forks > 0
    assert len(analysis.trials) == 40
    assert all(t.status == "TERMINATED" for t in analysis.trials)


def test_files_are_written_without_the_gil(tmp_path):
    """The run writes into a pipe that only a thread of this same process reads."""
    ctune.init(executor="inline")
    lines = []

    def read(path):
        with open(path) as pipe:
            lines.extend(pipe)

    class Piped(Ramp):
        def setup(self, config):
            path = os.path.join(self.logdir, "result.json")
            os.mkfifo(path)
            readers.append(threading.Thread(target=read, args=[path], daemon=True))
            readers[0].start()
            super().setup(config)

    readers = []
    ctune.run(
        Piped,
        config={"level": 1.0},
        name="run",
        storage_path=str(tmp_path),
        stop={"training_iteration": 3000},
        verbose=0,
    )
    readers[0].join(30)
    assert len(lines) == 3000


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_a_busy_thread_goes_on_and_does_not_stop_the_run(executor, tmp_path):
    ctune.init(executor=executor, num_cpus=1)
    over = threading.Event()
    counts = []

    def count():
        n = 0
        while not over.is_set():
            n += 1
        counts.append(n)

    thread = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    thread.start()
    try:
        analysis = ctune.run(
            Ramp,
            config={"level": 1.0},
            stop={"training_iteration": 300},
            storage_path=str(tmp_path),
            verbose=0,
        )
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert analysis.trials[0].last_result["training_iteration"] == 300
    assert counts[0] > 0


def test_two_runs_at_a_time_in_threads(tmp_path):
    ctune.init(executor="inline")
    scores = {}

    def tune(name):
        analysis = ctune.run(
            Ramp,
            config={"level": ctune.grid_search([1.0, 2.0, 3.0])},
            metric="score",
            mode="max",
            stop={"training_iteration": 400},
            name=name,
            storage_path=str(tmp_path),
            verbose=0,
        )
        scores[name] = analysis.best_result["score"]

    threads = [threading.Thread(target=tune, args=(f"run{i}",)) for i in range(4)]
    for t in threads:
        t.start()
    deadline = time.monotonic() + 60
    for t in threads:
        t.join(max(0.0, deadline - time.monotonic()))
    assert scores == {f"run{i}": 1200.0 for i in range(4)}
