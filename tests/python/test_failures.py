"""Trials that fail in unusual ways: they hang, lose their helper, leave damaged checkpoints."""

import json
import os
import resource
import signal
import tempfile
import time

import pytest

import ctune
from ctune import tune

STEPS = 4
LIMIT_S = 2.0


@pytest.fixture(params=["inline", "process"])
def executor(request):
    ctune.init(executor=request.param, num_cpus=4)
    yield request.param
    ctune.shutdown()


@pytest.fixture
def processes():
    ctune.init(executor="process", num_cpus=4)
    yield
    ctune.shutdown()


@pytest.fixture
def run(tmp_path):
    def run(trainable, **arguments):
        config = {"marks": str(tmp_path), **arguments.pop("config", {})}
        return ctune.run(
            trainable,
            config=config,
            storage_path=str(tmp_path / "results"),
            verbose=0,
            raise_on_failed_trial=False,
            **arguments,
        )

    return run


def first(config, what):
    """Whether this is the first call of all processes with these arguments."""
    path = os.path.join(config["marks"], what.replace("/", "_"))
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def error_of(trial):
    with open(trial.error_file) as file:
        return file.read()


def lines(trial):
    path = os.path.join(trial.path, "result.json")
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line)["n"] for line in file]


class Job(ctune.Trainable):
    """Counts its steps; may do something bad at a place of its life."""

    def setup(self, config):
        self.n = 0
        self.at("setup")

    def at(self, place):
        pass

    def step(self):
        self.n += 1
        self.at(f"step {self.n}")
        return {"n": self.n}

    def save_checkpoint(self, directory):
        self.at("save")
        with open(os.path.join(directory, "n"), "w") as file:
            file.write(str(self.n))

    def load_checkpoint(self, directory):
        self.at("load")
        with open(os.path.join(directory, "n")) as file:
            self.n = int(file.read())


def job(config):
    """The same as a function; at() is in its config."""
    n = 0
    checkpoint = ctune.get_checkpoint()
    if checkpoint is not None:
        with open(os.path.join(checkpoint.path, "n")) as file:
            n = int(file.read())
    while n < STEPS:
        n += 1
        config["at"](config, n)
        with tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(directory, "n"), "w") as file:
                file.write(str(n))
            ctune.report({"n": n}, checkpoint=ctune.Checkpoint.from_directory(directory))


EACH_STEP = ctune.CheckpointConfig(checkpoint_frequency=1)

# --- time limits -----------------------------------------------------------------------------


class Hangs(Job):
    def at(self, place):
        where = self.config["hang"]
        if place == "step 3" and where == "load" and first(self.config, "failed"):
            raise ValueError("told to fail")
        if place == where and first(self.config, f"hung at {where}"):
            time.sleep(600)


@pytest.mark.parametrize("by", ["init", "environment"])
def test_what_takes_too_long_is_killed_and_tried_again(run, monkeypatch, by):
    if by == "init":
        ctune.init(executor="process", num_cpus=4, trial_timeout_s=LIMIT_S)
        places = ["setup", "step 2", "save", "load"]
    else:
        monkeypatch.setenv("CTUNE_TRIAL_TIMEOUT_S", str(LIMIT_S))
        ctune.init(executor="process", num_cpus=4)
        places = ["step 1"]
    try:
        analysis = run(
            Hangs,
            config={"hang": tune.grid_search(places)},
            max_failures=3,
            stop={"n": STEPS},
            checkpoint_config=EACH_STEP,
        )
    finally:
        ctune.shutdown()
    words = {
        "setup": "starting the trial",
        "step 1": "a step",
        "step 2": "a step",
        "save": "saving a checkpoint",
        "load": "starting the trial",
    }
    for trial in analysis.trials:
        place = trial.config["hang"]
        assert trial.status == "TERMINATED" and lines(trial)[-1] == STEPS, place
        said = error_of(trial)
        assert words[place] in said, place
        assert f"the {LIMIT_S:g} s that trial_timeout_s allows" in said
        assert "CTUNE_TRIAL_TIMEOUT_S" in said
        assert trial.num_failures == (2 if place == "load" else 1), place


