"""HyperOptSearch, over hyperopt itself."""

import math

import pytest
import searcher_streams

import ctune as tune
from ctune.search import ConcurrencyLimiter, create_searcher
from ctune.search.hyperopt import HyperOptSearch

hyperopt = pytest.importorskip("hyperopt")
hp = hyperopt.hp
as_int = hyperopt.pyll.scope.int

SPACE = {
    "lr": tune.loguniform(1e-4, 1e-1),
    "nested": {"width": tune.randint(1, 10), "act": tune.choice(["relu", "tanh"])},
    "constant": [1, {"a": (2, 3)}],
}


def search(space=None, **arguments):
    arguments = {"metric": "loss", "mode": "min", "random_state_seed": 1, **arguments}
    searcher = HyperOptSearch(space, **arguments)
    if space is None:
        assert searcher.set_search_properties(None, None, SPACE)
    return searcher


def searched(space, **arguments):
    searcher = HyperOptSearch(metric="loss", mode="min", random_state_seed=1, **arguments)
    assert searcher.set_search_properties(None, None, space)
    return searcher


@pytest.mark.parametrize("recorded", searcher_streams.cases("hyperopt"))
def test_suggestions_are_those_of_the_reference(recorded):
    searcher_streams.check(recorded)


@pytest.mark.parametrize(
    ("domain", "parameter"),
    [
        (tune.uniform(1, 4), hp.uniform("a", 1, 4)),
        (tune.quniform(1, 4, 0.5), hp.quniform("a", 1, 4, 0.5)),
        (tune.loguniform(1, 4), hp.loguniform("a", 0.0, math.log(4))),
        (tune.qloguniform(1, 4, 0.5), hp.qloguniform("a", 0.0, math.log(4), 0.5)),
        (tune.randn(1, 2), hp.normal("a", 1, 2)),
        (tune.qrandn(1, 2, 0.5), hp.qnormal("a", 1, 2, 0.5)),
        (tune.randint(1, 4), hp.uniformint("a", 1, 3)),
        (tune.qrandint(2, 8, 2), as_int(hp.quniform("a", 2, 7, 2))),
        (tune.lograndint(1, 9), as_int(hp.qloguniform("a", 0.0, math.log(8), 1.0))),
        (tune.qlograndint(1, 9, 1), as_int(hp.qloguniform("a", 0.0, math.log(9), 1))),
        (tune.choice([1, "x"]), hp.choice("a", [1, "x"])),
    ],
)
def test_domains_become_parameters(domain, parameter):
    converted = HyperOptSearch.convert_search_space({"a": domain})["a"]
    assert str(converted).replace("high =\n", "") == str(parameter).replace("high =\n", "")


@pytest.mark.parametrize(
    ("space", "word"),
    [
        ({"a": tune.grid_search([1]), "b": tune.uniform(0, 1)}, "a: is a grid"),
        ({"a": {"b": tune.sample_from(lambda spec: 1)}}, "a/b: .*Function"),
        ({"a": tune.choice([1, {"b": tune.grid_search([1, 2])}])}, "a/1/b: is a grid"),
    ],
)
def test_what_hyperopt_lacks_is_named(space, word):
    with pytest.raises(ValueError, match=word):
        HyperOptSearch.convert_search_space(space)


def test_constants_come_back_as_they_are():
    config = search().suggest("0")
    assert config["constant"] == [1, {"a": (2, 3)}]
    assert set(config) == set(SPACE)
    config["constant"][1]["a"] = "changed by a trainable"
    assert SPACE["constant"] == [1, {"a": (2, 3)}]
    options = [{"kind": "none", "sizes": [1, 2]}, [3, 4], (5, 6)]
    searcher = searched({"net": tune.choice(options)})
    got = [searcher.suggest(str(i))["net"] for i in range(30)]
    assert all(option in got for option in options) and all(one in options for one in got)


def test_options_may_have_parameters_of_the_same_name():
    searcher = searched(
        {
            "net": tune.choice(
                [
                    {"kind": "a", "lr": tune.uniform(0, 1)},
                    {"kind": "b", "lr": tune.uniform(2, 3)},
                ]
            )
        }
    )
    for i in range(30):
        net = searcher.suggest(str(i))["net"]
        assert (net["kind"] == "a") == (net["lr"] < 1)
        searcher.on_trial_complete(str(i), {"loss": net["lr"]})


def test_it_learns_in_both_directions():
    for mode, best in (("min", -10), ("max", 10)):
        searcher = search({"x": hp.uniform("x", -10, 10)}, mode=mode, n_initial_points=10)
        values = []
        for i in range(40):
            values.append(searcher.suggest(str(i))["x"])
            searcher.on_trial_complete(str(i), {"loss": values[-1]})
        assert sum(abs(v - best) for v in values[-10:]) < sum(abs(v - best) for v in values[:10])


def test_points_come_first_by_place_or_by_label():
    nested = {"lr": 0.01, "nested": {"width": 3, "act": "tanh"}}
    labelled = {"lr": 0.02, "nested/width": 4, "nested/act": "relu"}
    by_index = {"lr": 0.03, "nested/width": 5, "nested/act": 1}
    searcher = search(points_to_evaluate=[nested, labelled, by_index], n_initial_points=2)
    constant = {"constant": SPACE["constant"]}
    got = [searcher.suggest(str(i)) for i in range(3)]
    assert got == [
        {**nested, **constant},
        {"lr": 0.02, "nested": {"width": 4, "act": "relu"}, **constant},
        {"lr": 0.03, "nested": {"width": 5, "act": "tanh"}, **constant},
    ]
    for i in range(3):
        searcher.on_trial_complete(str(i), {"loss": i})
    assert set(searcher.suggest("3")) == set(SPACE)  # the estimators have learnt from them


