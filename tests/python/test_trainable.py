"""Trainables outside of a run: classes, functions, wrappers, names."""

import functools
import os
import pickle
import sys

import cloudpickle
import pytest

import ctune as tune
from ctune import Checkpoint, Trainable, TuneError
from ctune._session import TrialInfo
from ctune._storage import StorageContext
from ctune.execution.placement_groups import PlacementGroupFactory
from ctune.registry import (
    get_trainable_cls,
    is_function_trainable,
    register_env,
    register_input,
    register_trainable,
    registry_contains_input,
    registry_get_input,
    validate_trainable,
)
from ctune.result import TRIAL_INFO
from ctune.trainable import FunctionTrainable, wrap_function
from ctune.trainable.util import function_name
from ctune.utils import validate_save_restore


class Counter(Trainable):
    def setup(self, config):
        self.count = config.get("start", 0)
        self.seen = config
        self.cleaned = False

    def step(self):
        self.count += 1
        return {"count": self.count, "timesteps_this_iter": 10}

    def save_checkpoint(self, checkpoint_dir):
        return {"count": self.count}

    def load_checkpoint(self, checkpoint):
        self.count = checkpoint["count"]

    def reset_config(self, new_config):
        self.count = new_config.get("start", 0)
        return True

    def cleanup(self):
        self.cleaned = True


class FileCounter(Counter):
    def save_checkpoint(self, checkpoint_dir):
        with open(os.path.join(checkpoint_dir, "count"), "w") as f:
            f.write(str(self.count))

    def load_checkpoint(self, checkpoint):
        with open(os.path.join(checkpoint, "count")) as f:
            self.count = int(f.read())


def info(tmp_path, **more):
    return TrialInfo(
        trial_id="abc_00001",
        trial_name="train_abc_00001",
        trial_dir=str(tmp_path),
        experiment_name="exp",
        resources={"CPU": 2.0},
        **more,
    )


def stepped(function, config=None, tmp_path=None, **more):
    config = dict(config or {})
    if tmp_path is not None:
        config[TRIAL_INFO] = info(tmp_path, **more)
    return wrap_function(function)(config)


# --- classes ---


def test_setup_gets_a_deep_copy_without_reserved_keys(tmp_path):
    inner = {"start": 3, "list": [1]}
    trainable = Counter({**inner, TRIAL_INFO: info(tmp_path), "__stdout_file__": "x"})
    assert trainable.seen == inner
    assert trainable.seen["list"] is not inner["list"]
    assert trainable.config == inner
    assert trainable.get_config() is trainable.config


def test_result_holds_the_users_keys_then_the_automatic_ones():
    result = Counter({"start": 4}).train()
    assert list(result)[:2] == ["count", "timesteps_this_iter"]
    assert result["count"] == 5
    assert result["training_iteration"] == 1
    assert result["timesteps_total"] == 10
    assert result["done"] is False
    assert result["config"] == {"start": 4}
    assert result["trial_id"] == "default"


def test_identity_is_default_outside_of_a_run_and_the_trials_inside(tmp_path):
    outside = Counter()
    assert (outside.trial_id, outside.trial_name) == ("default", "default")
    assert outside.trial_resources is None
    inside = Counter({TRIAL_INFO: info(tmp_path)})
    assert inside.trial_id == "abc_00001"
    assert inside.trial_name == "train_abc_00001"
    assert inside.logdir == str(tmp_path)
    assert inside.trial_resources.required_resources == {"CPU": 2.0}
    assert inside.train()["trial_id"] == "abc_00001"


def test_logdir_outside_of_a_run_is_made_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    trainable = Counter()
    assert not (tmp_path / "ray_results").exists()
    assert os.path.isdir(trainable.logdir)
    assert trainable.logdir == trainable.logdir
    assert os.path.dirname(trainable.logdir) == str(tmp_path / "ray_results")


@pytest.mark.parametrize("cls", [Counter, FileCounter])
def test_saved_state_and_counters_come_back(cls, tmp_path):
    first = cls()
    for _ in range(3):
        first.train()
    saved = first.save(str(tmp_path / "ckpt"))
    assert saved.metrics["training_iteration"] == 3
    second = cls()
    second.restore(saved)
    result = second.train()
    assert (result["count"], result["training_iteration"]) == (4, 4)
    assert result["timesteps_total"] == 40
    assert result["iterations_since_restore"] == 1


def test_a_path_alone_carries_the_counters(tmp_path):
    first = FileCounter()
    first.train()
    first.train()
    path = first.save(str(tmp_path / "c")).checkpoint.path
    for given in (path, Checkpoint(path)):
        second = FileCounter()
        second.restore(given)
        assert second.iteration == second.training_iteration == 2
        assert second.count == 2


