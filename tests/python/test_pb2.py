"""PB2: its model against plain formulas, its choices, and real runs."""

import json
import math
import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pbt import Climber, check_history, rows, run

import ctune
from ctune.error import TuneError
from ctune.schedulers import PB2, create_scheduler
from ctune.schedulers._pb2 import GaussianProcess, History, suggest


def pb2(**options):
    defaults = {
        "time_attr": "training_iteration",
        "perturbation_interval": 2,
        "hyperparam_bounds": {"lr": [0.0, 1.0]},
    }
    return PB2(**(defaults | options))


# ---- the model ----


def kernel(a, b, theta):
    variance, length, epsilon, _ = theta
    out = np.empty((len(a), len(b)))
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            square = sum((u - v) ** 2 for u, v in zip(p[1:], q[1:], strict=True))
            out[i, j] = (
                variance * math.exp(-square / length) * (1 - epsilon) ** (abs(p[0] - q[0]) / 2)
            )
    return out


def data(n=30, d=4, seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((n, d)), rng.normal(size=n)


def test_the_posterior_is_that_of_the_formula():
    x, y = data()
    theta = np.array([1.3, 0.4, 0.2, 0.05])
    model = GaussianProcess(x, y, theta)
    full = kernel(x, x, theta) + theta[3] * np.eye(len(x))
    for point in np.random.default_rng(2).random((10, 4)):
        k = kernel(x, point[None], theta)[:, 0]
        mean, variance, mean_slope, variance_slope = model.predict(point)
        assert mean == pytest.approx(k @ np.linalg.solve(full, y), rel=1e-8)
        assert variance == pytest.approx(theta[0] - k @ np.linalg.solve(full, k), abs=1e-9)
        for i in range(1, 4):
            step = np.zeros(4)
            step[i] = 1e-6
            up, down = model.predict(point + step), model.predict(point - step)
            assert mean_slope[i - 1] == pytest.approx((up[0] - down[0]) / 2e-6, abs=1e-5)
            assert variance_slope[i - 1] == pytest.approx((up[1] - down[1]) / 2e-6, abs=1e-5)
    likelihood = (
        -0.5 * y @ np.linalg.solve(full, y)
        - 0.5 * np.linalg.slogdet(full)[1]
        - 0.5 * len(y) * math.log(2 * math.pi)
    )
    assert model.log_likelihood == pytest.approx(likelihood)


def test_the_likelihood_has_the_gradient_of_finite_differences_and_is_raised():
    x, y = data()
    theta = np.array([1.3, 0.4, 0.2, 0.3])
    model = GaussianProcess(x, y, theta)
    value, gradient = model.negative_log_likelihood(theta)
    assert value == pytest.approx(-model.log_likelihood)
    for i in range(4):
        step = np.zeros(4)
        step[i] = 1e-6
        up = model.negative_log_likelihood(theta + step)[0]
        down = model.negative_log_likelihood(theta - step)[0]
        assert gradient[i] == pytest.approx((up - down) / 2e-6, rel=1e-4, abs=1e-4)
    fitted = GaussianProcess(x, y)
    assert fitted.log_likelihood >= GaussianProcess(x, y, np.ones(4) * 0.5).log_likelihood
    assert 1e-5 <= fitted.theta[1] <= 1 and 0 <= fitted.theta[2] <= 0.5


def test_changes_are_within_a_trial_and_its_hyperparameters():
    history = History(
        [
            ("a", 2, [0.5], 3.0),
            ("a", 1, [0.5], 1.0),
            ("b", 1, [0.5], 5.0),
            ("a", 4, [0.5], 4.0),
            ("a", 6, [0.7], 9.0),  # the first with these
            ("a", 7, [0.7], math.nan),
            ("b", 1, [0.5], 6.0),  # no time has passed
        ]
    )
    trials, x, y, after = history.changes()
    assert trials == ["a", "a"]
    assert x.tolist() == [[2, 1.0, 0.5], [4, 3.0, 0.5]]
    assert y.tolist() == [2.0, 0.5]
    assert after.tolist() == [3.0, 4.0]
    assert history.last_time() == 7
    assert History().last_time() == -math.inf
    assert suggest(History(), [], {"lr": (0, 1)}, "a") is None
    assert suggest(history, [], {"lr": (0, 1)}, "b") is None


row = st.tuples(
    st.sampled_from("abc"),
    st.integers(0, 6),
    st.lists(st.floats(-2, 5), min_size=2, max_size=2),
    st.floats(allow_nan=True, allow_infinity=True),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(row, max_size=25), st.lists(st.tuples(st.floats(0, 1), st.floats(3, 9)), max_size=3)
)
def test_suggestions_stay_in_their_bounds_whatever_was_reported(reported, running):
    bounds = {"x": (0.0, 1.0), "y": (3.0, 9.0)}
    history = History(reported)
    for trial in "abc":
        values = suggest(history, running, bounds, trial)
        if values is not None:
            inside = zip(values, bounds.values(), strict=True)
            assert all(low <= v <= high for v, (low, high) in inside)


def test_bounds_that_are_one_point():
    history = History([("a", t, [2.0], t * 1.0) for t in range(5)])
    assert suggest(history, [], {"x": (2.0, 2.0)}, "a") == [2.0]


def test_the_latest_thousand_changes_are_learned_from():
    history = History([("t", i, [0.5], 2.0 * i) for i in range(1100)])
    trials, inputs, rates, scores = history.changes()
    assert len(trials) == 1000 and inputs.shape == (1000, 3)
    assert (inputs[0, 0], inputs[-1, 0], scores[-1]) == (100, 1099, 2198)
    assert set(rates) == {2.0}


def test_it_finds_a_moving_optimum_sooner_than_chance():
    """Four trials, whose score rises faster the nearer x is to an optimum that drifts."""
    regret = {}
    for name in ("pb2", "random"):
        np.random.seed(4)
        rng = random.Random(4)
        rows_, score = [], [0.0] * 4
        x, lost = [rng.random() for _ in range(4)], 0.0
        for t in range(1, 31):
            best = 0.3 + 0.01 * t
            for i in range(4):
                score[i] += 1 - (x[i] - best) ** 2
                rows_.append((f"t{i}", t, [x[i]], score[i]))
                lost += (x[i] - best) ** 2
            worst = min(range(4), key=lambda i: score[i])
            top = max(range(4), key=lambda i: score[i])
            if name == "pb2":
                new = suggest(History(rows_), [], {"x": (0.0, 1.0)}, f"t{top}")
                x[worst] = new[0] if new is not None else x[top]
            else:
                x[worst] = rng.random()
            score[worst] = score[top]
            rows_.append((f"t{worst}", t, [x[worst]], score[worst]))
        regret[name] = lost
    assert regret["pb2"] < regret["random"] / 2


# ---- the scheduler ----


@pytest.mark.parametrize("executor", ["inline", "process"])
@pytest.mark.parametrize("synch", [False, True])
def test_trials_exploit_with_chosen_configs(executor, synch, tmp_path):
    random.seed(3)
    np.random.seed(3)
    scheduler = pb2(synch=synch)
    analysis = run(
        Climber,
        tmp_path,
        executor,
        config={"lr": ctune.grid_search([0.1, 0.2, 0.3, 0.4]), "fixed": 7},
        stop={"training_iteration": 16},
        scheduler=scheduler,
    )
    assert {t.status for t in analysis.trials} == {"TERMINATED"}
    exploits = rows(tmp_path)
    assert len(exploits) == scheduler._num_perturbations > 0
    check_history(analysis)
    for _, _, _, _, old, new in exploits:
        assert new["fixed"] == old["fixed"] == 7
        assert 0 <= new["lr"] <= 1
    if synch:
        assert max(row[5]["lr"] for row in exploits) > 0.9  # a larger rate climbs faster


def test_nested_and_missing_hyperparameters_and_their_types(tmp_path):
    class Deep(ctune.Trainable):
        def setup(self, config):
            assert 2 <= config["opt"]["m"] <= 3
            assert config["opt"]["keep"] == "x"
            assert type(config["units"]) is int
            self.total = 0.0

        def step(self):
            self.total += self.config["opt"]["m"] + self.config["units"]
            return {"score": self.total}

        def save_checkpoint(self, checkpoint_dir):
            return {"total": self.total}

        def load_checkpoint(self, checkpoint):
            self.total = checkpoint["total"]

    np.random.seed(1)
    random.seed(1)
    scheduler = pb2(hyperparam_bounds={"units": [1, 100], "opt": {"m": (2, 3)}}, synch=True)
    analysis = run(
        Deep,
        tmp_path,
        config={"units": ctune.grid_search([10, 20, 30, 40]), "opt": {"keep": "x"}},
        stop={"training_iteration": 12},
        scheduler=scheduler,
    )
    assert scheduler._num_perturbations > 0
    for trial in analysis.trials:
        assert type(trial.config["units"]) is int and 1 <= trial.config["units"] <= 100
        assert "opt/m" in trial.evaluated_params


def test_a_state_holds_what_was_learnt(tmp_path):
    np.random.seed(1)
    scheduler = pb2(metric="score", mode="max", synch=True)
    run(
        Climber,
        tmp_path,
        config={"lr": ctune.grid_search([0.1, 0.2, 0.3, 0.4])},
        stop={"training_iteration": 10},
        scheduler=scheduler,
        metric=None,
        mode=None,
    )
    path = tmp_path / "state.json"
    scheduler.save(str(path))
    json.loads(path.read_text())
    other = pb2()
    other.restore(str(path))
    assert other.debug_string() == scheduler.debug_string()
    name = scheduler._rows[0][0]
    configs = []
    for s in (scheduler, other):
        np.random.seed(9)
        clone = _Named(name)
        configs.append(s._get_new_config(_Named("other"), clone))
    assert configs[0] == configs[1]


class _Named(SimpleNamespace):
    def __init__(self, name):
        super().__init__(config={"lr": 0.1}, trial_id=name)
        self.name = name

    def __str__(self):
        return self.name


def test_points_of_the_same_round_are_not_chosen_twice():
    np.random.seed(3)
    scheduler = pb2(metric="score", mode="max")
    for t in range(1, 8):
        for name, lr in (("a", 0.1), ("b", 0.5), ("c", 0.9)):
            scheduler._note_turn(_with(name, lr), t, random.Random(f"{name}{t}").random())
    chosen = [
        scheduler._get_new_config(_Named(f"new{i}"), _with("b", 0.5))[0]["lr"] for i in range(3)
    ]
    assert len({round(v, 3) for v in chosen}) > 1
    assert len(scheduler._running) == 3
    scheduler._note_turn(_with("a", 0.1), 99, 1.0)
    scheduler._get_new_config(_Named("new"), _with("b", 0.5))
    assert len(scheduler._running) == 1


def _with(name, lr):
    trial = _Named(name)
    trial.config = {"lr": lr}
    return trial


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"hyperparam_bounds": None}, TuneError, "hyperparam_bounds: give the lowest"),
        ({"hyperparam_bounds": {}}, TuneError, "hyperparam_bounds"),
        ({"hyperparam_bounds": [1]}, TypeError, r"must be a dict, got \[1\]"),
        ({"hyperparam_bounds": {"a": 1}}, ValueError, r"\['a'\]: must be \[lowest, highest\].*1"),
        ({"hyperparam_bounds": {"a": [1, 2, 3]}}, ValueError, r"\['a'\]: must be \[lowest"),
        ({"hyperparam_bounds": {"a": [2, 1]}}, ValueError, r"\['a'\].*lower one first.*\[2, 1\]"),
        ({"hyperparam_bounds": {"a": ["x", 1]}}, ValueError, r"\['a'\]: must be two finite"),
        ({"hyperparam_bounds": {"a": [0, math.inf]}}, ValueError, "two finite"),
        ({"hyperparam_bounds": {"a/b": [0, 1]}}, ValueError, "without '/'"),
        ({"hyperparam_bounds": {"a": {"b": 3}}}, ValueError, r"\['a/b'\]"),
        ({"quantile_fraction": 0.7}, ValueError, "quantile_fraction"),
        ({"perturbation_interval": 0}, ValueError, "perturbation_interval"),
    ],
)
def test_a_wrong_argument_is_named(options, error, match):
    with pytest.raises(error, match=match):
        pb2(**options)


def test_scipy_is_needed_only_then(monkeypatch):
    import importlib.util

    assert isinstance(create_scheduler("pb2", hyperparam_bounds={"a": [0, 1]}), PB2)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="pip install scipy"):
        pb2()
    monkeypatch.undo()
    import subprocess

    code = "import ctune.schedulers, sys; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_custom_explore_fn_has_the_last_word():
    scheduler = pb2(custom_explore_fn=lambda config: config | {"more": 1})
    assert scheduler._get_new_config(_Named("x"), _with("y", 0.5))[0] == {"lr": 0.5, "more": 1}
    scheduler = pb2(custom_explore_fn=lambda config: None)
    with pytest.raises(AssertionError, match="custom_explore_fn"):
        scheduler._get_new_config(_Named("x"), _with("y", 0.5))
