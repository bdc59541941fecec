"""ExperimentAnalysis and Trial, on trials that were built by hand."""

import json
import math
import os
import pickle

import pytest

import ctune
from ctune import (
    Checkpoint,
    ExperimentAnalysis,
    PlacementGroupFactory,
    Trainable,
    TuneError,
    with_resources,
)
from ctune._storage import StorageContext
from ctune.experiment import Trial
from ctune.experiment.trial import ExportFormat
from ctune.registry import register_trainable

pandas = pytest.importorskip("pandas")


def statistics(values):
    def last(n):
        return sum(values[-n:]) / len(values[-n:])

    return {
        "max": max(values),
        "min": min(values),
        "avg": sum(values) / len(values),
        "last": values[-1],
        "last-5-avg": last(5),
        "last-10-avg": last(10),
    }


@pytest.fixture
def make(tmp_path):
    """Builds an analysis of trials with these losses, and their result files."""

    def build(*histories, **arguments):
        trials = []
        for number, losses in enumerate(histories):
            config = {"x": number, "nested": {"y": -number}}
            trial = Trial(
                "train",
                config=config,
                trial_id=f"t{number}",
                storage=StorageContext(str(tmp_path), "exp", f"dir{number}"),
            )
            trial.set_status(Trial.TERMINATED)
            trial.init_local_path()
            results = [
                {
                    "loss": loss,
                    "deep": {"m": i},
                    "training_iteration": i + 1,
                    "config": config,
                }
                for i, loss in enumerate(losses)
            ]
            with open(f"{trial.path}/result.json", "w") as f:
                f.writelines(json.dumps(r) + "\n" for r in results)
            if results:
                trial._last_result = results[-1]
                trial._metric_analysis = {"loss": statistics(losses)}
            trials.append(trial)
        return ExperimentAnalysis(str(tmp_path / "exp"), trials=trials, **arguments)

    return build


# --- the best ---


def test_the_best_by_default_metric_and_mode(make):
    analysis = make([3, 1], [2, 2], [9, 8], default_metric="loss", default_mode="min")
    assert analysis.best_trial is analysis.trials[0]
    assert analysis.best_config == {"x": 0, "nested": {"y": 0}}
    assert analysis.best_result["loss"] == 1
    assert list(analysis.best_dataframe["loss"]) == [3, 1]
    assert list(analysis.best_result_df["loss"]) == [1]
    assert list(analysis.best_result_df.index) == ["t0"]


@pytest.mark.parametrize(
    "member",
    ["best_trial", "best_config", "best_checkpoint", "best_result", "best_dataframe",
     "best_result_df"],
)  # fmt: skip
def test_the_best_needs_a_metric_and_a_mode(make, member):
    with pytest.raises(ValueError, match=f"metric.*{member}"):
        getattr(make([1], [2]), member)
    with pytest.raises(ValueError, match="mode"):
        getattr(make([1], [2], default_metric="loss"), member)


@pytest.mark.parametrize(
    ("scope", "mode", "number"),
    [
        ("last", "max", 2),
        ("last", "min", 0),
        ("all", "max", 0),
        ("all", "min", 1),
        ("avg", "max", 2),
        ("last-5-avg", "max", 2),
        ("last-10-avg", "min", 1),
    ],
)
def test_the_scope_chooses_which_values_count(make, scope, mode, number):
    histories = [9, 1, 1, 1, 1, 1, 1, 2], [0] * 4 + [3] * 4, [4] * 8
    analysis = make(*histories)
    assert analysis.get_best_trial("loss", mode, scope) is analysis.trials[number]
    assert analysis.get_best_config("loss", mode, scope)["x"] == number


def test_the_first_of_equals_is_the_best(make):
    analysis = make([2], [1], [1])
    assert analysis.get_best_trial("loss", "min") is analysis.trials[1]


def test_a_single_trial_is_the_best_without_questions(make):
    analysis = make([2])
    assert analysis.get_best_trial() is analysis.trials[0]
    assert analysis.get_best_trial("nope", "min") is analysis.trials[0]


def test_values_that_are_not_finite_are_left_out_unless_asked_for(make):
    analysis = make([math.nan], [math.inf], [1.0])
    best = analysis.get_best_trial("loss", "max")
    assert best is analysis.trials[2]
    best = analysis.get_best_trial("loss", "max", filter_nan_and_inf=False)
    assert best is analysis.trials[1]
    best = analysis.get_best_trial("loss", "min", filter_nan_and_inf=False)
    assert best is analysis.trials[2]


