"""OptunaSearch, over Optuna itself."""

import math

import pytest
import searcher_streams

import ctune as tune
from ctune.search import ConcurrencyLimiter, create_searcher
from ctune.search.optuna import OptunaSearch

optuna = pytest.importorskip("optuna")
made = optuna.distributions
optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE = {
    "lr": tune.loguniform(1e-4, 1e-1),
    "nested": {"width": tune.randint(1, 10), "act": tune.choice(["relu", "tanh"])},
    "constant": 3,
}


def search(space=None, **arguments):
    arguments = {"metric": "loss", "mode": "min", "seed": 1, **arguments}
    searcher = OptunaSearch(space, **arguments)
    if space is None:
        assert searcher.set_search_properties(None, None, SPACE)
    return searcher


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("recorded", searcher_streams.cases("optuna"))
def test_suggestions_are_those_of_the_reference(recorded):
    searcher_streams.check(recorded)


@pytest.mark.parametrize(
    ("domain", "distribution"),
    [
        (tune.uniform(1, 4), made.FloatDistribution(1, 4)),
        (tune.quniform(1, 4, 0.5), made.FloatDistribution(1, 4, step=0.5)),
        (tune.loguniform(1, 4), made.FloatDistribution(1, 4, log=True)),
        (tune.qloguniform(1, 4, 0.5), made.FloatDistribution(1, 4, log=True)),
        (tune.randint(1, 4), made.IntDistribution(1, 3)),
        (tune.qrandint(2, 8, 2), made.IntDistribution(2, 8, step=2)),
        (tune.lograndint(1, 9), made.IntDistribution(1, 8, log=True)),
        (tune.choice([1, "a"]), made.CategoricalDistribution([1, "a"])),
    ],
)
def test_domains_become_distributions(domain, distribution):
    assert OptunaSearch.convert_search_space({"a": {"b": domain}}) == {"a/b": distribution}


@pytest.mark.parametrize(
    ("space", "word"),
    [
        ({"a": tune.grid_search([1])}, "a: is a grid"),
        ({"a/b": tune.uniform(0, 1)}, "a/b"),
        ({"a": tune.randn()}, "Float.*Normal"),
        ({"a": tune.sample_from(lambda spec: 1)}, "Function"),
    ],
)
def test_what_optuna_lacks_is_named(space, word):
    with pytest.raises(ValueError, match=word):
        OptunaSearch.convert_search_space(space)


def test_suggestions_are_nested_and_lie_in_the_space():
    searcher = search()
    for i in range(30):
        config = searcher.suggest(str(i))
        assert set(config) == {"lr", "nested"}
        assert 1e-4 <= config["lr"] <= 1e-1
        assert 1 <= config["nested"]["width"] <= 9
        assert config["nested"]["act"] in ("relu", "tanh")
        searcher.on_trial_complete(str(i), {"loss": config["lr"]})


def test_a_seed_gives_the_same_suggestions():
    def some(searcher):
        out = []
        for i in range(15):
            out.append(searcher.suggest(str(i)))
            searcher.on_trial_complete(str(i), {"loss": out[-1]["lr"]})
        return out

    assert some(search()) == some(search()) != some(search(seed=2))


def test_it_learns():
    searcher = search({"x": made.FloatDistribution(-10, 10)})
    values = []
    for i in range(60):
        x = searcher.suggest(str(i))["x"]
        values.append((x - 3) ** 2)
        searcher.on_trial_complete(str(i), {"loss": values[-1]})
    assert sum(values[-20:]) < sum(values[:20]) / 2


def test_the_space_may_be_a_function():
    def define(trial):
        if trial.suggest_categorical("kind", ["a", "b"]) == "a":
            trial.suggest_float("nested/x", 0, 1)
        return {"constant": 7}

    searcher = search(define)
    for i in range(10):
        config = searcher.suggest(str(i))
        assert config["constant"] == 7
        assert ("nested" in config) == (config["kind"] == "a")
    with pytest.raises(TypeError, match="function"):
        searcher.add_evaluated_point({"kind": "a"}, 1.0)
    for wrong in (3, {1: 2}):
        with pytest.raises(TypeError, match="dict of constants"):
            search(lambda trial, wrong=wrong: wrong).suggest("0")


