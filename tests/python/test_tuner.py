"""Tuner, its configurations, and the results it returns."""

import dataclasses
import math
import os
import pathlib
import tempfile
import threading

import pytest

import ctune as tune
from ctune import (
    Checkpoint,
    CheckpointConfig,
    FailureConfig,
    Result,
    ResultGrid,
    RunConfig,
    SyncConfig,
    Trainable,
    TuneConfig,
    TuneError,
    Tuner,
)


@pytest.fixture(autouse=True)
def inline():
    tune.shutdown()
    tune.init(executor="inline", num_cpus=2)
    yield
    tune.shutdown()


def train(config):
    for i in range(3):
        if config["x"] == 2 and i == 2:
            raise ValueError("boom")
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "i").write_text(str(i))
            tune.report(
                {"loss": config["x"] * 10 - i, "n": {"a": i}},
                checkpoint=Checkpoint.from_directory(folder),
            )


class Class(Trainable):
    def setup(self, config):
        self.x = config["x"]

    def step(self):
        return {"loss": self.x}

    def save_checkpoint(self, checkpoint_dir):
        return {"x": self.x}

    def load_checkpoint(self, checkpoint):
        self.x = checkpoint["x"]


@pytest.fixture
def grid(tmp_path):
    return Tuner(
        train,
        param_space={"x": tune.grid_search([3, 1, 2])},
        tune_config=TuneConfig(metric="loss", mode="min"),
        run_config=RunConfig(name="g", storage_path=tmp_path, verbose=0),
    ).fit()


def test_fit_returns_one_result_per_trial(grid, tmp_path):
    assert isinstance(grid, ResultGrid) and len(grid) == 3
    assert grid.experiment_path == str(tmp_path / "g")
    assert [r.config for r in grid] == [{"x": 3}, {"x": 1}, {"x": 2}]
    assert [r.metrics["loss"] for r in grid] == [28, 8, 19]
    assert grid[-1] is grid[2]
    assert (grid.num_errors, grid.num_terminated) == (1, 2)
    assert [type(e) for e in grid.errors] == [ValueError]
    assert [type(r.error) for r in grid] == [type(None), type(None), ValueError]
    assert all(os.path.isdir(r.path) for r in grid)
    with pytest.raises(IndexError):
        grid[3]


def test_results_hold_checkpoints_and_all_results(grid):
    result = grid[1]
    assert pathlib.Path(result.checkpoint.path, "i").read_text() == "2"
    assert [m["loss"] for _, m in result.best_checkpoints] == [10, 9, 8]
    assert result.get_best_checkpoint("loss", "max") == result.best_checkpoints[0][0]
    assert result.get_best_checkpoint("n/a", "max") == result.checkpoint
    assert list(result.metrics_dataframe["n/a"]) == [0, 1, 2]
    assert list(result.metrics_dataframe["config/x"]) == [1, 1, 1]
    with pytest.raises(ValueError, match="mode"):
        result.get_best_checkpoint("loss", "best")
    with pytest.raises(RuntimeError, match="nope"):
        result.get_best_checkpoint("nope", "max")
    with pytest.raises(RuntimeError, match="no checkpoint"):
        Result({"a": 1}, None, None).get_best_checkpoint("a", "max")


def test_the_best_result(grid, tmp_path):
    assert grid.get_best_result().config == {"x": 1}
    assert grid.get_best_result(mode="max").config == {"x": 3}
    assert grid.get_best_result("n/a", "max", scope="all").config == {"x": 3}  # first of equals
    with pytest.raises(RuntimeError, match="nope"):
        grid.get_best_result("nope", "max")
    with pytest.raises(ValueError, match="scope"):
        grid.get_best_result(scope="first")
    other = ResultGrid(tune.ExperimentAnalysis(tmp_path, trials=grid._experiment_analysis.trials))
    with pytest.raises(ValueError, match="metric"):
        other.get_best_result(mode="max")
    with pytest.raises(ValueError, match="mode"):
        other.get_best_result(metric="loss")


def test_nan_is_best_only_if_asked_for(tmp_path):
    def nan(config):
        tune.report({"loss": math.nan})

    grid = Tuner(
        nan,
        tune_config=TuneConfig(metric="loss", mode="min", num_samples=2),
        run_config=RunConfig(storage_path=tmp_path, verbose=0),
    ).fit()
    with pytest.raises(RuntimeError, match="filter_nan_and_inf"):
        grid.get_best_result()
    assert math.isnan(grid.get_best_result(filter_nan_and_inf=False).metrics["loss"])


def test_the_table(grid):
    frame = grid.get_dataframe()
    assert len(frame) == 3 and list(frame["loss"]) == [28, 8, 19]
    assert list(grid.get_dataframe("loss", "max")["loss"]) == [30, 10, 20]


