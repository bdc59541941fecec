"""Experiment trackers: each with its own library, offline. See `make test-all`."""

import glob
import json
import logging
import os
import pickle
import struct
import sys
import threading
import time
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

import ctune as tune
from ctune.air.integrations.comet import CometLoggerCallback
from ctune.air.integrations.mlflow import MLflowLoggerCallback, setup_mlflow
from ctune.air.integrations.wandb import WandbLoggerCallback, setup_wandb
from ctune.logger._background import Background, Target, settled
from ctune.logger.aim import AimLoggerCallback


@pytest.fixture
def run(tmp_path, request):
    tune.shutdown()
    tune.init(executor=getattr(request, "param", "inline"), num_cpus=2)

    def call(trainable, **arguments):
        arguments = {"storage_path": tmp_path, "name": "exp", "verbose": 0, **arguments}
        return tune.run(trainable, **arguments)

    yield call
    tune.shutdown()


class Job(tune.Trainable):
    """Three results; with config["fail"] an error after two."""

    def step(self):
        i = self.iteration
        if self.config.get("fail") and i == 2:
            raise RuntimeError("on purpose")
        return {
            "loss": self.config["x"] / (i + 1),
            "nested": {"acc": i},
            "text": "words",
            "done": i == 2,
        }

    def save_checkpoint(self, folder):
        with open(os.path.join(folder, "model.txt"), "w") as file:
            file.write(f"model {self.iteration}")

    def load_checkpoint(self, folder):
        pass


SPACE = {"x": tune.grid_search([1.0, 2.0]), "net": {"width": 8, "kind": "cnn"}}
LOSSES = {1.0: [1.0, 0.5, 1 / 3], 2.0: [2.0, 1.0, 2 / 3]}


# --- the thread ---


class Gathered(Target):
    def __init__(self, made=None):
        self.told = [] if made is None else made

    def note(self, value):
        if value == "bad":
            raise ValueError("bad value")
        self.told.append(value)

    def flush(self):
        if self.told and self.told[-1] != "flush":
            self.told.append("flush")

    def close(self):
        self.told.append("close")


def test_messages_are_carried_out_in_order_and_the_end_waits():
    told = []
    background = Background("Notes", lambda: Gathered(told))
    for i in range(3000):
        background.send("note", i)
    assert background.end()
    assert [t for t in told if isinstance(t, int)] == list(range(3000))
    assert told[-2:] == ["flush", "close"]
    background.send("note", "again")  # begins anew
    assert background.end()
    assert told[-3:] == ["again", "flush", "close"]
    assert background.end()


def test_what_goes_wrong_is_logged_once_and_the_rest_is_carried_out(caplog):
    told = []
    background = Background("Notes", lambda: Gathered(told))
    for value in ("bad", 1, "bad", 2):
        background.send("note", value)
    background.end()
    assert [t for t in told if isinstance(t, int)] == [1, 2]
    assert caplog.text.count("Notes could not be written; the run goes on") == 1
    assert caplog.text.count("ValueError: bad value") == 1

    def fail():
        raise OSError("no such server")

    broken = Background("Notes", fail)
    for i in range(5):
        broken.send("note", i)
    broken.end()
    assert caplog.text.count("OSError: no such server") == 1


def test_the_end_waits_no_longer_than_it_may():
    go = threading.Event()

    class Slow(Target):
        def wait(self):
            go.wait(60)

    background = Background("Notes", Slow)
    background.send("wait")
    assert not background.end(timeout_s=0.01)
    go.set()
    assert background.end()


def test_a_full_queue_makes_the_run_wait(monkeypatch):
    from ctune.logger import _background

    monkeypatch.setattr(_background, "_MOST_WAITING", 10)
    told = []
    background = Background("Notes", lambda: Gathered(told))
    for i in range(200):
        background.send("note", i)
        assert background._messages.qsize() <= 10
    background.end()
    assert [t for t in told if isinstance(t, int)] == list(range(200))


def test_a_background_can_be_copied():
    copied = pickle.loads(pickle.dumps(Background("Notes", Gathered)))
    copied.send("note", 1)
    assert copied.end()


