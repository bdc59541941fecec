"""Population-based training in real runs, its policy files and their replay."""

import json
import logging
import math
import os
import random
import re
import shutil
import signal
import tempfile
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ctune
from ctune import Checkpoint
from ctune.error import TuneError
from ctune.schedulers import (
    FIFOScheduler,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    create_scheduler,
)

EXECUTORS = ["inline", "process"]


def run(trainable, tmp_path, executor="inline", num_cpus=2, **options):
    ctune.shutdown()
    ctune.init(executor=executor, num_cpus=num_cpus)
    defaults = {"metric": "score", "mode": "max", "verbose": 0, "name": "pbt"}
    return ctune.run(trainable, storage_path=str(tmp_path), **(defaults | options))


def pbt(**options):
    defaults = {
        "time_attr": "training_iteration",
        "perturbation_interval": 2,
        "hyperparam_mutations": {"lr": ctune.uniform(0.0, 1.0)},
    }
    return PopulationBasedTraining(**(defaults | options))


def rows(tmp_path, name="pbt_global.txt"):
    path = tmp_path / "pbt" / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Climber(ctune.Trainable):
    """Adds its learning rate at each step; what it sums goes with its checkpoints."""

    def setup(self, config):
        self.sum, self.origin = 0.0, self.trial_id

    def step(self):
        self.sum += self.config["lr"]
        return {"score": self.sum, "origin": self.origin, "lr": self.config["lr"]}

    def save_checkpoint(self, checkpoint_dir):
        with open(os.path.join(checkpoint_dir, "state.json"), "w") as f:
            json.dump([self.sum, self.trial_id], f)

    def load_checkpoint(self, checkpoint_dir):
        with open(os.path.join(checkpoint_dir, "state.json")) as f:
            self.sum, self.origin = json.load(f)


def results_of(trial):
    with open(os.path.join(trial.local_path, "result.json")) as f:
        return [json.loads(line) for line in f]


def check_history(analysis):
    """Each result follows from a result of the trial, or of the one it went on from."""
    states = {(None, 0): 0.0}
    for trial in analysis.trials:
        for result in results_of(trial):
            states[round(result["score"], 9), result["training_iteration"]] = trial.trial_id
    known = {(0.0, 0)} | {key for key in states if key[0] is not None}
    jumps = 0
    for trial in analysis.trials:
        last = (0.0, 0)
        for result in results_of(trial):
            before = (round(result["score"] - result["lr"], 9), result["training_iteration"] - 1)
            assert before in {(round(s, 9), i) for s, i in known}, (trial.trial_id, result)
            jumps += before != last
            last = (round(result["score"], 9), result["training_iteration"])
    return jumps


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("synch", [False, True])
def test_bad_trials_go_on_from_good_ones(executor, synch, tmp_path):
    random.seed(3)
    np.random.seed(3)
    scheduler = pbt(synch=synch)
    analysis = run(
        Climber,
        tmp_path,
        executor,
        config={"lr": ctune.grid_search([0.1, 0.2, 0.3, 0.4]), "fixed": [1, {"a": 2}]},
        stop={"training_iteration": 12},
        scheduler=scheduler,
    )
    exploits = rows(tmp_path)
    assert {t.status for t in analysis.trials} == {"TERMINATED"}
    assert all(t.last_result["training_iteration"] == 12 for t in analysis.trials)
    assert len(exploits) == scheduler._num_perturbations > 0
    assert check_history(analysis) > 0
    for target, source, _, _, old, new in exploits:
        assert target != source
        assert set(old) == set(new) == {"lr", "fixed"}
        assert new["fixed"] == [1, {"a": 2}]
    for trial in analysis.trials:
        own = [row for row in exploits if row[0] == trial.experiment_tag.split("@")[0]]
        if own:
            assert trial.config == own[-1][5]
            assert trial.last_result["config"] == trial.config
            assert re.fullmatch(r"\d_lr=0\.\d000@perturbed\[lr=\d\.\d{4}\]", trial.experiment_tag)
            policy = rows(tmp_path, f"pbt_policy_{trial.trial_id}.txt")
            assert policy[-1] == own[-1]
            with open(os.path.join(trial.local_path, "params.json")) as f:
                assert json.load(f) == trial.config
    debug = scheduler.debug_string()
    assert debug.endswith(f"checkpoints, {len(exploits)} perturbs")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_seed_gives_the_same_configs_on_both_executors(executor, tmp_path):
    random.seed(5)
    np.random.seed(5)
    run(
        Climber,
        tmp_path,
        executor,
        config={"lr": ctune.grid_search([0.1, 0.2, 0.3, 0.4])},
        stop={"training_iteration": 20},
        scheduler=pbt(synch=True),
    )
    made = [row[5]["lr"] for row in rows(tmp_path)]
    first = MADE.setdefault("first", made)
    assert made == first
    assert len(made) == 9