def test_restore_of_a_missing_directory_names_it(tmp_path):
    with pytest.raises(ValueError, match="checkpoint_path.*nowhere"):
        Counter().restore(str(tmp_path / "nowhere"))


def test_save_checkpoint_may_return_its_directory_only(tmp_path):
    class Returns(Counter):
        answer = None

        def save_checkpoint(self, checkpoint_dir):
            return self.answer or checkpoint_dir

    trainable = Returns()
    trainable.save(str(tmp_path / "a"))
    trainable.answer = "/elsewhere"
    with pytest.raises(ValueError, match="/elsewhere"):
        trainable.save(str(tmp_path / "b"))
    trainable.answer = 3
    with pytest.raises(ValueError, match="int"):
        trainable.save(str(tmp_path / "c"))


def test_missing_methods_are_named():
    with pytest.raises(NotImplementedError, match=r"Trainable.step\(\)"):
        Trainable().step()
    with pytest.raises(NotImplementedError, match="save_checkpoint"):
        Trainable().save()
    with pytest.raises(NotImplementedError, match="load_checkpoint"):
        Trainable().load_checkpoint({})


def test_a_result_that_is_no_dict_is_refused_with_its_value():
    class Bad(Trainable):
        def step(self):
            return 3

    with pytest.raises(TypeError, match="dict.*3"):
        Bad().train()


def test_reset_serves_a_new_trial_from_zero(tmp_path):
    trainable = Counter({"start": 1})
    trainable.train()
    assert trainable.reset({"start": 7, TRIAL_INFO: info(tmp_path)})
    result = trainable.train()
    assert (result["count"], result["training_iteration"]) == (8, 1)
    assert result["config"] == {"start": 7}
    assert result["trial_id"] == "abc_00001"


def test_reset_is_refused_by_default():
    class Plain(Trainable):
        def step(self):
            return {}

    trainable = Plain({"a": 1})
    assert trainable.reset({"a": 2}) is False
    assert trainable.config == {"a": 1}


def test_stop_calls_cleanup():
    trainable = Counter()
    trainable.stop()
    assert trainable.cleaned


def test_train_buffered_ends_at_a_checkpoint_or_when_full():
    assert len(Counter().train_buffered(60.0, 3)) == 3

    class Asks(Counter):
        def step(self):
            return {**super().step(), "should_checkpoint": self.count == 2}

    assert len(Asks().train_buffered(60.0)) == 2


def test_export_model_takes_one_or_several_formats(tmp_path):
    class Exports(Counter):
        def _export_model(self, formats, export_dir):
            return {f: f"{export_dir}/{f}" for f in formats}

    trainable = Exports({TRIAL_INFO: info(tmp_path)})
    assert trainable.export_model("onnx") == {"onnx": f"{tmp_path}/onnx"}
    assert list(trainable.export_model(["a", "b"], "/x")) == ["a", "b"]


def test_log_result_hears_each_finished_result():
    class Hears(Counter):
        heard = ()

        def log_result(self, result):
            self.heard += (result["training_iteration"],)

    trainable = Hears()
    trainable.train()
    trainable.train()
    assert trainable.heard == (1, 2)


def test_auto_filled_metrics_without_a_step():
    trainable = Counter({"a": 1})
    debug = trainable.get_auto_filled_metrics(debug_metrics_only=True)
    assert list(debug) == [
        "trial_id", "date", "timestamp", "pid", "hostname", "node_ip", "config"
    ]  # fmt: skip
    full = trainable.get_auto_filled_metrics(time_this_iter=2.0, timestamp=5)
    assert (full["time_this_iter_s"], full["timestamp"]) == (2.0, 5)
    assert trainable.get_current_ip_pid()[1] == os.getpid()


class Heard:
    """What logger_creator returns."""

    def __init__(self, config, logdir):
        self.config, self.logdir, self.calls = config, str(logdir), []

    def on_result(self, result):
        self.calls.append(result["count"])

    def flush(self):
        self.calls.append("flush")

    def close(self):
        self.calls.append("close")


def test_a_logger_creator_gives_the_directory_and_hears_results(tmp_path):
    made = []

    def creator(config):
        made.append(Heard(config, tmp_path / str(len(made))))
        return made[-1]

    trainable = Counter({"start": 3}, logger_creator=creator)
    assert made[0].config == {"start": 3}
    assert trainable.logdir == str(tmp_path / "0")
    trainable.train()
    assert trainable.reset({"start": 8}, logger_creator=creator)
    assert made[1].config == {"start": 8}
    assert trainable.logdir == str(tmp_path / "1")
    trainable.train()
    trainable.train_buffered(1e6, 2)
    trainable.stop()
    assert made[0].calls == [4, "flush", "close"]
    assert made[1].calls == [9, 10, 11, "flush", "close"]