def test_a_settled_result_does_not_change_with_the_original():
    result = {"a": 1, "d": {"l": [1, [2]], "x": np.arange(3)}, "o": object()}
    kept = settled(result)
    result["d"]["l"][1].append(3)
    result["d"]["x"][:] = 9
    result["d"]["new"] = 1
    assert kept["d"]["l"] == [1, [2]]
    assert kept["d"]["x"].tolist() == [0, 1, 2]
    assert list(kept["d"]) == ["l", "x"]
    assert kept["o"] is result["o"]


# --- without the libraries ---


@pytest.mark.parametrize(
    "library, make, error",
    [
        ("mlflow", MLflowLoggerCallback, ImportError),
        ("mlflow", setup_mlflow, RuntimeError),
        ("wandb", WandbLoggerCallback, RuntimeError),
        ("wandb", setup_wandb, RuntimeError),
        ("comet_ml", CometLoggerCallback, RuntimeError),
        ("aim", AimLoggerCallback, AssertionError),
    ],
)
def test_a_missing_library_is_named_with_what_to_install(monkeypatch, library, make, error):
    monkeypatch.setitem(sys.modules, library, None)
    extra = {"comet_ml": "comet"}.get(library, library)
    with pytest.raises(error, match=rf'pip install "ctune\[{extra}\]"'):
        make()


# --- MLflow ---


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    yield mlflow
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


@pytest.fixture(params=["file", "sqlite"])
def store(request, tmp_path, mlflow):
    if request.param == "sqlite":
        pytest.importorskip("sqlalchemy")
        return f"sqlite:///{tmp_path}/mlflow.db"
    return f"file:{tmp_path}/mlruns"


def runs_of(uri, experiment):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id])
    return client, {run.data.params["x"]: run for run in runs}


@pytest.mark.slow
def test_mlflow_has_a_run_for_each_trial(run, store, caplog):
    logger = MLflowLoggerCallback(store, experiment_name="jobs", tags={"team": "a"})
    trials = run(Job, config=SPACE, callbacks=[logger]).trials
    client, runs = runs_of(store, "jobs")
    assert set(runs) == {"1.0", "2.0"}
    for trial in trials:
        x = trial.config["x"]
        found = runs[str(x)]
        assert found.info.status == "FINISHED"
        assert found.info.run_name == str(trial)
        assert found.data.tags["team"] == "a"
        assert found.data.tags["trial_name"] == str(trial)
        params = {"x": str(x), "net/width": "8", "net/kind": "cnn"}
        assert found.data.params == params
        history = client.get_metric_history(found.info.run_id, "loss")
        points = sorted((point.step, point.value) for point in history)
        assert points == [(i + 1, pytest.approx(loss)) for i, loss in enumerate(LOSSES[x])]
        assert found.data.metrics["nested/acc"] == 2.0
        assert found.data.metrics["config/x"] == x
        assert "text" not in found.data.metrics and "date" not in found.data.metrics
    assert "could not be written" not in caplog.text


@pytest.mark.slow
def test_mlflow_is_told_of_failures_and_stores_files(run, mlflow, tmp_path):
    store = f"file:{tmp_path}/mlruns"
    logger = MLflowLoggerCallback(store, experiment_name="jobs", save_artifact=True)
    config = {"x": 1.0, "fail": True}
    run(Job, config=config, callbacks=[logger], raise_on_failed_trial=False, max_failures=1)
    client, runs = runs_of(store, "jobs")
    (found,) = runs.values()  # the second attempt is the same trial
    assert found.info.status == "FAILED"
    files = {artifact.path for artifact in client.list_artifacts(found.info.run_id)}
    assert files >= {"result.json", "params.json", "error.txt"}


