"""Callbacks and loggers, called by hand; test_run.py sees them called by a run."""

import pytest

from ctune import Callback
from ctune.callback import CallbackList
from ctune.logger import (
    CSVLoggerCallback,
    JsonLoggerCallback,
    LoggerCallback,
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


def test_a_list_calls_in_order_and_keeps_states_by_position():
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
    assert every.get_state() == {0: {"name": "a"}, 2: {"name": "c"}}
    every.set_state({1: {"name": "new"}})
    assert mine[1].name == "new"
    assert len(every) == 3
    with pytest.raises(AttributeError, match="on_nothing"):
        every.on_nothing()


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


def test_pretty_print_shows_users_keys_first_and_hides_the_config():
    text = pretty_print(
        {"training_iteration": 3, "a": {"b": 1}, "n": None, "config": {}, "z": 2},
        exclude=["z"],
    )
    assert text == "a:\n  b: 1\ntraining_iteration: 3\n"


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