def test_log_result_may_hide_results_from_the_logger(tmp_path):
    class Quiet(Counter):
        def log_result(self, result):
            if result["count"] % 2 == 0:
                super().log_result(result)

    heard = Heard({}, tmp_path)
    trainable = Quiet({}, logger_creator=lambda config: heard)
    for _ in range(4):
        trainable.train()
    assert heard.calls == [2, 4]


@pytest.mark.parametrize("cls", [Counter, FileCounter])
def test_with_a_storage_checkpoints_are_kept_in_its_trial_directory(cls, tmp_path):
    first = cls({}, storage=StorageContext(str(tmp_path), "exp", "trial"))
    parent = tmp_path / "exp" / "trial"
    for index in range(2):
        first.train()
        saved = first.save()
        assert saved.checkpoint.path == str(parent / f"checkpoint_{index:06d}")
    own = first.save(str(tmp_path / "own"))
    assert own.checkpoint.path == str(parent / "checkpoint_000002")
    assert os.listdir(tmp_path / "own")
    second = cls()
    second.restore(saved)
    assert (second.count, second.iteration) == (2, 2)
    assert first.reset({}, storage=StorageContext(str(tmp_path), "exp", "other"))
    first.train()
    assert first.save().checkpoint.path == str(tmp_path / "exp" / "other" / "checkpoint_000000")


def test_a_storage_that_only_a_run_copies_to_is_refused(tmp_path):
    fs = pytest.importorskip("pyarrow.fs")
    remote = StorageContext.of(
        "a/b", "exp", fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    )
    with pytest.raises(ValueError, match="storage: .*a/b/exp.*local storage_path"):
        Counter({}, storage=remote)
    trainable = Counter({})
    with pytest.raises(ValueError, match="storage: "):
        trainable.reset({}, storage=remote)
    assert os.listdir(tmp_path) == []


def test_a_function_with_a_storage_reports_its_checkpoints_there(tmp_path):
    (tmp_path / "source").mkdir()

    def train(config):
        tune.report({"a": 1}, checkpoint=Checkpoint(str(tmp_path / "source")))

    storage = StorageContext(str(tmp_path), "exp", "trial")
    trainable = wrap_function(train)({}, storage=storage)
    assert trainable.train()["checkpoint_dir_name"] == "checkpoint_000000"
    assert (tmp_path / "exp" / "trial" / "checkpoint_000000").is_dir()


def usage(monkeypatch, trainable, config):
    from ctune.utils import gpu

    def no_driver():
        raise OSError

    monkeypatch.setattr(gpu, "_gpus", no_driver)
    made = trainable(config)
    results = [made.train(), made.train()]
    made.stop()
    assert made._monitor is None or made._monitor.stopped
    return results


@pytest.mark.parametrize(
    "trainable",
    [Counter, wrap_function(lambda config: tune.report({"a": 1}))],
    ids=["class", "func"],
)
def test_log_sys_usage_adds_what_the_machine_does(monkeypatch, trainable):
    pytest.importorskip("psutil")
    first, _ = usage(monkeypatch, trainable, {"log_sys_usage": True})
    assert list(first)[-1] == "perf"
    assert set(first["perf"]) == {"cpu_util_percent", "ram_util_percent"}
    assert 0 < first["perf"]["ram_util_percent"] <= 100
    assert first["config"] == {"log_sys_usage": True}


def test_log_sys_usage_is_off_by_default_and_needs_psutil(monkeypatch, caplog):
    assert "perf" not in usage(monkeypatch, Counter, {})[0]
    assert "perf" not in usage(monkeypatch, Counter, {"log_sys_usage": False})[0]
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert "perf" not in usage(monkeypatch, Counter, {"log_sys_usage": True})[0]
    assert "pip install psutil" in caplog.text


def test_validate_save_restore_passes_for_a_sound_class_only():
    assert validate_save_restore(Counter)

    class Zero(Counter):
        def restore(self, checkpoint_path):
            pass

    with pytest.raises(AssertionError):
        validate_save_restore(Zero)


# --- functions ---