MADE = {}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_functions_that_report_checkpoints_are_exploited(executor, tmp_path):
    def climb(config):
        total, start = 0.0, 0
        checkpoint = ctune.get_checkpoint()
        if checkpoint:
            with checkpoint.as_directory() as folder, open(os.path.join(folder, "s.json")) as f:
                total, start = json.load(f)
        for i in range(start, 12):
            total += config["lr"]
            with tempfile.TemporaryDirectory() as folder:
                with open(os.path.join(folder, "s.json"), "w") as f:
                    json.dump([total, i + 1], f)
                ctune.report(
                    {"score": total, "lr": config["lr"]},
                    checkpoint=Checkpoint.from_directory(folder),
                )

    random.seed(1)
    analysis = run(
        climb,
        tmp_path,
        executor,
        config={"lr": ctune.grid_search([0.1, 0.2, 0.3, 0.4])},
        scheduler=pbt(),
    )
    assert {t.status for t in analysis.trials} == {"TERMINATED"}
    assert len(rows(tmp_path)) > 0
    assert check_history(analysis) > 0


def test_without_checkpoints_nothing_is_exploited_and_all_goes_on(tmp_path, caplog):
    def climb(config):
        for i in range(8):
            ctune.report({"score": config["lr"] * i})

    scheduler = pbt()
    with caplog.at_level(logging.INFO, "ctune"):
        analysis = run(
            climb, tmp_path, config={"lr": ctune.grid_search([0.1, 0.2])}, scheduler=scheduler
        )
    assert [len(results_of(t)) for t in analysis.trials] == [8, 8]
    assert scheduler._num_perturbations == 0
    assert "has no checkpoint" in caplog.text
    assert rows(tmp_path) == []


@pytest.mark.parametrize("executor", EXECUTORS)
def test_more_trials_than_workers_take_turns(executor, tmp_path):
    random.seed(2)
    analysis = run(
        Climber,
        tmp_path,
        executor,
        num_cpus=2,
        config={"lr": ctune.grid_search([0.1 * n for n in range(1, 9)])},
        stop={"training_iteration": 8},
        scheduler=pbt(),
        checkpoint_config=ctune.CheckpointConfig(num_to_keep=1),
    )
    assert {t.status for t in analysis.trials} == {"TERMINATED"}
    assert all(t.last_result["training_iteration"] == 8 for t in analysis.trials)
    assert len(rows(tmp_path)) > 0
    check_history(analysis)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_num_to_keep_spares_what_may_be_exploited(executor, tmp_path):
    random.seed(2)
    analysis = run(
        Climber,
        tmp_path,
        executor,
        config={"lr": ctune.grid_search([0.1, 0.2, 0.3, 0.4])},
        stop={"training_iteration": 20},
        scheduler=pbt(perturbation_interval=5),
        checkpoint_config=ctune.CheckpointConfig(num_to_keep=1, checkpoint_frequency=1),
    )
    assert {t.status for t in analysis.trials} == {"TERMINATED"}
    assert len(rows(tmp_path)) > 0
    check_history(analysis)
    for trial in analysis.trials:
        kept = [n for n in os.listdir(trial.local_path) if n.startswith("checkpoint_")]
        assert 1 <= len(kept) <= 2


class Fragile(Climber):
    """Its process is killed in the middle of a save, or of a load: each once per trial."""

    def step(self):
        time.sleep(0.02)  # else one trial ends before the next begins
        return super().step()

    def kill_once(self, what):
        marker = os.path.join(self.config["markers"], f"{what}_{self.trial_id}")
        if not os.path.exists(marker):
            open(marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)

    def save_checkpoint(self, checkpoint_dir):
        super().save_checkpoint(checkpoint_dir)
        if self.iteration >= 4:
            self.kill_once("save")

    def load_checkpoint(self, checkpoint_dir):
        self.kill_once("load")
        super().load_checkpoint(checkpoint_dir)


@pytest.mark.parametrize("synch", [False, True])
def test_workers_lost_in_the_middle_of_an_exploit(synch, tmp_path):
    random.seed(4)
    markers = tmp_path / "markers"
    markers.mkdir()
    scheduler = pbt(synch=synch)
    analysis = run(
        Fragile,
        tmp_path,
        "process",
        num_cpus=4,
        config={"lr": ctune.grid_search([0.1, 0.2, 0.3, 0.4]), "markers": str(markers)},
        stop={"training_iteration": 16},
        scheduler=scheduler,
        max_failures=4,
    )
    assert {t.status for t in analysis.trials} == {"TERMINATED"}
    assert all(t.last_result["training_iteration"] == 16 for t in analysis.trials)
    assert len(rows(tmp_path)) == scheduler._num_perturbations > 0
    check_history(analysis)
    assert len(list(markers.iterdir())) > 2