def test_domains_given_as_the_space_are_converted_with_a_warning(caplog):
    searcher = search(SPACE)
    assert "search domains" in caplog.text
    assert "nested" in searcher.suggest("0")
    assert not searcher.set_search_properties("loss", "min", SPACE)


def test_points_come_first_and_known_rewards_are_learnt_from():
    points = [{"x": 1.5}, {"x": 2.5}]
    space = {"x": made.FloatDistribution(0, 10)}
    searcher = search(space, points_to_evaluate=points)
    assert [searcher.suggest(str(i)) for i in range(2)] == points
    searcher = search(space, points_to_evaluate=points, evaluated_rewards=[3.0, 4.0])
    assert [t.value for t in searcher._study.trials] == [3.0, 4.0]
    with pytest.raises(ValueError, match="evaluated_rewards"):
        search(space, points_to_evaluate=points, evaluated_rewards=[1.0])
    with pytest.raises(TypeError, match="points_to_evaluate"):
        search(space, points_to_evaluate={"x": 1})
    with pytest.raises(TypeError, match="points_to_evaluate"):
        search(space, points_to_evaluate=[3])
    with pytest.raises(ValueError, match="points_to_evaluate.*2 values"):
        search(space, points_to_evaluate=[{"x": 1, "y": 2}])
    nested = search(points_to_evaluate=[{"lr": 0.01, "nested": {"width": 3, "act": "tanh"}}])
    assert nested.suggest("0") == {"lr": 0.01, "nested": {"width": 3, "act": "tanh"}}


def test_states_and_intermediate_values_reach_the_study(caplog):
    searcher = search()
    states = optuna.trial.TrialState
    for i in range(4):
        searcher.suggest(str(i))
    searcher.on_trial_result("0", {"loss": 5.0, "training_iteration": 1})
    searcher.on_trial_complete("0", {"loss": 4.0})
    searcher.on_trial_complete("1", None, error=True)
    searcher.on_trial_complete("2", {"other": 1})
    searcher.on_trial_complete("3", {"loss": math.nan})
    trials = searcher._study.trials
    assert [t.state for t in trials] == [
        states.COMPLETE,
        states.FAIL,
        states.PRUNED,
        states.RUNNING,
    ]
    assert "did not take" in caplog.text
    assert trials[0].intermediate_values == {1: 5.0} and trials[0].value == 4.0
    searcher.on_trial_result("0", {"loss": 3.0, "training_iteration": 2})
    assert "after its end" in caplog.text
    searcher.add_evaluated_point(
        {"lr": 0.01, "nested": {"width": 2, "act": "relu"}}, 1.0, pruned=True
    )
    assert searcher._study.trials[-1].state == states.PRUNED
    searcher.add_evaluated_point(
        {"lr": 0.01, "nested": {"width": 2, "act": "relu"}}, 1.0, error=True
    )
    assert searcher._study.trials[-1].state == states.FAIL


def test_the_trials_of_an_earlier_run_are_learnt_from(tmp_path):
    def train(config):
        tune.report({"loss": config["lr"]})
        if config["nested"]["act"] == "tanh":
            raise RuntimeError("fails after a result")

    tune.shutdown()
    tune.init(executor="inline", num_cpus=1)
    try:
        analysis = tune.run(
            train,
            config={**SPACE, "nested": {"width": 2, "act": tune.grid_search(["relu", "tanh"])}},
            storage_path=tmp_path,
            raise_on_failed_trial=False,
            verbose=0,
        )
    finally:
        tune.shutdown()
    searcher = search()
    searcher.add_evaluated_trials(analysis, "loss")
    states = optuna.trial.TrialState
    told = {t.params["nested/act"]: (t.state, t.values) for t in searcher._study.trials}
    ended = next(t for t in analysis.trials if t.status == "TERMINATED")
    assert told == {"relu": (states.COMPLETE, [ended.config["lr"]]), "tanh": (states.FAIL, None)}
    with pytest.warns(UserWarning, match="'other'"):
        searcher.add_evaluated_trials(analysis, "other")