def test_nobody_with_the_metric_is_a_warning_and_none(make, caplog):
    analysis = make([1], [2])
    assert analysis.get_best_trial("speling", "max") is None
    assert "speling" in caplog.text
    assert analysis.get_best_config("speling", "max") is None


def test_bad_questions_are_refused(make):
    analysis = make([1], [2])
    for arguments, word in (
        ((), "metric"),
        (("loss",), "mode"),
        (("loss", "best"), "mode.*best"),
        (("loss", "min", "first"), "scope.*first"),
    ):
        with pytest.raises(ValueError, match=word):
            analysis.get_best_trial(*arguments)


# --- checkpoints ---


def test_best_and_last_checkpoints(make, caplog):
    analysis = make([1], [2], default_metric="loss", default_mode="min")
    trial = analysis.trials[0]
    trial._checkpoints = [
        ("/c0", {"loss": 3.0, "a": {"b": 1}, "training_iteration": 1}, 0),
        ("/c1", {"loss": 1.0, "a": {"b": 9}, "training_iteration": 2}, 1),
        ("/c2", {"loss": math.nan, "a": {"b": 5}, "training_iteration": 3}, 2),
    ]
    assert analysis.get_best_checkpoint(trial) == Checkpoint("/c1")
    assert analysis.best_checkpoint == Checkpoint("/c1")
    assert analysis.get_best_checkpoint(trial, "a/b", "min") == Checkpoint("/c0")
    assert analysis.get_last_checkpoint(trial) == Checkpoint("/c2")
    assert trial.checkpoint == Checkpoint("/c2")
    assert trial.latest_checkpoint_result.metrics["a"] == {"b": 5}
    assert not caplog.records
    assert analysis.get_best_checkpoint(trial, "nope") is None
    assert analysis.get_best_checkpoint(analysis.trials[1]) is None
    assert "nope" in caplog.text


# --- tables ---


def test_results_and_configs_by_trial(make):
    analysis = make([3, 1], [2])
    assert {k: v["loss"] for k, v in analysis.results.items()} == {"t0": 1, "t1": 2}
    assert list(analysis.results_df["loss"]) == [1, 2]
    assert list(analysis.results_df["deep/m"]) == [1, 0]
    assert list(analysis.results_df.index) == ["t0", "t1"]
    assert analysis.get_all_configs()["t1"] == {"x": 1, "nested": {"y": -1}}
    assert analysis.get_all_configs(prefix=True)["t1"] == {
        "config/x": 1,
        "config/nested/y": -1,
    }


def test_the_delimiter_of_the_table_comes_from_the_environment(make, monkeypatch):
    monkeypatch.setenv("TUNE_RESULT_DELIM", ".")
    assert "deep.m" in make([3]).results_df


def test_dataframe_has_a_row_per_trial(make):
    analysis = make([3, 1, 2], [5, 7])
    last = analysis.dataframe()
    assert list(last["loss"]) == [2, 7]
    assert list(last["config/nested/y"]) == [0, -1]
    assert list(last["logdir"]) == ["t0", "t1"]
    assert list(analysis.dataframe("loss", "min")["loss"]) == [1, 5]
    assert list(analysis.dataframe("loss", "max")["training_iteration"]) == [1, 2]


def test_dataframe_leaves_out_trials_without_a_number(make, caplog):
    frame = make([math.nan], [1.0]).dataframe("loss", "min")
    assert list(frame["logdir"]) == ["t1"]
    assert "t0" in caplog.text


def test_dataframe_takes_the_last_row_of_trials_without_the_metric(make):
    frame = make([3, 1], [2, 4]).dataframe("speling", "min")
    assert list(frame["loss"]) == [1, 4]


def test_a_trial_without_results_has_no_row(make):
    assert list(make([], [2]).dataframe()["logdir"]) == ["t1"]


def test_no_best_trial_is_an_error_where_something_of_it_is_asked_for(make):
    analysis = make([1], [2], default_metric="speling", default_mode="min")
    assert analysis.best_trial is None and analysis.best_config is None
    for member in ("best_checkpoint", "best_dataframe", "best_result_df"):
        with pytest.raises(ValueError, match="metric.*speling"):
            getattr(analysis, member)


