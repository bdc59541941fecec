"""The plan of a run: defaults, deprecations and errors, without running anything."""

import datetime
import inspect
import logging
import os
import sys
import threading

import pytest

import ctune as tune
from ctune import CheckpointConfig, SyncConfig, TuneError, _runtime
from ctune._config import FailureConfig, _Config
from ctune._pickling import find_unpicklable
from ctune._plan import make_plan
from ctune.callback import Callback
from ctune.execution.placement_groups import PlacementGroupFactory
from ctune.experimental.output import TuneTerminalReporter
from ctune.logger import CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback
from ctune.schedulers import ASHAScheduler, FIFOScheduler
from ctune.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher
from ctune.stopper import MaximumIterationStopper, Stopper
from ctune.trainable import Trainable

DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(tune.run).parameters.items()
    if name != "run_or_experiment"
}


def train(config):
    tune.report({"loss": 1.0})


class Class(Trainable):
    def step(self):
        return {"loss": 1.0}


class Given(Searcher):
    """A searcher that accepts whatever space it is given."""

    def set_search_properties(self, metric, mode, config, **spec):
        return True

    def suggest(self, trial_id):
        return {}

    def on_trial_complete(self, trial_id, result=None, error=False):
        pass


@pytest.fixture(autouse=True)
def runtime(monkeypatch):
    monkeypatch.delenv("CTUNE_EXECUTOR", raising=False)
    tune.shutdown()
    tune.init(executor="inline", num_cpus=2)
    yield
    tune.shutdown()


@pytest.fixture
def plan(tmp_path):
    def make(trainable=train, **arguments):
        arguments.setdefault("storage_path", str(tmp_path))
        return make_plan(trainable, **{**DEFAULTS, **arguments})

    return make


# --- defaults ---


def test_defaults(plan, tmp_path):
    p = plan()
    (own,) = p.experiments
    assert own.trainable_name == "train"
    assert (p.metric, p.mode, p.stop, p.time_budget_s) == (None, None, None, None)
    assert own.resources == {"CPU": 1.0}
    assert p.public_spec == {"stop": {}, "num_samples": 1, "time_budget_s": None}
    assert type(p.scheduler) is FIFOScheduler
    assert isinstance(p.search_alg, BasicVariantGenerator)
    assert p.checkpoint_config == CheckpointConfig()
    assert (p.verbose, own.max_failures, p.fail_fast) == (1, 0, False)
    assert p.raise_on_failed_trial and not p.reuse_actors
    assert [type(c) for c in p.callbacks] == [TuneTerminalReporter, TBXLoggerCallback]
    assert p.json and p.csv
    assert p.executor == "inline"
    assert p.total_resources["CPU"] == 2
    assert (p.max_pending, p.max_dirname) == (200, 130)
    assert os.path.dirname(p.experiment_dir) == str(tmp_path)


def test_the_signature_keeps_the_documented_order():
    names = list(inspect.signature(tune.run).parameters)
    assert names[:8] == [
        "run_or_experiment", "name", "metric", "mode", "stop", "time_budget_s",
        "config", "resources_per_trial",
    ]  # fmt: skip
    assert names[-3:] == ["_remote", "_remote_string_queue", "_entrypoint"]
    assert len(names) == 39
    experiments = list(inspect.signature(tune.run_experiments).parameters)
    assert experiments[0] == "experiments" and experiments[-1] == "_remote"


def test_the_plan_is_frozen(plan):
    with pytest.raises(AttributeError):
        plan().mode = "max"


def test_the_experiments_directory_is_made_and_marked(plan, tmp_path):
    p = plan(name="exp")
    assert p.experiment_dir == str(tmp_path / "exp")
    assert os.listdir(p.experiment_dir) == [".validate_storage_marker"]


def test_a_name_is_derived_from_the_trainable_and_the_date(plan, monkeypatch):
    assert plan().name.startswith("train_20")
    assert plan(Class).name.startswith("Class_20")
    assert plan(lambda config: None).name.startswith("lambda_20")
    monkeypatch.setenv("TUNE_DISABLE_DATED_SUBDIR", "1")
    assert plan(name="").name == "train"


def test_derived_names_of_one_second_differ_and_given_ones_do_not(plan, monkeypatch):
    monkeypatch.setattr("ctune.utils.util.date_str", lambda: "now")
    assert [plan().name for _ in range(3)] == [
        "train_now",
        "train_now_2",
        "train_now_3",
    ]
    assert plan(name="same").experiment_dir == plan(name="same").experiment_dir


