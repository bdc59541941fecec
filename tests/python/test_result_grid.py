"""ResultGrid and Result, of a run and from directories."""

import math
import os
import pickle
import re
import shutil
import tempfile
from pathlib import Path

import pytest

import ctune
from ctune import Checkpoint
from ctune._result import Result
from ctune.result_grid import ResultGrid

pytest.importorskip("pandas")


def train(config):
    for step in range(3):
        if config["x"] == 2 and step == 2:
            raise RuntimeError("it broke")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "step").write_text(str(step))
            loss = math.nan if config["x"] == 3 else abs(config["x"] - step)
            ctune.report(
                {"loss": loss, "deep": {"m": -step}}, checkpoint=Checkpoint.from_directory(folder)
            )


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    ctune.init(executor="inline")
    return ctune.run(
        train,
        name="grid",
        storage_path=tmp_path_factory.mktemp("results"),
        config={"x": ctune.grid_search([0, 1, 2, 3])},
        metric="loss",
        mode="max",
        raise_on_failed_trial=False,
        verbose=0,
    )


@pytest.fixture(scope="module")
def grid(analysis):
    return ResultGrid(analysis)


@pytest.fixture
def copied(grid, tmp_path):
    """A copy of the first trial's directory."""
    return Path(shutil.copytree(grid[0].path, tmp_path / "trial"))


def test_a_grid_is_a_sequence_of_results(grid, analysis):
    assert len(grid) == 4
    assert [result.config["x"] for result in grid] == [0, 1, 2, 3]
    assert grid[-1].config == {"x": 3}
    assert grid.experiment_path == analysis.experiment_path
    with pytest.raises(IndexError):
        grid[4]


def test_a_grid_counts_and_shows_errors(grid):
    assert (grid.num_errors, grid.num_terminated) == (1, 3)
    (error,) = grid.errors
    assert isinstance(error, RuntimeError) and str(error) == "it broke"
    assert grid[2].error is error
    assert grid[0].error is None


def test_the_best_result_is_that_of_the_best_trial(grid):
    assert grid.get_best_result() is grid[0]
    assert grid.get_best_result("loss", "min").config["x"] == 1
    assert grid.get_best_result("loss", "max", scope="all").config["x"] == 0
    with pytest.raises(ValueError, match="scope.*first"):
        grid.get_best_result("loss", "max", scope="first")
    with pytest.raises(RuntimeError, match="'speling'.*filter_nan_and_inf"):
        grid.get_best_result("speling")


def test_metric_and_mode_are_needed_unless_there_is_one_trial(analysis):
    several = ctune.ExperimentAnalysis(analysis.experiment_path, trials=analysis.trials)
    with pytest.raises(ValueError, match="metric"):
        ResultGrid(several).get_best_result()
    with pytest.raises(ValueError, match="mode"):
        ResultGrid(several).get_best_result("loss")
    one = ctune.ExperimentAnalysis(analysis.experiment_path, trials=analysis.trials[3:])
    assert math.isnan(ResultGrid(one).get_best_result().metrics["loss"])
    with pytest.raises(RuntimeError, match="'loss'"):
        two = analysis.trials[3:] * 2
        ResultGrid(ctune.ExperimentAnalysis("x", trials=two)).get_best_result("loss", "min")


def test_tables_of_a_grid(grid):
    assert list(grid.get_dataframe()["config/x"]) == [0, 1, 2, 3]
    best = grid.get_dataframe("loss", "min")
    assert list(best["loss"]) == [0, 0, 1]
    assert list(grid[0].metrics_dataframe["deep/m"]) == [0, -1, -2]


def test_a_result_knows_its_checkpoints(grid):
    result = grid[0]
    assert Path(result.checkpoint.path).name == "checkpoint_000002"
    metrics = [metrics["training_iteration"] for _, metrics in result.best_checkpoints]
    assert metrics == [1, 2, 3]
    best = result.get_best_checkpoint("loss", "min")
    assert Path(best.path, "step").read_text() == "0"
    assert result.get_best_checkpoint("deep/m", "min") == result.checkpoint
    with pytest.raises(ValueError, match="mode.*best"):
        result.get_best_checkpoint("loss", "best")
    with pytest.raises(RuntimeError, match="'speling'.*loss"):
        result.get_best_checkpoint("speling", "min")
    without = Result(metrics={}, checkpoint=None, error=None, path="/p")
    with pytest.raises(RuntimeError, match="no checkpoints in /p"):
        without.get_best_checkpoint("loss", "min")
    assert without.config is None


