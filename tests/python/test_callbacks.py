"""Callbacks and loggers, called by hand; test_run.py sees them called by a run."""

import csv
import json
import math
import os
import pickle
import sys
from datetime import timedelta

import numpy as np
import pytest

import ctune as tune
from ctune import Callback
from ctune.callback import CallbackList
from ctune.logger import (
    CSVLogger,
    CSVLoggerCallback,
    JsonLogger,
    JsonLoggerCallback,
    LegacyLoggerCallback,
    Logger,
    LoggerCallback,
    NoopLogger,
    TBXLogger,
    UnifiedLogger,
    pretty_print,
)
from ctune.utils import deep_update, flatten_dict, merge_dicts, unflattened_lookup
from ctune.utils.util import unflatten_dict, unflatten_list_dict, warn_if_slow


def test_every_hook_takes_keywords_to_come():
    callback = Callback()
    common = {"iteration": 1, "trials": [], "trial": None, "more": 1}
    callback.setup(stop=None, num_samples=1, total_num_samples=1, time_budget_s=None)
    for name in ("on_step_begin", "on_step_end"):
        getattr(callback, name)(iteration=1, trials=[], more=1)
    for name in ("start", "restore", "save", "complete", "recover", "error"):
        getattr(callback, f"on_trial_{name}")(**common)
    callback.on_trial_result(**common, result={})
    callback.on_checkpoint(**common, checkpoint=None)
    callback.on_experiment_end(trials=[], more=1)
    assert callback.get_state() is None


def test_a_list_calls_in_order_and_keeps_states_by_position(tmp_path):
    calls = []

    class Mine(Callback):
        def __init__(self, name):
            self.name = name

        def on_trial_start(self, trial, **info):
            calls.append((self.name, trial))

        def get_state(self):
            return {"name": self.name} if self.name != "none" else None

        def set_state(self, state):
            self.name = state["name"]

    mine = [Mine("a"), Mine("none"), Mine("c")]
    every = CallbackList(mine)
    every.on_trial_start(iteration=1, trials=[], trial="t")
    assert calls == [("a", "t"), ("none", "t"), ("c", "t")]
    assert every.get_state() == {0: {"name": "a"}, 1: None, 2: {"name": "c"}}
    assert CallbackList(mine[1:2]).get_state() is None
    every.set_state({1: {"name": "new"}})
    assert mine[1].name == "new"
    assert len(every) == 3 and every[2] is mine[2]
    with pytest.raises(AttributeError, match="on_nothing"):
        every.on_nothing()


def test_states_are_written_to_a_directory_and_read_back(tmp_path):
    class Mine(Callback):
        n = 0

        def get_state(self):
            return {"n": self.n} if self.n else None

        def set_state(self, state):
            self.n = state["n"]

    mine = Mine()
    every = CallbackList([Callback(), mine])
    every.save_to_dir(tmp_path, "2026-01-01_00-00-00")
    assert not every.can_restore(tmp_path)
    with pytest.raises(RuntimeError, match="no states"):
        every.restore_from_dir(tmp_path)
    for n in (1, 2):
        mine.n = n
        every.save_to_dir(tmp_path, f"2026-01-0{n}_00-00-00")
    mine.n = 5
    assert every.can_restore(tmp_path)
    every.restore_from_dir(tmp_path)
    assert mine.n == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "callback-states-2026-01-01_00-00-00.pkl",
        "callback-states-2026-01-02_00-00-00.pkl",
    ]


def test_a_container_of_callbacks_defines_all_hooks():
    with pytest.raises(TypeError, match="Half.*setup, on_step_begin.*on_experiment_end"):

        class Half(Callback):
            IS_CALLBACK_CONTAINER = True

            def on_trial_start(self, **info):
                pass

    class More(CallbackList):
        pass

    assert len(More([Callback()])) == 1


# --- in a run ---


@pytest.fixture
def run(tmp_path):
    tune.shutdown()
    tune.init(executor="inline", num_cpus=2)

    def call(trainable, **arguments):
        return tune.run(trainable, storage_path=tmp_path, verbose=0, **arguments)

    yield call
    tune.shutdown()