def test_storage_defaults_to_ray_results_in_the_home(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, used in ((None, "ray_results"), ("~/x", "x"), ("rel", "rel")):
        monkeypatch.chdir(tmp_path)
        assert plan(name="e", storage_path=given).experiment_dir == str(tmp_path / used / "e")


def test_the_callers_config_is_never_changed(tmp_path):
    def changes(config):
        config["a"]["b"].append(2)
        tune.report({"n": len(config["a"]["b"])})

    config = {"a": {"b": [1]}}
    analysis = tune.run(changes, config=config, num_samples=2, storage_path=tmp_path, verbose=0)
    assert config == {"a": {"b": [1]}}
    assert [t.last_result["n"] for t in analysis.trials] == [2, 2]


def test_a_config_object_is_turned_into_a_dict(plan):
    class Mine(_Config):
        def to_dict(self):
            return {"a": 1}

    assert plan(config=Mine()).search_alg.next_trial().config == {"a": 1}


def test_endless_sampling_is_spelled_minus_one(plan):
    assert plan(num_samples=-1).public_spec["num_samples"] == sys.maxsize
    assert plan(num_samples=0).public_spec["num_samples"] == 0


def test_time_budgets_are_seconds_or_timedeltas(plan):
    assert plan(time_budget_s=3).time_budget_s == 3.0
    assert plan(time_budget_s=datetime.timedelta(minutes=2)).time_budget_s == 120.0


def test_registered_names_run_under_their_name(plan):
    tune.register_trainable("mine", Class)
    p = plan("mine")
    assert p.trainable is Class
    assert p.experiments[0].trainable_name == "mine"


def test_verbosity_ends_at_two(plan):
    assert [plan(verbose=v).verbose for v in (0, 1, 2, 3)] == [0, 1, 2, 2]


def test_an_empty_mode_counts_as_not_given(plan):
    assert plan(mode="").mode is None


# --- errors, one parameter each ---


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"mode": "maximum"}, ValueError, ["mode", "min", "max", "maximum", "run("]),
        ({"config": [1]}, ValueError, ["config", "run(", "list"]),
        ({"config": 3}, ValueError, ["config", "int"]),
        ({"verbose": -1}, ValueError, ["verbose", "-1"]),
        ({"verbose": "loud"}, ValueError, ["verbose", "loud"]),
        ({"num_samples": 1.5}, ValueError, ["num_samples", "1.5"]),
        ({"scheduler": "nope"}, ValueError, ["scheduler", "nope", "fifo"]),
        ({"scheduler": 3}, ValueError, ["scheduler", "3"]),
        ({"search_alg": "nope"}, ValueError, ["search_alg"]),
        ({"search_alg": 3}, ValueError, ["search_alg", "3"]),
        ({"stop": {"loss": "low"}}, ValueError, ["stop", "loss", "low"]),
        ({"stop": {"loss": float("nan")}}, ValueError, ["stop", "loss", "nan"]),
        ({"stop": {"a": {"b": 1}}}, ValueError, ["stop", "'a/b'"]),
        ({"stop": {3: 1}}, ValueError, ["stop", "3"]),
        ({"stop": [train]}, ValueError, ["stop", "function"]),
        ({"stop": 3}, ValueError, ["stop", "3"]),
        ({"stop": MaximumIterationStopper}, ValueError, ["stop"]),
        ({"time_budget_s": "1h"}, ValueError, ["time_budget_s", "1h"]),
        ({"time_budget_s": -1}, ValueError, ["time_budget_s", "-1"]),
        ({"max_failures": 1.5}, ValueError, ["max_failures", "1.5"]),
        ({"fail_fast": "slow"}, ValueError, ["fail_fast", "slow", "raise"]),
        (
            {"fail_fast": True, "max_failures": 2},
            ValueError,
            ["fail_fast", "max_failures", "2"],
        ),
        ({"callbacks": 3}, ValueError, ["callbacks", "3"]),
        ({"callbacks": [3]}, ValueError, ["callbacks", "3"]),
        ({"callbacks": [Callback]}, ValueError, ["callbacks", "Callback"]),
        ({"trial_name_creator": 3}, ValueError, ["trial_name_creator", "3"]),
        ({"trial_dirname_creator": 3}, ValueError, ["trial_dirname_creator", "3"]),
        ({"storage_path": 3}, ValueError, ["storage_path", "3"]),
        ({"storage_path": ""}, ValueError, ["storage_path"]),
        ({"storage_path": "foo://bucket/x"}, ValueError, ["storage_path", "foo://bucket/x"]),
        ({"storage_filesystem": object()}, TypeError, ["storage_filesystem", "pyarrow"]),
        ({"name": 3}, ValueError, ["name", "3"]),
        ({"name": "/abs"}, ValueError, ["name", "/abs"]),
        ({"checkpoint_config": {}}, ValueError, ["checkpoint_config"]),
        (
            {"resources_per_trial": {"cpu": "two"}},
            ValueError,
            ["resources_per_trial", "cpu", "two"],
        ),
        ({"resources_per_trial": 3}, ValueError, ["resources_per_trial", "3"]),
        ({"max_concurrent_trials": 1.5}, ValueError, ["max_concurrent_trials", "1.5"]),
    ],
    ids=lambda value: str(value).partition(" at 0x")[0][:40] if isinstance(value, dict) else None,
)
def test_a_bad_argument_is_one_error_that_names_it(plan, tmp_path, arguments, error, words):
    with pytest.raises(error) as caught:
        plan(**arguments)
    for word in words:
        assert word in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("_remote", True),
        ("_remote_string_queue", object()),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(plan, parameter, value):
    with pytest.raises(NotImplementedError, match=parameter):
        plan(**{parameter: value})


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("log_to_file", False),
        ("sync_config", SyncConfig()),
        ("export_formats", []),
        ("resume", False),
        ("_remote", False),
    ],
)
def test_defaults_of_the_same_may_be_given(plan, parameter, value):
    plan(**{parameter: value})


