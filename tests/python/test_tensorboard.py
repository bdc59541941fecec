"""The logger of TensorBoard's files, read back by TensorBoard."""

import glob
import logging
import pickle
import resource
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import ctune as tune
from ctune.logger import LoggerCallback, TBXLoggerCallback, tensorboardx

pytest.importorskip("tensorboardX")
accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


@pytest.fixture(autouse=True)
def inline():
    tune.shutdown()
    tune.init(executor="inline", num_cpus=2)
    yield
    tune.shutdown()


def read(trial):
    (path,) = glob.glob(glob.escape(trial.path) + "/events.out.tfevents.*")
    events = accumulator.EventAccumulator(path, size_guidance={"scalars": 0, "histograms": 0})
    return events.Reload()


def points(events, tag):
    return [(e.step, e.value) for e in events.Scalars(f"ray/tune/{tag}")]


def test_numbers_are_scalars_over_iterations(tmp_path):
    def train(config):
        for i in range(3):
            tune.report(
                {
                    "loss": 0.5 * i,
                    "n": {"a": i, "b": float("nan")},
                    "s": "text",
                    "none": None,
                    "flag": True,
                    "np": np.float32(2.5),
                    "empty": [],
                }
            )

    (trial,) = tune.run(train, storage_path=tmp_path, verbose=0).trials
    events = read(trial)
    assert points(events, "loss") == [(1, 0.0), (2, 0.5), (3, 1.0)]
    assert points(events, "n/a") == [(1, 0.0), (2, 1.0), (3, 2.0)]
    assert points(events, "np") == [(i, 2.5) for i in (1, 2, 3)]
    assert set(events.Tags()["scalars"]) == {
        f"ray/tune/{key}"
        for key in (
            "loss",
            "n/a",
            "flag",
            "np",
            "done",
            "time_this_iter_s",
            "time_since_restore",
            "iterations_since_restore",
        )
    }


def test_timesteps_are_the_steps_where_there_are_some(tmp_path):
    class Steps(tune.Trainable):
        def step(self):
            return {"v": self.iteration, "timesteps_this_iter": 10}

    stop = {"training_iteration": 2}
    (trial,) = tune.run(Steps, stop=stop, storage_path=tmp_path, verbose=0).trials
    assert points(read(trial), "v") == [(10, 0.0), (20, 1.0)]


def test_arrays_are_histograms_and_a_later_change_is_not_shown(tmp_path, caplog):
    array = np.arange(5.0)

    def train(config):
        for _ in range(2):
            tune.report({"array": array, "numbers": [1, 2, 3], "texts": ["a", "b"]})
            array[:] = 100.0

    (trial,) = tune.run(train, storage_path=tmp_path, verbose=0).trials
    events = read(trial)
    assert set(events.Tags()["histograms"]) == {"ray/tune/array", "ray/tune/numbers"}
    first, second = events.Histograms("ray/tune/array")
    assert (first.step, first.histogram_value.sum) == (1, 10.0)
    assert (second.step, second.histogram_value.sum) == (2, 500.0)
    assert caplog.text.count("'texts'") == 1


def test_what_was_sampled_is_in_the_hparams_tab(tmp_path):
    def train(config):
        tune.report({"loss": 1.5})

    space = {"x": tune.choice([3]), "t": tune.choice([(1, 2)]), "constant": 1}
    (trial,) = tune.run(train, config=space, storage_path=tmp_path, verbose=0).trials
    events = read(trial)
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"x" in start and b"constant" not in start
    shown = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    assert b"ray/tune/loss" in shown


def test_many_trials_are_written_apart_and_all_files_are_closed(tmp_path):
    def train(config):
        for _ in range(3):
            tune.report({"x": config["x"]})

    space = {"x": tune.grid_search(list(range(30)))}
    analysis = tune.run(train, config=space, storage_path=tmp_path, verbose=0)
    for trial in analysis.trials:
        x = float(trial.config["x"])
        assert points(read(trial), "x") == [(1, x), (2, x), (3, x)]