def test_each_report_is_one_step_and_the_end_a_duplicate():
    def train(config):
        for i in range(2):
            tune.report({"i": i, "lr": config["lr"]})

    trainable = stepped(train, {"lr": 0.5})
    first, second, end = (trainable.train() for _ in range(3))
    assert (first["i"], second["i"]) == (0, 1)
    assert second["training_iteration"] == 2
    assert list(first)[:4] == ["i", "lr", "timestamp", "checkpoint_dir_name"]
    assert end == trainable.train() == {"__duplicate__": True}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        (2.5, {"_metric": 2.5}),
        (True, {"_metric": True}),
        (None, None),
        ({}, None),
        (0, None),
    ],
)
def test_return_values_are_reported_unless_empty(value, expected):
    trainable = stepped(lambda config: value)
    result = trainable.step()
    if expected is None:
        assert result == {"__duplicate__": True}
    else:
        assert expected.items() <= result.items()
        assert trainable.step() == {"__duplicate__": True}


def test_other_return_values_are_refused():
    with pytest.raises(ValueError, match=r"\[1\]"):
        stepped(lambda config: [1]).step()


def test_yielded_values_are_reported_and_a_generators_return_is_not():
    def train(config):
        yield {"a": 1}
        yield 2
        return {"a": 3}

    trainable = stepped(train)
    assert trainable.step()["a"] == 1
    assert trainable.step()["_metric"] == 2
    assert trainable.step() == {"__duplicate__": True}


def test_an_error_in_the_function_leaves_with_its_own_traceback():
    def train(config):
        tune.report({"a": 1})
        raise KeyError("mine")

    trainable = stepped(train)
    trainable.step()
    with pytest.raises(KeyError, match="mine") as caught:
        trainable.step()
    assert caught.traceback[-1].name == "train"
    assert trainable.step() == {"__duplicate__": True}


def test_sys_exit_in_a_function_is_an_error_unless_zero():
    def leaves(config):
        raise SystemExit(config["code"])

    with pytest.raises(RuntimeError, match="sys.exit"):
        stepped(leaves, {"code": 2}).step()
    assert stepped(leaves, {"code": 0}).step() == {"__duplicate__": True}


def test_stop_runs_finally_blocks_and_refuses_further_reports():
    events = []

    def train(config):
        try:
            while True:
                tune.report({"a": 1})
                events.append("on")
        finally:
            events.append("finally")
            tune.report({"late": 1})
            events.append("never")

    trainable = stepped(train)
    trainable.step()
    trainable.stop()
    assert events == ["finally"]
    trainable.stop()


def test_an_error_while_being_stopped_is_logged_only(caplog):
    def train(config):
        try:
            tune.report({"a": 1})
        finally:
            raise ValueError("in cleanup")

    trainable = stepped(train)
    trainable.step()
    trainable.stop()
    assert "in cleanup" in caplog.text


def test_two_functions_interleave_in_one_thread():
    def train(config):
        for i in range(2):
            assert tune.get_context().get_trial_id() == config["id"]
            tune.report({"id": config["id"], "i": i})

    cls = wrap_function(train)
    pair = [cls({"id": n, TRIAL_INFO: TrialInfo(trial_id=n, trial_name=n)}) for n in "ab"]
    got = [(t.step()["id"]) for _ in range(2) for t in pair]
    assert got == ["a", "b", "a", "b"]


def test_reset_starts_the_function_afresh(tmp_path):
    seen = []

    def train(config):
        try:
            while True:
                tune.report({"x": config["x"]})
        finally:
            seen.append(config["x"])

    trainable = stepped(train, {"x": 1})
    trainable.step()
    assert trainable.reset({"x": 2, TRIAL_INFO: info(tmp_path)})
    assert seen == [1]
    assert trainable.train()["x"] == 2
    assert trainable.train()["training_iteration"] == 2


def test_a_forgotten_trainable_leaves_its_function_quietly():
    def train(config):
        while True:
            tune.report({"a": 1})

    trainable = stepped(train)
    trainable.step()
    del trainable


def test_wrapped_functions_travel_by_cloudpickle():
    offset = 5

    def train(config):
        tune.report({"x": config["x"] + offset})

    cls = pickle.loads(cloudpickle.dumps(wrap_function(train)))
    assert issubclass(cls, FunctionTrainable)
    assert cls({"x": 1}).step()["x"] == 6


@pytest.mark.parametrize(
    "function",
    [lambda: None, lambda a, b: None, lambda *, config: None],
    ids=["none", "two", "keyword"],
)
def test_a_function_must_take_the_config_alone(function):
    with pytest.raises(ValueError, match="config"):
        wrap_function(function)