def test_what_cannot_train_is_refused(plan):
    with pytest.raises(TuneError, match="Improper 'run'"):
        plan(3)
    with pytest.raises(TuneError, match="Unknown trainable"):
        plan("never registered")
    with pytest.raises(TypeError, match="dict"):
        plan(dict)
    with pytest.raises(ValueError, match="config"):
        plan(lambda: None)
    with pytest.raises(ValueError, match="with_parameters"):
        plan(lambda config, data: None)


def test_functions_cannot_be_saved_from_outside(plan):
    for attribute, value in (("checkpoint_at_end", True), ("checkpoint_frequency", 2)):
        config = CheckpointConfig(**{attribute: value})
        with pytest.raises(ValueError, match=attribute):
            plan(checkpoint_config=config)
        assert plan(Class, checkpoint_config=config).checkpoint_config is config


def test_a_config_that_cannot_be_copied_names_its_key(plan):
    with pytest.raises(TypeError, match="config.*'lock'"):
        plan(config={"a": 1, "lock": threading.Lock()})


def test_an_object_with_stop_all_must_be_a_stopper(plan):
    class Duck:
        def __call__(self, trial_id, result):
            return False

        def stop_all(self):
            return False

    with pytest.raises(ValueError, match="stop_all"):
        plan(stop=Duck())


@pytest.mark.parametrize(
    "path", ["/dev/null/x", "/proc/nothing"], ids=["under-a-file", "no-writing-here"]
)
def test_a_storage_path_that_cannot_be_written_is_one_error(plan, path):
    with pytest.raises(OSError, match="storage_path.*cannot write") as caught:
        plan(storage_path=path)
    assert path in str(caught.value)