def test_a_checkpoint_that_is_gone_is_named(tmp_path):
    class Vandal(ctune.Callback):
        def on_checkpoint(self, iteration, trials, trial, checkpoint, **info):
            shutil.rmtree(checkpoint.path)

    with pytest.raises(TuneError, match="did not complete"):
        run(
            Climber,
            tmp_path,
            config={"lr": ctune.grid_search([0.1, 0.4])},
            callbacks=[Vandal()],
            stop={"training_iteration": 8},
            scheduler=pbt(perturbation_interval=4, synch=True),
        )
    errors = [p.read_text() for p in (tmp_path / "pbt").glob("*/error.txt")]
    assert errors and all("checkpoint_" in text for text in errors)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_a_config_lacks_is_drawn_first(executor, tmp_path):
    class Deep(ctune.Trainable):
        def step(self):
            assert self.config["opt"]["m"] in (0.1, 0.9)
            return {"score": self.config["lr"] + self.config["opt"]["n"]["b"]}

        def save_checkpoint(self, checkpoint_dir):
            return {}

        def load_checkpoint(self, checkpoint):
            pass

    mutations = {
        "lr": lambda: random.uniform(5, 6),
        "opt": {"m": [0.1, 0.9], "n": {"b": ctune.uniform(2, 3)}},
    }
    analysis = run(
        Deep,
        tmp_path,
        executor,
        config={"other": 1},
        num_samples=3,
        stop={"training_iteration": 3},
        scheduler=pbt(hyperparam_mutations=mutations, perturbation_interval=100),
    )
    for trial in analysis.trials:
        assert trial.config["other"] == 1
        assert 5 <= trial.config["lr"] <= 6
        assert 2 <= trial.config["opt"]["n"]["b"] <= 3
        assert trial.evaluated_params["lr"] == trial.config["lr"]
        with open(os.path.join(trial.local_path, "params.json")) as f:
            assert json.load(f) == trial.config


class Toy(ctune.Trainable):
    """The example of the paper's figure 2: hyperparameters choose what is optimised."""

    def setup(self, config):
        self.theta = np.array([0.9, 0.9])

    def step(self):
        h = np.array([self.config["h0"], self.config["h1"]])
        self.theta = self.theta - 0.02 * h * self.theta
        return {"score": 1.2 - float(np.sum(self.theta**2))}

    def save_checkpoint(self, checkpoint_dir):
        np.save(os.path.join(checkpoint_dir, "theta.npy"), self.theta)

    def load_checkpoint(self, checkpoint_dir):
        self.theta = np.load(os.path.join(checkpoint_dir, "theta.npy"))


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("exploits", [False, True])
def test_the_toy_quadratic_of_the_paper(executor, exploits, tmp_path):
    random.seed(1)
    scheduler = pbt(
        perturbation_interval=4,
        quantile_fraction=0.5,
        hyperparam_mutations={"h0": [0.0, 1.0], "h1": [0.0, 1.0]},
        synch=True,
    )
    analysis = run(
        Toy,
        tmp_path,
        executor,
        config={
            "h0": ctune.grid_search([1.0, 0.0]),
            "h1": ctune.sample_from(lambda config: 1.0 - config["h0"]),
        },
        stop={"training_iteration": 300},
        scheduler=scheduler if exploits else None,
    )
    scores = [t.last_result["score"] for t in analysis.trials]
    assert all(1.19 < s <= 1.2 for s in scores) if exploits else all(s < 0.5 for s in scores)


# ---- replay ----


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_replay_follows_the_policy_of_a_trial(executor, tmp_path):
    random.seed(3)
    analysis = run(
        Climber,
        tmp_path,
        config={"lr": ctune.grid_search([0.1, 0.2, 0.3, 0.4])},
        stop={"training_iteration": 12},
        scheduler=pbt(),
    )
    best = max(analysis.trials, key=lambda t: len(rows(tmp_path, f"pbt_policy_{t.trial_id}.txt")))
    policy = tmp_path / "pbt" / f"pbt_policy_{best.trial_id}.txt"
    scheduler = PopulationBasedTrainingReplay(str(policy))
    changes = scheduler._policy
    replayed = run(
        Climber,
        tmp_path,
        executor,
        name="replay",
        stop={"training_iteration": 12},
        scheduler=scheduler,
    )
    (trial,) = replayed.trials
    wanted, config = [], scheduler.config
    for iteration in range(1, 13):
        wanted.append(config["lr"])
        for at, new in changes:
            if at == iteration:
                config = new
    assert [r["lr"] for r in results_of(trial)] == wanted
    assert [r["training_iteration"] for r in results_of(trial)] == list(range(1, 13))
    assert trial.config == config == scheduler.current_config
    assert trial.experiment_tag.startswith(f"replay_{policy.name}@perturbed[lr=")
    assert scheduler.debug_string().endswith(f"perturb {len(changes)}")


