"""A run that stands still says why, once for each cause."""

import logging
import threading

import pytest

import ctune
from ctune.schedulers import FIFOScheduler, TrialScheduler
from ctune.search import Searcher
from ctune.stopper import Stopper

LIMIT = "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S"


@pytest.fixture(params=["inline", "process"])
def executor(request, monkeypatch):
    monkeypatch.setenv(LIMIT, "0.2")
    ctune.init(executor=request.param, num_cpus=2)
    yield request.param
    ctune.shutdown()


@pytest.fixture
def warnings(caplog):
    """What the watchdog says; the run ends when it has said it."""
    said = []

    class Hears(logging.Handler):
        def emit(self, record):
            if record.getMessage().startswith("Nothing has run for"):
                said.append(record.getMessage())

    logger = logging.getLogger("ctune")
    handler = Hears()
    logger.addHandler(handler)
    yield said
    logger.removeHandler(handler)


class Until(Stopper):
    """Ends the experiment some questions after the watchdog has spoken."""

    def __init__(self, said):
        self.said = said
        self.left = 40  # another limit and more, at a question each 50 ms without work

    def __call__(self, trial_id, result):
        return False

    def stop_all(self):
        self.left -= bool(self.said)
        return self.left < 0


def train(config):
    for n in range(3):
        ctune.report({"n": n})


def run(tmp_path, said, **arguments):
    return ctune.run(train, storage_path=str(tmp_path), verbose=0, stop=Until(said), **arguments)


def test_a_scheduler_that_says_noop_for_ever_is_named(executor, tmp_path, warnings):
    class Sleeps(FIFOScheduler):
        def on_trial_result(self, controller, trial, result):
            return TrialScheduler.NOOP

    trials = run(tmp_path, warnings, scheduler=Sleeps(), num_samples=4).trials
    names = [trial.trial_id for trial in trials]
    [said] = warnings
    assert said.startswith("Nothing has run for 0.2 s: ")
    assert f"{names[0]} and train_{names[1]} keep their workers" in said
    assert "wait for the scheduler, which answered NOOP" in said
    assert f"{names[2]} waits for 1 CPU, of which 0 of 2 are free, and 1 more trials" in said
    assert "scheduler: Sleeps" in said


def test_trials_that_the_scheduler_does_not_choose_are_named(executor, tmp_path, warnings):
    class Pauses(FIFOScheduler):
        def on_trial_result(self, controller, trial, result):
            return TrialScheduler.PAUSE

        def choose_trial_to_run(self, controller):
            for trial in controller.get_trials():
                if trial.status == "PENDING":
                    return trial
            return None

    run(tmp_path, warnings, scheduler=Pauses(), num_samples=2)
    [said] = warnings
    assert "are paused until the scheduler chooses them" in said


def test_a_searcher_that_suggests_nothing_is_named(executor, tmp_path, warnings):
    class Thinks(Searcher):
        def suggest(self, trial_id):
            return None

        def on_trial_complete(self, trial_id, result=None, error=False):
            pass

    run(tmp_path, warnings, search_alg=Thinks(metric="n", mode="max"), num_samples=2)
    [said] = warnings
    assert "the searcher suggests no trial" in said and "searcher: " in said


def test_an_impossible_request_is_refused_at_once(executor, tmp_path, warnings):
    with pytest.raises(ValueError, match=r"resources_per_trial: ?.*3 CPU.*only 2"):
        run(tmp_path, warnings, resources_per_trial={"cpu": 3})
    assert warnings == []


@pytest.mark.parametrize("limit", ["-1", "soon", "nan"])
def test_a_limit_that_is_none_is_refused(tmp_path, monkeypatch, limit):
    monkeypatch.setenv(LIMIT, limit)
    with pytest.raises(ValueError, match=f"^{LIMIT}: must be a number of seconds.*{limit}"):
        ctune.run(train, storage_path=str(tmp_path), verbose=0)


# --- what the run itself calls --------------------------------------------------------------


@pytest.fixture
def heard():
    """Set once it was said that the run stands still; the texts are in its list."""
    event = threading.Event()
    event.texts = []

    class Hears(logging.Handler):
        def emit(self, record):
            if record.getMessage().startswith("The run has stood still for"):
                event.texts.append(record.getMessage())
                event.set()

    logger = logging.getLogger("ctune")
    handler = Hears()
    logger.addHandler(handler)
    yield event
    logger.removeHandler(handler)


def test_a_call_that_does_not_return_is_named(executor, tmp_path, heard):
    class Silent(Searcher):
        def suggest(self, trial_id):
            assert heard.wait(30)
            return "FINISHED"

    class Busy(ctune.Callback):
        def on_trial_result(self, **info):
            assert heard.wait(30)

    def job(config):
        ctune.report({"n": 1})

    folder = {"storage_path": str(tmp_path), "verbose": 0}
    ctune.run(job, search_alg=Silent(), **folder)
    assert len(heard.texts) == 1
    assert "suggest() has not returned; it is at line" in heard.texts[0]
    heard.clear()
    ctune.run(job, callbacks=[Busy()], **folder)
    assert len(heard.texts) == 2 and "on_trial_result() has not returned" in heard.texts[1]


def test_a_trial_that_takes_its_time_inline_is_no_standstill(tmp_path, heard, monkeypatch):
    monkeypatch.setenv(LIMIT, "0.02")

    def job(config):
        heard.wait(0.2)
        ctune.report({"n": 1})

    ctune.init(executor="inline")
    try:
        ctune.run(job, storage_path=str(tmp_path), verbose=0)
    finally:
        ctune.shutdown()
    assert heard.texts == []