def two_results(config):
    for i in range(2):
        tune.report({"a": i})
        if config.get("fail"):
            raise RuntimeError("on purpose")


HOOKS = (
    "setup",
    "on_step_begin",
    "on_step_end",
    "on_trial_start",
    "on_trial_restore",
    "on_trial_save",
    "on_trial_result",
    "on_trial_complete",
    "on_trial_recover",
    "on_trial_error",
    "on_checkpoint",
    "on_experiment_end",
)


class Told(Callback):
    """Notes every call: hook, positional arguments, keywords."""

    def __init__(self):
        self.calls = []


for _name in HOOKS:

    def _note(self, *arguments, _name=_name, **keywords):
        self.calls.append((_name, arguments, keywords))

    setattr(Told, _name, _note)


class Saves(tune.Trainable):
    def step(self):
        if self.iteration == 1 and self.config.get("fail"):
            raise RuntimeError("on purpose")
        return {"a": self.iteration, "done": self.iteration == 1}

    def save_checkpoint(self, folder):
        return {}

    def load_checkpoint(self, state):
        pass


def test_hooks_come_in_order_with_keywords_only(run):
    told = Told()
    config = tune.CheckpointConfig(checkpoint_frequency=1)
    (trial,) = run(Saves, callbacks=[told], checkpoint_config=config).trials
    steps = ("on_step_begin", "on_step_end")
    assert [hook for hook, _, _ in told.calls if hook not in steps] == [
        "setup",
        "on_trial_start",
        "on_trial_result",
        "on_checkpoint",
        "on_trial_save",
        "on_trial_result",
        "on_checkpoint",
        "on_trial_save",
        "on_trial_complete",
        "on_experiment_end",
    ]
    every = {"on_experiment_end": {"trials"}}
    every |= dict.fromkeys(steps, {"iteration", "trials"})
    every["setup"] = {"stop", "num_samples", "total_num_samples", "time_budget_s"}
    more = {"on_trial_result": {"result"}, "on_checkpoint": {"checkpoint"}}
    last = 0
    for hook, arguments, keywords in told.calls:
        common = {"iteration", "trials", "trial"} | more.get(hook, set())
        assert not arguments and set(keywords) == every.get(hook, common), hook
        if hook != "setup":
            assert keywords["trials"] == [trial] or hook in steps
        if "iteration" in keywords:
            assert keywords["iteration"] >= last
            last = keywords["iteration"]
    # A step begins and ends around what happens in it; its end counts it.
    begun = None
    for hook, _, keywords in told.calls:
        if hook == "on_step_begin":
            assert begun is None
            begun = keywords["iteration"]
        elif hook == "on_step_end":
            assert keywords["iteration"] == begun + 1
            begun = None
        elif hook not in ("setup", "on_experiment_end"):
            assert keywords["iteration"] == begun


def test_hooks_of_a_trial_that_fails_twice(run):
    told = Told()
    arguments = {"config": {"fail": True}, "max_failures": 1, "raise_on_failed_trial": False}
    (trial,) = run(Saves, callbacks=[told], **arguments).trials
    assert trial.status == "ERROR"
    assert [hook for hook, _, _ in told.calls if hook.startswith("on_trial")] == [
        "on_trial_start",
        "on_trial_result",
        "on_trial_recover",
        "on_trial_start",
        "on_trial_result",
        "on_trial_error",
    ]


@pytest.mark.parametrize(
    "given, told",
    [
        ({}, {"stop": {}, "time_budget_s": None, "num_samples": 1, "total_num_samples": 1}),
        (
            {"stop": {"a": 5}, "time_budget_s": timedelta(seconds=90), "num_samples": 3},
            {
                "stop": {"a": 5},
                "time_budget_s": timedelta(seconds=90),
                "num_samples": 3,
                "total_num_samples": 3,
            },
        ),
        (
            {"stop": lambda trial_id, result: False, "config": {"x": tune.grid_search([1, 2])}},
            {"stop": {}, "time_budget_s": None, "num_samples": 1, "total_num_samples": 2},
        ),
    ],
)
def test_r133_setup_is_told_what_the_experiment_is_to_be(run, given, told):
    callback = Told()
    run(two_results, callbacks=[callback], **given)
    assert [call for call in callback.calls if call[0] == "setup"] == [("setup", (), told)]