def test_a_clean_up_that_hangs_is_killed(run):
    class Lingers(Job):
        def cleanup(self):
            time.sleep(600)

    ctune.init(executor="process", num_cpus=1, trial_timeout_s=LIMIT_S)
    try:
        trials = run(Lingers, num_samples=2, stop={"n": 1}).trials
    finally:
        ctune.shutdown()
    assert [(t.status, t.num_failures) for t in trials] == [("TERMINATED", 0)] * 2


def test_a_function_that_hangs_is_a_failed_trial(run):
    def hangs(config):
        ctune.report({"n": 1})
        time.sleep(600)

    ctune.init(executor="process", num_cpus=2, trial_timeout_s=LIMIT_S)
    try:
        [trial] = run(hangs).trials
    finally:
        ctune.shutdown()
    assert trial.status == "ERROR" and lines(trial) == [1]
    assert "from one report() to the next" in error_of(trial)


@pytest.mark.parametrize("limit", [0, -1, "soon", float("inf"), float("nan")])
def test_a_limit_that_is_none_is_refused(monkeypatch, limit):
    with pytest.raises(ValueError, match=r"^trial_timeout_s: must be a number of seconds"):
        ctune.init(executor="process", trial_timeout_s=limit)
    monkeypatch.setenv("CTUNE_TRIAL_TIMEOUT_S", str(limit))
    with pytest.raises(ValueError, match=r"^CTUNE_TRIAL_TIMEOUT_S: must be a number of seconds"):
        ctune.init(executor="process")


def test_inline_a_limit_says_that_it_has_no_effect(caplog):
    ctune.init(executor="inline", trial_timeout_s=5)
    ctune.shutdown()
    assert "trial_timeout_s: has no effect with executor='inline'" in caplog.text


# --- processes that die ------------------------------------------------------------------------


def test_a_helper_that_is_killed_is_replaced(run, processes):
    class KillsHelper(Job):
        def at(self, place):
            if place == "step 2" and first(self.config, "killed"):
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(600)

    analysis = run(KillsHelper, num_samples=8, max_failures=1, stop={"n": STEPS})
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 8
    failed = [trial for trial in analysis.trials if trial.num_failures]
    assert 1 <= len(failed) <= 4
    assert all("helper process" in error_of(t) and "SIGKILL" in error_of(t) for t in failed)


def test_a_forked_child_that_returns_does_not_report(run, processes):
    def fork(config, place):
        if place == config["place"] and os.fork() == 0:
            open(os.path.join(config["marks"], f"child of {place}"), "w").close()

    class Forks(Job):
        def at(self, place):
            fork(self.config, place)

    places = ["setup", "step 2", "save"]
    analysis = run(
        Forks,
        config={"place": tune.grid_search(places)},
        stop={"n": STEPS},
        checkpoint_config=EACH_STEP,
    )
    assert [lines(trial) for trial in analysis.trials] == [[1, 2, 3, 4]] * 3
    [trial] = run(job, config={"at": lambda config, n: fork(config, n), "place": 2}).trials
    assert trial.status == "TERMINATED" and lines(trial) == [1, 2, 3, 4]
    assert all(
        os.path.exists(analysis.trials[0].config["marks"] + f"/child of {p}") for p in places
    )


