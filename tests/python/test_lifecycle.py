"""What a trial goes through in a run: pauses, failures, checkpoints, ends.

Each test runs with both executors and, where it makes a difference, with a class and with a
function as trainable. `n` counts the steps of a trial across restarts: a trial that went on
from a checkpoint continues it, one that began anew starts at 1 again.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

import ctune
from ctune import tune
from ctune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ctune.search import ConcurrencyLimiter, Searcher
from ctune.stopper import Stopper

STEPS = 6


def fails_once(config, n):
    """Raises or dies at one step, in one trial and once only: who makes the mark does."""
    for how in ("raise", "kill", "exit"):
        if config.get(how) == n:
            try:
                os.close(os.open(config["mark"], os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            if how == "raise":
                raise ValueError("told to fail")
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(3)


def write(directory, n):
    with open(os.path.join(directory, "n"), "w") as f:
        f.write(str(n))


def read(directory):
    with open(os.path.join(directory, "n")) as f:
        return int(f.read())


class Job(ctune.Trainable):
    def setup(self, config):
        self.n = 0

    def step(self):
        self.n += 1
        fails_once(self.config, self.n)
        return {"n": self.n, "loss": self.config.get("x", 0) - self.n}

    def save_checkpoint(self, directory):
        write(directory, self.n)

    def load_checkpoint(self, directory):
        self.n = read(directory)

    def reset_config(self, new_config):
        self.n = 0
        return new_config.get("reset", True)


def job(config):
    import tempfile

    n = 0
    checkpoint = ctune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as directory:
            n = read(directory)
    while n < STEPS:
        n += 1
        fails_once(config, n)
        with tempfile.TemporaryDirectory() as directory:
            write(directory, n)
            ctune.report(
                {"n": n, "loss": config.get("x", 0) - n},
                checkpoint=ctune.Checkpoint.from_directory(directory),
            )


@pytest.fixture(params=["inline", "process"])
def executor(request, tmp_path):
    ctune.init(executor=request.param, num_cpus=2)
    yield request.param
    ctune.shutdown()


@pytest.fixture(params=[Job, job], ids=["class", "function"])
def trainable(request):
    return request.param


@pytest.fixture
def run(executor, tmp_path):
    def run(trainable, **arguments):
        if isinstance(trainable, type):
            arguments.setdefault("stop", {"training_iteration": STEPS})
        config = {"mark": str(tmp_path / "mark"), **arguments.pop("config", {})}
        store = str(tmp_path / "results")
        return ctune.run(trainable, config=config, storage_path=store, verbose=0, **arguments)

    return run


def lines(trial):
    """`n` of each line of the trial's result.json."""
    path = os.path.join(trial.path, "result.json")
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [json.loads(line)["n"] for line in f]


def folders(trial):
    return sorted(name for name in os.listdir(trial.path) if name.startswith("checkpoint_"))


def error_of(trial):
    with open(trial.error_file) as f:
        return f.read()


ALL = list(range(1, STEPS + 1))


class Pauses(FIFOScheduler):
    """Pauses each trial once, at its second step."""

    def __init__(self):
        self.paused = set()
        self.heard = []

    def on_trial_result(self, controller, trial, result):
        self.heard.append((trial.trial_id, result["n"]))
        if result["n"] == 2 and trial.trial_id not in self.paused:
            self.paused.add(trial.trial_id)
            return TrialScheduler.PAUSE
        return TrialScheduler.CONTINUE


# --- pauses --------------------------------------------------------------------------------


@pytest.mark.parametrize("reuse", [False, True])
def test_paused_trials_go_on_where_they_were(run, trainable, reuse):
    scheduler = Pauses()
    analysis = run(trainable, num_samples=3, scheduler=scheduler, reuse_actors=reuse)
    assert [lines(trial) for trial in analysis.trials] == [ALL] * 3
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 3
    assert scheduler.paused == {trial.trial_id for trial in analysis.trials}
    for trial in analysis.trials:
        asked = [n for trial_id, n in scheduler.heard if trial_id == trial.trial_id]
        assert asked[:5] == ALL[:5]


def test_a_scheduler_may_pause_other_trials(run, trainable):
    class PausesOthers(FIFOScheduler):
        done = False

        def on_trial_result(self, controller, trial, result):
            if result["n"] == 2 and not self.done:
                self.done = True
                for other in controller.get_live_trials():
                    if other is not trial and other.status == "RUNNING":
                        controller.pause_trial(other)
            return TrialScheduler.CONTINUE

    analysis = run(trainable, num_samples=3, scheduler=PausesOthers())
    assert [lines(trial) for trial in analysis.trials] == [ALL] * 3