def test_r118_it_is_on_unless_told_otherwise(tmp_path, monkeypatch):
    def train(config):
        tune.report({"a": 1})

    given = [tune.Callback()]
    tune.run(train, callbacks=given, storage_path=tmp_path, verbose=0)
    assert [type(c).__name__ for c in given if isinstance(c, LoggerCallback)] == [
        "CSVLoggerCallback",
        "JsonLoggerCallback",
        "TBXLoggerCallback",
    ]
    own = [TBXLoggerCallback()]
    tune.run(train, callbacks=own, storage_path=tmp_path, verbose=0)
    assert sum(isinstance(c, TBXLoggerCallback) for c in own) == 1
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    (trial,) = tune.run(train, storage_path=tmp_path, verbose=0).trials
    assert glob.glob(glob.escape(trial.path) + "/events*") == []


def test_r119_without_tensorboardx_it_says_so_once_and_runs(tmp_path, monkeypatch, caplog):
    from ctune import _plan

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    _plan._warn_once.cache_clear()
    with pytest.raises(ImportError, match=r"pip install .*ctune\[tensorboard\]"):
        TBXLoggerCallback()
    for _ in range(2):
        tune.run(lambda config: None, storage_path=tmp_path, verbose=0)
    assert caplog.text.count("No files for TensorBoard") == 1


def test_it_can_be_pickled_and_used_again(tmp_path):
    def train(config):
        tune.report({"a": 1})

    logger = pickle.loads(pickle.dumps(TBXLoggerCallback()))
    for _ in range(2):
        (trial,) = tune.run(train, callbacks=[logger], storage_path=tmp_path, verbose=0).trials
        assert points(read(trial), "a") == [(1, 1.0)]


def test_a_file_that_cannot_be_written_does_not_end_the_run(tmp_path, monkeypatch, caplog):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensorboardx._File, "write", full)
    caplog.set_level(logging.ERROR, "ctune")

    def train(config):
        for i in range(5):
            tune.report({"a": i})

    (trial,) = tune.run(train, storage_path=tmp_path, verbose=0).trials
    assert trial.status == "TERMINATED"
    assert caplog.text.count("the run goes on") == 1


def test_the_run_does_not_wait_for_the_files_but_its_end_does(tmp_path, monkeypatch):
    original = tensorboardx._File.write
    completed = threading.Event()

    def slow(self, event):
        # Nothing is written before the trial has ended: so it cannot have waited.
        assert completed.wait(60)
        original(self, event)

    monkeypatch.setattr(tensorboardx._File, "write", slow)

    class Watch(tune.Callback):
        def on_trial_complete(self, iteration, trials, trial, **info):
            completed.set()

    def train(config):
        for i in range(20):
            tune.report({"a": i})

    (trial,) = tune.run(train, callbacks=[Watch()], storage_path=tmp_path, verbose=0).trials
    assert len(points(read(trial), "a")) == 20


def test_thousands_of_trials_need_no_open_files(tmp_path):
    files = tensorboardx._Files()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        for i in range(200):
            (tmp_path / str(i)).mkdir()
            files.result(str(tmp_path / str(i)), {"a": i, "training_iteration": 1})
        files.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(glob.glob(str(tmp_path / "*" / "events.out.*"))) == 200


def test_results_with_other_keys_and_other_trials_are_not_mixed_up(tmp_path):
    files = tensorboardx._Files()
    for i in range(6):
        result = {"a": i, "training_iteration": i} if i % 2 else {"b c": -i, "n": {"a": 2 * i}}
        files.result(str(tmp_path), {"training_iteration": i, **result})
    files.end(str(tmp_path), {})
    events = read(SimpleNamespace(path=str(tmp_path)))
    assert points(events, "a") == [(1, 1.0), (3, 3.0), (5, 5.0)]
    assert points(events, "b_c") == [(0, 0.0), (2, -2.0), (4, -4.0)]
    assert points(events, "n/a") == [(0, 0.0), (2, 4.0), (4, 8.0)]


def test_tensorboardx_is_imported_when_there_is_something_to_write(tmp_path, monkeypatch):
    def train(config):
        assert "tensorboardX" not in sys.modules
        tune.report({"a": 1})

    for name in [n for n in sys.modules if n.partition(".")[0] == "tensorboardX"]:
        monkeypatch.delitem(sys.modules, name)
    (trial,) = tune.run(train, storage_path=tmp_path, verbose=0).trials
    assert points(read(trial), "a") == [(1, 1.0)]