def test_texts(grid):
    text = repr(grid)
    assert text.startswith("ResultGrid<[\n  Result(\n    metrics={'loss': 28, 'n': {'a': 2}},\n")
    assert text.endswith("\n]>") and text.count("Result(") == 3
    assert "error='ValueError'" in repr(grid[2]) and "error=" not in repr(grid[1])
    assert grid[1].path in repr(grid[1])


def test_a_result_is_read_from_its_directory(grid, tmp_path):
    for shown in grid:
        read = Result.from_path(shown.path)
        assert {**read.metrics, "done": None} | {"experiment_tag": None} == {
            **shown.metrics,
            "done": None,
        } | {"experiment_tag": None}
        assert read.config == shown.config and read.checkpoint == shown.checkpoint
        assert [m["loss"] for _, m in read.best_checkpoints] == [
            m["loss"] for _, m in shown.best_checkpoints
        ]
        assert str(read.error) == str(shown.error)
        assert read.metrics_dataframe.equals(shown.metrics_dataframe)
    with pytest.raises(RuntimeError, match="no directory"):
        Result.from_path(tmp_path / "nothing")
    with pytest.raises(RuntimeError, match="result.json"):
        Result.from_path(tmp_path)


def test_progress_csv_and_torn_lines_are_read(grid):
    path = pathlib.Path(grid[1].path)
    lines = (path / "result.json").read_bytes().splitlines(keepends=True)
    (path / "result.json").write_bytes(lines[0] + lines[1] + lines[2][:40])
    assert Result.from_path(path).metrics["loss"] == 9
    (path / "result.json").write_bytes(lines[0] + b"{]\n" + lines[2])
    with pytest.raises(ValueError, match="line 2"):
        Result.from_path(path)
    (path / "result.json").unlink()
    read = Result.from_path(path)
    assert read.metrics["loss"] == 8 and read.metrics["n"] == {"a": 2}
    assert read.metrics["done"] is False


def test_arguments_reach_the_run(tmp_path):
    seen = []

    class Hear(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            seen.append((str(trial), os.path.basename(trial.path), result["x"]))

    def step(config):
        while True:
            tune.report({"x": config["x"]})

    grid = Tuner(
        step,
        param_space={"x": tune.grid_search([1, 2])},
        tune_config=TuneConfig(
            num_samples=2,
            max_concurrent_trials=1,
            trial_name_creator=lambda t: f"n{t.config['x']}_{t.trial_id}",
            trial_dirname_creator=lambda t: f"d_{t.trial_id}",
        ),
        run_config=RunConfig(
            name="a",
            storage_path=tmp_path,
            stop={"training_iteration": 2},
            callbacks=[Hear()],
            verbose=0,
        ),
    ).fit()
    assert len(grid) == 4
    assert [x for _, _, x in seen] == [1, 1, 2, 2, 1, 1, 2, 2]
    assert all(name.startswith(f"n{x}_") and folder[0] == "d" for name, folder, x in seen)


def test_classes_are_saved_at_the_end_unless_told_otherwise(tmp_path):
    def checkpoints(**arguments):
        given = CheckpointConfig(**arguments)
        grid = Tuner(
            Class,
            param_space={"x": 1},
            run_config=RunConfig(
                storage_path=tmp_path,
                stop={"training_iteration": 2},
                checkpoint_config=given,
                verbose=0,
            ),
        ).fit()
        assert given == CheckpointConfig(**arguments)
        return len(grid[0].best_checkpoints)

    assert checkpoints() == 1
    assert checkpoints(checkpoint_at_end=False) == 0
    assert checkpoints(checkpoint_frequency=1, checkpoint_at_end=False) == 2


def test_failures_are_results(tmp_path):
    tries = []

    def fails(config):
        tries.append(1)
        raise RuntimeError("no")

    grid = Tuner(
        fails,
        run_config=RunConfig(
            storage_path=tmp_path, failure_config=FailureConfig(max_failures=2), verbose=0
        ),
    ).fit()
    assert len(tries) == 3 and grid.num_errors == 1
    assert "training_iteration" not in grid[0].metrics
    assert isinstance(grid[0].error, RuntimeError)


def test_fail_fast_raise_leaves_fit(tmp_path):
    def fails(config):
        raise KeyError("as it is")

    tuner = Tuner(
        fails,
        run_config=RunConfig(
            storage_path=tmp_path, failure_config=FailureConfig(fail_fast="raise"), verbose=0
        ),
    )
    with pytest.warns(UserWarning, match="fail_fast"), pytest.raises(KeyError, match="as it is"):
        tuner.fit()


def test_get_results_is_what_fit_returned(tmp_path):
    tuner = Tuner(train, param_space={"x": 1}, run_config=RunConfig(storage_path=tmp_path))
    with pytest.raises(RuntimeError, match="fit"):
        tuner.get_results()
    tuner._run_config.verbose = 0
    assert repr(tuner.fit()) == repr(tuner.get_results())


def test_the_directory_is_known_as_a_tuners(tmp_path):
    import cloudpickle

    space = {"b": {"c": tune.uniform(0, 1)}, "a": 1}
    Tuner(train, param_space=space, run_config=RunConfig(name="t", storage_path=tmp_path))
    assert Tuner.can_restore(tmp_path / "t")
    assert not Tuner.can_restore(tmp_path)
    state = cloudpickle.loads((tmp_path / "t" / "tuner.pkl").read_bytes())
    assert state["trainable_name"] == "train"
    assert state["param_space_keys"] == ["a", "b/c"]
    assert state["run_config"].name == "t"
    with pytest.raises(FileNotFoundError, match="tuner.pkl"):
        Tuner.restore(tmp_path, train)
    with pytest.raises(TypeError, match="storage_filesystem"):
        Tuner.can_restore(tmp_path, object())


def test_a_tuner_that_cannot_be_pickled_still_runs(tmp_path, caplog):
    class Locked(tune.Callback):
        def __init__(self):
            self.lock = threading.Lock()

    grid = Tuner(
        train,
        param_space={"x": 1},
        run_config=RunConfig(storage_path=tmp_path, callbacks=[Locked()], verbose=0),
    ).fit()
    assert grid.num_terminated == 1
    assert "cannot be restored" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, TuneError, "trainable"),
        ({"trainable": 5}, TuneError, "Improper"),
        ({"trainable": "nobody"}, TuneError, "Unknown trainable"),
        ({"trainable": train, "param_space": [1]}, ValueError, "param_space"),
        ({"trainable": train, "run_config": 5}, ValueError, "run_config"),
        ({"trainable": train, "tune_config": TuneConfig}, ValueError, "object, not the class"),
    ],
)
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        Tuner(**arguments)