def test_r134_an_older_setup_is_called_without_arguments(run):
    class Old(Callback):
        ready = False

        def setup(self):
            self.ready = True

    old = Old()
    with pytest.warns(FutureWarning, match=r"Old\.setup\(\) should take stop"):
        run(two_results, callbacks=[old])
    assert old.ready

    class Other(Callback):
        def setup(self, **info):
            raise TypeError("of another kind")

    with pytest.raises(TypeError, match="of another kind"):
        run(two_results, callbacks=[Other()])


@pytest.mark.parametrize("hook", [h for h in HOOKS if h not in ("on_trial_restore",)])
def test_an_exception_in_a_hook_ends_the_run(run, hook, caplog):
    bad = Callback()

    def fail(**info):
        raise KeyError("mine")

    setattr(bad, hook, fail)
    told = Told()
    arguments = {"raise_on_failed_trial": False, "callbacks": [bad, told]}
    arguments["checkpoint_config"] = tune.CheckpointConfig(checkpoint_frequency=1)
    arguments["config"] = {"fail": hook in ("on_trial_recover", "on_trial_error")}
    arguments["max_failures"] = 1 if hook == "on_trial_recover" else 0
    if hook in ("setup", "on_experiment_end"):
        with pytest.raises(KeyError, match="mine"):
            run(Saves, **arguments)
    elif hook == "on_checkpoint":
        run(Saves, **arguments)
        assert "KeyError: 'mine'" in caplog.text
    else:
        with pytest.raises(tune.TuneError, match="KeyError: 'mine'") as caught:
            run(Saves, **arguments)
        assert isinstance(caught.value.__cause__, KeyError)
    assert told.calls[-1][0] == "on_experiment_end"  # in any case


def test_r115_the_callers_list_is_extended_in_place(run):
    given = [Told()]
    run(two_results, callbacks=given)
    kinds = [type(callback) for callback in given]
    assert kinds[0] is Told
    assert {CSVLoggerCallback, JsonLoggerCallback} <= set(kinds[1:])
    fixed = (Told(),)
    run(two_results, callbacks=fixed)
    assert len(fixed) == 1


def test_r120_callbacks_are_named_by_the_environment(run, monkeypatch):
    given = [Callback()]
    name = f"{Told.__module__}.Told"
    monkeypatch.setitem(sys.modules, Told.__module__, sys.modules[__name__])
    monkeypatch.setenv("RAY_TUNE_CALLBACKS", f" {name},,{name} ")
    run(two_results, callbacks=given)
    assert [type(callback) for callback in given[:3]] == [Callback, Told, Told]
    assert given[1].calls[-1][0] == "on_experiment_end"
    for bad in ("Told", "no.such.module.Told", f"{Told.__module__}.Nobody", "collections.Counter"):
        monkeypatch.setenv("RAY_TUNE_CALLBACKS", bad)
        with pytest.raises(ValueError, match=f"RAY_TUNE_CALLBACKS.*{bad}"):
            run(two_results)


# --- loggers ---


def test_loggers_are_told_what_they_log():
    told = []

    class Mine(LoggerCallback):
        def log_trial_start(self, trial):
            told.append(("start", trial))

        def log_trial_save(self, trial):
            told.append(("save", trial))

        def log_trial_result(self, iteration, trial, result):
            told.append(("result", iteration, trial, result))

        def log_trial_end(self, trial, failed=False):
            told.append(("end", trial, failed))

    mine = Mine()
    common = {"iteration": 2, "trials": ["t"], "trial": "t"}
    mine.on_trial_start(**common)
    mine.on_trial_result(**common, result={"a": 1})
    mine.on_trial_save(**common)
    mine.on_trial_complete(**common)
    mine.on_trial_error(**common)
    assert told == [
        ("start", "t"),
        ("result", 2, "t", {"a": 1}),
        ("save", "t"),
        ("end", "t", False),
        ("end", "t", True),
    ]
    assert isinstance(JsonLoggerCallback(), LoggerCallback)
    assert isinstance(CSVLoggerCallback(), LoggerCallback)


