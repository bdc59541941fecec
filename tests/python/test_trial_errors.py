"""Errors in trainables: whose traceback, in which files, raised as what."""

import functools
import math
import os
import pickle
import sys
import traceback

import pytest

import ctune
from ctune import TuneError, tune


class Bad(Exception):
    def __str__(self):
        raise RuntimeError("has no text")

    __repr__ = __str__


def chained(config):
    try:
        math.sqrt(-1)
    except ValueError as error:
        raise KeyError("mine") from error


def deep(config):
    def descend():
        return descend()

    descend()


def rubbish(config):
    raise ValueError("\udcff\x00\x1b[31m" + "x" * 1_000_000)


def wordless(config):
    raise Bad


class InSetup(tune.Trainable):
    def setup(self, config):
        raise ValueError("in setup")

    def step(self):
        return {}


class InStep(tune.Trainable):
    def step(self):
        raise ValueError("in step")


@pytest.fixture(params=["inline", "process"])
def executor(request):
    ctune.init(executor=request.param, num_cpus=2)
    yield request.param
    ctune.shutdown()


@pytest.fixture
def run(tmp_path):
    def run(trainable, **arguments):
        arguments.setdefault("verbose", 0)
        return tune.run(trainable, storage_path=str(tmp_path), **arguments)

    return run


def failed(run, trainable, **arguments):
    (trial,) = run(trainable, raise_on_failed_trial=False, **arguments).trials
    assert trial.status == "ERROR"
    with open(trial.error_file, encoding="utf-8") as f:
        return trial, f.read()


def test_the_text_is_the_users_traceback_with_its_causes_and_source(executor, run):
    trial, text = failed(run, chained)
    first, second = text.split("The above exception was the direct cause")
    assert first.splitlines()[0].startswith("Failure # 1 (occurred at ")
    assert first.splitlines()[1] == "Traceback (most recent call last):"
    lines = [line for line in text.splitlines() if line.lstrip().startswith("File ")]
    assert len(lines) == 2 and all(f'"{__file__}"' in line for line in lines)
    assert "math.sqrt(-1)" in first and "raise KeyError" in second
    assert text.rstrip().endswith("KeyError: 'mine'")
    assert os.path.basename(trial.error_file) == "error.txt"


@pytest.mark.parametrize("wrap", ["parameters", "partial", "method", "generator"])
def test_wrappers_of_ours_are_not_in_it(executor, run, wrap):
    class Holder:
        def train(self, config):
            raise ValueError("mine")

    def generator(config):
        yield {"a": 1}
        raise ValueError("mine")

    def bound(config, data):
        raise ValueError("mine")

    trainable = {
        "parameters": lambda: tune.with_parameters(bound, data=[1]),
        "partial": lambda: functools.partial(bound, data=1),
        "method": lambda: Holder().train,
        "generator": lambda: generator,
    }[wrap]()
    _, text = failed(run, trainable)
    assert [line for line in text.splitlines() if "/ctune/" in line] == []
    assert __file__ in text


def test_all_frames_are_there_for_who_asks(executor, run, monkeypatch):
    monkeypatch.setenv("RAY_AIR_FULL_TRACEBACKS", "1")
    _, text = failed(run, chained)
    assert "function_trainable.py" in text


@pytest.mark.parametrize("trainable", [InSetup, InStep])
def test_methods_of_classes_too(executor, run, trainable):
    trial, text = failed(run, trainable)
    assert text.splitlines()[2].strip().startswith(f'File "{__file__}"')
    with open(trial.pickled_error_file, "rb") as f:
        error = pickle.load(f)
    assert type(error) is ValueError and error.args[0] in ("in setup", "in step")


@pytest.mark.parametrize("trainable", [deep, rubbish, wordless])
def test_no_exception_is_too_odd(executor, run, trainable):
    _, text = failed(run, trainable)
    assert "Traceback (most recent call last):" in text
    expected = {
        deep: "RecursionError",
        rubbish: "ValueError: \\udcff\x00\x1b[31mxxx",
        wordless: "Bad: <exception str() failed>",
    }
    assert expected[trainable] in text


def test_a_key_that_no_file_can_hold_is_named(executor, run):
    def train(config):
        tune.report({"\udcff": 1})

    _, text = failed(run, train)
    assert "ValueError: the text '\\udcff' cannot be written as UTF-8" in text


def test_text_that_is_no_utf8_may_be_a_value(executor, run):
    def train(config):
        tune.report({"name": "\udcff", "bytes": b"\x00\xff"})

    (trial,) = run(train).trials
    assert trial.last_result["name"] == "\udcff"
    assert trial.last_result["bytes"] == b"\x00\xff"


def test_the_error_of_a_run_lists_the_failed_trials(executor, run):
    def train(config):
        if config["x"] > 1:
            raise ValueError("mine")

    with pytest.raises(TuneError) as caught:
        run(train, config={"x": tune.grid_search([1, 2, 3])})
    message, trials = caught.value.args
    assert "did not complete" in message
    assert sorted(trial.config["x"] for trial in trials) == [2, 3]
    assert all(str(trial) in str(caught.value) for trial in trials)


@pytest.mark.filterwarnings("ignore:fail_fast")
def test_r25_what_is_raised_shows_where_the_trial_raised_it(executor, run):
    with pytest.raises(KeyError, match="mine") as caught:
        run(chained, fail_fast="raise")
    shown = "".join(traceback.format_exception(caught.value))
    assert "ValueError: " in shown
    assert f'File "{__file__}", line {chained.__code__.co_firstlineno + 4}, in chained' in shown


@pytest.mark.parametrize("where", ["setup", "step", "function"])
def test_debug_raises_the_exception_as_it_is(run, where):
    error = ValueError("mine")
    cause = KeyError("why")

    def fail():
        raise error from cause

    class Fails(tune.Trainable):
        def setup(self, config):
            if where == "setup":
                fail()

        def step(self):
            fail()

    ctune.init(debug=True)
    try:
        with pytest.raises(ValueError) as caught:
            run((lambda config: fail()) if where == "function" else Fails)
    finally:
        ctune.shutdown()
    assert caught.value is error
    assert error.__cause__ is cause
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-1] == "fail"


def test_a_debugger_may_stop_in_a_function_between_reports(run):
    seen = []

    def trace(frame, event, argument):
        if frame.f_code is train.__code__:
            if event == "line":
                seen.append(frame.f_lineno - train.__code__.co_firstlineno)
            return trace
        return None

    def train(config):
        sys.settrace(trace)
        sys._getframe().f_trace = trace
        tune.report({"a": 1})
        tune.report({"a": 2})
        sys.settrace(None)

    before = sys.gettrace()
    ctune.init(debug=True)
    try:
        run(train)
    finally:
        ctune.shutdown()
        sys.settrace(before)
    assert seen == [3, 4, 5]