def test_errors_of_fit_speak_of_the_tuner(tmp_path):
    def run(**arguments):
        return Tuner(
            train,
            param_space={"x": 1},
            tune_config=TuneConfig(**arguments),
            run_config=RunConfig(storage_path=tmp_path, verbose=0),
        ).fit()

    with pytest.raises(ValueError, match=r"Tuner\(\.\.\.\)"):
        run(mode="best")
    with pytest.raises(ValueError, match="scheduler"):
        run(scheduler="nobody")
    with pytest.raises(DeprecationWarning, match="RAY_CHDIR_TO_TRIAL_DIR"):
        run(chdir_to_trial_dir=True)


def test_configurations_show_what_was_given(tmp_path):
    given = RunConfig(name="x", storage_path=tmp_path)
    assert repr(given) == f"RunConfig(name='x', storage_path={str(tmp_path)!r}, verbose=1)"
    assert given == RunConfig(name="x", storage_path=str(tmp_path))
    assert given.failure_config == FailureConfig() and given.sync_config == SyncConfig()
    assert given.checkpoint_config == CheckpointConfig()
    assert repr(TuneConfig()).startswith("TuneConfig(mode=None, metric=None, ")
    assert dataclasses.replace(TuneConfig(), num_samples=3).num_samples == 3
    assert RunConfig().storage_path.endswith("ray_results")


def test_bad_configurations():
    for name in ("failure_config", "checkpoint_config", "sync_config"):
        with pytest.raises(ValueError, match=name):
            RunConfig(**{name: {}})
    with pytest.warns(DeprecationWarning, match="storage_path"):
        assert RunConfig(local_dir="/x").storage_path == "/x"
    with pytest.warns(DeprecationWarning):
        assert RunConfig(local_dir="/x", storage_path="/y").storage_path == "/y"


# --- debug ---------------------------------------------------------------------------


@pytest.fixture
def debug():
    tune.shutdown()
    tune.init(debug=True)
    yield
    tune.shutdown()


def test_debug_runs_in_this_thread_one_trial_at_a_time(debug, tmp_path):
    order = []

    def step(config):
        for i in range(2):
            assert threading.current_thread() is threading.main_thread()
            order.append((config["x"], i))
            tune.report({"i": i})

    space = {"x": tune.grid_search([1, 2])}
    tune.run(step, config=space, storage_path=tmp_path, verbose=0)
    assert order == [(1, 0), (1, 1), (2, 0), (2, 1)]
    with pytest.raises(ValueError, match="executor"):
        tune.shutdown()
        tune.init(executor="process", debug=True)


def test_debug_raises_the_first_exception_as_it_is(debug, tmp_path):
    def fails(config):
        raise LookupError("here")

    with pytest.raises(LookupError, match="here") as caught:
        tune.run(fails, num_samples=3, max_failures=2, storage_path=tmp_path, verbose=0)
    assert caught.traceback[-1].name == "fails"


def test_debug_breakpoints_stop_in_the_trainable(debug, tmp_path, monkeypatch):
    import sys

    stopped = []
    monkeypatch.setattr(
        sys, "breakpointhook", lambda: stopped.append(sys._getframe(1).f_locals["inside"])
    )

    def step(config):
        inside = config["x"]  # noqa: F841
        breakpoint()
        tune.report({"a": 1})

    tune.run(step, config={"x": 5}, storage_path=tmp_path, verbose=0)
    assert stopped == [5]