@pytest.mark.slow
def test_mlflow_finds_its_experiment_or_says_what_is_missing(run, mlflow, tmp_path, monkeypatch):
    store = f"file:{tmp_path}/mlruns"
    with pytest.raises(ValueError, match=r"experiment_name.*to make one"):
        run(Job, config={"x": 1.0}, callbacks=[MLflowLoggerCallback(store)])
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by name")
    run(Job, config={"x": 1.0}, callbacks=[MLflowLoggerCallback(store, tracking_token="t")])
    assert os.environ.pop("MLFLOW_TRACKING_TOKEN") == "t"
    assert len(runs_of(store, "by name")[1]) == 1
    number = mlflow.get_experiment_by_name("by name").experiment_id
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", number)
    run(Job, config={"x": 2.0}, callbacks=[MLflowLoggerCallback(store, experiment_name="new")])
    assert set(runs_of(store, "by name")[1]) == {"1.0", "2.0"}
    assert mlflow.get_experiment_by_name("new") is None


@pytest.mark.slow
def test_a_name_that_mlflow_refuses_costs_only_itself(run, mlflow, tmp_path, caplog):
    store = f"file:{tmp_path}/mlruns"

    def train(config):
        tune.report({"good": 1.0, "bad?*": 2.0, "other": 3.0})

    run(train, config={"x": 1}, callbacks=[MLflowLoggerCallback(store, experiment_name="e")])
    (found,) = runs_of(store, "e")[1].values()
    assert found.data.metrics["good"] == 1.0 and found.data.metrics["other"] == 3.0
    assert found.info.status == "FINISHED"
    assert caplog.text.count("MLflow's runs could not be written") == 1


@pytest.mark.slow
@pytest.mark.parametrize("run", ["process"], indirect=True)
@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("kind", ["class", "function"])
def test_a_trial_sets_mlflow_up_for_itself(run, mlflow, tmp_path, kind, reuse):
    store = f"file:{tmp_path}/mlruns"

    def begin(config, **arguments):
        arguments |= {"tracking_uri": store, "tags": {"a": "b"}, "experiment_name": "own"}
        return setup_mlflow(config, **arguments)

    class Own(Job):
        def setup(self, config):
            self.mlflow = begin(config, run_name=self.trial_name)

        def reset_config(self, config):
            self.mlflow.end_run()
            self.setup(config)
            return True

        def step(self):
            result = super().step()
            self.mlflow.log_metric("mine", result["loss"], step=self.iteration)
            return result

    def train(config):
        mine = begin(config, run_name=tune.get_context().get_trial_name())
        for i in range(3):
            mine.log_metric("mine", 1.0, step=i)
            tune.report({"loss": i})

    mlflow.set_tracking_uri(store)
    mlflow.create_experiment("own")
    config = {"x": tune.grid_search([1.0, 2.0, 3.0])}
    job = Own if kind == "class" else train
    trials = run(job, config=config, reuse_actors=reuse).trials
    client, runs = runs_of(store, "own")
    assert set(runs) == {"1.0", "2.0", "3.0"}
    for trial in trials:
        found = runs[str(trial.config["x"])]
        assert found.info.run_name == str(trial) and found.data.tags["a"] == "b"
        history = client.get_metric_history(found.info.run_id, "mine")
        assert [point.step for point in history] == [0, 1, 2]


@pytest.mark.slow
def test_mlflow_is_set_up_outside_of_trials_too(mlflow, tmp_path):
    store = f"file:{tmp_path}/mlruns"
    with pytest.raises(ValueError, match="create_experiment_if_not_exists=True"):
        setup_mlflow(tracking_uri=store, experiment_name="none")
    arguments = {"tracking_uri": store, "create_experiment_if_not_exists": True}
    module = setup_mlflow({"x": 1}, experiment_name="made", **arguments)
    assert module is mlflow and mlflow.active_run().data.tags["mlflow.runName"] == "made"
    active = mlflow.active_run().info.run_id
    setup_mlflow({"y": 1}, experiment_name="made", **arguments)
    assert mlflow.active_run().info.run_id == active


# --- Weights & Biases ---


@pytest.fixture
def wandb(monkeypatch):
    wandb = pytest.importorskip("wandb")
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield wandb
    wandb.teardown()


def frames(data):
    """The records of wandb's file, which is a log of LevelDB behind a header of 7 bytes."""
    block, whole, at = 32768, b"", 7
    while at + 7 <= len(data):
        if block - at % block < 7:  # too short for a header: padding
            at += block - at % block
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""