def policy_file(tmp_path, *lines):
    path = tmp_path / "policy.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def test_only_the_last_chain_of_a_policy_counts(tmp_path):
    """As in a file of Ray Tune: what was overwritten stands before it."""
    path = policy_file(
        tmp_path,
        '["3_d", "1_b", 2, 3, {"lr": 0.1}, {"lr": 0.2}]',
        '["2_c", "0_a", 4, 5, {"lr": 0.3}, {"lr": 0.4}]',
        '["0_a", "2_c", 8, 7, {"lr": 0.5}, {"lr": 0.6}]',
    )
    scheduler = PopulationBasedTrainingReplay(path)
    assert scheduler.config == {"lr": 0.3}
    assert scheduler._policy == [(5, {"lr": 0.4}), (7, {"lr": 0.6})]


@pytest.mark.parametrize(
    "lines, match",
    [
        (['["0_a", "1_b", 2, 3, {"lr": 0.1}, {"lr"'], "line 1 of .* is not JSON"),
        (["trial,loss", "1,2"], "line 1 of .* is not JSON"),
        (['{"lr": 1}'], "line 1 of .* is not a line of a policy file"),
        (['["0_a", "1_b", 2, 3, {"lr": 0.1}, {"lr": 0.2}]', "[1, 2]"], "line 2 of"),
        (['["0_a", "1_b", 2, "x", {"lr": 0.1}, {"lr": 0.2}]'], "line 1 of"),
    ],
)
def test_a_damaged_or_foreign_policy_file_is_named(lines, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        PopulationBasedTrainingReplay(policy_file(tmp_path, *lines))


def test_a_replay_takes_one_trial_and_needs_a_config(tmp_path, caplog):
    with pytest.raises(ValueError, match="policy_file: .*nothing.txt does not exist"):
        PopulationBasedTrainingReplay(tmp_path / "nothing.txt")
    path = policy_file(tmp_path, '["0_a", "1_b", 2, 3, {"lr": 0.1}, {"lr": 0.2}]')
    with pytest.raises(ValueError, match="num_samples.*one trial"):
        run(
            Climber,
            tmp_path,
            num_samples=2,
            scheduler=PopulationBasedTrainingReplay(path),
            stop={"training_iteration": 4},
        )
    with caplog.at_level(logging.WARNING, "ctune"):
        analysis = run(
            Climber,
            tmp_path,
            name="second",
            config={"lr": 0.9},
            scheduler=create_scheduler("pbt_replay", policy_file=path),
            stop={"training_iteration": 4},
        )
    assert "is replaced by that of" in caplog.text
    assert [r["lr"] for r in results_of(analysis.trials[0])] == [0.1, 0.1, 0.1, 0.2]
    empty = policy_file(tmp_path)
    with pytest.raises(TuneError, match="holds no exploit"):
        run(Climber, tmp_path, name="third", scheduler=PopulationBasedTrainingReplay(empty))
    analysis = run(
        Climber,
        tmp_path,
        name="fourth",
        config={"lr": 0.9},
        scheduler=PopulationBasedTrainingReplay(empty),
        stop={"training_iteration": 2},
    )
    assert analysis.trials[0].config == {"lr": 0.9}


def test_a_replay_is_saved_and_restored(tmp_path):
    path = policy_file(
        tmp_path,
        '["0_a", "1_b", 2, 3, {"lr": 0.1}, {"lr": 0.2}]',
        '["1_b", "0_a", 2, 5, {"lr": 0.2}, {"lr": 0.3}]',
    )

    class Controller:
        def get_trials(self):
            return [trial]

        def pause_trial(self, trial, should_checkpoint=True):
            told.append("pause")

        def _schedule_trial_save(self, trial, result=None):
            return SimpleNamespace(resolve=lambda: "saved")

    told = []
    trial = SimpleNamespace(
        trial_id="a",
        config={},
        set_config=told.append,
        set_experiment_tag=told.append,
        run_metadata=SimpleNamespace(checkpoint_manager=SimpleNamespace()),
    )
    first = PopulationBasedTrainingReplay(path)
    first.on_trial_add(Controller(), trial)
    for i in range(1, 5):
        answer = first.on_trial_result(Controller(), trial, {"training_iteration": i})
        assert answer == ("NOOP" if i == 3 else "CONTINUE")
    assert trial.run_metadata.checkpoint_manager._latest_checkpoint_result == "saved"
    first.save(str(tmp_path / "state.json"))
    second = PopulationBasedTrainingReplay(path)
    second.restore(str(tmp_path / "state.json"))
    assert second.debug_string() == first.debug_string()
    assert second.on_trial_result(Controller(), trial, {"other": 1}) == "CONTINUE"
    assert second.on_trial_result(Controller(), trial, {"training_iteration": 5}) == "NOOP"
    assert told[-1] == {"lr": 0.3}
    assert second.on_trial_result(Controller(), trial, {"training_iteration": 6}) == "CONTINUE"


# ---- alone ----


class Trial:
    def __init__(self, n, config=None):
        self.trial_id, self.n, self.status = f"t{n}", n, "RUNNING"
        self.config, self.evaluated_params = dict(config or {"lr": 0.5}), {}
        self.experiment_tag, self.last_result, self.checkpoint = f"{n}_x", {}, None
        self.cloned, self.local_experiment_path = None, None

    def is_finished(self):
        return self.status in ("TERMINATED", "ERROR")

    def set_config(self, config):
        self.config = config

    def set_experiment_tag(self, tag):
        self.experiment_tag = tag

    @property
    def run_metadata(self):
        return SimpleNamespace(checkpoint_manager=self)

    @property
    def _latest_checkpoint_result(self):
        return self.cloned

    @_latest_checkpoint_result.setter
    def _latest_checkpoint_result(self, value):
        self.cloned = value


class Controller:
    search_alg = None

    def __init__(self, trials):
        self.trials = trials

    def get_trials(self):
        return self.trials

    def get_live_trials(self):
        return [t for t in self.trials if not t.is_finished()]

    def pause_trial(self, trial, should_checkpoint=True):
        trial.status = "PAUSED"

    def _schedule_trial_save(self, trial, result=None):
        trial.checkpoint = f"{trial.n} at {result['training_iteration']}"
        return trial.checkpoint


def population(n, scheduler):
    trials = [Trial(i) for i in range(n)]
    controller = Controller(trials)
    scheduler.set_search_properties("score", "max")
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    return controller, trials


@pytest.mark.parametrize("n, fraction, best", [(5, 0.25, 2), (4, 0.25, 1), (3, 0.5, 1), (5, 0, 5)])
def test_how_many_save(n, fraction, best):
    scheduler = pbt(quantile_fraction=fraction, perturbation_interval=1, synch=True)
    controller, trials = population(n, scheduler)
    for trial in trials:
        scheduler.on_trial_result(controller, trial, {"score": trial.n, "training_iteration": 1})
        trial.status = "PAUSED"
        trial.checkpoint = "own"
    assert scheduler._num_checkpoints == best


def test_an_exploit_changes_the_trial_and_nothing_else(caplog):
    random.seed(2)
    scheduler = pbt(resample_probability=0.0, log_config=False)
    controller, (bad, good) = population(2, scheduler)
    good.config["lr"] = 0.25
    result = {"score": 2.0, "training_iteration": 2}
    assert scheduler.on_trial_result(controller, good, result) == "CONTINUE"
    result = {"score": 1.0, "training_iteration": 2}
    assert scheduler.on_trial_result(controller, bad, result) == "CONTINUE"
    assert bad.status == "RUNNING"  # the good one had nobody to be better than
    result = {"score": 3.0, "training_iteration": 4}
    assert scheduler.on_trial_result(controller, good, result) == "CONTINUE"
    assert good.checkpoint == "1 at 4"
    with caplog.at_level(logging.INFO, "ctune"):
        result = {"score": 1.5, "training_iteration": 4}
        assert scheduler.on_trial_result(controller, bad, result) == "NOOP"
    assert bad.status == "PAUSED"
    assert bad.config["lr"] in (0.25 * 1.2, 0.25 * 0.8)
    assert bad.cloned.checkpoint == "1 at 4"
    assert bad.cloned.metrics == {"score": 3.0, "training_iteration": 4}
    assert good.config == {"lr": 0.25} and good.status == "RUNNING"
    assert re.search(r"lr : 0.25 --- \(\* (1.2|0.8)\) --> 0.[23]", caplog.text)
    assert "goes on from trial t1 (score 3.000000)" in caplog.text
    assert scheduler.last_scores([bad, good]) == [1.5, 3.0]
    scheduler.reset_stats()
    assert scheduler.debug_string() == "PopulationBasedTraining: 0 checkpoints, 0 perturbs"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 9),
    st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    st.booleans(),
    st.lists(
        st.tuples(
            st.integers(0, 8),
            st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.integers(0, 3)),
            st.sampled_from(["report"] * 6 + ["end", "fail"]),
        ),
        max_size=120,
    ),
)
def test_who_exploits_whom(n, fraction, synch, events):
    """Never itself, never a worse one, never one that is over or has no checkpoint."""
    told = []

    class Told(PopulationBasedTraining):
        def _get_new_config(self, trial, trial_to_clone):
            told.append((trial, trial_to_clone))
            return super()._get_new_config(trial, trial_to_clone)

    scheduler = Told(
        "training_iteration",
        "score",
        "max",
        perturbation_interval=1,
        hyperparam_mutations={"lr": [0.1, 0.2]},
        quantile_fraction=fraction,
        synch=synch,
        log_config=False,
    )
    controller, trials = population(n, scheduler)
    times, scores = [0] * n, [None] * n
    for number, score, what in events:
        trial = trials[number % n]
        if trial.is_finished():
            continue
        trial.status = "RUNNING"
        times[trial.n] += 1
        result = {"score": score, "training_iteration": times[trial.n]}
        if what == "end":
            scheduler.on_trial_complete(controller, trial, result)
            trial.status = "TERMINATED"
            continue
        if what == "fail":
            scheduler.on_trial_error(controller, trial)
            trial.status = "ERROR"
            continue
        told.clear()
        scores[trial.n] = score
        answer = scheduler.on_trial_result(controller, trial, result)
        assert answer in ("CONTINUE", "PAUSE", "NOOP")
        if answer == "PAUSE":
            trial.status, trial.checkpoint = "PAUSED", "own"
        for worse, better in told:
            assert worse is not better
            assert better.checkpoint is not None and not better.is_finished()
            assert not math.isnan(scores[better.n])
            assert scores[worse.n] <= scores[better.n]
            assert worse.cloned.checkpoint is not None