def test_a_full_disk_is_one_error(plan, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ctune._storage.open", full, raising=False)
    with pytest.raises(OSError, match="storage_path.*No space left"):
        plan()


def test_errors_come_in_the_documented_order(plan):
    wrong = {
        "mode": ("maximum", "mode"),
        "config": (3, "config"),
        "scheduler": ("nope", "scheduler"),
        "stop": (3, "stop"),
        "search_alg": ("nope", "search_alg"),
        "callbacks": (3, "callbacks"),
    }
    arguments = {key: value for key, (value, _) in wrong.items()}
    for key, (_, word) in wrong.items():
        with pytest.raises(ValueError, match=f"^{word}"):
            plan(**arguments)
        del arguments[key]
    plan(**arguments)


# --- deprecations ---


def test_deprecated_environment_variables_warn(plan, monkeypatch):
    monkeypatch.setenv("TUNE_RESULT_DIR", "/x")
    monkeypatch.setenv("RAY_AIR_LOCAL_CACHE_DIR", "/y")
    with pytest.warns(DeprecationWarning) as caught:
        plan()
    assert [w for w in caught if "TUNE_RESULT_DIR" in str(w.message)]
    assert [w for w in caught if "RAY_AIR_LOCAL_CACHE_DIR" in str(w.message)]


def test_local_dir_stands_in_for_storage_path(plan, tmp_path):
    with pytest.warns(DeprecationWarning, match="local_dir.*storage_path"):
        p = plan(name="e", storage_path=None, local_dir=str(tmp_path))
        assert p.experiment_dir == str(tmp_path / "e")
    with pytest.warns(DeprecationWarning):
        other = str(tmp_path / "other")
        p = plan(name="e", storage_path=other, local_dir=str(tmp_path))
        assert p.experiment_dir == os.path.join(other, "e")


def test_deprecated_checkpoint_arguments_change_the_given_config(plan):
    config = CheckpointConfig(num_to_keep=9)
    with pytest.warns(DeprecationWarning) as caught:
        plan(
            Class,
            checkpoint_config=config,
            keep_checkpoints_num=2,
            checkpoint_score_attr="min-loss",
            checkpoint_freq=3,
            checkpoint_at_end=True,
        )
    assert len(caught) == 5
    assert config.num_to_keep == 2
    assert config.checkpoint_score_attribute == "loss"
    assert config.checkpoint_score_order == "min"
    assert config.checkpoint_frequency == 3
    assert config.checkpoint_at_end is True
    assert config.score_attr == "min-loss"
    with pytest.warns(DeprecationWarning):
        kept = plan(Class, checkpoint_score_attr="max-loss").checkpoint_config
    assert kept.checkpoint_score_attribute == "max-loss"
    assert kept.checkpoint_score_order == "max"


def test_chdir_to_trial_dir_is_gone(plan):
    with pytest.raises(DeprecationWarning, match="RAY_CHDIR_TO_TRIAL_DIR"):
        plan(chdir_to_trial_dir=False)


# --- stop, failures ---


def test_stop_is_none_thresholds_stoppers_or_a_function(plan):
    def function(trial_id, result):
        return True

    stopper = MaximumIterationStopper(3)
    assert plan(stop={}).stop is None
    assert plan(stop=[]).stop is None
    assert plan(stop={"a/b": 3}).stop == {"a/b": 3}
    assert plan(stop=stopper).stop is stopper
    assert plan(stop=[stopper]).stop == [stopper]
    assert plan(stop=function).stop is function
    assert isinstance(stopper, Stopper)


def test_fail_fast_may_raise_in_any_case(plan):
    with pytest.warns(UserWarning, match="fail_fast"):
        assert plan(fail_fast="Raise").fail_fast == "raise"
    assert plan(fail_fast=True).fail_fast is True
    with pytest.raises(ValueError, match="max_failures"):
        FailureConfig(fail_fast=True, max_failures=1)


# --- resources ---


def test_resources_are_amounts_by_name(plan):
    p = plan(resources_per_trial={"cpu": 1.5, "gpu": 0})
    assert p.experiments[0].resources["CPU"] == 1.5
    assert not p.experiments[0].resources.get("GPU")
    factory = PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}])
    assert plan(resources_per_trial=factory).experiments[0].resources == {"CPU": 2.0}


def test_resources_that_can_never_be_given_are_refused_at_once(plan, tmp_path):
    for asked, words in (
        ({"cpu": 3}, "asks for 3 CPU.*only 2"),
        ({"cpu": 1, "gpu": 1}, "asks for 1 GPU.*only 0"),
        ({"cpu": 1, "license": 1}, "license.*only 0"),
    ):
        with pytest.raises(ValueError, match=f"resources_per_trial.*{words}"):
            plan(resources_per_trial=asked)
    with pytest.raises(ValueError, match="asks for 3 CPU"):
        plan(tune.with_resources(train_copy(), {"cpu": 3}))
    assert os.listdir(tmp_path) == []


def train_copy():
    def mine(config):
        pass

    return mine


def test_resources_of_the_trainable_exclude_those_of_the_call(plan):
    mine = tune.with_resources(train_copy(), {"cpu": 2})
    assert plan(mine).experiments[0].resources == {"CPU": 2.0}
    with pytest.raises(TuneError, match="resources_per_trial"):
        plan(mine, resources_per_trial={"cpu": 1})


