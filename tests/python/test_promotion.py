"""ASHA in the promoting form of its paper."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ctune
from ctune import Trainable, simulate
from ctune.schedulers import ASHAScheduler


def asha(**more):
    options = {"max_t": 9, "grace_period": 1, "reduction_factor": 3, "promotion": True}
    return ASHAScheduler(**{**options, **more})


def rungs(found, milestones=(1, 3, 9)):
    """How many trials reached each milestone."""
    results = found.events("RESULT")
    return [len(set(results["trial"][results["iteration"] >= m])) for m in milestones]


def test_one_in_eta_is_promoted_from_each_rung():
    curves = np.arange(27.0)[:, None] + np.zeros(9)
    found = simulate(curves, scheduler=asha(), num_workers=1)
    assert rungs(found) == [27, 9, 3]
    assert all(t.status == "TERMINATED" for t in found.trials)
    assert [t.last_result["training_iteration"] for t in found.trials[:3]] == [9, 9, 9]


def test_nine_workers_train_a_model_in_13_ninths_of_its_time():
    """The paper's figure: eta 3, R 9, r 1, nine workers: one model after 1 + 3 + 9."""
    curves = np.arange(9.0)[:, None] + np.zeros(9)
    found = simulate(curves, scheduler=asha(), num_workers=9)
    results = found.events("RESULT")
    assert results["time"][results["iteration"] == 9].min() == 9  # it goes on, not anew
    # With a restart for each rung, as the figure counts, that is 1 + 3 + 9 = 13 units.


def test_a_promotion_goes_before_a_new_trial():
    curves = np.arange(100.0, 0, -1)[:, None] + np.zeros(9)  # each is better than the last
    found = simulate(curves, scheduler=asha(), num_workers=1)
    results = found.events("RESULT")
    assert list(results["trial"][:5]) == [0, 1, 2, 2, 2]  # after three at rung 1 one goes on
    assert list(results["iteration"][:5]) == [1, 1, 1, 2, 3]


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 60),
    workers=st.integers(1, 12),
    eta=st.integers(2, 4),
    brackets=st.integers(1, 3),
    kind=st.sampled_from(["random", "ties", "nan", "inf"]),
    mode=st.sampled_from(["min", "max"]),
    failures=st.sampled_from([0.0, 0.02]),
    seed=st.integers(0, 1000),
)
def test_a_rung_promotes_no_more_than_its_quota_and_every_trial_ends(
    count, workers, eta, brackets, kind, mode, failures, seed
):
    rng = np.random.default_rng(seed)
    curves = rng.random((count, 9))
    if kind == "ties":
        curves = np.round(curves)
    elif kind != "random":
        curves[rng.random((count, 9)) < 0.3] = math.nan if kind == "nan" else math.inf
    np.random.seed(seed)
    found = simulate(
        curves,
        scheduler=asha(reduction_factor=eta, brackets=brackets),
        num_workers=workers,
        mode=mode,
        failures=failures,
        seed=seed,
    )
    assert all(t.status == "TERMINATED" for t in found.trials)
    if brackets == 1 and failures == 0:
        milestones = [eta**k for k in range(int(math.log(9) / math.log(eta)) + 1)]
        reached = rungs(found, [*milestones, milestones[-1] + 1])
        for below, above in zip(reached, reached[1:], strict=False):
            assert above <= below // eta


def test_nan_is_never_promoted():
    curves = np.where(np.arange(9)[:, None] < 5, math.nan, 1.0) + np.zeros(9)
    found = simulate(curves, scheduler=asha(), num_workers=3)
    results = found.events("RESULT")
    assert set(results["trial"][results["iteration"] > 1]) <= {5, 6, 7, 8}


class Count(Trainable):
    def setup(self, config):
        self.total = 0

    def step(self):
        self.total += self.iteration + 1
        return {"score": self.config["level"], "total": self.total}

    def save_checkpoint(self, checkpoint_dir):
        return {"total": self.total}

    def load_checkpoint(self, checkpoint):
        self.total = checkpoint["total"]


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_a_real_run_pauses_and_promotes(executor, tmp_path):
    ctune.shutdown()
    ctune.init(executor=executor, num_cpus=2)
    try:
        scheduler = asha()
        analysis = ctune.run(
            Count,
            config={"level": ctune.grid_search(list(range(12)))},
            metric="score",
            mode="max",
            scheduler=scheduler,
            storage_path=str(tmp_path),
            verbose=0,
        )
    finally:
        ctune.shutdown()
    done = {t.config["level"]: t.last_result for t in analysis.trials}
    assert all(t.status == "TERMINATED" for t in analysis.trials)
    assert done[11]["training_iteration"] >= 3
    assert min(r["training_iteration"] for r in done.values()) == 1
    for last in done.values():
        assert last["total"] == sum(range(1, last["training_iteration"] + 1))


def test_it_goes_on_the_same_after_save_and_restore(tmp_path):
    class Trial:
        def __init__(self, n):
            self.trial_id, self.status = f"t{n}", "PENDING"

    class Lab:
        def __init__(self, scheduler):
            self.scheduler, self.trials, self.log = scheduler, [Trial(n) for n in range(30)], []
            self.time = dict.fromkeys(self.trials, 0)
            for trial in self.trials:
                scheduler.on_trial_add(self, trial)

        def get_trials(self):
            return self.trials

        def get_live_trials(self):
            return [t for t in self.trials if t.status != "TERMINATED"]

        def stop_trial(self, trial):
            self.scheduler.on_trial_remove(self, trial)
            trial.status = "TERMINATED"
            self.log.append(f"stop {trial.trial_id}")

        def go(self, turns):
            for _ in range(turns):
                trial = self.scheduler.choose_trial_to_run(self)
                if trial is None:
                    return
                trial.status = "RUNNING"
                while trial.status == "RUNNING":
                    self.time[trial] += 1
                    score = hash((trial.trial_id, 7)) % 100
                    result = {"training_iteration": self.time[trial], "m": score}
                    answer = self.scheduler.on_trial_result(self, trial, result)
                    self.log.append(f"{answer} {trial.trial_id}")
                    trial.status = {"PAUSE": "PAUSED", "STOP": "TERMINATED"}.get(answer, "RUNNING")
                    if answer == "STOP":
                        self.scheduler.on_trial_complete(self, trial, result)

    for cut in (1, 5, 17, 33):
        np.random.seed(1)
        whole = Lab(asha(metric="m", mode="max"))
        whole.go(1000)
        np.random.seed(1)
        lab = Lab(asha(metric="m", mode="max"))
        lab.go(cut)
        lab.scheduler.save(str(tmp_path / "state"))
        lab.scheduler = asha()
        lab.scheduler.restore(str(tmp_path / "state"))
        lab.go(1000)
        assert lab.log == whole.log
        assert lab.scheduler.debug_string() == whole.scheduler.debug_string()
        assert all(t.status == "TERMINATED" for t in lab.trials)


def test_a_state_of_the_other_form_is_refused():
    stopping = ASHAScheduler(metric="m", mode="max")
    state = stopping.__getstate__()
    state["options"][-1] = True
    with pytest.raises(RuntimeError, match="stopping form"):
        asha().__setstate__(state)
