"""One suite for every executor: the same runs, the same outcome, the protocol kept."""

import collections
import importlib.util
import os
import threading
from pathlib import Path

import pytest

import ctune as tune
from ctune.execution import Executor
from ctune.schedulers import ASHAScheduler

EXAMPLE = Path(__file__).parents[2] / "examples" / "thread_executor.py"


def thread_executor(slots):
    spec = importlib.util.spec_from_file_location("thread_executor", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ThreadExecutor(slots)


class Checked(Executor):
    """Holds the engine and an executor to the protocol."""

    def __init__(self, inner):
        self.inner = inner
        self.lock = threading.Lock()
        self.open = {}  # serial -> command
        self.workers = set()  # trials with a worker
        self.kinds = collections.Counter()
        self.answered = collections.Counter()

    def capacity(self):
        return self.inner.capacity()

    def prepare(self, trainable):
        self.inner.prepare(trainable)

    def submit(self, command):
        with self.lock:
            self.kinds[command.kind] += 1
            busy = [c for c in self.open.values() if c.trial == command.trial]
            assert not busy or command.kind == "KILL"
            assert command.serial not in self.open
            if command.kind == "START":
                assert command.trial not in self.workers
            elif command.kind == "RESET":
                assert command.source in self.workers
                self.workers.remove(command.source)
            else:
                assert command.trial in self.workers
            self.workers.add(command.trial)
            self.open[command.serial] = command
        self.inner.submit(command)

    def wait(self, timeout):
        events = self.inner.wait(timeout)
        with self.lock:
            for event in events:
                command = self.open.pop(event.serial)
                assert command.trial == event.trial
                self.answered[event.kind] += 1
                if event.kind in ("STOPPED", "LOST"):
                    self.workers.discard(event.trial)
        return events

    def interrupt(self):
        self.inner.interrupt()

    def close(self):
        assert not self.open and not self.workers
        self.inner.close()

    def drop(self):
        self.open.clear()
        self.workers.clear()
        self.inner.close()


EXECUTORS = {
    "inline": lambda: "inline",
    "process": lambda: "process",
    "threads": lambda: Checked(thread_executor(3)),
}


@pytest.fixture(params=EXECUTORS)
def executor(request):
    tune.shutdown()
    chosen = EXECUTORS[request.param]()
    tune.init(executor=chosen, num_cpus=None if isinstance(chosen, Checked) else 3)
    yield chosen
    tune.shutdown()


def run(trainable, tmp_path, **options):
    options.setdefault("raise_on_failed_trial", False)
    return tune.run(trainable, storage_path=str(tmp_path), verbose=0, **options)


def parabola(config):
    start = tune.get_checkpoint()
    epoch = 0
    if start is not None:
        epoch = int((Path(start.path) / "epoch").read_text())
    while epoch < 27:
        epoch += 1
        tune.report({"loss": (config["x"] - 3) ** 2 + 1 / epoch, "epoch": epoch})


class Parabola(tune.Trainable):
    def setup(self, config):
        self.epoch = 0

    def step(self):
        self.epoch += 1
        loss = (self.config["x"] - 3) ** 2 + 1 / self.epoch
        return {"loss": loss, "done": self.epoch == 27, "epoch": self.epoch}

    def save_checkpoint(self, checkpoint_dir):
        (Path(checkpoint_dir) / "epoch").write_text(str(self.epoch))

    def load_checkpoint(self, checkpoint):
        self.epoch = int((Path(checkpoint) / "epoch").read_text())

    def reset_config(self, new_config):
        self.config = new_config
        self.epoch = 0
        return True


@pytest.mark.parametrize("trainable", [parabola, Parabola])
@pytest.mark.parametrize("reuse", [True, False])
def test_a_run_gives_the_same_results_everywhere(tmp_path, executor, trainable, reuse):
    config = {"x": tune.grid_search([float(x) for x in range(10)])}
    analysis = run(
        trainable, tmp_path, config=config, metric="loss", mode="min", reuse_actors=reuse
    )
    assert analysis.best_config == {"x": 3.0}
    for trial in analysis.trials:
        assert trial.status == "TERMINATED"
        assert trial.last_result["training_iteration"] == 27
        assert trial.last_result["loss"] == (trial.config["x"] - 3) ** 2 + 1 / 27
        assert trial.last_result["trial_id"] == trial.trial_id
        assert trial.last_result["config"] == trial.config
    if isinstance(executor, Checked) and reuse:
        assert executor.kinds["RESET"] > 0
        assert executor.answered["STARTED"] <= 3


def test_asha_stops_trials_early(tmp_path, executor):
    analysis = run(
        parabola,
        tmp_path,
        config={"x": tune.grid_search([float(x) for x in range(20)])},
        scheduler=ASHAScheduler(max_t=27, grace_period=1, reduction_factor=3),
        metric="loss",
        mode="min",
    )
    iterations = [t.last_result["training_iteration"] for t in analysis.trials]
    assert {t.status for t in analysis.trials} == {"TERMINATED"}
    assert min(iterations) == 1 and max(iterations) == 27
    assert analysis.best_config == {"x": 3.0}


def test_a_failing_trial_fails_alone_with_its_traceback(tmp_path, executor):
    def train(config):
        tune.report({"loss": 1})
        if config["i"] == 2:
            raise ValueError("diverged")

    analysis = run(train, tmp_path, config={"i": tune.grid_search([0, 1, 2, 3])})
    assert [t.status for t in analysis.trials] == ["TERMINATED"] * 2 + ["ERROR", "TERMINATED"]
    text = Path(analysis.trials[2].error_file).read_text()
    assert "in train" in text and "ValueError: diverged" in text


def test_a_trial_that_cannot_start_fails_alone(tmp_path, executor):
    class Refusing(Parabola):
        def setup(self, config):
            super().setup(config)
            if config["x"] == 1:
                raise OSError("no data for 1")

        def reset_config(self, new_config):
            return False

    analysis = run(
        Refusing, tmp_path, config={"x": tune.grid_search([0, 1, 2])}, reuse_actors=False
    )
    assert [t.status for t in analysis.trials] == ["TERMINATED", "ERROR", "TERMINATED"]
    assert "no data for 1" in Path(analysis.trials[1].error_file).read_text()


def test_a_retry_goes_on_from_the_last_checkpoint(tmp_path, executor):
    died = tmp_path / "died"

    class Mortal(Parabola):
        def step(self):
            result = super().step()
            if self.epoch == 5 and not died.exists():
                died.touch()
                raise RuntimeError("once")
            return result

    analysis = run(
        Mortal,
        tmp_path,
        config={"x": 1},
        max_failures=1,
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=2, num_to_keep=1),
    )
    (trial,) = analysis.trials
    assert trial.status == "TERMINATED" and trial.num_failures == 1
    assert trial.last_result["epoch"] == 27
    assert trial.last_result["iterations_since_restore"] == 23
    left = [name for name in os.listdir(trial.local_path) if "checkpoint" in name]
    assert left == ["checkpoint_000012"]