def test_a_scheduler_may_stop_other_trials(run, trainable):
    class StopsOthers(FIFOScheduler):
        def __init__(self):
            self.ended = []

        def on_trial_result(self, controller, trial, result):
            if result["n"] == 3:
                for other in controller.get_live_trials():
                    if other is not trial:
                        controller.stop_trial(other)
            return TrialScheduler.CONTINUE

        def on_trial_complete(self, controller, trial, result):
            self.ended.append(trial.trial_id)

        def on_trial_remove(self, controller, trial):
            self.ended.append(trial.trial_id)

    scheduler = StopsOthers()
    analysis = run(trainable, num_samples=5, scheduler=scheduler)
    whole = [trial for trial in analysis.trials if lines(trial) == ALL]
    assert len(whole) == 1
    assert {trial.status for trial in analysis.trials} == {"TERMINATED"}
    assert sorted(scheduler.ended) == sorted(trial.trial_id for trial in analysis.trials)


def test_noop_leaves_a_trial_as_the_scheduler_put_it(run, trainable):
    class Parks(FIFOScheduler):
        parked = 0

        def on_trial_result(self, controller, trial, result):
            if result["n"] == 2:
                controller.pause_trial(trial, should_checkpoint=False)
                self.parked += 1
                return TrialScheduler.NOOP
            return TrialScheduler.CONTINUE

        def choose_trial_to_run(self, controller):
            for trial in controller.get_trials():
                if trial.status == "PENDING":
                    return trial
            return None

    class AllParked(Stopper):
        def __call__(self, trial_id, result):
            return False

        def stop_all(self):
            return scheduler.parked == 2

    scheduler = Parks()
    analysis = run(trainable, num_samples=2, scheduler=scheduler, stop=AllParked())
    assert [lines(trial) for trial in analysis.trials] == [[1, 2]] * 2
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 2


# --- failures ------------------------------------------------------------------------------


def test_a_trial_that_raises_is_tried_again_from_its_checkpoint(run, trainable):
    keep = {"checkpoint_frequency": 1} if trainable is Job else {}
    analysis = run(
        trainable,
        max_failures=1,
        config={"raise": 4},
        checkpoint_config=ctune.CheckpointConfig(**keep),
    )
    [trial] = analysis.trials
    assert lines(trial) == ALL and trial.num_failures == 1 and trial.status == "TERMINATED"
    assert "told to fail" in error_of(trial)


def test_without_a_checkpoint_a_trial_begins_anew(run):
    [trial] = run(Job, max_failures=-1, config={"raise": 4}).trials
    assert lines(trial) == [1, 2, 3, *ALL] and trial.num_failures == 1


@pytest.mark.parametrize(("how", "says"), [("kill", "SIGKILL"), ("exit", "code 3")])
def test_a_worker_that_dies_is_a_failure_like_another(run, executor, trainable, how, says):
    if executor == "inline":
        pytest.skip("the trial's process is this one")
    keep = {"checkpoint_frequency": 2} if trainable is Job else {}
    analysis = run(
        trainable,
        num_samples=3,
        max_failures=2,
        config={how: 4},
        checkpoint_config=ctune.CheckpointConfig(**keep),
    )
    failed = [trial for trial in analysis.trials if trial.num_failures]
    assert len(failed) == 1 and says in error_of(failed[0])
    again = [1, 2, 3, 3, 4, 5, 6] if trainable is Job else ALL
    assert lines(failed[0]) == again
    assert [lines(trial) for trial in analysis.trials if trial not in failed] == [ALL] * 2


def test_what_a_failed_trial_reported_stays(run, trainable):
    analysis = run(trainable, num_samples=3, config={"raise": 4}, raise_on_failed_trial=False)
    statuses = sorted(trial.status for trial in analysis.trials)
    assert statuses == ["ERROR", "TERMINATED", "TERMINATED"]
    [failed] = [trial for trial in analysis.trials if trial.status == "ERROR"]
    assert lines(failed) == [1, 2, 3] and failed.last_result["n"] == 3
    assert os.path.exists(os.path.join(failed.path, "error.pkl"))


def test_fail_fast_ends_the_run_with_the_first_failure(run, trainable):
    with pytest.raises(ctune.TuneError, match="did not complete"):
        run(trainable, num_samples=50, config={"raise": 2}, fail_fast=True)