def test_nan_is_neither_best_nor_worst():
    scheduler = pbt(perturbation_interval=1, log_config=False, quantile_fraction=0.5)
    controller, trials = population(3, scheduler)
    scores = [math.nan, 1.0, 2.0]
    for iteration in (1, 2, 3):
        for trial, score in zip(trials, scores, strict=True):
            trial.status = "RUNNING"
            result = {"score": score, "training_iteration": iteration}
            scheduler.on_trial_result(controller, trial, result)
    assert trials[0].checkpoint is None and trials[0].cloned is None
    assert trials[1].cloned is not None


def test_the_order_of_keys_in_a_config_does_not_matter():
    made = []
    for keys in (["a", "b", "c"], ["c", "a", "b"]):
        random.seed(9)
        scheduler = pbt(hyperparam_mutations={"a": [1, 2, 3], "c": lambda: 4.0, "b": (5, 6)})
        trial = Trial(0, {key: {"a": 1, "b": 5, "c": 2.0}[key] for key in keys})
        made.append([scheduler._get_new_config(None, trial) for _ in range(20)])
    assert made[0] == made[1]


def test_operations_on_each_kind_of_hyperparameter():
    scheduler = pbt(
        resample_probability=0.0,
        hyperparam_mutations={
            "list": [1, 2, 3],
            "one": ["x"],
            "int": ctune.randint(1, 100),
            "nest": {"f": ctune.loguniform(1e-3, 1)},
            "new": [7, 8],
            "flag": lambda: True,
        },
    )
    old = {"list": 1, "one": "x", "int": 10, "nest": {"f": 0.5, "g": [1]}, "new": 3, "flag": True}
    seen = {key: set() for key in old}
    for _ in range(100):
        new, operations = scheduler._get_new_config(None, Trial(0, old))
        for key in old:
            value = new[key]["f"] if key == "nest" else new[key]
            done = operations[key]["f"] if key == "nest" else operations[key]
            seen[key].add((value, done))
        assert new["nest"]["g"] == [1] and new["nest"]["g"] is not old["nest"]["g"]
    assert seen["list"] == {(1, "shift left (noop)"), (2, "shift right")}
    assert seen["one"] == {("x", "shift left (noop)"), ("x", "shift right (noop)")}
    assert seen["int"] == {(12, "* 1.2"), (8, "* 0.8")}
    assert seen["nest"] == {(0.6, "* 1.2"), (0.4, "* 0.8")}
    assert seen["new"] == {(7, "resample"), (8, "resample")}
    assert seen["flag"] == {(1, "* 1.2"), (0, "* 0.8")}