def test_checkpoints_that_a_function_reports_are_kept(tmp_path, executor):
    died = tmp_path / "died"
    made = tmp_path / "made"
    made.mkdir()

    def train(config):
        start = tune.get_checkpoint()
        first = 0 if start is None else int((Path(start.path) / "epoch").read_text())
        for epoch in range(first + 1, 6):
            (made / "epoch").write_text(str(epoch))
            checkpoint = tune.Checkpoint.from_directory(str(made))
            tune.report({"epoch": epoch, "first": first}, checkpoint=checkpoint)
            if epoch == 3 and not died.exists():
                died.touch()
                raise RuntimeError("once")

    (trial,) = run(train, tmp_path, max_failures=1).trials
    assert trial.status == "TERMINATED"
    assert trial.last_result["epoch"] == 5 and trial.last_result["first"] == 3
    assert (Path(trial.checkpoint.path) / "epoch").read_text() == "5"


def test_the_time_budget_ends_trials_that_would_not_end(tmp_path, executor):
    def train(config):
        i = 0
        while True:
            i += 1
            tune.report({"i": i})

    analysis = run(train, tmp_path, config={"x": tune.grid_search([1, 2])}, time_budget_s=0.5)
    assert {t.status for t in analysis.trials} == {"TERMINATED"}


def test_an_executor_can_be_used_again_after_a_run_that_broke(tmp_path, executor):
    class Raising(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            raise LookupError("in a callback")

    with pytest.raises(tune.TuneError, match="in a callback"):
        config = {"x": tune.grid_search([1, 2, 3])}
        if isinstance(executor, Checked):
            executor.close = executor.drop  # workers are at work when it breaks
        run(parabola, tmp_path, config=config, callbacks=[Raising()])
    analysis = run(parabola, tmp_path, config={"x": 1})
    assert analysis.trials[0].last_result["training_iteration"] == 27
