"""Searchers go on exactly as they would have after being saved anywhere and made anew."""

import pickle

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ctune as tune
from ctune.search import ConcurrencyLimiter, Repeater, Searcher, SearchGenerator
from ctune.search.bayesopt import BayesOptSearch
from ctune.search.hyperopt import HyperOptSearch
from ctune.search.optuna import OptunaSearch

SPACE = {
    "x": tune.uniform(0, 1),
    "n": {"w": tune.randint(1, 9), "c": tune.choice(["a", "b", None])},
    "k": 3,
}
FLOATS = {"x": tune.uniform(0, 1), "n": {"y": tune.uniform(-3, 3)}}
POINTS = [{"x": 0.25, "n": {"w": 2, "c": "a"}}, {"x": 0.5, "n": {"w": 3, "c": "a"}}]


class Drawing(Searcher):
    """One that a user may have written: its state is its attributes."""

    def __init__(self, seed):
        super().__init__("loss", "min")
        self.value = seed

    def suggest(self, trial_id):
        self.value = self.value * 1103515245 % 2**31
        return {"x": self.value / 2**31}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.value += int(1000 * (result or {}).get("loss", 0))

    def save(self, checkpoint_path):
        with open(checkpoint_path, "wb") as file:
            pickle.dump(self.value, file)

    def restore(self, checkpoint_path):
        with open(checkpoint_path, "rb") as file:
            self.value = pickle.load(file)


def optuna(seed, points=None):
    pytest.importorskip("optuna")
    return OptunaSearch(metric="loss", mode="min", seed=seed, points_to_evaluate=points)


def hyperopt(seed, points=None):
    pytest.importorskip("hyperopt")
    return HyperOptSearch(
        metric="loss",
        mode="max",
        random_state_seed=seed,
        n_initial_points=3,
        points_to_evaluate=points,
    )


def bayesopt(seed):
    pytest.importorskip("bayes_opt")
    return BayesOptSearch(metric="loss", mode="min", random_state=seed, random_search_steps=99)


MAKERS = {
    "bayesopt at random": bayesopt,
    "optuna": optuna,
    "optuna with points": lambda seed: optuna(seed, POINTS),
    "hyperopt": hyperopt,
    "hyperopt with points": lambda seed: hyperopt(seed, POINTS),
    "a user's": Drawing,
}
WRAPS = {
    "alone": lambda searcher: searcher,
    "limited": lambda searcher: ConcurrencyLimiter(searcher, 2),
    "in batches": lambda searcher: ConcurrencyLimiter(searcher, 3, batch=True),
    "repeated": lambda searcher: Repeater(searcher, 2),
    "all": lambda searcher: ConcurrencyLimiter(
        ConcurrencyLimiter(Repeater(ConcurrencyLimiter(searcher, 2), 3), 5), 4
    ),
}


def generator(maker, wrap, seed):
    made = SearchGenerator(WRAPS[wrap](MAKERS[maker](seed)))
    made.set_search_properties(None, None, FLOATS if maker.startswith("bayesopt") else SPACE)
    return made


def through_files(made, maker, wrap, directory):
    made.save_to_dir(str(directory), "session")
    fresh = generator(maker, wrap, seed=99)
    assert fresh.has_checkpoint(str(directory))
    fresh.restore_from_dir(str(directory))
    return fresh


def through_a_pickle(made, maker, wrap, directory):
    return pickle.loads(cloudpickle.dumps(made))


def play(maker, wrap, steps, cut, way, directory):
    made = generator(maker, wrap, seed=7)
    made.add_configurations({"e": {"run": "f", "config": {}, "num_samples": 1000}})
    live, said = {}, []
    for number, step in enumerate(steps):
        if number == cut:
            made = way(made, maker, wrap, directory)
        if step < 3 or not live:
            # Ids are drawn by the generator; the searcher's own behaviour is compared.
            trial = made.next_trial()
            said.append(trial and (trial.config, trial.experiment_tag))
            if trial:
                live[trial.trial_id] = trial.config["x"]
        else:
            trial_id = list(live)[step % len(live)]
            loss = live.pop(trial_id)
            result = {"loss": loss, "training_iteration": 1} if step != 5 else None
            made.on_trial_complete(trial_id, result, error=step == 5)
    return said


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("maker", MAKERS)
@settings(max_examples=3, deadline=None)
@given(
    steps=st.lists(st.integers(0, 8), min_size=24, max_size=24),
    cut=st.integers(0, 23),
    way=st.sampled_from([through_files, through_a_pickle]),
)
def test_cut_anywhere_the_rest_is_the_same(maker, wrap, tmp_path_factory, steps, cut, way):
    directory = tmp_path_factory.mktemp("state")
    whole = play(maker, wrap, steps, None, None, None)
    assert play(maker, wrap, steps, cut, way, directory) == whole