def test_points_choose_among_options_by_their_value():
    options = [
        {"kind": "mlp", "width": tune.randint(1, 9)},
        {"kind": "cnn", "filters": tune.choice([tune.randint(10, 20), None])},
        [tune.uniform(0, 1), 3],
        (5, 6),
        False,
        0,
    ]
    values = [
        {"kind": "cnn", "filters": None},
        {"kind": "mlp", "width": 4},
        {"kind": "cnn", "filters": 12},
        [0.5, 3],
        (5, 6),
        0,
        False,
    ]
    points = [{"net": value, "z": i / 10} for i, value in enumerate(values)]
    space = {"net": tune.choice(options), "z": tune.uniform(0, 1)}
    searcher = searched(space, points_to_evaluate=points, n_initial_points=5)
    for i, point in enumerate(points):
        config = searcher.suggest(str(i))
        if isinstance(config["net"], tuple) and i == 3:
            config["net"] = list(config["net"])  # lists of parameters are tuples to hyperopt
        assert config == point and type(config["net"]) is type(point["net"])
        searcher.on_trial_complete(str(i), {"loss": i})
    searcher.suggest("more")
    with pytest.raises(ValueError, match="net"):
        searched(space, points_to_evaluate=[{"net": {"kind": "rnn"}, "z": 0.5}])


@pytest.mark.parametrize(
    ("points", "error", "word"),
    [
        ({"lr": 1}, TypeError, "points_to_evaluate: must be a list"),
        ([3], TypeError, "points_to_evaluate"),
        ([{"lr": 0.01, "nested": {"width": 2, "act": "elu"}}], ValueError, "'elu'.*nested/act"),
        ([{"lr": 0.01, "nested": {"width": 2}}], ValueError, "lacks nested/act"),
        ([{"nested": {"width": 2, "act": "relu"}}], ValueError, "lacks lr"),
        ([{"lr": 0.01, "nested": {"width": 2, "act": 1}}], ValueError, "no option"),
        ([{"lr": 0.01, "nested": {"width": 2}, "nested/act": 2}], ValueError, "no option"),
    ],
)
def test_bad_points(points, error, word):
    with pytest.raises(error, match=word):
        search(points_to_evaluate=points)


def test_domains_given_as_the_space_are_converted_with_a_warning(caplog):
    searcher = search(SPACE)
    assert "search domains" in caplog.text
    assert "nested" in searcher.suggest("0")
    assert not searcher.set_search_properties("loss", "min", SPACE)


def test_states_and_losses_reach_hyperopt():
    searcher = search(mode="max")
    for i in range(4):
        searcher.suggest(str(i))
    trials = searcher.get_state()["hyperopt_trials"]
    searcher.on_trial_result("0", {"loss": 1.0})
    searcher.on_trial_complete("0", {"loss": 4.0})
    searcher.on_trial_complete("1", {"loss": 5.0}, error=True)
    searcher.on_trial_complete("2", None)
    searcher.on_trial_complete("unknown", {"loss": 1})
    states = [t["state"] for t in trials._dynamic_trials]
    assert states == [
        hyperopt.JOB_STATE_DONE,
        hyperopt.JOB_STATE_ERROR,
        hyperopt.JOB_STATE_NEW,
        hyperopt.JOB_STATE_NEW,
    ]
    assert trials.trials[0]["result"] == {"loss": -4.0, "status": "ok"}
    with pytest.raises(RuntimeError, match="'loss' is missing"):
        searcher.on_trial_complete("3", {"other": 1})


def test_bad_arguments():
    with pytest.raises(AssertionError, match="mode"):
        HyperOptSearch(metric="loss", mode="best")
    with pytest.raises(RuntimeError, match="no search space"):
        HyperOptSearch(metric="loss", mode="min").suggest("0")
    with pytest.raises(RuntimeError, match="constants only"):
        HyperOptSearch(metric="loss", mode="min").set_search_properties(None, None, {"a": 1})
    with pytest.raises(RuntimeError, match="metric"):
        HyperOptSearch({"x": hp.uniform("x", 0, 1)}).suggest("0")
    only_mode = HyperOptSearch({"x": hp.uniform("x", 0, 1)}, mode="max")
    assert only_mode.metric == "_metric" and only_mode.suggest("0")


@pytest.mark.parametrize("executor", ["inline", "process"])
@pytest.mark.parametrize("limited", [False, True])
def test_in_a_run(tmp_path, executor, limited):
    def train(config):
        for i in range(3):
            tune.report({"loss": (config["x"] - 2) ** 2 / (i + 1), "c": config["c"]})

    tune.shutdown()
    tune.init(executor=executor, num_cpus=2)
    searcher = create_searcher("HyperOpt", random_state_seed=3, n_initial_points=5)
    try:
        analysis = tune.run(
            train,
            config={"x": tune.uniform(0, 4), "c": [5]},
            search_alg=ConcurrencyLimiter(searcher, 2) if limited else searcher,
            max_concurrent_trials=None if limited else 2,
            scheduler="async_hyperband",
            metric="loss",
            mode="min",
            num_samples=10,
            storage_path=tmp_path,
            verbose=0,
        )
    finally:
        tune.shutdown()
    assert len(analysis.trials) == 10
    assert all(t.status == "TERMINATED" and t.last_result["c"] == [5] for t in analysis.trials)
    trials = searcher.get_state()["hyperopt_trials"].trials
    told = {t["misc"]["vals"]["x"][0]: t["result"]["loss"] for t in trials}
    assert told == {t.config["x"]: t.last_result["loss"] for t in analysis.trials}
