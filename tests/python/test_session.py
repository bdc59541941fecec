"""report(), get_checkpoint(), get_context() and checkpoints, without a run."""

import copy
import json
import os
import pickle
import sys
import threading
import types

import pytest

import ctune as tune
from ctune import Checkpoint, _session
from ctune._session import TrialInfo
from ctune.result import TRIAL_INFO
from ctune.trainable import Trainable, wrap_function


def started(function, tmp_path, **more):
    info = TrialInfo(
        trial_id="abc_00000",
        trial_name="f_abc_00000",
        trial_dir=str(tmp_path / "exp" / "trial"),
        experiment_name="exp",
        **more,
    )
    os.makedirs(info.trial_dir, exist_ok=True)
    return wrap_function(function)({TRIAL_INFO: info}), info


def write(directory, text):
    directory.mkdir(exist_ok=True)
    (directory / "model").write_text(text)
    return Checkpoint.from_directory(str(directory))


# --- report ---


def test_report_adds_the_time_unless_the_user_gave_one(tmp_path):
    def train(config):
        tune.report({"a": 1})
        tune.report({"timestamp": 5})

    trainable, _ = started(train, tmp_path)
    assert isinstance(trainable.step()["timestamp"], int)
    assert trainable.step()["timestamp"] == 5


def test_report_does_not_change_the_users_dict(tmp_path):
    metrics = {"a": 1}
    trainable, _ = started(lambda config: tune.report(metrics), tmp_path)
    trainable.step()
    assert metrics == {"a": 1}


@pytest.mark.parametrize("metrics", [None, 3, [("a", 1)]])
def test_report_takes_dicts_only(metrics, tmp_path):
    trainable, _ = started(lambda config: tune.report(metrics), tmp_path)
    with pytest.raises(TypeError, match="metrics.*dict"):
        trainable.step()


def test_report_refuses_tensors_by_name(tmp_path, monkeypatch):
    class Tensor:
        pass

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(Tensor=Tensor))
    trainable, _ = started(lambda config: tune.report({"a": {"b": Tensor()}}), tmp_path)
    with pytest.raises(ValueError, match="a/b.*tensor"):
        trainable.step()


def test_a_reported_checkpoint_is_copied_before_report_returns(tmp_path):
    def train(config):
        for i in range(2):
            tune.report({"i": i}, checkpoint=write(tmp_path / "mine", str(i)))
            (tmp_path / "mine" / "model").write_text("spoilt")

    trainable, info = started(train, tmp_path, checkpoint_index=4)
    for i in range(2):
        result = trainable.step()
        name = f"checkpoint_{4 + i:06d}"
        assert result["checkpoint_dir_name"] == name
        assert result["should_checkpoint"] is True
    trainable.step()
    for i in range(2):
        kept = os.path.join(info.trial_dir, f"checkpoint_{4 + i:06d}", "model")
        with open(kept) as f:
            assert f.read() == str(i)
    assert sorted(os.listdir(info.trial_dir)) == [
        "checkpoint_000004",
        "checkpoint_000005",
    ]


def test_get_checkpoint_is_the_latest_reported_or_restored_one(tmp_path):
    seen = []

    def train(config):
        seen.append(tune.get_checkpoint())
        tune.report({"a": 1}, checkpoint=write(tmp_path / "mine", "x"))
        seen.append(tune.get_checkpoint())

    trainable, info = started(train, tmp_path)
    trainable.step()
    trainable.step()
    kept = os.path.join(info.trial_dir, "checkpoint_000000")
    assert seen == [None, Checkpoint(kept)]
    again, _ = started(train, tmp_path)
    again.restore(kept)
    again.step()
    assert seen[2] == Checkpoint(kept)


def test_a_functions_checkpoint_carries_its_counters(tmp_path):
    def train(config):
        tune.report({"timesteps_this_iter": 5})
        tune.report({"timesteps_this_iter": 5}, checkpoint=write(tmp_path / "mine", "x"))

    trainable, info = started(train, tmp_path)
    trainable.train()
    last = trainable.train()
    again, _ = started(train, tmp_path)
    again.restore(os.path.join(info.trial_dir, last["checkpoint_dir_name"]))
    result = again.train()
    assert result["training_iteration"] == 3
    assert result["timesteps_total"] == 15
    assert result["time_total_s"] > again._time_since_restore