def test_a_trial_that_asks_again_gets_the_same():
    searcher = search()
    assert searcher.suggest("0") == searcher.suggest("0") != searcher.suggest("1")


def test_distributions_may_be_nested():
    searcher = search({"a": {"b": made.FloatDistribution(0, 1)}})
    assert 0 <= searcher.suggest("0")["a"]["b"] <= 1


def test_several_objectives():
    searcher = OptunaSearch(
        {"x": made.FloatDistribution(0, 1)}, metric=["a", "b"], mode=["min", "max"]
    )
    searcher.suggest("0")
    searcher.on_trial_result("0", {"a": 1, "b": 2, "training_iteration": 1})
    searcher.on_trial_complete("0", {"a": 1, "b": 2})
    assert searcher._study.trials[0].values == [1, 2]
    with pytest.raises(ValueError, match="metric"):
        OptunaSearch({"x": made.FloatDistribution(0, 1)}, mode=["min", "max"])


def test_saved_and_restored_it_goes_on_the_same(tmp_path):
    searcher, other = search(), search(seed=5)
    for i in range(12):
        config = searcher.suggest(str(i))
        searcher.on_trial_complete(str(i), {"loss": config["lr"]})
    searcher.save(str(tmp_path / "state"))
    other.restore(str(tmp_path / "state"))
    assert [searcher.suggest(f"n{i}") for i in range(5)] == [
        other.suggest(f"n{i}") for i in range(5)
    ]


def test_bad_arguments(caplog):
    with pytest.raises(AssertionError, match="sampler"):
        search(sampler=optuna.samplers.TPESampler)
    search(sampler=optuna.samplers.RandomSampler(), seed=3)
    assert "seed is ignored" in caplog.text
    with pytest.raises(RuntimeError, match="no search space"):
        OptunaSearch(metric="loss", mode="min").suggest("0")
    with pytest.raises(RuntimeError, match="metric"):
        OptunaSearch({"x": made.FloatDistribution(0, 1)}).suggest("0")
    with pytest.raises(AssertionError):
        OptunaSearch(metric="loss", mode="best")


def test_a_study_in_a_file_goes_on(tmp_path):
    pytest.importorskip("sqlalchemy")
    storage = f"sqlite:///{tmp_path}/study.db"
    for number in (1, 2):
        searcher = search({"x": made.FloatDistribution(0, 1)}, study_name="s", storage=storage)
        searcher.suggest("0")
        searcher.on_trial_complete("0", {"loss": 1.0})
        assert len(searcher._study.trials) == number


@pytest.mark.parametrize("executor", ["inline", "process"])
@pytest.mark.parametrize("limited", [False, True])
def test_in_a_run(tmp_path, executor, limited):
    def train(config):
        for i in range(3):
            tune.report({"loss": (config["x"] - 2) ** 2 / (i + 1), "c": config["c"]})

    tune.shutdown()
    tune.init(executor=executor, num_cpus=2)
    searcher = create_searcher("Optuna", seed=3)
    try:
        analysis = tune.run(
            train,
            config={"x": tune.uniform(0, 4), "c": 5},
            search_alg=ConcurrencyLimiter(searcher, 2) if limited else searcher,
            max_concurrent_trials=None if limited else 2,
            scheduler="async_hyperband",
            metric="loss",
            mode="min",
            num_samples=12,
            storage_path=tmp_path,
            verbose=0,
        )
    finally:
        tune.shutdown()
    assert len(analysis.trials) == 12
    assert all(t.status == "TERMINATED" and t.last_result["c"] == 5 for t in analysis.trials)
    told = {t.params["x"]: t.value for t in searcher._study.trials}
    assert told == {t.config["x"]: t.last_result["loss"] for t in analysis.trials}