def test_a_subclass_may_make_configs_itself(tmp_path):
    class Own(PopulationBasedTraining):
        def _get_new_config(self, trial, trial_to_clone):
            return {"lr": 0.75, "from": trial_to_clone.trial_id}, {}

    scheduler = Own(
        "training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"lr": ctune.uniform(0, 1)},
        log_config=False,
    )
    analysis = run(
        Climber,
        tmp_path,
        config={"lr": ctune.grid_search([0.1, 0.2])},
        stop={"training_iteration": 8},
        scheduler=scheduler,
    )
    assert analysis.trials[0].config == {"lr": 0.75, "from": analysis.trials[1].trial_id}
    assert rows(tmp_path) == []


class Derived(PopulationBasedTraining):
    """Overrides what makes it a Python scheduler; the base does the work."""

    def on_trial_result(self, controller, trial, result):
        self.seen = getattr(self, "seen", 0) + 1
        return super().on_trial_result(controller, trial, result)


class Wrapper(FIFOScheduler):
    def __init__(self, base):
        super().__init__()
        self.base = base

    def set_search_properties(self, metric, mode, **spec):
        return self.base.set_search_properties(metric, mode, **spec)

    def on_trial_add(self, controller, trial):
        self.base.on_trial_add(controller, trial)

    def on_trial_result(self, controller, trial, result):
        return self.base.on_trial_result(controller, trial, result)

    def on_trial_complete(self, controller, trial, result):
        self.base.on_trial_complete(controller, trial, result)

    def on_trial_error(self, controller, trial):
        self.base.on_trial_error(controller, trial)

    def on_trial_remove(self, controller, trial):
        self.base.on_trial_remove(controller, trial)

    def choose_trial_to_run(self, controller):
        return self.base.choose_trial_to_run(controller)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("synch", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_python_scheduler_may_derive_from_it_or_wrap_it(wrapped, synch, executor, tmp_path):
    random.seed(3)
    np.random.seed(3)
    options = {
        "time_attr": "training_iteration",
        "perturbation_interval": 2,
        "hyperparam_mutations": {"lr": ctune.uniform(0.0, 1.0), "more": [1, 2]},
        "synch": synch,
    }
    base = PopulationBasedTraining(**options) if wrapped else Derived(**options)
    analysis = run(
        Climber,
        tmp_path,
        executor,
        num_cpus=2,
        config={"lr": ctune.grid_search([0.1, 0.2, 0.3, 0.4])},
        stop={"training_iteration": 12},
        scheduler=Wrapper(base) if wrapped else base,
    )
    assert {t.status for t in analysis.trials} == {"TERMINATED"}
    assert all(t.last_result["training_iteration"] == 12 for t in analysis.trials)
    assert len(rows(tmp_path)) == base._num_perturbations > 0
    assert all(t.config["more"] in (1, 2) for t in analysis.trials)
    check_history(analysis)


def test_a_wrapped_replay_follows_its_policy(tmp_path):
    path = policy_file(
        tmp_path,
        '["0_a", "1_b", 2, 3, {"lr": 0.1}, {"lr": 0.2}]',
        '["1_b", "0_a", 2, 5, {"lr": 0.2}, {"lr": 0.3}]',
    )
    analysis = run(
        Climber,
        tmp_path,
        scheduler=Wrapper(PopulationBasedTrainingReplay(path)),
        stop={"training_iteration": 7},
    )
    assert [r["lr"] for r in results_of(analysis.trials[0])] == [0.1] * 3 + [0.2] * 2 + [0.3] * 2


@pytest.mark.parametrize("executor", EXECUTORS)
def test_workers_may_serve_several_trials(executor, tmp_path):
    class Reset(Climber):
        def reset_config(self, new_config):
            self.setup(new_config)
            return True

    random.seed(2)
    analysis = run(
        Reset,
        tmp_path,
        executor,
        num_cpus=2,
        config={"lr": ctune.grid_search([0.1 * n for n in range(1, 7)])},
        stop={"training_iteration": 8},
        scheduler=pbt(),
        reuse_actors=True,
    )
    assert {t.status for t in analysis.trials} == {"TERMINATED"}
    assert all(t.last_result["training_iteration"] == 8 for t in analysis.trials)
    assert len(rows(tmp_path)) > 0
    check_history(analysis)


def test_virtual_time():
    def climb(config, epoch):
        return {"score": config["lr"] * epoch}

    random.seed(1)
    simulated = ctune.simulate(
        climb,
        config={"lr": ctune.grid_search([0.1 * n for n in range(1, 9)])},
        epochs=40,
        metric="score",
        mode="max",
        num_workers=3,
        scheduler=pbt(perturbation_interval=4),
        failures=0.01,
        max_failures=-1,
        seed=1,
    )
    assert {t.status for t in simulated.trials} == {"TERMINATED"}
    assert len(simulated.events("TRIAL_EXPLOITED")) > 0
    assert any("@perturbed" in t.experiment_tag for t in simulated.trials)


# ---- bad input ----


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"perturbation_interval": 0}, ValueError, "perturbation_interval must be greater.*got 0"),
        ({"perturbation_interval": -1}, ValueError, "perturbation_interval.*-1"),
        ({"perturbation_interval": "a"}, TypeError, "perturbation_interval must be a number"),
        ({"perturbation_interval": math.nan}, ValueError, "perturbation_interval.*nan"),
        ({"burn_in_period": math.nan}, ValueError, "burn_in_period must be a number, got nan"),
        ({"burn_in_period": None}, TypeError, "burn_in_period must be a number, got None"),
        ({"quantile_fraction": 0.6}, ValueError, "quantile_fraction must be from 0 to 0.5.*0.6"),
        ({"quantile_fraction": -0.1}, ValueError, "quantile_fraction.*-0.1"),
        ({"quantile_fraction": [1]}, TypeError, "quantile_fraction must be a number"),
        ({"resample_probability": "x"}, TypeError, "resample_probability must be a number"),
        ({"perturbation_factors": ()}, ValueError, "perturbation_factors must be numbers"),
        ({"perturbation_factors": 3}, ValueError, "perturbation_factors must be numbers.*3"),
        ({"custom_explore_fn": 3}, TypeError, "custom_explore_fn must be callable, got 3"),
        ({"mode": "up"}, ValueError, 'mode must be "min" or "max", got \'up\''),
        ({"metric": 3}, TypeError, "metric must be a str"),
        ({"time_attr": 3}, TypeError, "time_attr must be a str"),
        ({"hyperparam_mutations": {}}, TuneError, "hyperparam_mutations and custom_explore_fn"),
        ({"hyperparam_mutations": None}, TuneError, "at least one"),
        ({"hyperparam_mutations": [1]}, TypeError, "hyperparam_mutations must be a dict"),
        ({"hyperparam_mutations": {"a": 1}}, TypeError, r"hyperparam_mutations\['a'\].*got 1"),
        ({"hyperparam_mutations": {"a": {"b": "x"}}}, TypeError, r"\['a'\]\['b'\].*got 'x'"),
        ({"hyperparam_mutations": {"a": []}}, ValueError, r"\['a'\]: must not be empty"),
        (
            {"hyperparam_mutations": {"a": ctune.sample_from(lambda c: 1)}},
            ValueError,
            r"\['a'\]: sample_from\(\) cannot be used",
        ),
    ],
)
def test_a_wrong_argument_is_named(options, error, match):
    with pytest.raises(error, match=match):
        pbt(**options)


