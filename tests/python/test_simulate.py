"""Experiments in virtual time: their times by hand, their decisions as in a real run."""

import math

import numpy as np
import pytest

import ctune
from ctune import Trainable, simulate
from ctune.schedulers import ASHAScheduler, FIFOScheduler, HyperBandScheduler


def curves(rows=12, epochs=9):
    """Row 0 is the best, and better with each epoch."""
    return np.arange(rows)[:, None] + 1.0 / np.arange(1, epochs + 1)


@pytest.fixture
def inline():
    ctune.shutdown()
    ctune.init(executor="inline", num_cpus=1)
    yield
    ctune.shutdown()


@pytest.mark.parametrize(("workers", "makespan"), [(1, 108), (3, 36), (5, 27), (12, 9), (50, 9)])
def test_workers_share_the_time(workers, makespan):
    found = simulate(curves(), num_workers=workers)
    assert found.makespan == makespan
    assert len(found.events("RESULT")) == 108
    assert found.best_config == {"index": 0}
    assert found.best_result["loss"] == pytest.approx(1 / 9)
    assert all(t.status == "TERMINATED" for t in found.trials)


def test_durations_start_and_save_take_their_time():
    found = simulate(curves(2, 3), durations=[1.0, 10.0], num_workers=2, start_s=0.5)
    assert found.makespan == 30.5
    ends = found.events("TRIAL_COMPLETE")
    assert list(ends["time"]) == [3.5, 30.5]
    table = np.arange(1.0, 7.0).reshape(2, 3)
    found = simulate(curves(2, 3), durations=table)
    assert found.makespan == 21
    assert found.trials[1].last_result["time_total_s"] == 15
    assert found.trials[1].last_result["time_this_iter_s"] == 6


def test_a_result_holds_what_the_table_says():
    table = np.stack([curves(3, 4), -curves(3, 4)], axis=2)
    found = simulate(table, metric="b", metrics=("a", "b"), mode="max")
    last = found.trials[2].last_result
    assert (last["a"], last["b"], last["training_iteration"]) == (2.25, -2.25, 4)
    assert list(found.events("RESULT")["iteration"]) == [1, 2, 3, 4] * 3
    assert found.trials[0].metric_analysis["a"]["max"] == 1.0


def test_epochs_cut_the_curves():
    found = simulate(curves(), epochs=2)
    assert {t.last_result["training_iteration"] for t in found.trials} == {2}


@pytest.mark.parametrize("make", [FIFOScheduler, lambda: ASHAScheduler(max_t=9, grace_period=1)])
def test_decisions_are_those_of_a_real_run(make, inline, tmp_path):
    table = np.random.default_rng(5).random((30, 9))

    class Curve(Trainable):
        def step(self):
            return {"loss": table[self.config["index"], self.iteration]}

    np.random.seed(3)
    real = ctune.run(
        Curve,
        config={"index": ctune.grid_search(list(range(30)))},
        metric="loss",
        mode="min",
        scheduler=make(),
        stop={"training_iteration": 9},
        storage_path=str(tmp_path),
        verbose=0,
    )
    np.random.seed(3)
    found = simulate(table, scheduler=make())
    assert [t.last_result["training_iteration"] for t in found.trials] == [
        t.last_result["training_iteration"] for t in real.trials
    ]
    assert [t.last_result["loss"] for t in found.trials] == [
        t.last_result["loss"] for t in real.trials
    ]


@pytest.mark.parametrize("name", ["hyperband", "hb_bohb"])
def test_paused_trials_go_on_where_they_were(name):
    scheduler = ctune.create_scheduler(name, max_t=9)
    found = simulate(curves(17), scheduler=scheduler, num_workers=3, save_s=0.25)
    results = found.events("RESULT")
    for trial in range(17):
        seen = list(results["iteration"][results["trial"] == trial])
        assert seen == list(range(1, len(seen) + 1))
    assert scheduler.num_stopped > 5
    assert found.best_config == {"index": 0}
    assert len(found.events("TRIAL_PAUSED")) > 0
    assert len(results) < 17 * 9


def noisy(seed, **more):
    return simulate(
        curves(20),
        scheduler=ASHAScheduler(max_t=9),
        num_workers=4,
        straggler_std=1.0,
        failures=0.05,
        seed=seed,
        **more,
    )


def test_a_seed_gives_the_same_experiment_again():
    np.random.seed(1)
    first = noisy(7)
    np.random.seed(1)
    again = noisy(7)
    assert first.makespan == again.makespan
    assert first.trace.tobytes() == again.trace.tobytes()
    assert noisy(8).makespan != first.makespan


def test_stragglers_only_take_longer():
    found = simulate(curves(2000, 2), straggler_std=0.5, num_workers=2000)
    times = np.array([t.last_result["time_this_iter_s"] for t in found.trials])
    assert times.min() >= 1.0
    # The mean of |z| is s * sqrt(2 / pi); its deviation over 2,000 draws is below 0.01.
    assert times.mean() == pytest.approx(1 + 0.5 * math.sqrt(2 / math.pi), abs=0.04)


def test_lost_workers_are_replaced_and_lose_no_checkpoint():
    found = simulate(curves(200, 3), failures=0.1, num_workers=10)
    lost = found.events("TRIAL_FAILURE")
    assert len(found.events("TRIAL_RECOVER")) == len(lost)
    # A second survives with 0.9, an experiment of 600 seconds has about 67 losses and more.
    assert 30 < len(lost) < 200
    assert all(t.status == "TERMINATED" for t in found.trials)