class Noted(Logger):
    """An older logger of a user's own."""

    made: list = []

    def _init(self):
        self.calls = ["init"]
        Noted.made.append(self)

    def on_result(self, result):
        self.calls.append(("result", result["training_iteration"]))

    def flush(self):
        self.calls.append("flush")

    def close(self):
        self.calls.append("close")


def test_older_loggers_are_made_for_each_trial(run):
    Noted.made.clear()
    config = {"x": tune.grid_search([1, 2])}
    often = tune.CheckpointConfig(checkpoint_frequency=2)
    legacy = LegacyLoggerCallback([Noted, NoopLogger])
    trials = run(Saves, callbacks=[legacy], config=config, checkpoint_config=often).trials
    assert [made.trial for made in Noted.made] == trials
    for made, trial in zip(Noted.made, trials, strict=True):
        assert (made.config, made.logdir) == (trial.config, trial.local_path)
        assert made.calls == ["init", ("result", 1), ("result", 2), "flush", "close"]
    with pytest.raises(NotImplementedError, match=r"on_result\(\)"):
        Logger({}, "").on_result({})


def test_an_older_logger_goes_on_when_a_trial_is_tried_again(run):
    Noted.made.clear()
    arguments = {"config": {"fail": True}, "max_failures": 1, "raise_on_failed_trial": False}
    run(Saves, callbacks=[LegacyLoggerCallback([Noted])], **arguments)
    (made,) = Noted.made
    assert made.calls == ["init", ("result", 1), ("result", 1), "close"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_r118_older_loggers_write_what_the_default_ones_do(run):
    def train(config):
        for i in range(2):
            tune.report({"loss": i / 3, "nested": {"b": [1, "ä"]}, "text": "a,b", "none": None})

    pytest.importorskip("tensorboardX")
    config = {"x": tune.choice([2]), "function": os.getcwd, "nested": {"b": (1, 2)}}
    given = [LegacyLoggerCallback([CSVLogger, JsonLogger, TBXLogger])]
    (old,) = run(train, config=config, callbacks=given).trials
    assert len(given) == 2  # a reporter, and no other logger was added
    (new,) = run(train, config=config).trials
    names = ["params.json", "params.pkl", "progress.csv", "result.json"]
    for trial in (old, new):
        files = sorted(os.listdir(trial.path))
        assert [f for f in files if not f.startswith("events.out.")] == names
        assert len(files) == 5
    with open(f"{old.path}/params.json") as a, open(f"{new.path}/params.json") as b:
        assert a.read() == b.read()
    with open(f"{old.path}/params.pkl", "rb") as file:
        assert pickle.load(file) == old.config

    def lines(trial):
        with open(f"{trial.path}/result.json") as file:
            return [json.loads(line) for line in file]

    def rows(trial):
        with open(f"{trial.path}/progress.csv", newline="") as file:
            return list(csv.reader(file))

    for line in lines(old) + lines(new):
        assert line["config"] == {"x": 2, "function": str(os.getcwd), "nested": {"b": [1, 2]}}
    assert [list(line) for line in lines(old)] == [list(line) for line in lines(new)]
    own = ("loss", "nested", "text", "none", "done", "training_iteration")
    assert [[line[k] for k in own] for line in lines(old)] == [
        [line[k] for k in own] for line in lines(new)
    ]
    assert rows(old)[0] == rows(new)[0] and len(rows(old)) == 3
    assert rows(old)[1][:3] == rows(new)[1][:3]


@pytest.mark.parametrize("kind", [CSVLogger, JsonLogger])
def test_r118_only_what_is_given_is_left_out(run, kind):
    given = [LegacyLoggerCallback([kind])]
    with pytest.warns(DeprecationWarning, match=f"{kind.__name__} is deprecated"):
        run(two_results, callbacks=given)
    kinds = {CSVLoggerCallback: CSVLogger, JsonLoggerCallback: JsonLogger}
    added = {kinds.get(type(callback)) for callback in given[1:]}
    assert kind not in added and added >= {CSVLogger, JsonLogger} - {kind}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_unified_logger_stands_for_several(run, tmp_path, caplog):
    Noted.made.clear()

    class Bad(Logger):
        def _init(self):
            raise OSError("no room")

    unified = UnifiedLogger({"a": 1}, str(tmp_path), None, [Noted, Bad, JsonLogger])
    unified.on_result({"training_iteration": 1})
    unified.update_config({"a": 2})
    unified.flush()
    unified.close()
    assert Noted.made[0].calls == ["init", ("result", 1), "flush", "close"]
    assert json.loads((tmp_path / "params.json").read_text()) == {"a": 2}
    assert "Bad is left out: no room" in caplog.text


def test_pretty_print_shows_users_keys_first_and_hides_the_config():
    text = pretty_print(
        {"training_iteration": 3, "a": {"b": 1}, "n": None, "config": {}, "z": 2, "hist_stats": 1},
        exclude=["z"],
    )
    assert text == "a:\n  b: 1\ntraining_iteration: 3\n"


def test_pretty_print_is_yaml():
    yaml = pytest.importorskip("yaml")
    result = {
        "list": [1, [2.5, "x"], {"k": "yes"}],
        "texts": {"a": "yes", "b": "a: b", "c": "käse", "d": "two\nlines", "e": "", "f": "-1"},
        "numbers": {"i": float("inf"), "m": -float("inf"), "f": 0.1, "n": np.float64(2)},
        "array": np.arange(3),
        "empty": {},
        "odd key: #": True,
    }
    expected = {**result, "array": [0, 1, 2]}
    assert yaml.safe_load(pretty_print(result)) == expected
    assert math.isnan(yaml.safe_load(pretty_print({"a": float("nan")}))["a"])


def test_flat_keys_of_nested_dicts_come_last():
    nested = {"a": {"b": 1, "c": {"d": 2}}, "e": [3, {"f": 4}], "g": {}}
    assert flatten_dict(nested) == {"e": [3, {"f": 4}], "a/b": 1, "a/c/d": 2}
    assert list(flatten_dict(nested)) == ["e", "a/b", "a/c/d"]
    flat = flatten_dict(nested, flatten_list=True)
    assert flat["e/0"] == 3 and flat["e/1/f"] == 4
    with pytest.raises(ValueError, match="x/y"):
        flatten_dict({"x/y": 1}, prevent_delimiter=True)


def test_unflattening_is_the_way_back():
    nested = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert unflatten_dict(flatten_dict(nested)) == nested
    lists = {"a": [1, {"b": 2}]}
    assert unflatten_list_dict(flatten_dict(lists, flatten_list=True)) == lists
    with pytest.raises(TypeError, match="a/b"):
        unflatten_dict({"a": 1, "a/b": 2})


def test_lookup_follows_a_path():
    data = {"a": {"b": [10, 20]}, "x/y": 5}
    assert unflattened_lookup("a/b/1", data) == 20
    assert unflattened_lookup("x/y", data) == 5
    assert unflattened_lookup("a/z", data, default=None) is None
    with pytest.raises(KeyError, match="a/z"):
        unflattened_lookup("a/z", data)


def test_merging_and_updating_nested_dicts():
    first = {"a": {"b": 1, "c": 2}}
    assert merge_dicts(first, {"a": {"b": 9}, "d": 3}) == {
        "a": {"b": 9, "c": 2},
        "d": 3,
    }
    assert first == {"a": {"b": 1, "c": 2}}
    deep_update(first, {"a": {"b": 5}})
    assert first["a"]["b"] == 5
    with pytest.raises(KeyError, match="new"):
        deep_update(first, {"new": 1}, new_keys_allowed=False)


def test_slow_blocks_are_mentioned(caplog):
    with warn_if_slow("saving", threshold=-1.0):
        pass
    assert "saving" in caplog.text
    caplog.clear()
    with warn_if_slow("saving", threshold=60.0):
        pass
    assert not caplog.records