def test_dataframe_refuses_a_mode_alone_or_unknown(make):
    with pytest.raises(ValueError, match="metric"):
        make([1]).dataframe(mode="min")
    with pytest.raises(ValueError, match="mode.*best"):
        make([1]).dataframe("loss", "best")


def test_csv_is_read_where_json_is_missing_and_nothing_is_a_warning(make, caplog):
    analysis = make([1], [2])
    first, second = (trial.path for trial in analysis.trials)
    for path in (first, second):
        with open(f"{path}/result.json", "w") as f:
            f.write("{broken\n")

    os.remove(f"{first}/result.json")
    with open(f"{first}/progress.csv", "w", newline="") as f:
        f.write("loss,training_iteration\r\n4.5,1\r\n")
    frames = analysis.trial_dataframes
    assert list(frames["t0"]["loss"]) == [4.5]
    assert frames["t1"].empty
    assert caplog.text.count("could not be read") == 1


def test_missing_pandas_is_said_with_the_remedy(make, monkeypatch):
    analysis = make([1])
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install .ctune\[analysis\]"):
        analysis.dataframe()


# --- construction ---


def test_construction_is_checked(tmp_path):
    with pytest.raises(ValueError, match="default_mode.*best"):
        ExperimentAnalysis("x", trials=[], default_mode="best")
    with pytest.raises(ValueError, match=f"{tmp_path}.*holds no experiment"):
        ExperimentAnalysis(str(tmp_path))
    with pytest.raises(TypeError, match="storage_filesystem"):
        ExperimentAnalysis("x", trials=[], storage_filesystem=object())
    assert ExperimentAnalysis("x", trials=[], default_mode="max").default_metric == ("_metric")


def test_an_analysis_can_be_pickled(make):
    analysis = make([1], [2], default_metric="loss", default_mode="max")
    copy = pickle.loads(pickle.dumps(analysis))
    assert copy.best_config == analysis.best_config
    assert copy.experiment_path == analysis.experiment_path


# --- trials outside of a run ---


def test_a_trial_alone_holds_what_it_was_given():
    trial = Trial("train", config={"a": 1}, trial_id="x1", experiment_tag="0_a=1")
    assert (trial.status, trial.config) == (Trial.PENDING, {"a": 1})
    assert str(trial) == repr(trial) == "train_x1"
    assert not trial.is_finished()
    assert trial.last_result == {} and trial.checkpoint is None
    trial.set_status(Trial.ERROR)
    trial.set_config({"a": 2})
    trial.set_experiment_tag("new")
    assert trial.is_finished()
    assert (trial.config, trial.experiment_tag) == ({"a": 2}, "new")
    assert len(Trial.generate_id()) == 8


def test_trials_are_equal_to_themselves_only():
    pair = [Trial("train", trial_id="x") for _ in range(2)]
    assert len(set(pair)) == 2
    assert pair[0] != pair[1]


PUBLIC = (
    "trainable_name trial_id config evaluated_params experiment_tag status stopping_criterion "
    "placement_group_factory log_to_file max_failures export_formats relative_logdir "
    "custom_trial_name custom_dirname restore_path storage run_metadata last_result "
    "metric_analysis metric_n_steps checkpoint latest_checkpoint_result local_path path "
    "local_experiment_path remote_experiment_path experiment_dir_name error_file "
    "pickled_error_file num_failures num_failures_after_restore node_ip checkpoint_freq "
    "checkpoint_at_end has_reported_at_least_once is_restoring is_saving"
).split()


def test_a_trial_has_its_public_attributes_alone_in_a_run_and_read_from_disk(tmp_path):
    ctune.init(executor="inline")
    live = ctune.run(
        lambda config: ctune.report({"loss": 1.0}), storage_path=tmp_path, verbose=0
    ).trials[0]
    for trial in (Trial("train"), live, Trial.from_directory(live.path, stub=True)):
        for name in PUBLIC:
            getattr(trial, name)