def test_what_a_result_looks_like(grid):
    path = grid[2].path
    assert repr(grid[2]) == (
        "Result(\n"
        "  error='RuntimeError',\n"
        "  metrics={'loss': 1, 'deep': {'m': -1}},\n"
        f"  path='{path}',\n"
        "  filesystem='local',\n"
        f"  checkpoint=Checkpoint(filesystem=local, path={path}/checkpoint_000001)\n"
        ")"
    )
    text = repr(grid)
    assert text.startswith("ResultGrid<[\n  Result(\n    metrics={'loss': 2,")
    assert text.endswith("\n  )\n]>")
    assert text.count("error=") == 1


def test_a_grid_can_be_pickled(grid):
    copy = pickle.loads(pickle.dumps(grid))
    assert repr(copy) == repr(grid)
    assert copy.get_best_result().metrics == grid.get_best_result().metrics


def test_file_systems_are_those_of_pyarrow(grid):
    pytest.importorskip("pyarrow")
    assert grid.filesystem.type_name == grid[0].filesystem.type_name == "local"
    assert Result.from_path(grid[0].path, storage_filesystem=grid.filesystem).error is None


def test_missing_pyarrow_is_said_with_the_remedy(grid, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.fs", None)
    for owner in (grid, grid[0]):
        with pytest.raises(ImportError, match=r"pip install .ctune\[storage\]"):
            owner.filesystem  # noqa: B018


# --- from a directory ---


def test_a_result_from_a_directory_tells_the_same(grid):
    for result in grid:
        read = Result.from_path(result.path)
        assert repr(read) == repr(result)
        assert read.metrics_dataframe.equals(result.metrics_dataframe)
        assert [c for c, _ in read.best_checkpoints] == [c for c, _ in result.best_checkpoints]
        got = [metrics["training_iteration"] for _, metrics in read.best_checkpoints]
        assert got == [metrics["training_iteration"] for _, metrics in result.best_checkpoints]
        assert read.config == result.config


def test_a_directory_with_a_table_only_is_enough(copied):
    whole = Result.from_path(copied)
    os.remove(copied / "result.json")
    read = Result.from_path(str(copied))
    assert read.metrics["loss"] == whole.metrics["loss"]
    assert read.metrics["deep"] == {"m": -2}
    assert len(read.metrics_dataframe) == 3
    assert read.get_best_checkpoint("loss", "max") == whole.checkpoint


def test_checkpoints_that_no_result_tells_of_have_what_they_know_themselves(copied):
    shutil.copytree(copied / "checkpoint_000000", copied / "checkpoint_000007")
    (checkpoint, metrics) = Result.from_path(copied).best_checkpoints[-1]
    assert checkpoint.path == str(copied / "checkpoint_000007")
    assert metrics["training_iteration"] == 1
    for folder in copied.glob("checkpoint_*"):
        shutil.rmtree(folder)
    assert Result.from_path(copied).best_checkpoints == []
    assert Result.from_path(copied).checkpoint is None


def test_a_directory_of_no_trial_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match=f"no directory {tmp_path}/nothing"):
        Result.from_path(tmp_path / "nothing")
    (tmp_path / "params.json").write_text("{}")
    with pytest.raises(RuntimeError, match=re.escape(f"{tmp_path} has neither result.json")):
        Result.from_path(tmp_path)
    with pytest.raises(TypeError, match="storage_filesystem"):
        Result.from_path(tmp_path, storage_filesystem=object())


def test_the_text_of_an_error_stands_in_for_an_exception_that_is_lost(grid, tmp_path):
    folder = Path(shutil.copytree(grid[2].path, tmp_path / "failed"))
    assert str(Result.from_path(folder).error) == "it broke"
    (folder / "error.pkl").write_bytes(b"damaged")
    error = Result.from_path(folder).error
    assert isinstance(error, ctune.TuneError)
    assert "Failure # 1" in str(error) and "it broke" in str(error)