def test_bad_checkpoints_are_refused(tmp_path):
    for given, error in ((str(tmp_path), TypeError), (Checkpoint("/no"), ValueError)):
        trainable, info = started(
            lambda config, given=given: tune.report({"a": 1}, checkpoint=given), tmp_path
        )
        with pytest.raises(error, match="checkpoint"):
            trainable.step()
        assert os.listdir(info.trial_dir) == []


def test_report_from_a_thread_of_the_function_says_what_to_do(tmp_path):
    caught = []

    def other():
        try:
            tune.report({"a": 1})
        except RuntimeError as error:
            caught.append(str(error))

    def train(config):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    trainable, _ = started(train, tmp_path)
    trainable.step()
    assert "thread" in caught[0] and "queue" in caught[0]


def test_report_in_a_class_trainable_points_to_step():
    class Reports(Trainable):
        def step(self):
            tune.report({"a": 1})

    with pytest.raises(RuntimeError, match=r"step\(\)"):
        Reports().train()


# --- context ---


def test_the_context_tells_about_the_trial(tmp_path):
    got = {}

    def train(config):
        context = tune.get_context()
        got.update(
            id=context.get_trial_id(),
            name=context.get_trial_name(),
            dir=context.get_trial_dir(),
            experiment=context.get_experiment_name(),
            resources=context.get_trial_resources().required_resources,
            storage=context.get_storage().experiment_fs_path,
            rank=context.get_world_rank(),
            metadata=context.get_metadata(),
        )

    trainable, info = started(train, tmp_path, resources={"CPU": 2})
    trainable.step()
    assert got == {
        "id": "abc_00000",
        "name": "f_abc_00000",
        "dir": info.trial_dir,
        "experiment": "exp",
        "resources": {"CPU": 2.0},
        "storage": str(tmp_path / "exp"),
        "rank": None,
        "metadata": {},
    }


def test_the_context_works_in_class_trainables():
    class Asks(Trainable):
        def step(self):
            return {"id_": tune.get_context().get_trial_id()}

    info = TrialInfo(trial_id="x", trial_name="n")
    assert Asks({TRIAL_INFO: info}).train()["id_"] == "x"


def test_outside_of_a_trial_one_warning_and_none(caplog, monkeypatch):
    monkeypatch.setattr(_session, "_warned", set())
    monkeypatch.setattr(_session, "_functions_seen", False)
    for _ in range(2):
        assert tune.report({"a": 1}) is None
        assert tune.get_checkpoint() is None
        assert tune.get_context().get_trial_id() is None
        assert tune.get_context().get_storage() is None
        assert tune.get_context().get_trial_resources() is None
    assert len(caplog.records) == 3
    assert all("outside of a trial" in r.message for r in caplog.records)


# --- checkpoints ---


def test_a_checkpoint_gives_its_directory_without_copying(tmp_path):
    checkpoint = write(tmp_path / "c", "x")
    with checkpoint.as_directory() as path:
        assert path == checkpoint.path == str(tmp_path / "c")
    copied = checkpoint.to_directory(tmp_path / "copy")
    assert os.listdir(copied) == ["model"]
    other = checkpoint.to_directory()
    assert other != checkpoint.path
    assert os.listdir(other) == ["model"]


def test_metadata_is_kept_beside_the_files(tmp_path):
    checkpoint = write(tmp_path / "c", "x")
    assert checkpoint.get_metadata() == {}
    checkpoint.set_metadata({"a": 1})
    checkpoint.update_metadata({"b": 2})
    assert Checkpoint(checkpoint.path).get_metadata() == {"a": 1, "b": 2}
    with open(tmp_path / "c" / ".metadata.json") as f:
        assert json.load(f) == {"a": 1, "b": 2}


def test_checkpoints_compare_by_path_and_travel(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    assert repr(checkpoint) == f"Checkpoint(filesystem=local, path={tmp_path})"
    assert {checkpoint, Checkpoint(str(tmp_path))} == {checkpoint}
    for twin in (pickle.loads(pickle.dumps(checkpoint)), copy.deepcopy(checkpoint)):
        assert twin == checkpoint
    assert checkpoint != str(tmp_path)


def test_old_names_say_what_took_their_place(tmp_path):
    with pytest.raises(AttributeError, match="from_directory"):
        Checkpoint.from_dict({"a": 1})
    with pytest.raises(AttributeError, match="as_directory"):
        Checkpoint(tmp_path).to_dict()
    with pytest.raises(AttributeError, match="no_such"):
        getattr(Checkpoint(tmp_path), "no_such")  # noqa: B009
    with pytest.raises(TypeError, match="filesystem"):
        Checkpoint(tmp_path, filesystem=object())