def test_metric_and_mode_are_given_once():
    scheduler = pbt()
    with pytest.raises(ValueError, match="has no metric .* or no mode"):
        scheduler.on_trial_add(Controller([]), Trial(0))
    assert scheduler.set_search_properties("score", "max") is True
    assert scheduler.set_search_properties("other", None) is False
    assert scheduler.set_search_properties(None, "min") is False


def test_a_missing_attribute_is_an_error_or_a_warning(caplog):
    for strict in (True, False):
        scheduler = pbt(require_attrs=strict)
        controller, (trial,) = population(1, scheduler)
        for result, name in (
            ({"score": 1}, "time_attr 'training_iteration'"),
            ({"training_iteration": 9}, "metric 'score'"),
        ):
            if strict:
                with pytest.raises(RuntimeError, match=f"{name} is not in a result.*require_attrs"):
                    scheduler.on_trial_result(controller, trial, result)
            else:
                for _ in range(3):
                    assert scheduler.on_trial_result(controller, trial, result) == "CONTINUE"
    assert len(caplog.records) == 2
    with pytest.raises(KeyError, match="t7"):
        scheduler.on_trial_result(controller, Trial(7), {"score": 1, "training_iteration": 2})


def test_search_algorithms_are_refused(tmp_path):
    from ctune.search import Searcher

    class Own(Searcher):
        def suggest(self, trial_id):
            return {"lr": 0.5}

        def on_trial_complete(self, trial_id, result=None, error=False):
            pass

    with pytest.raises(ValueError, match="search_alg .* cannot be used with PopulationBased"):
        run(Climber, tmp_path, search_alg=Own(), scheduler=pbt(), num_samples=2)


def test_mutations_that_the_config_does_not_fit():
    trial = Trial(0, {"a": 3})
    scheduler = pbt(hyperparam_mutations={"a": {"b": [1, 2]}})
    with pytest.raises((KeyError, TypeError), match="hyperparam_mutations has"):
        scheduler._get_new_config(None, trial)
    scheduler = pbt(custom_explore_fn=lambda config: None)
    with pytest.raises(AssertionError, match="custom_explore_fn returned None"):
        scheduler._get_new_config(None, Trial(0))
    scheduler = pbt(hyperparam_mutations={"z": [1, 2]})
    with pytest.raises(KeyError, match="'z', which the config"):
        scheduler._get_new_config(None, Trial(0))


def test_a_state_of_another_scheduler_is_refused(tmp_path):
    path = str(tmp_path / "state.json")
    asha = create_scheduler("asynchyperband", metric="a", mode="max")
    asha.save(path)
    scheduler = pbt()
    with pytest.raises(ValueError, match="saved state of AsyncHyperBandScheduler"):
        scheduler.restore(path)
    (tmp_path / "state.json").write_text("[1")
    with pytest.raises(ValueError, match="not the saved state"):
        scheduler.restore(path)