def test_a_report_in_a_forked_child_is_refused(run, executor):
    def forks(config):
        ctune.report({"n": 1})
        child = os.fork()
        if child == 0:
            try:
                ctune.report({"n": 2})
            except RuntimeError as error:
                os._exit(7 if "a child that the function forked" in str(error) else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        ctune.report({"n": 3})

    [trial] = run(forks).trials
    assert trial.status == "TERMINATED" and lines(trial) == [1, 3]


def test_a_trial_that_crashes_is_a_failed_trial(run, processes):
    import ctypes

    class Crashes(Job):
        def at(self, place):
            if place == "step 2":
                ctypes.string_at(0)

    def crashes(config):
        ctune.report({"n": 1})
        ctypes.string_at(0)

    for trainable in (Crashes, crashes):
        [trial] = run(trainable).trials
        assert trial.status == "ERROR" and lines(trial) == [1]
        assert "SIGSEGV" in error_of(trial)


def test_a_trial_that_wants_too_much_memory_fails_alone(run, processes):
    def greedy(config):
        ctune.report({"n": 1})
        if config["mib"]:
            with open("/proc/self/statm") as file:
                pages = int(file.read().split()[0])
            limit = pages * os.sysconf("SC_PAGE_SIZE") + (64 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            bytearray(config["mib"] << 20)
        ctune.report({"n": 2})

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("looks into /proc")
    trials = run(greedy, config={"mib": tune.grid_search([0, 1024])}).trials
    assert [trial.status for trial in trials] == ["TERMINATED", "ERROR"]
    assert "MemoryError" in error_of(trials[1]) and lines(trials[0]) == [1, 2]


# --- trials that do not end -----------------------------------------------------------------------


def test_a_function_that_reports_on_after_its_stop_is_left(run, executor, capfd):
    def stubborn(config):
        n = 0
        while True:
            try:
                n += 1
                ctune.report({"n": n})
            except SystemExit:
                pass

    trials = run(stubborn, num_samples=2, stop={"n": 3}).trials
    assert [trial.status for trial in trials] == ["TERMINATED"] * 2
    assert [lines(trial) for trial in trials] == [[1, 2, 3]] * 2


# --- checkpoints that cannot be restored ---------------------------------------------------------


def newest(directory, count):
    names = sorted(n for n in os.listdir(directory) if n.startswith("checkpoint_"))
    return [os.path.join(directory, name) for name in names[len(names) - count :]]


def damage(directory, count):
    for checkpoint in newest(directory, count):
        open(os.path.join(checkpoint, "n"), "w").close()


class Damages(Job):
    def at(self, place):
        if place == "step 4" and first(self.config, "damaged"):
            damage(self.logdir, self.config["damaged"])
            raise ValueError("told to fail")


def damages(config, n):
    if n == 4 and first(config, "damaged"):
        damage(ctune.get_context().get_trial_dir(), config["damaged"])
        raise ValueError("told to fail")


@pytest.mark.parametrize("damaged", [1, 2, 3])
@pytest.mark.parametrize("kind", ["class", "function"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(run, executor, kind, damaged):
    if kind == "class":
        arguments = {"stop": {"n": STEPS}, "checkpoint_config": EACH_STEP}
        [trial] = run(Damages, config={"damaged": damaged}, max_failures=9, **arguments).trials
    else:
        config = {"damaged": damaged, "at": damages}
        [trial] = run(job, config=config, max_failures=9).trials
    assert trial.status == "TERMINATED"
    goes_on = 3 - damaged
    assert lines(trial) == [1, 2, 3, *range(goes_on + 1, STEPS + 1)]
    # A function's failure may have another cause: it gets a second chance.
    tries = 1 if kind == "class" else 2
    assert trial.num_failures == 1 + tries * damaged
    # Nobody is offered the damaged ones.
    offered = [int(path[-6:]) for path, _, _ in trial._best_checkpoints()]
    assert offered == [*range(goes_on), *range(3, 3 + STEPS - goes_on)]


def test_restores_are_tried_again_as_told_without_counting(run, executor, monkeypatch):
    monkeypatch.setenv("TUNE_RESTORE_RETRY_NUM", "2")

    class Flickers(Job):
        def at(self, place):
            if place == "step 4" and first(self.config, "failed"):
                raise ValueError("told to fail")
            if place == "load" and any(first(self.config, f"load {n}") for n in range(2)):
                raise OSError("not yet")

    arguments = {"stop": {"n": STEPS}, "checkpoint_config": EACH_STEP}
    [trial] = run(Flickers, max_failures=1, **arguments).trials
    assert trial.status == "TERMINATED" and lines(trial) == [1, 2, 3, 4]
    assert trial.num_failures == 1
    assert error_of(trial).count("OSError: not yet") == 2


def test_a_checkpoint_that_is_gone_is_passed_over(run, executor):
    import shutil

    def removes(config, n):
        if n == 4 and first(config, "removed"):
            directory = ctune.get_context().get_trial_dir()
            shutil.rmtree(newest(directory, 1)[0])
            raise ValueError("told to fail")

    [trial] = run(job, config={"at": removes}, max_failures=2).trials
    assert trial.status == "TERMINATED" and lines(trial) == [1, 2, 3, 3, 4]
    assert "is not a directory" in error_of(trial)
