"""What callbacks and others may do to a run without harming it."""

import ctune


class Model(ctune.Trainable):
    def step(self):
        return {"loss": self.config["x"], "done": self.iteration >= 2}


class Reversing(ctune.Callback):
    """Plays with the list that it is lent, and checks each result it hears."""

    def __init__(self):
        self.heard = 0

    def on_trial_result(self, iteration, trials, trial, result, **info):
        assert result["loss"] == trial.config["x"]
        assert result["trial_id"] == trial.trial_id
        self.heard += 1
        trials.reverse()


def test_a_callback_may_reorder_its_list_of_trials(tmp_path):
    ctune.init(executor="inline", num_cpus=2)
    hears = Reversing()
    analysis = ctune.run(
        Model,
        config={"x": ctune.uniform(0, 1)},
        num_samples=6,
        metric="loss",
        mode="min",
        verbose=0,
        storage_path=str(tmp_path),
        callbacks=[hears],
    )
    ctune.shutdown()
    assert hears.heard == 18
    assert len({trial.trial_id for trial in analysis.trials}) == 6
    for trial in analysis.trials:
        assert trial.last_result["loss"] == trial.config["x"]