def records(folder):
    """What an offline run holds: config, history and artifacts, as wandb wrote them.

    A process of wandb's own writes the file; it may be a moment behind the run's end.
    """
    deadline = time.monotonic() + 60
    while not (found := written(folder))["ended"]:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def written(folder):
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = glob.glob(f"{glob.escape(str(folder))}/wandb/offline-run-*/run-*.wandb")
    with open(path, "rb") as file:
        data = file.read()
    found = {"config": {}, "history": [], "run": None, "artifacts": [], "ended": False}
    for frame in frames(data):
        record = Record()
        record.ParseFromString(frame)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"] = found["run"] or record.run
        if kind in ("run", "config"):
            for item in (record.run.config if kind == "run" else record.config).update:
                key = item.key or "/".join(item.nested_key)
                found["config"][key] = json.loads(item.value_json)
        if kind == "history":
            row = {i.key or "/".join(i.nested_key): i.value_json for i in record.history.item}
            found["history"].append({key: json.loads(text) for key, text in row.items()})
        found["ended"] |= kind == "exit"
        if kind == "artifact":
            found["artifacts"].append(record.artifact)
        if kind == "request" and record.request.HasField("log_artifact"):
            found["artifacts"].append(record.request.log_artifact.artifact)
    return found


@pytest.mark.slow
def test_wandb_has_a_run_for_each_trial(run, wandb, caplog, capfd):
    logger = WandbLoggerCallback(project="jobs", excludes=["net", "nested/acc"], tags=["t"])
    trials = run(Job, config=SPACE, callbacks=[logger]).trials
    for trial in trials:
        found = records(trial.path)
        x = trial.config["x"]
        facts = found["run"]
        assert (facts.run_id, facts.display_name) == (trial.trial_id, str(trial))
        assert (facts.project, facts.run_group, list(facts.tags)) == ("jobs", "exp", ["t"])
        config = found["config"]
        assert config["x"] == x and config["trial_log_path"] == trial.local_path
        assert config["trial_id"] == trial.trial_id and "date" in config
        assert [row["loss"] for row in found["history"]] == pytest.approx(LOSSES[x])
        keys = {key for row in found["history"] for key in row}
        assert not keys & {"nested/acc", "done", "text", "trial_id", "config/x"}
        assert {"training_iteration", "time_total_s"} <= keys
    assert "could not be written" not in caplog.text


@pytest.mark.slow
def test_wandb_stores_checkpoints_and_arrays(run, wandb, caplog):
    class Pictures(Job):
        def step(self):
            result = super().step()
            picture = np.zeros((4, 4, 3), np.uint8)
            more = {"picture": picture, "pictures": np.stack([picture] * 2), "one": np.array([7])}
            return {**result, **more}

    with pytest.warns(DeprecationWarning, match="upload_checkpoints"):
        logger = WandbLoggerCallback(project="jobs", save_checkpoints=True, log_config=True)
    often = tune.CheckpointConfig(checkpoint_frequency=2)
    config = {"x": 1.0, "function": os.getcwd}
    (trial,) = run(Pictures, config=config, callbacks=[logger], checkpoint_config=often).trials
    found = records(trial.path)
    (artifact,) = found["artifacts"]
    assert (artifact.name, artifact.type) == (f"checkpoint_{trial}", "model")
    assert "model.txt" in {entry.path for entry in artifact.manifest.contents}
    row = found["history"][0]
    assert row["picture/_type"] == "image-file"
    assert row["pictures/_type"] == "images/separated"
    assert row["config/x"] == 1.0
    assert found["config"]["function"] == str(os.getcwd)
    assert "could not be written" not in caplog.text


def a_key():
    return "from a hook"


def a_place():
    os.environ["WANDB_PROJECT_NAME"] = "of the hook"


def an_error():
    raise OSError("no vault")


