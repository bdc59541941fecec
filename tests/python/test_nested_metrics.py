"""Nested metrics are reachable as "a/b" everywhere; a literal key with a slash wins."""

import csv
import os
import re

import pytest

import ctune
from ctune import CheckpointConfig, tune
from ctune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule
from ctune.search import Searcher
from ctune.stopper import TrialPlateauStopper

NESTED = [3.0, 1.0, 2.0, 0.0]
LITERAL = [0.0, 2.0, 1.0, 3.0]


def nested(i):
    return {"a": {"b": NESTED[i], "c": {"d": i}}}


def literal_first(i):
    return {"a/b": LITERAL[i], **nested(i)}


def literal_last(i):
    return {**nested(i), "a/b": LITERAL[i]}


FORMS = [
    pytest.param(nested, NESTED, id="nested"),
    pytest.param(literal_first, LITERAL, id="literal first"),
    pytest.param(literal_last, LITERAL, id="literal last"),
]
each_form = pytest.mark.parametrize(("form", "values"), FORMS)


@pytest.fixture
def run(tmp_path):
    def run(form, **arguments):
        def train(config):
            for i in range(4):
                tune.report(form(i))

        arguments.setdefault("metric", "a/b")
        arguments.setdefault("mode", "max")
        return tune.run(arguments.pop("trainable", train), storage_path=str(tmp_path), **arguments)

    ctune.init(executor="inline")
    yield run
    ctune.shutdown()


@each_form
def test_schedulers_see_it(run, form, values):
    class Looks(FIFOScheduler):
        seen = []

        def on_trial_result(self, controller, trial, result):
            self.seen.append(result["a/b"])
            return super().on_trial_result(controller, trial, result)

        def on_trial_complete(self, controller, trial, result):
            self.seen.append(result["a/b"])

    Looks.seen = []
    run(form, scheduler=Looks(), verbose=0)
    assert Looks.seen == [*values, values[-1]]


@pytest.mark.parametrize("make", [ASHAScheduler, MedianStoppingRule])
@each_form
def test_schedulers_of_the_engine_compare_it(run, form, values, make):
    analysis = run(form, scheduler=make(), num_samples=2, verbose=0)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 2
    for scheduler in (make(metric="a/b", mode="max"), make(metric="a/e", mode="max")):
        there = scheduler.metric == "a/b"
        # Two of them; those that lack the metric cannot be compared by it.
        arguments = {"scheduler": scheduler, "metric": None, "mode": None, "verbose": 0}
        if there:
            run(form, **arguments)
        else:
            with pytest.raises(tune.TuneError, match="a/e"):
                run(form, **arguments)


@each_form
def test_searchers_see_it(run, form, values):
    class Looks(Searcher):
        def __init__(self):
            super().__init__(metric="a/b", mode="max")
            self.seen = []
            self.suggested = 0

        def suggest(self, trial_id):
            self.suggested += 1
            return {} if self.suggested == 1 else Searcher.FINISHED

        def on_trial_result(self, trial_id, result):
            self.seen.append(result["a/b"])

        def on_trial_complete(self, trial_id, result=None, error=False):
            self.seen.append(result["a/b"])

    looks = Looks()
    run(form, search_alg=looks, verbose=0, metric=None, mode=None)
    assert looks.seen == [*values, values[-1]]


@each_form
def test_stop_conditions_see_it(run, form, values):
    (trial,) = run(form, stop={"a/b": 2.0}, verbose=0).trials
    first = next(i for i, value in enumerate(values) if value >= 2.0)
    assert trial.last_result["training_iteration"] == first + 1
    plateau = TrialPlateauStopper("a/b", std=10.0, num_results=2, grace_period=2)
    (trial,) = run(form, stop=plateau, verbose=0).trials
    assert trial.last_result["training_iteration"] == 2
    # A function or a Stopper of one's own gets the result as it was reported.
    (trial,) = run(form, stop=lambda _, result: result["a"]["b"] == 2.0, verbose=0).trials
    assert trial.last_result["training_iteration"] == 3


@pytest.mark.parametrize("kind", ["class", "function"])
@each_form
def test_checkpoints_are_kept_by_it(run, form, values, kind, tmp_path):
    class Steps(tune.Trainable):
        def setup(self, config):
            self.i = -1

        def step(self):
            self.i += 1
            return form(self.i)

        def save_checkpoint(self, directory):
            return {"i": self.i}

    def train(config):
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        for i in range(4):
            tune.report(form(i), checkpoint=tune.Checkpoint(str(source)))

    best = CheckpointConfig(
        num_to_keep=1,
        checkpoint_score_attribute="a/b",
        checkpoint_frequency=1 if kind == "class" else 0,
    )
    analysis = run(
        form,
        trainable=Steps if kind == "class" else train,
        stop={"training_iteration": 4},
        checkpoint_config=best,
        verbose=0,
    )
    (trial,) = analysis.trials
    kept = sorted(name for name in os.listdir(trial.path) if name.startswith("checkpoint_"))
    expected = {values.index(3.0), 3}  # the best, and the newest
    assert kept == [f"checkpoint_{i:06d}" for i in sorted(expected)]
    found = analysis.get_best_checkpoint(trial, "a/b", "max")
    assert os.path.basename(found.path) == f"checkpoint_{values.index(3.0):06d}"


@each_form
def test_results_have_it(run, form, values):
    analysis = run(form, verbose=0)
    (trial,) = analysis.trials
    statistics = trial.metric_analysis["a/b"]
    assert (statistics["max"], statistics["min"], statistics["last"]) == (3, 0, values[-1])
    assert trial.metric_n_steps["a/b"]["5"] == values
    assert trial.last_result["a"]["b"] == NESTED[-1]
    assert analysis.best_trial is trial
    assert analysis.get_best_trial("a/b", "max", scope="all") is trial
    assert analysis.get_best_trial("a/c/d", "min") is trial
    with open(os.path.join(trial.path, "progress.csv"), newline="") as f:
        rows = list(csv.DictReader(f))
    assert [float(row["a/b"]) for row in rows] == values
    assert [int(row["a/c/d"]) for row in rows] == [0, 1, 2, 3]
    frame = pytest.importorskip("pandas") and analysis.trial_dataframes[trial.trial_id]
    assert list(frame["a/b"]) == values
    assert analysis.dataframe("a/b", "max")["a/b"].item() == 3.0


@each_form
def test_grids_of_results_have_it(run, form, values, tmp_path):
    def train(config):
        for i in range(4):
            tune.report({**form(i), "x": config["x"]})

    grid = tune.Tuner(
        train,
        param_space={"x": tune.grid_search([1, 2])},
        tune_config=tune.TuneConfig(metric="a/b", mode="max"),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    best = grid.get_best_result("a/b", "max", scope="all")
    assert best.metrics["a"]["b"] == NESTED[-1]
    assert list(best.metrics_dataframe["a/b"]) == values


@each_form
def test_reporters_show_it(run, form, values, capsys):
    class Quick(ctune.Trainable):
        def step(self):
            return form(self.iteration)

    run(form, trainable=Quick, stop={"training_iteration": 4}, verbose=2)
    out = capsys.readouterr().out
    assert [float(shown) for shown in re.findall(r"^\W*a/b +([0-9.]+)\W*$", out, re.M)] == values


@each_form
def test_the_check_of_the_metric_finds_it(run, form, values):
    run(form, verbose=0)
    with pytest.raises(tune.TuneError, match="'a/x'.*a"):
        run(form, metric="a/x", verbose=0)
