"""A run with a wrapper of a search library that is cut goes on as the uncut one."""

import importlib.util
from pathlib import Path

import pytest
from test_resume import Curve, arguments, cut, outcome, run, turns

import ctune as tune
from ctune.search import ConcurrencyLimiter, Repeater
from ctune.search.bayesopt import BayesOptSearch
from ctune.search.hyperopt import HyperOptSearch
from ctune.search.optuna import OptunaSearch

# Without seeds: what was drawn for them is in the state that the run keeps.
SEARCHERS = {
    "optuna": lambda: OptunaSearch(points_to_evaluate=[{"x": 0.25}]),
    "hyperopt": lambda: HyperOptSearch(n_initial_points=4),
    "bayes_opt": lambda: BayesOptSearch(random_search_steps=9),
}
WRAPS = {
    "limited": lambda searcher: ConcurrencyLimiter(searcher, 2),
    "in batches": lambda searcher: ConcurrencyLimiter(searcher, 3, batch=True),
    "repeated": lambda searcher: Repeater(ConcurrencyLimiter(searcher, 2), 2),
}


@pytest.fixture(autouse=True)
def inline():
    tune.init(executor="inline", num_cpus=3)
    yield
    tune.shutdown()


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("library", SEARCHERS)
def test_a_cut_run_goes_on_with_the_same_suggestions(tmp_path: Path, library, wrap):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")

    def again(k):
        return run(
            Curve,
            **arguments(
                "fifo",
                tmp_path / ("whole" if k is None else "part"),
                search_alg=WRAPS[wrap](SEARCHERS[library]()),
                num_samples=8,
                stop={"training_iteration": 2},
                resume=k is not None,
            ),
        )

    whole = again(None)
    (segment,) = Path(whole.experiment_path).glob("journal-*.ctj")
    ends = turns(segment)
    assert len({trial.config["x"] for trial in whole.trials}) >= 4
    for k in range(1, len(ends), len(ends) // 3):
        cut(tmp_path / "whole" / "e", tmp_path / "part" / "e", ends[k])
        assert outcome(again(k)) == outcome(whole), f"cut behind turn {k} of {len(ends)}"


@pytest.mark.parametrize("library", [None, *SEARCHERS])
def test_the_limit_on_concurrent_trials_may_change_from_run_to_run(tmp_path: Path, library):
    if library is not None and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")

    def again(limit, num_samples):
        return run(
            Curve,
            **arguments(
                "fifo",
                tmp_path,
                search_alg=None if library is None else SEARCHERS[library](),
                max_concurrent_trials=limit,
                num_samples=num_samples,
                stop={"training_iteration": 2},
                resume=num_samples > 2,
            ),
        )

    configs = []
    for samples, limit in enumerate([2, None, 1, 3, None], 2):
        trials = again(limit, samples).trials
        assert [trial.config for trial in trials[:-1]] == configs or samples == 2
        configs = [trial.config for trial in trials]
        assert len(configs) == samples
        assert all(trial.status == "TERMINATED" for trial in trials)
    assert len(again(None, 3).trials) == 6, "those that are there stay"