@pytest.mark.slow
def test_wandb_needs_a_key_and_a_project(wandb, monkeypatch, tmp_path, caplog):
    import ctune.air.integrations.wandb as ours

    monkeypatch.setitem(sys.modules, "hooks_of_a_test", sys.modules[__name__])
    with pytest.raises(ValueError, match=r"WandbLoggerCallback\(project="):
        WandbLoggerCallback().setup()
    monkeypatch.setenv("WANDB_POPULATE_RUN_LOCATION_HOOK", "hooks_of_a_test.a_place")
    monkeypatch.setenv("WANDB_GROUP_NAME", "a group")
    logger = WandbLoggerCallback()
    logger.setup()
    assert (logger.project, logger.group) == ("of the hook", "a group")
    monkeypatch.delenv("WANDB_PROJECT_NAME")

    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(type(wandb.api), "api_key", None)  # nobody is logged in
    with pytest.raises(ValueError, match=r"WANDB_MODE=offline"):
        ours._set_api_key(None, None)
    monkeypatch.setenv("WANDB_SETUP_API_KEY_HOOK", "hooks_of_a_test.an_error")
    with pytest.raises(ValueError, match=r"WANDB_MODE=offline"):
        ours._set_api_key(None, None)
    assert "no vault" in caplog.text
    monkeypatch.setenv("WANDB_SETUP_API_KEY_HOOK", "hooks_of_a_test.a_key")
    ours._set_api_key(None, None)
    assert os.environ.pop("WANDB_API_KEY") == "from a hook"
    (tmp_path / "key").write_text("from a file\nmore\n")
    ours._set_api_key(str(tmp_path / "key"), None)
    assert os.environ.pop("WANDB_API_KEY") == "from a file"
    with pytest.raises(ValueError, match="not both"):
        ours._set_api_key(str(tmp_path / "key"), "and a key")
    ours._set_api_key(None, "a key")
    assert os.environ.pop("WANDB_API_KEY") == "a key"


@pytest.mark.slow
@pytest.mark.parametrize("run", ["process"], indirect=True)
def test_a_trial_sets_wandb_up_for_itself(run, wandb):
    def train(config):
        own = setup_wandb(config, project="own", dir=".")
        for i in range(3):
            own.log({"mine": config["x"] + i})
            tune.report({"loss": i})
        own.finish()

    for trial in run(train, config=SPACE).trials:
        found = records(trial.path)
        facts = found["run"]
        assert (facts.run_id, facts.display_name) == (trial.trial_id, str(trial))
        assert (facts.project, facts.run_group) == ("own", "exp")
        x = trial.config["x"]
        assert found["config"]["x"] == x and found["config"]["net"]["width"] == 8
        assert [row["mine"] for row in found["history"]] == [x, x + 1, x + 2]


# --- Comet ---


@pytest.fixture
def comet(monkeypatch):
    pytest.importorskip("comet_ml")
    for name in list(os.environ):
        if name.startswith("COMET_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COMET_DISABLE_AUTO_LOGGING", "1")


def archives(folder):
    """What offline experiments hold: name -> type -> messages."""
    found = {}
    for path in glob.glob(f"{folder}/*.zip"):
        with zipfile.ZipFile(path) as archive:
            lines = archive.read("messages.json").decode().splitlines()
        kinds = {}
        for line in lines:
            message = json.loads(line)
            kinds.setdefault(message["type"], []).append(message["payload"])
        others = {m["key"]: m["value"] for m in kinds["log_other"] if "key" in m}
        found[others["Name"]] = kinds
    return found


@pytest.mark.slow
def test_comet_has_an_archive_for_each_trial(run, comet, tmp_path, caplog):
    logger = CometLoggerCallback(
        online=False,
        tags=["t"],
        offline_directory=str(tmp_path / "comet"),
        project_name="jobs",
        log_env_details=False,  # Comet would ask the network for this machine's address
    )
    trials = run(Job, config=SPACE, callbacks=[logger]).trials
    found = archives(tmp_path / "comet")
    assert set(found) == {str(trial) for trial in trials}
    for trial in trials:
        kinds = found[str(trial)]
        text = json.dumps(kinds)
        metrics = [m["metric"] for m in kinds["metric_msg"]]
        losses = [(m["step"], m["metricValue"]) for m in metrics if m["metricName"] == "loss"]
        expected = LOSSES[trial.config["x"]]
        assert losses == [(i + 1, pytest.approx(loss)) for i, loss in enumerate(expected)]
        assert "nested/acc" in text and "net/width" in text and trial.trial_id in text
        assert not {m["metricName"] for m in metrics} & {"done", "pid", "trial_id", "text"}
        assert "words" in [m.get("value") for m in kinds["log_other"]]
    assert "could not be written" not in caplog.text