def test_resources_may_depend_on_the_config(plan):
    mine = tune.with_resources(train_copy(), lambda config: {"cpu": config["n"]})
    assert plan(mine).experiments[0].resources({"n": 2}) == {"CPU": 2.0}
    with pytest.raises(TuneError, match="resources_per_trial"):
        plan(mine, resources_per_trial={"cpu": 1}).experiments[0].resources({"n": 2})

    class Maybe(Class):
        @classmethod
        def default_resource_request(cls, config):
            return None

    given = plan(Maybe, resources_per_trial={"cpu": 2})
    assert given.experiments[0].resources({}) == {"CPU": 2.0}
    assert plan(Maybe).experiments[0].resources({}) == {"CPU": 1.0}


def test_unused_gpus_are_mentioned(plan, caplog):
    tune.shutdown()
    tune.init(executor="inline", num_cpus=2, num_gpus=1)
    plan()
    assert "GPU" in caplog.text
    caplog.clear()
    plan(resources_per_trial={"cpu": 1, "gpu": 1})
    assert "GPU" not in caplog.text


# --- search and schedulers ---


def test_names_of_schedulers_and_searchers(plan):
    p = plan(scheduler="async_hyperband", search_alg="random", metric="m", mode="max")
    assert isinstance(p.scheduler, ASHAScheduler)
    assert isinstance(p.search_alg, BasicVariantGenerator)
    assert p.scheduler.metric == "m"


def test_the_limit_goes_to_the_default_search(plan):
    assert plan(max_concurrent_trials=3).search_alg.max_concurrent == 3
    assert plan(max_concurrent_trials=0).search_alg.max_concurrent == 0


def test_a_searcher_is_limited_and_put_into_a_generator(plan):
    p = plan(search_alg=Given(), max_concurrent_trials=3)
    assert isinstance(p.search_alg.searcher, ConcurrencyLimiter)
    assert p.search_alg.searcher.max_concurrent == 3
    assert p.max_pending == 1
    assert isinstance(plan(search_alg=Given()).search_alg.searcher, Given)


def test_limits_given_twice(plan, caplog):
    limiter = ConcurrencyLimiter(Given(), max_concurrent=2)
    with pytest.raises(ValueError, match="3.*2.*max_concurrent_trials=None"):
        plan(search_alg=limiter, max_concurrent_trials=3)
    with caplog.at_level(logging.WARNING):
        assert plan(search_alg=limiter, max_concurrent_trials=2)
    assert "ignored" in caplog.text
    caplog.clear()
    with pytest.raises(ValueError, match="max_concurrent_trials.*-1"):
        plan(search_alg=Given(), max_concurrent_trials=-1)
    plan(search_alg=BasicVariantGenerator(), max_concurrent_trials=2)
    assert "ignored" in caplog.text


def test_a_searcher_with_its_own_space_takes_constants_only(plan):
    class Own(Given):
        def set_search_properties(self, metric, mode, config, **spec):
            return False

    with pytest.raises(ValueError, match="config.*Own"):
        plan(search_alg=Own(), config={"a": tune.uniform(0, 1)})
    with pytest.raises(ValueError, match="config"):
        plan(search_alg=Own(), config={"a": [tune.grid_search([1])]})
    plan(search_alg=Own(), config={"a": 1})
    plan(search_alg=Own())


def test_metric_and_mode_are_given_once(plan):
    asha = ASHAScheduler(metric="loss", mode="min")
    with pytest.raises(ValueError, match="metric.*mode"):
        plan(scheduler=asha, metric="loss", mode="min")


def test_buffering_is_switched_off_for_schedulers_that_cannot(plan, monkeypatch):
    class Unbuffered(FIFOScheduler):
        supports_buffered_results = False

    monkeypatch.setenv("TUNE_RESULT_BUFFER_LENGTH", "7")
    with pytest.warns(UserWarning, match="Unbuffered.*TUNE_RESULT_BUFFER_LENGTH=7"):
        plan(scheduler=Unbuffered())
    assert os.environ["TUNE_RESULT_BUFFER_LENGTH"] == "1"


def test_the_pending_limit_comes_from_the_environment(plan, monkeypatch):
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "17")
    assert plan().max_pending == 17
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "many")
    with pytest.raises(ValueError, match="TUNE_MAX_PENDING_TRIALS_PG.*many"):
        plan()


# --- callbacks ---