def test_without_retries_a_lost_worker_is_a_failed_trial():
    found = simulate(curves(200, 3), failures=0.1, num_workers=10, max_failures=0)
    statuses = [t.status for t in found.trials]
    assert set(statuses) == {"TERMINATED", "ERROR"}
    assert statuses.count("ERROR") == len(found.events("TRIAL_ERROR"))


def test_a_function_as_objective():
    def objective(config, epoch):
        return (config["x"] - 3) ** 2 + 1 / epoch

    found = simulate(
        objective,
        config={"x": ctune.grid_search([1, 3, 5])},
        epochs=4,
        scheduler=ASHAScheduler(max_t=4, grace_period=1),
        num_workers=3,
    )
    assert found.best_config == {"x": 3}
    assert found.best_result["loss"] == 0.25
    both = simulate(
        lambda config, epoch: {"loss": epoch, "other": "text"}, config={"x": 1}, epochs=2
    )
    assert both.trials[0].last_result["other"] == "text"


def test_a_searcher_learns_from_results():
    class Descend(ctune.search.Searcher):
        def __init__(self):
            super().__init__(metric="loss", mode="min")
            self.best, self.seen = 9, []

        def suggest(self, trial_id):
            return {"index": max(0, self.best - 1)}

        def on_trial_complete(self, trial_id, result=None, error=False):
            self.seen.append(result["loss"])
            self.best = min(self.best, int(result["loss"]))

    searcher = Descend()
    found = simulate(curves(10, 2), searcher=searcher, config={}, num_samples=9, num_workers=1)
    assert found.best_config["index"] == searcher.best < 6
    assert len(searcher.seen) == 9


def test_a_scheduler_in_python_decides():
    class Third(FIFOScheduler):
        def on_trial_result(self, controller, trial, result):
            stop = result["training_iteration"] == 3
            return "STOP" if stop else "CONTINUE"

    found = simulate(curves(), scheduler=Third(), num_workers=4)
    assert found.makespan == 9
    assert {t.last_result["training_iteration"] for t in found.trials} == {3}


def test_a_scheduler_that_wakes_nobody_is_an_error_and_no_hang():
    class Sleepy(FIFOScheduler):
        def on_trial_result(self, controller, trial, result):
            return "PAUSE"

        def choose_trial_to_run(self, controller):
            fresh = [t for t in controller.get_trials() if t.status == "PENDING"]
            return fresh[0] if fresh else None

    with pytest.raises(ctune.TuneError, match="12 paused"):
        simulate(curves(), scheduler=Sleepy())


def test_stop_conditions_and_a_limit_of_memory():
    found = simulate(curves(), stop={"training_iteration": 4}, trace=False)
    assert {t.last_result["training_iteration"] for t in found.trials} == {4}
    assert found.trace is None
    with pytest.raises(ValueError, match="trace=True"):
        found.events("RESULT")
    with pytest.raises(ValueError, match="kind"):
        simulate(curves(1, 1)).events("NOTHING")


def test_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    simulate(curves(), scheduler=HyperBandScheduler(max_t=9), num_workers=2)
    assert list(tmp_path.rglob("*")) == []


def test_an_error_of_the_function_names_its_cause():
    def broken(config, epoch):
        raise KeyError("where")

    with pytest.raises(ctune.TuneError, match="where"):
        simulate(broken, config={"x": 1}, epochs=1)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"objective": "x"}, TypeError, "objective"),
        ({"objective": np.ones(3)}, ValueError, "objective"),
        ({"objective": np.ones((0, 3))}, ValueError, "objective"),
        ({"objective": np.ones((2, 3, 2))}, ValueError, "objective"),
        ({"objective": lambda c, e: 1}, ValueError, "epochs"),
        ({"objective": lambda c, e: 1, "epochs": 3}, ValueError, "config"),
        ({"objective": lambda c, e: "x", "epochs": 3, "config": {}}, ctune.TuneError, "objective"),
        ({"epochs": 0}, ValueError, "epochs"),
        ({"epochs": 10}, ValueError, "epochs"),
        ({"metric": 3}, TypeError, "metric"),
        ({"metric": "a", "metrics": ("b",)}, ValueError, "metric"),
        ({"mode": "best"}, ValueError, "mode"),
        ({"durations": -1}, ValueError, "durations"),
        ({"durations": np.ones((3, 3))}, ValueError, "durations"),
        ({"durations": np.full(12, np.nan)}, ValueError, "durations"),
        ({"straggler_std": -1}, ValueError, "straggler_std"),
        ({"straggler_std": "x"}, TypeError, "straggler_std"),
        ({"failures": 1.0}, ValueError, "failures"),
        ({"start_s": math.inf}, ValueError, "start_s"),
        ({"save_s": True}, TypeError, "save_s"),
        ({"num_workers": 0}, ValueError, "num_workers"),
        ({"num_samples": "x"}, (TypeError, ValueError), "num_samples"),
        ({"config": {"index": 12}}, ValueError, "index"),
        ({"config": {"x": 1}}, ValueError, "index"),
        ({"scheduler": "hyperbands"}, ValueError, "hyperband"),
    ],
)
def test_bad_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        simulate(**{"objective": curves(), **arguments})