@pytest.mark.slow
def test_comet_stores_checkpoints_as_artifacts(comet, tmp_path):
    """Artifacts need Comet's servers: only the experiment is a stand-in here."""
    from ctune.air.integrations import comet as ours

    with pytest.raises(ValueError, match="online=True"):
        CometLoggerCallback(online=False, save_checkpoints=True)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "model.txt").write_text("model")
    sent = []
    experiments = ours._Experiments(False, [], {})
    experiments._open["t"] = SimpleNamespace(log_artifact=sent.append)
    experiments.save("t", "job_1", str(tmp_path))
    (artifact,) = sent
    assert (artifact.name, artifact.artifact_type) == ("checkpoint_job_1", "model")
    assert [asset.logical_path for asset in artifact.assets] == ["deep/model.txt"]


@pytest.mark.slow
def test_comet_needs_a_key_online(comet, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match="COMET_API_KEY"):
        CometLoggerCallback().setup()
    CometLoggerCallback(api_key="k").setup()
    CometLoggerCallback(online=False).setup()


# --- Aim ---


@pytest.mark.slow
def test_aim_has_a_run_for_each_trial(run, tmp_path, caplog):
    pytest.importorskip("aim")
    from aim.sdk import Repo
    from aim.sdk.index_manager import RepoIndexManager

    with pytest.raises(ValueError, match="metrics"):
        AimLoggerCallback(metrics=[])
    space = {**SPACE, "w": tune.choice([np.int64(3)])}
    logger = AimLoggerCallback(repo=str(tmp_path / "aim"))
    few = AimLoggerCallback(metrics=["loss"], experiment_name="few")
    trials = run(Job, config=space, callbacks=[logger, few]).trials
    by_id = {trial.trial_id: trial for trial in trials}

    def read(folder):
        repo = Repo.from_path(str(folder))
        for run_hash in repo.list_all_runs():  # as `aim up` does
            RepoIndexManager.get_index_manager(repo).index(run_hash)
        return {each["trial_id"]: each for each in repo.iter_runs()}

    everything, some = read(tmp_path / "aim"), read(tmp_path / "exp")
    assert set(everything) == set(some) == set(by_id)
    for trial_id, trial in by_id.items():
        found = everything[trial_id]
        assert found.experiment == "exp" and some[trial_id].experiment == "few"
        assert found["trial_log_dir"] == trial.path
        assert found["hparams"] == {"x": trial.config["x"], "w": 3}
        metrics = {metric.name: metric for metric in found.metrics()}
        frame = metrics["ray/tune/loss"].dataframe().sort_values("step")
        assert frame["step"].tolist() == [1, 2, 3]
        assert frame["value"].tolist() == pytest.approx(LOSSES[trial.config["x"]])
        assert "ray/tune/nested/acc" in metrics and "ray/tune/pid" not in metrics
        assert [metric.name for metric in some[trial_id].metrics()] == ["ray/tune/loss"]
    assert "could not be written" not in caplog.text


# --- all of them ---


@pytest.mark.slow
def test_the_run_does_not_wait_for_a_slow_tracker(run, wandb, monkeypatch, caplog):
    from ctune.air.integrations import wandb as ours

    ended = threading.Event()
    original = ours._Runs.result

    def slow(self, *arguments):
        assert ended.wait(60)  # not before the trial's end: so the trial cannot have waited
        original(self, *arguments)

    monkeypatch.setattr(ours._Runs, "result", slow)

    class Watch(tune.Callback):
        def on_trial_complete(self, **info):
            ended.set()

    caplog.set_level(logging.ERROR, "ctune")
    callbacks = [WandbLoggerCallback(project="jobs"), Watch()]
    (trial,) = run(Job, config={"x": 1.0}, callbacks=callbacks).trials
    assert len(records(trial.path)["history"]) == 3
    assert not caplog.records