@pytest.mark.filterwarnings("ignore:fail_fast")
def test_fail_fast_raise_raises_the_trials_own_error(run, trainable):
    with pytest.raises(ValueError, match="told to fail"):
        run(trainable, num_samples=5, config={"raise": 2}, fail_fast="raise")


def test_a_trial_that_exits_is_a_failed_trial(run):
    class Exits(Job):
        def step(self):
            sys.exit(3)

    def exits(config):
        ctune.report({"n": 1})
        sys.exit(3)

    for trainable, reported in ((Exits, []), (exits, [1])):
        [trial] = run(trainable, raise_on_failed_trial=False).trials
        assert trial.status == "ERROR" and lines(trial) == reported
        assert "SystemExit: 3" in error_of(trial)


def test_an_error_while_stopping_does_not_change_the_result(run):
    class Untidy(Job):
        def cleanup(self):
            raise ValueError("untidy")

    def untidy(config):
        try:
            for n in range(1, 100):
                ctune.report({"n": n})
        finally:
            raise ValueError("untidy")

    for trainable in (Untidy, untidy):
        analysis = run(trainable, num_samples=2, stop={"training_iteration": 3})
        assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 2
        assert [lines(trial) for trial in analysis.trials] == [[1, 2, 3]] * 2


@pytest.mark.parametrize("method", ["save_checkpoint", "load_checkpoint"])
def test_a_checkpoint_that_fails_fails_its_trial(run, method):
    def fails(self, directory):
        raise ValueError(f"no {method}")

    broken = type("Broken", (Job,), {method: fails})
    analysis = run(broken, num_samples=2, scheduler=Pauses(), raise_on_failed_trial=False)
    for trial in analysis.trials:
        assert trial.status == "ERROR" and lines(trial) == [1, 2]
        assert f"no {method}" in error_of(trial)


# --- checkpoints ---------------------------------------------------------------------------


def test_the_best_checkpoints_stay_and_the_last(run, trainable):
    keep = {"checkpoint_frequency": 1, "checkpoint_at_end": True} if trainable is Job else {}
    analysis = run(
        trainable,
        checkpoint_config=ctune.CheckpointConfig(
            num_to_keep=2, checkpoint_score_attribute="loss", checkpoint_score_order="max", **keep
        ),
    )
    [trial] = analysis.trials
    assert folders(trial) == ["checkpoint_000000", "checkpoint_000001", "checkpoint_000005"]
    assert read(analysis.get_best_checkpoint(trial, "loss", "max").path) == 1
    assert read(trial.checkpoint.path) == STEPS


def test_without_a_score_the_newest_checkpoints_stay(run, trainable):
    keep = {"checkpoint_frequency": 2} if trainable is Job else {}
    config = ctune.CheckpointConfig(num_to_keep=2, **keep)
    [trial] = run(trainable, checkpoint_config=config).trials
    found = [read(os.path.join(trial.path, name)) for name in folders(trial)]
    assert found == ([4, 6] if trainable is Job else [5, 6])


def test_a_class_is_saved_at_its_end_when_asked(run):
    [trial] = run(Job, checkpoint_config=ctune.CheckpointConfig(checkpoint_at_end=True)).trials
    assert [read(os.path.join(trial.path, name)) for name in folders(trial)] == [STEPS]


# --- actors that are used again --------------------------------------------------------------


def test_a_refused_reset_fails_that_trial_only(run):
    analysis = run(
        Job,
        config={"reset": tune.grid_search([True, False, True])},
        reuse_actors=True,
        max_concurrent_trials=1,
        raise_on_failed_trial=False,
    )
    statuses = [trial.status for trial in analysis.trials]
    assert statuses == ["TERMINATED", "ERROR", "TERMINATED"]
    assert "reset_config" in error_of(analysis.trials[1])
    assert lines(analysis.trials[2]) == ALL


# --- ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stop",
    [None, {"n": 10**6}, lambda trial_id, result: False, [], {}],
    ids=["none", "dict", "function", "list", "empty"],
)
def test_a_time_budget_goes_with_every_stop_condition(run, stop):
    def endless(config):
        n = 0
        while True:
            n += 1
            time.sleep(0.01)
            ctune.report({"n": n})

    start = time.monotonic()
    analysis = run(endless, num_samples=3, stop=stop, time_budget_s=0.4)
    assert time.monotonic() - start < 30
    assert {trial.status for trial in analysis.trials} == {"TERMINATED"}


