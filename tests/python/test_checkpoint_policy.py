"""When trials are saved and which checkpoints stay: R16."""

import logging
import os

import pytest

import ctune
from ctune import CheckpointConfig, tune

nan, inf = float("nan"), float("inf")

# Scores by checkpoint, None for a result without one; order; num_to_keep; the indices that
# Ray Tune 2.24 had left at the end, and of these the best ones, ascending.
RECORDED = [
    ([3, 1, 2, 0], "max", 2, [0, 2, 3], [2, 0]),
    ([3, 1, 2, 0], "min", 2, [1, 3], [1, 3]),
    ([1, 1, 1, 1], "max", 2, [2, 3], [2, 3]),
    ([1, 1, 1, 1], "min", 2, [2, 3], [2, 3]),
    ([5, nan, nan, 1, 0], "max", 2, [0, 3, 4], [3, 0]),
    ([nan, nan, nan, 3], "max", 2, [2, 3], [2, 3]),
    ([5, nan, 1, nan], "min", 2, [0, 2, 3], [0, 2]),
    ([2, None, 1, None], "max", 2, [0, 2, 3], [2, 0]),
    ([None, nan, None, nan, None], "max", 2, [2, 4], [2, 4]),
    ([-inf, nan, None, 1, 0], "max", 2, [3, 4], [4, 3]),
    ([2, inf, 1, 0], "min", 2, [2, 3], [2, 3]),
    ([True, False, 2, 0], "max", 2, [0, 2, 3], [0, 2]),
    ([1, 2, 3, 4, 5], "max", 2, [3, 4], [3, 4]),
    ([1, 2, 3, 4], "max", 1, [3], [3]),
    ([4, 3, 2, 1], "max", 1, [0, 3], [0]),
    ([4, 3, 2, 1], "max", 3, [0, 1, 2, 3], [2, 1, 0]),
    ([1, 2, 3], "max", None, [0, 1, 2], [0, 1, 2]),
]
# Where it is wrong (see docs/differences.md).
OURS = [
    ([2, None, 1, 0], "min", 2, [2, 3], [2, 3]),
    ([2, None, 1], "min", 3, [0, 1, 2], [1, 0, 2]),
    (["a", 1, 2, 3], "max", 2, [2, 3], [2, 3]),
    ([[1], 2, 3, 1], "max", 2, [1, 2, 3], [1, 2]),
]


class Scores(ctune.Trainable):
    def step(self):
        i = self.iteration
        score = self.config["scores"][i]
        return {"i": i, **({} if score is None else {"score": score})}

    def save_checkpoint(self, directory):
        return {}

    def load_checkpoint(self, state):
        pass


def scores(config):
    os.makedirs(config["source"], exist_ok=True)
    for i, score in enumerate(config["scores"]):
        checkpoint = ctune.Checkpoint(config["source"])
        metrics = {"i": i, **({} if score is None else {"score": score})}
        tune.report(metrics, checkpoint=checkpoint)


@pytest.fixture
def run(tmp_path):
    ctune.init(executor="inline")

    def run(trainable, values, **policy):
        if trainable is Scores:
            policy.setdefault("checkpoint_frequency", 1)
        (trial,) = tune.run(
            trainable,
            config={"scores": values, "source": str(tmp_path / "source")},
            stop={"training_iteration": len(values)},
            checkpoint_config=CheckpointConfig(**policy),
            storage_path=str(tmp_path / "results"),
            verbose=0,
        ).trials
        return trial

    yield run
    ctune.shutdown()


def kept(trial):
    names = [name for name in os.listdir(trial.path) if name.startswith("checkpoint_")]
    return sorted(int(name.partition("_")[2]) for name in names)


def best(trial):
    found = trial.run_metadata.checkpoint_manager.best_checkpoint_results
    return [int(os.path.basename(one.checkpoint.path).partition("_")[2]) for one in found]


@pytest.mark.parametrize("trainable", [Scores, scores], ids=["class", "function"])
@pytest.mark.parametrize(("values", "order", "number", "left", "ranked"), RECORDED + OURS)
def test_the_best_stay_and_the_newest(run, trainable, values, order, number, left, ranked):
    trial = run(
        trainable,
        values,
        num_to_keep=number,
        checkpoint_score_attribute="score",
        checkpoint_score_order=order,
    )
    assert trial.status == "TERMINATED"
    assert kept(trial) == left
    assert best(trial) == ranked
    assert os.path.basename(trial.checkpoint.path) == f"checkpoint_{len(values) - 1:06d}"


@pytest.mark.parametrize("trainable", [Scores, scores], ids=["class", "function"])
def test_without_a_score_the_newest_stay(run, trainable):
    assert kept(run(trainable, [1, 3, 2, 0], num_to_keep=2)) == [2, 3]


@pytest.mark.parametrize(
    ("values", "says"),
    [([None, None, 1], "has no 'score'"), ([1, "a", "b"], "no number in 'score': 'a'")],
)
def test_a_score_that_is_missing_is_said_once_per_trial(run, caplog, values, says):
    run(scores, values, num_to_keep=2, checkpoint_score_attribute="score")
    errors = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1 and says in errors[0].getMessage()


def test_nobody_is_told_where_the_score_is_there(run, caplog):
    run(scores, [1, nan, True], num_to_keep=2, checkpoint_score_attribute="score")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        ({"checkpoint_frequency": 0}, []),
        ({"checkpoint_frequency": 2}, [2, 4]),
        ({"checkpoint_frequency": 0, "checkpoint_at_end": True}, [5]),
        ({"checkpoint_frequency": 3, "checkpoint_at_end": True}, [3, 5]),
    ],
)
def test_classes_are_saved_when_the_policy_says(run, policy, left):
    trial = run(Scores, [0] * 5, **policy)
    assert kept(trial) == list(range(len(left)))
    found = trial.run_metadata.checkpoint_manager.best_checkpoint_results
    assert [one.metrics["training_iteration"] for one in found] == left


def test_a_class_may_ask_to_be_saved(run):
    class Asks(Scores):
        def step(self):
            return {**super().step(), "should_checkpoint": self.iteration == 1}

    assert kept(run(Asks, [0, 0, 0])) == [0]


def test_r92a_r92b_functions_save_themselves(run):
    for policy in ({"checkpoint_at_end": True}, {"checkpoint_frequency": 1}):
        with pytest.raises(ValueError, match=next(iter(policy))):
            run(scores, [1], **policy)


@pytest.mark.parametrize(
    "policy",
    [
        {"num_to_keep": 0},
        {"num_to_keep": -1},
        {"checkpoint_score_order": "best"},
        {"checkpoint_frequency": -1},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(policy):
    with pytest.raises(ValueError, match=next(iter(policy))):
        CheckpointConfig(**policy)