def test_default_loggers_are_added_to_the_callers_list(plan):
    class Mine(Callback):
        pass

    mine = Mine()
    given = [mine]
    p = plan(callbacks=given)
    defaults = [
        TuneTerminalReporter, CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback
    ]  # fmt: skip
    assert [type(c) for c in given] == [Mine, *defaults]
    assert p.callbacks == [mine, given[1], given[4]]
    plan(callbacks=given)
    assert len(given) == 5


def test_default_loggers_can_be_switched_off(plan, monkeypatch):
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    p = plan()
    assert (p.json, p.csv, len(p.callbacks)) == (False, False, 1)
    p = plan(callbacks=[JsonLoggerCallback()])
    assert (p.json, p.csv, len(p.callbacks)) == (True, False, 1)


def test_a_subclass_of_a_default_logger_is_called_too(plan):
    class Mine(JsonLoggerCallback):
        pass

    mine = Mine()
    p = plan(callbacks=[mine])
    assert p.json and p.csv
    assert p.callbacks[0] is mine


def test_directory_names_of_the_user_are_checked(plan):
    assert (
        plan(trial_dirname_creator=lambda t: "x").experiments[0].trial_dirname_creator(None) == "x"
    )
    for bad in ("a/b", "", None, 3):
        namer = (
            plan(trial_dirname_creator=lambda t, bad=bad: bad).experiments[0].trial_dirname_creator
        )
        with pytest.raises(ValueError, match="trial_dirname_creator"):
            namer(None)


# --- pickling ---


def test_an_unpicklable_closure_is_named(plan):
    tune.shutdown()
    tune.init(executor="process", num_cpus=1)
    lock = threading.Lock()

    def mine(config):
        with lock:
            pass

    with pytest.raises(TypeError, match="closed-over variable 'lock'"):
        plan(mine)
    assert plan(train).payload.data


def test_an_unpicklable_attribute_is_named():
    class Holder:
        def __init__(self):
            self.fine = 1
            self.inner = {"lock": threading.Lock()}

        def method(self, config):
            pass

    found = find_unpicklable(Holder().method)
    assert "'lock'" in found and "'inner'" in found

    class Bad(Trainable):
        shared = threading.Lock()

    assert "'shared'" in find_unpicklable(Bad)
    assert find_unpicklable(train) is None


def test_an_unpicklable_parameter_is_named(plan):
    tune.shutdown()
    tune.init(executor="process", num_cpus=1)

    def mine(config, stream):
        pass

    with pytest.raises(TypeError, match="'stream'"):
        plan(tune.with_parameters(mine, stream=threading.Lock()))


# --- the runtime ---


def test_init_chooses_the_executor_once():
    with pytest.raises(RuntimeError, match="shutdown"):
        tune.init()
    assert tune.init(ignore_reinit_error=True).executor == "inline"
    assert tune.is_initialized()
    tune.shutdown()
    assert not tune.is_initialized()
    assert _runtime.runtime().executor == "process"


def test_the_environment_chooses_the_executor(monkeypatch):
    tune.shutdown()
    monkeypatch.setenv("CTUNE_EXECUTOR", "inline")
    assert _runtime.runtime().executor == "inline"
    monkeypatch.setenv("CTUNE_EXECUTOR", "thread")
    with pytest.raises(ValueError, match="CTUNE_EXECUTOR.*'inline', 'process'.*thread"):
        _runtime.runtime()


def test_unknown_executors_are_refused_with_the_known_ones():
    tune.shutdown()
    for bad in ("threads", object(), 3):
        with pytest.raises(ValueError, match="executor.*'inline', 'process'"):
            tune.init(executor=bad)


def test_an_executor_object_says_what_it_has():
    class Mine:
        def capacity(self):
            return {"CPU": 7}

        def submit(self, command):
            pass

        wait = interrupt = close = submit

    tune.shutdown()
    mine = Mine()
    made = tune.init(executor=mine, resources={"license": 2})
    assert made.executor is mine
    assert made.resources["CPU"] == 7
    assert made.resources["license"] == 2


def test_amounts_of_resources_are_checked():
    tune.shutdown()
    for arguments, word in (
        ({"num_cpus": 0}, "num_cpus"),
        ({"num_cpus": "two"}, "num_cpus"),
        ({"num_gpus": -1}, "num_gpus"),
        ({"resources": {"license": float("inf")}}, "license"),
    ):
        with pytest.raises(ValueError, match=word):
            tune.init(executor="inline", **arguments)


def test_cpus_default_to_those_of_this_process():
    tune.shutdown()
    assert tune.init(executor="inline").resources["CPU"] == _runtime.available_cpus()