def test_the_stop_condition_comes_before_the_time_budget(run, trainable):
    analysis = run(trainable, num_samples=2, stop={"n": 3}, time_budget_s=600)
    assert [lines(trial) for trial in analysis.trials] == [[1, 2, 3]] * 2


def test_a_stopper_may_stop_everything(run, trainable):
    class After(Stopper):
        def __init__(self):
            self.heard = 0

        def __call__(self, trial_id, result):
            self.heard += 1
            return False

        def stop_all(self):
            return self.heard >= 7

    stopper = After()
    analysis = run(trainable, num_samples=8, stop=stopper)
    assert {trial.status for trial in analysis.trials} == {"TERMINATED"}
    assert 7 <= sum(len(lines(trial)) for trial in analysis.trials) < 8 * STEPS


# --- policies in Python ----------------------------------------------------------------------


def test_a_subclass_of_asha_is_asked_through_its_methods(run, trainable):
    class Counts(ASHAScheduler):
        asked = chosen = 0

        def on_trial_result(self, controller, trial, result):
            self.asked += 1
            return super().on_trial_result(controller, trial, result)

        def choose_trial_to_run(self, controller):
            self.chosen += 1
            return super().choose_trial_to_run(controller)

    scheduler = Counts(metric="loss", mode="min", max_t=STEPS, reduction_factor=2)
    analysis = run(trainable, config={"x": tune.grid_search([1, 2, 3, 4])}, scheduler=scheduler)
    assert lines(analysis.trials[0]) == ALL
    results = sum(len(lines(trial)) for trial in analysis.trials)
    assert results < 4 * STEPS and scheduler.chosen > 0
    assert scheduler.asked >= results - 4  # the last one of a trial need not be asked about
    assert f"num_stopped={scheduler.num_stopped}" in scheduler.debug_string()


class Counted(Searcher):
    """Five configurations, every other question answered with None."""

    def __init__(self):
        super().__init__(metric="loss", mode="min")
        self.asked = self.given = self.most = 0
        self.live = set()
        self.ended = []

    def suggest(self, trial_id):
        if self.given == 5:
            return Searcher.FINISHED
        self.asked += 1
        if self.asked % 2:
            return None
        self.given += 1
        self.live.add(trial_id)
        self.most = max(self.most, len(self.live))
        return {"x": self.given, "raise": 2 if self.given == 3 else 0, "mark": f"{self.mark}"}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.live.discard(trial_id)
        self.ended.append((error, result["n"] if result else None))


@pytest.mark.parametrize(("limit", "batch"), [(1, False), (2, False), (2, True)])
def test_a_limiter_holds_back_a_searcher_in_python(run, trainable, tmp_path, limit, batch):
    searcher = Counted()
    searcher.mark = tmp_path / "searcher's mark"
    analysis = ctune.run(
        trainable,
        search_alg=ConcurrencyLimiter(searcher, max_concurrent=limit, batch=batch),
        num_samples=10,
        stop={"training_iteration": STEPS},
        storage_path=str(tmp_path / "results"),
        raise_on_failed_trial=False,
        verbose=0,
    )
    assert len(analysis.trials) == 5 and searcher.most == limit
    assert sorted(searcher.ended) == [(False, STEPS)] * 4 + [(True, 1)]


# --- where a run may be ------------------------------------------------------------------------


