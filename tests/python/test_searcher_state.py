"""Searchers go on exactly as they would have after being saved anywhere and made anew."""

import pickle

import cloudpickle
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ctune as tune
from ctune.search import (
    BasicVariantGenerator,
    ConcurrencyLimiter,
    Repeater,
    Searcher,
    SearchGenerator,
)
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


GRIDS = {
    "g": tune.grid_search([1, 2, 3]),
    "x": tune.uniform(0, 1),
    "r": tune.randn(),
    "c": tune.choice([{"inner": tune.grid_search([1, 2]), "y": tune.randint(0, 99)}, "plain"]),
    "twice": tune.sample_from(lambda config: config["x"] * 2),
}
STREAMS = {
    "seed": lambda: 3,
    "generator": lambda: numpy.random.default_rng(3),
    "legacy": lambda: numpy.random.RandomState(3),
    "global": lambda: numpy.random.seed(3),  # which gives None
}


def variants(stream, constant_grid, limit):
    return BasicVariantGenerator(
        points_to_evaluate=[{"x": 0.5, "g": 2}, {"r": 1.0}],
        max_concurrent=limit,
        constant_grid_search=constant_grid,
        random_state=STREAMS[stream](),
    )


def play_variants(stream, constant_grid, limit, cut, way, directory):
    made = variants(stream, constant_grid, limit)
    made.add_configurations(
        [
            {"run": "f", "config": GRIDS, "num_samples": 3},
            {"run": "g", "config": {**GRIDS, "c": tune.randint(0, 9)}, "num_samples": 2},
        ]
    )
    said, live = [], []
    for number in range(30):
        if number == cut:
            made = way(made, directory)
        trial = made.next_trial()
        if trial is None and live:
            made.on_trial_complete(live.pop(0))
            trial = made.next_trial()
        said.append(trial and (trial.trial_id, trial.experiment_tag, trial.config))
        if trial:
            live.append(trial.trial_id)
    return said, made.is_finished(), made.total_samples


def variants_through_files(made, directory):
    made.save_to_dir(str(directory), session_str="s")
    numpy.random.seed(8)
    fresh = BasicVariantGenerator(random_state=99)
    assert fresh.has_checkpoint(str(directory))
    fresh.restore_from_dir(str(directory))
    return fresh


def variants_through_a_pickle(made, directory):
    pickled = cloudpickle.dumps(made)
    numpy.random.seed(8)
    return pickle.loads(pickled)


@pytest.mark.parametrize("way", [variants_through_files, variants_through_a_pickle])
@pytest.mark.parametrize("constant_grid", [False, True])
@pytest.mark.parametrize("stream", STREAMS)
def test_grid_and_random_search_cut_anywhere_go_on_the_same(
    stream, constant_grid, way, monkeypatch, tmp_path
):
    monkeypatch.setenv("_TEST_TUNE_TRIAL_UUID", "abcde")
    for limit in (0, 2):
        whole = play_variants(stream, constant_grid, limit, None, None, None)
        assert len([one for one in whole[0] if one]) > 10 and whole[1]
        for cut in range(30):
            directory = tmp_path / f"{limit}-{cut}"
            directory.mkdir()
            assert play_variants(stream, constant_grid, limit, cut, way, directory) == whole, cut


def test_grid_and_random_search_without_a_saved_state(tmp_path):
    assert not BasicVariantGenerator().has_checkpoint(str(tmp_path))
    with pytest.raises(RuntimeError, match="basic-variant-state"):
        BasicVariantGenerator().restore_from_dir(str(tmp_path))
    state = BasicVariantGenerator().get_state()
    for wrong in ((1, None), (-1, None), (0, {})):
        with pytest.raises(ValueError, match="experiment"):
            BasicVariantGenerator().set_state({**state, "position": wrong})
    with pytest.raises(TypeError, match="tuple"):
        BasicVariantGenerator().set_state({**state, "position": [0, None]})
    made = variants("seed", False, 0)
    made.add_configurations({"a": {"run": "f", "config": GRIDS}})
    with pytest.raises(Exception, match="damaged"):
        made.set_state({**made.get_state(), "position": (0, {"sample": 1})})