def test_functions_with_defaults_partials_and_methods_are_taken():
    def two(config, extra=1):
        return {"v": config["v"] + extra}

    class Holder:
        def method(self, config):
            return {"v": config["v"]}

    assert wrap_function(two)({"v": 1}).step()["v"] == 2
    assert wrap_function(functools.partial(two, extra=5))({"v": 1}).step()["v"] == 6
    assert wrap_function(Holder().method)({"v": 3}).step()["v"] == 3


# --- wrappers and names ---


def test_with_parameters_binds_keyword_arguments_of_a_function():
    data = list(range(1000))

    def train(config, data):
        tune.report({"n": len(data) + config["x"]})

    bound = tune.with_parameters(train, data=data)
    assert bound.__name__ == "train"
    assert wrap_function(bound)({"x": 1}).step()["n"] == 1001


def test_with_parameters_binds_arguments_of_setup():
    class Takes(Counter):
        def setup(self, config, data=None):
            super().setup(config)
            self.data = data

    data = object()
    bound = tune.with_parameters(Takes, data=data)
    assert bound.__name__ == "Takes"
    assert bound({"start": 2}).data is data


def test_with_parameters_refuses_what_it_cannot_bind():
    with pytest.raises(ValueError, match="trainable"):
        tune.with_parameters(3, a=1)
    with pytest.raises(ValueError, match="trainable"):
        tune.with_parameters(dict, a=1)
    with pytest.raises(ValueError, match="missing"):
        tune.with_parameters(lambda config: None, missing=1)


def test_with_parameters_keeps_requested_resources():
    def train(config, data):
        pass

    bound = tune.with_parameters(tune.with_resources(train, {"cpu": 2}), data=1)
    request = wrap_function(bound).default_resource_request({})
    assert request.required_resources == {"CPU": 2.0}


def test_with_resources_attaches_to_functions_methods_and_classes():
    def train(config):
        pass

    class Holder:
        def method(self, config):
            pass

    for trainable in (train, Holder().method):
        wrapped = wrap_function(tune.with_resources(trainable, {"cpu": 3}))
        assert wrapped.default_resource_request({}).required_resources == {"CPU": 3.0}
    cls = tune.with_resources(Counter, PlacementGroupFactory([{"CPU": 1}, {"GPU": 1}]))
    assert issubclass(cls, Counter)
    assert cls.default_resource_request({}).required_resources == {"CPU": 1, "GPU": 1}
    assert Counter.default_resource_request({}) is None


def test_with_resources_may_ask_the_config():
    def train(config):
        pass

    asks = tune.with_resources(train, lambda config: {"cpu": config["n"]})
    request = wrap_function(asks).default_resource_request({"n": 4})
    assert request.required_resources == {"CPU": 4.0}


def test_with_resources_refuses_bad_requests_and_closed_objects():
    class Closed:
        __slots__ = ()

        def __call__(self, config):
            pass

    with pytest.raises(ValueError, match="resources"):
        tune.with_resources(lambda config: None, 3)
    with pytest.raises(RuntimeError, match="Closed"):
        tune.with_resources(Closed(), {"cpu": 1})


def test_names_of_trainables(caplog):
    def train(config):
        pass

    class Callable:
        def __call__(self, config):
            pass

    assert function_name(train) == "train"
    assert function_name(lambda config: None) == "lambda"
    assert function_name(functools.partial(train)) == "train"
    assert function_name(Counter) == "Counter"
    assert not caplog.records
    assert function_name(Callable()) == "DEFAULT"
    assert "Callable" in caplog.text


def test_registered_names_are_found_and_overwritten():
    register_trainable("one", lambda config: {"a": 1})
    register_trainable("one", Counter)
    assert get_trainable_cls("one") is Counter
    validate_trainable("one")
    assert not is_function_trainable("one")
    assert is_function_trainable(lambda config: None)
    assert not is_function_trainable(Counter)


def test_an_unknown_name_is_a_tune_error_that_lists_the_known_ones():
    register_trainable("known-one", Counter)
    with pytest.raises(TuneError, match="Unknown trainable.*nope.*known-one"):
        get_trainable_cls("nope")


def test_registering_what_cannot_train_is_a_type_error():
    with pytest.raises(TypeError, match="3"):
        register_trainable("bad", 3)
    with pytest.raises(TypeError, match="Trainable"):
        register_trainable("bad", dict)
    for register in (register_env, register_input):
        with pytest.raises(TypeError, match="bad"):
            register("bad", 3)


def test_inputs_are_kept_by_name():
    register_input("source", print)
    assert registry_contains_input("source")
    assert not registry_contains_input("other")
    assert registry_get_input("source") is print