def test_a_trial_goes_through_json(tmp_path):
    trial = Trial(
        "train",
        config={"x": 1, "f": len, "n": {"a": None}},
        trial_id="t1",
        experiment_tag="0_x=1",
        evaluated_params={"x": 1},
        stopping_criterion={"loss": 3},
        max_failures=2,
        placement_group_factory=PlacementGroupFactory([{"CPU": 2}, {"GPU": 0.5}], "SPREAD"),
        trial_name_creator=lambda trial: "mine",
    )
    trial.set_status(Trial.RUNNING)
    trial.num_failures = 1
    state, run = trial.get_json_state()
    copy = Trial.from_json_state(state, stub=True)
    copy.restore_run_metadata(run)
    assert copy.status == Trial.PENDING  # nobody runs it
    assert str(copy) == "mine"
    for name in ("config", "trial_id", "experiment_tag", "evaluated_params", "max_failures",
                 "stopping_criterion", "placement_group_factory", "num_failures"):  # fmt: skip
        assert getattr(copy, name) == getattr(trial, name), name
    with pytest.raises(TuneError, match="train"):
        Trial.from_json_state(state)
    with pytest.raises(ValueError, match="json_state"):
        Trial.from_json_state("[]")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}.*result.json"):
        Trial.from_directory(tmp_path)


def test_a_subclass_that_skips_the_constructor_works():
    class Mock(Trial):
        def __init__(self, number):
            self.trial_id = str(number)
            self.trainable_name = "mock"
            self.config = {}
            self.status = Trial.RUNNING

    mock = Mock(3)
    assert str(mock) == "mock_3"
    assert {mock: 1}[mock] == 1
    assert mock.last_result == {} and mock.path is None
    with pytest.raises(AttributeError, match="nothing"):
        getattr(mock, "nothing")  # noqa: B009


def test_names_show_the_environment_and_no_slash():
    class Env:
        pass

    assert str(Trial("a/b", trial_id="1", config={"env": "e/f"})) == "a_b_e_f_1"
    assert str(Trial("a", trial_id="1", config={"env": Env})) == "a_Env_1"
    named = Trial("a", trial_name_creator=lambda trial: "mine")
    assert str(named) == "mine"


def test_directory_names_are_made_of_name_and_tag(tmp_path):
    trial = Trial("train", trial_id="1", experiment_tag="0_a=(1)/2")
    assert trial.relative_logdir.startswith("train_1_0_a=_1__2_20")
    long = Trial("train", trial_id="1", experiment_tag="x" * 300)
    assert len(long.relative_logdir) == 130 + 20
    with pytest.raises(ValueError, match="trial_dirname_creator.*a/b"):
        Trial("train", trial_dirname_creator=lambda trial: "a/b")


def test_should_stop_compares_with_the_criterion():
    trial = Trial("train", stopping_criterion={"a/b": 3})
    assert trial.should_stop({"a/b": 3})
    assert not trial.should_stop({"a/b": 2})
    assert trial.should_stop({"done": True})
    with pytest.raises(TuneError, match="'a/b'.*c"):
        trial.should_stop({"c": 1})


def test_resources_of_a_running_trial_stay():
    trial = Trial("train")
    trial.update_resources({"cpu": 2})
    assert trial.placement_group_factory.required_resources == {"CPU": 2.0}
    trial.set_status(Trial.RUNNING)
    with pytest.raises(ValueError, match="resources.*RUNNING"):
        trial.update_resources({"cpu": 3})


def test_errors_of_a_trial_are_read_from_its_files(tmp_path):
    trial = Trial("train")
    assert trial.get_error() is None
    trial._error_file = str(tmp_path / "error.txt")
    (tmp_path / "error.txt").write_text("it broke")
    assert trial.get_error() == "it broke"
    assert trial.get_pickled_error() is None
    (tmp_path / "error.pkl").write_bytes(pickle.dumps(KeyError("mine")))
    assert isinstance(trial.get_pickled_error(), KeyError)


def test_a_trial_finds_its_class_by_name():
    class Mine(Trainable):
        pass

    register_trainable("mine-of-trial", Mine)
    assert Trial("mine-of-trial").get_trainable_cls() is Mine
    assert Trial("mine-of-trial", stub=True).get_trainable_cls() is None
    assert with_resources(Mine, {"cpu": 1}) is not Mine


def test_what_is_gone_says_so():
    for name in ("logdir", "init_logdir"):
        with pytest.raises(DeprecationWarning, match="path"):
            value = getattr(Trial("train"), name)
            value()
    ExportFormat.validate(["onnx"])
    with pytest.raises(TuneError, match="tiff"):
        ExportFormat.validate(["tiff"])
