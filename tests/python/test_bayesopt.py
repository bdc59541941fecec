"""BayesOptSearch, over the library bayesian-optimization itself."""

import math
import sys
import types

import pytest
import searcher_streams

import ctune as tune
from ctune.search import Searcher, create_searcher
from ctune.search.bayesopt import BayesOptSearch

pytest.importorskip("bayes_opt")

SPACE = {"x": tune.uniform(0, 1), "n": {"y": tune.uniform(-3, 3)}, "constant": [1]}


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices; threads would only wait for each other."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def search(space=None, **arguments):
    arguments = {"metric": "loss", "mode": "min", "random_search_steps": 3, **arguments}
    searcher = BayesOptSearch(space, **arguments)
    if space is None:
        assert searcher.set_search_properties(None, None, SPACE)
    return searcher


@pytest.mark.parametrize("recorded", searcher_streams.cases("bayesopt", fast=1))
def test_suggestions_are_those_of_the_reference(recorded):
    searcher_streams.check(recorded)


def test_domains_become_bounds(caplog):
    space = {"a": {"b": tune.uniform(1, 4)}, "c": 3}
    assert BayesOptSearch.convert_search_space(space) == {"a/b": (1, 4)}
    assert BayesOptSearch.convert_search_space(space, join=True) == {"a/b": (1, 4), "c": 3}
    assert not caplog.records
    space = {"q": tune.quniform(0, 1, 0.5), "l": tune.loguniform(1, 4)}
    assert BayesOptSearch.convert_search_space(space) == {"q": (0, 1), "l": (1, 4)}
    assert "q is dropped" in caplog.text and "LogUniform" in caplog.text


@pytest.mark.parametrize(
    ("domain", "word"),
    [
        (tune.randint(0, 3), "Integer"),
        (tune.choice([1, 2]), "Categorical"),
        (tune.randn(), "Float.*Normal"),
        (tune.grid_search([1, 2]), "a: is a grid"),
    ],
)
def test_other_domains_are_refused(domain, word):
    with pytest.raises(ValueError, match=word):
        BayesOptSearch.convert_search_space({"a": domain})


def test_random_trials_come_first_and_all_of_them_must_end():
    searcher = search()
    got = [searcher.suggest(str(i)) for i in range(5)]
    assert all(isinstance(config, dict) for config in got[:3]) and got[3:] == [None, None]
    assert all(type(config["n"]["y"]) is float for config in got[:3])
    searcher.on_trial_complete("0", None, error=True)
    assert isinstance(searcher.suggest("5"), dict)  # in place of the one that failed
    for trial in ("1", "2", "5"):
        assert searcher.suggest("6") is None
        searcher.on_trial_complete(trial, {"loss": math.nan if trial == "2" else 1.0})
    assert len(searcher._optimizer.space) == 2
    assert isinstance(searcher.suggest("6"), dict)


def test_a_configuration_is_tried_once_and_ends_the_search_when_it_comes_too_often(caplog):
    point = {"x": 0.5, "n": {"y": 1.0}}
    close = {"x": 0.500000001, "n/y": 1}
    searcher = search(points_to_evaluate=[point, close, point], patience=2)
    got = [searcher.suggest(str(i)) for i in range(3)]
    assert got == [point, None, Searcher.FINISHED]
    assert "suggested again" in caplog.text and "patience=2" in caplog.text
    searcher = search(points_to_evaluate=[point, point, point], patience=9, skip_duplicate=False)
    for i in range(3):
        assert searcher.suggest(str(i)) == point
    for i in range(3):
        searcher.on_trial_complete(str(i), {"loss": i})
    assert len(searcher._optimizer.space) == 1
    exact = search(points_to_evaluate=[point, close], repeat_float_precision=9)
    assert [exact.suggest(str(i)) for i in range(2)] == [point, {"x": 0.500000001, "n": {"y": 1}}]


def test_it_learns_in_both_directions():
    for mode, sign in (("min", 1), ("max", -1)):
        searcher = search({"x": (0, 10)}, mode=mode)
        for i in range(6):
            x = searcher.suggest(str(i))["x"]
            searcher.on_trial_complete(str(i), {"loss": sign * (x - 7) ** 2})
        assert abs(searcher.suggest("last")["x"] - 7) < 1


def test_it_learns_from_an_analysis(tmp_path):
    def train(config):
        if config["x"] > 0.2:
            tune.report({"loss": config["x"] + config["n"]["y"]})
            tune.report({"loss": 99.0})

    analysis = tune.run(
        train,
        config={**SPACE, "x": tune.grid_search([0.1, 0.5, 0.75])},
        storage_path=tmp_path,
        verbose=0,
    )
    searcher = search(analysis=analysis)
    told = {r["params"]["x"]: (r["params"]["n/y"], r["target"]) for r in searcher._optimizer.res}
    assert told.keys() == {0.5, 0.75}
    assert all(target == pytest.approx(-x - y) for x, (y, target) in told.items())


def test_bad_arguments(monkeypatch):
    for arguments, error, word in (
        ({"mode": "best"}, AssertionError, "mode"),
        ({"patience": 0}, ValueError, "patience"),
        ({"repeat_float_precision": -1}, ValueError, "repeat_float_precision"),
        ({"repeat_float_precision": 1.0}, TypeError, "repeat_float_precision"),
        ({"points_to_evaluate": 3}, TypeError, "points_to_evaluate"),
    ):
        with pytest.raises(error, match=word):
            BayesOptSearch(**arguments)
    with pytest.raises(RuntimeError, match="no search space"):
        BayesOptSearch(metric="loss", mode="min").suggest("0")
    with pytest.raises(RuntimeError, match="metric"):
        BayesOptSearch({"x": (0, 1)}).suggest("0")
    with pytest.raises(KeyError, match="'loss' is missing"):
        searcher = search()
        searcher.suggest("0")
        searcher.on_trial_complete("0", {"other": 1})
    monkeypatch.setitem(sys.modules, "bayes_opt", types.ModuleType("bayes_opt"))
    with pytest.raises(ImportError, match="pip install bayesian-optimization==1.4.3"):
        BayesOptSearch()


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_in_a_run(tmp_path, executor):
    def train(config):
        tune.report({"loss": (config["x"] - 0.6) ** 2 + (config["n"]["y"] - 1) ** 2})

    tune.shutdown()
    tune.init(executor=executor, num_cpus=2)
    searcher = create_searcher("bayesopt", random_search_steps=4)
    try:
        analysis = tune.run(
            train,
            config=SPACE,
            search_alg=searcher,
            max_concurrent_trials=1,
            metric="loss",
            mode="min",
            num_samples=7,
            storage_path=tmp_path,
            verbose=0,
        )
    finally:
        tune.shutdown()
    assert len(analysis.trials) == 7
    told = {r["params"]["x"]: -r["target"] for r in searcher._optimizer.res}
    assert told == {t.config["x"]: t.last_result["loss"] for t in analysis.trials}