def test_two_runs_in_two_threads_do_not_mix(run, trainable):
    found = {}

    def go(i):
        analysis = run(trainable, name=f"experiment{i}", num_samples=3)
        found[i] = [lines(trial) for trial in analysis.trials]

    threads = [threading.Thread(target=go, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {0: [ALL] * 3, 1: [ALL] * 3}


def test_a_trial_may_run_an_experiment_of_its_own(run, tmp_path):
    def outer(config):
        inner = ctune.run(
            Job, stop={"training_iteration": 2}, storage_path=str(tmp_path / "inner"), verbose=0
        )
        ctune.report({"n": inner.trials[0].last_result["n"]})

    [trial] = run(outer).trials
    assert lines(trial) == [2]


def test_a_second_run_of_the_same_name_keeps_the_first_ones_trials(run, trainable):
    first = run(trainable, name="twice", num_samples=2)
    second = run(trainable, name="twice", num_samples=2)
    assert len({trial.path for trial in first.trials + second.trials}) == 4
    assert [lines(trial) for trial in first.trials + second.trials] == [ALL] * 4


def test_output_of_any_size_passes(run, capfd):
    class Talks(Job):
        def step(self):
            print("o" * 300_000)
            sys.stderr.write("e" * 300_000 + "\n")
            return super().step()

    assert [lines(trial) for trial in run(Talks, num_samples=2).trials] == [ALL] * 2
    capfd.readouterr()


# --- processes ---------------------------------------------------------------------------------

DRIVER = """
import os, sys, time
import ctune

pids = sys.argv[1]

def report(config):
    with open(pids, "a") as f:
        f.write(f"{os.getpid()}\\n")
    for n in range(10**6):
        time.sleep(0.01)
        ctune.report({"n": n})

ctune.init(executor="process", num_cpus=2)
ctune.run(report, num_samples=2, storage_path=sys.argv[2], verbose=0)
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks into /proc")
def test_no_worker_outlives_a_driver_that_is_killed(tmp_path):
    pids = tmp_path / "pids"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(pids), str(tmp_path / "results")])
    until = time.monotonic() + 30
    while time.monotonic() < until and (
        not pids.exists() or len(pids.read_text().splitlines()) < 2
    ):
        time.sleep(0.02)
    workers = [int(pid) for pid in pids.read_text().split()]
    assert len(workers) == 2 and all(alive(pid) for pid in workers)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    until = time.monotonic() + 30
    while time.monotonic() < until and any(alive(pid) for pid in workers):
        time.sleep(0.02)
    assert not any(alive(pid) for pid in workers)


def test_a_module_is_not_needed_for_a_trainable_defined_in_one(run):
    """Functions of a module that workers cannot import travel by value."""
    module = types.ModuleType("made_up_here")
    exec("def train(config):\n    return {'n': 1}", module.__dict__)
    [trial] = run(module.train).trials
    assert lines(trial) == [1]


# --- observers -----------------------------------------------------------------------------------


class Reversing(ctune.Callback):
    """Plays with the list that it is lent, and checks each result it hears."""

    def __init__(self):
        self.heard = 0

    def on_trial_result(self, iteration, trials, trial, result, **info):
        assert result["loss"] == trial.config["x"] - result["n"]
        assert result["trial_id"] == trial.trial_id
        self.heard += 1
        trials.reverse()


def test_a_callback_may_reorder_its_list_of_trials(run):
    hears = Reversing()
    analysis = run(Job, config={"x": tune.uniform(0, 1)}, num_samples=6, callbacks=[hears])
    assert hears.heard == 6 * STEPS
    assert len({trial.trial_id for trial in analysis.trials}) == 6
    for trial in analysis.trials:
        assert trial.last_result["loss"] == trial.config["x"] - STEPS


def test_before_its_first_result_a_trial_says_who_will_report(run, executor):
    seen = []

    class Looks(ctune.Callback):
        def on_trial_start(self, trial, **info):
            seen.append((trial.last_result, trial.has_reported_at_least_once, trial.node_ip))

    def never(config):
        pass

    [trial] = run(never, config={"x": 3}, callbacks=[Looks()]).trials
    [(result, reported, address)] = seen
    # Which keys these are in Ray Tune 2.24 was asked there.
    assert sorted(result) == [
        "config",
        "date",
        "hostname",
        "node_ip",
        "pid",
        "timestamp",
        "trial_id",
    ]
    assert (result["trial_id"], result["config"]["x"]) == (trial.trial_id, 3)
    assert (result["pid"] == os.getpid()) == (executor == "inline")
    assert address == result["node_ip"] and not reported
    assert not trial.has_reported_at_least_once
    assert trial.last_result == result


@pytest.mark.parametrize("length", ["1", "5", "1000"])
def test_r175_all_results_come_in_their_order_whatever_the_buffer(
    run, trainable, monkeypatch, length
):
    # Results come one by one here, which nobody should notice.
    monkeypatch.setenv("TUNE_RESULT_BUFFER_LENGTH", length)
    monkeypatch.setenv("TUNE_RESULT_BUFFER_MIN_TIME_S", "10")
    heard = []

    class Hears(ctune.Callback):
        def on_trial_result(self, trial, result, **info):
            heard.append((trial.trial_id, result["n"]))

    keep = {"checkpoint_frequency": 2} if trainable is Job else {}
    analysis = run(
        trainable,
        num_samples=2,
        callbacks=[Hears()],
        checkpoint_config=ctune.CheckpointConfig(**keep),
    )
    for trial in analysis.trials:
        assert [n for name, n in heard if name == trial.trial_id] == ALL == lines(trial)
    assert os.environ["TUNE_RESULT_BUFFER_LENGTH"] == length
