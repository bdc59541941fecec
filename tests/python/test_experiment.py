"""Experiment, run_experiments() and what run() makes of lists and of `resume`."""

import os
import warnings

import pytest

import ctune as tune
from ctune import CheckpointConfig, Experiment, ResumeConfig, Trainable, TuneError
from ctune._plan import Entrypoint, resume_config_of
from ctune.experiment import _convert_to_experiment_list
from ctune.schedulers import FIFOScheduler
from ctune.stopper import CombinedStopper, MaximumIterationStopper, TimeoutStopper

KIND = ResumeConfig.ResumeType


@pytest.fixture(autouse=True)
def inline():
    tune.shutdown()
    tune.init(executor="inline", num_cpus=2)
    yield
    tune.shutdown()


def train(config):
    for i in range(3):
        tune.report({"loss": config.get("x", 0) + i})


class Class(Trainable):
    def step(self):
        return {"loss": self.config["x"]}


def test_it_settles_its_arguments(tmp_path):
    e = Experiment(
        "e", train, config={"x": 1}, stop={"loss": 2}, num_samples=-1, storage_path=tmp_path
    )
    assert e.name == "e" and e.run_identifier == "train"
    assert e.path == e.local_path == e.remote_path == str(tmp_path / "e")
    assert e.spec["config"] == {"x": 1} and e.spec["max_failures"] == 0
    assert e.public_spec["stop"] == {"loss": 2}
    assert e.public_spec.keys() == {"stop", "num_samples", "time_budget_s"}
    assert e.stopper is None
    assert os.listdir(tmp_path) == []


def test_its_stopper_joins_conditions_and_budget(tmp_path):
    def stopper(**arguments):
        return Experiment("e", train, storage_path=tmp_path, **arguments).stopper

    assert isinstance(stopper(time_budget_s=3), TimeoutStopper)
    limit = MaximumIterationStopper(2)
    assert stopper(stop=limit) is limit
    assert isinstance(stopper(stop=limit, time_budget_s=3), CombinedStopper)
    assert stopper(stop=lambda trial_id, result: True)("a", {}) is True


def test_gone_names_say_what_to_use(tmp_path):
    e = Experiment("e", train, storage_path=tmp_path)
    for name in ("local_dir", "checkpoint_dir"):
        with pytest.raises(DeprecationWarning, match="local_path"):
            getattr(e, name)


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ({"checkpoint_config": CheckpointConfig(checkpoint_at_end=True)}, ValueError, "at_end"),
        ({"checkpoint_config": CheckpointConfig(checkpoint_frequency=1)}, ValueError, "frequency"),
        ({"config": [1]}, ValueError, "config"),
        ({"stop": [3]}, ValueError, "stop"),
        ({"stop": 3}, ValueError, "stop"),
        ({"stop": {"a": {"b": 1}}}, ValueError, "a/b"),
        ({"checkpoint_config": {"nope": 1}}, ValueError, "checkpoint_config"),
        ({"checkpoint_config": 3}, ValueError, "checkpoint_config"),
        ({"sync_config": {"nope": 1}}, ValueError, "sync_config"),
        ({"num_samples": "3"}, ValueError, "num_samples"),
        ({"name": "../x"}, ValueError, "name"),
    ],
)
def test_r92_a_bad_argument_is_named(tmp_path, arguments, error, word):
    arguments = {"name": "e", "run": train, "storage_path": tmp_path, **arguments}
    with pytest.raises(error, match=word):
        Experiment(**arguments)


def test_r92_what_cannot_run(tmp_path):
    with pytest.raises(TuneError, match="Unknown trainable"):
        Experiment("e", "nobody registered this")
    with pytest.raises(TuneError, match="Improper 'run'"):
        Experiment("e", 3)
    with pytest.raises(TypeError):
        Experiment("e", dict)
    with pytest.raises(ValueError, match="config"):
        Experiment("e", lambda: None)


def test_r164_what_run_experiments_takes(tmp_path):
    e = Experiment("e", train, storage_path=tmp_path)
    assert _convert_to_experiment_list(None) == []
    assert _convert_to_experiment_list(e) == [e]
    assert _convert_to_experiment_list([e, e]) == [e, e]
    made = _convert_to_experiment_list({"a": {"run": train}, "b": {"run": Class}})
    assert [one.name for one in made] == ["a", "b"]
    for wrong in ([{"run": train}], 3, "a", [e, 3], (e,)):
        with pytest.raises(TuneError, match="Invalid argument"):
            _convert_to_experiment_list(wrong)


def test_r165_from_json():
    spec = {
        "run": train,
        "env": "Maze",
        "config": {"x": [1]},
        "checkpoint_config": {"num_to_keep": 2},
        "sync_config": {"sync_period": 1},
    }
    e = Experiment.from_json("a", spec)
    assert e.spec["config"] == {"x": [1], "env": "Maze"}
    assert e.checkpoint_config == CheckpointConfig(num_to_keep=2)
    e.spec["config"]["x"].append(2)
    assert spec["config"] == {"x": [1]} and spec["env"] == "Maze"
    with pytest.raises(TuneError, match="'run'"):
        Experiment.from_json("a", {"config": {}})
    with pytest.raises(TuneError, match="(?s)foo.*unexpected keyword"):
        Experiment.from_json("a", {"run": train, "foo": 1})
    with pytest.raises(TuneError, match="dict"):
        Experiment.from_json("a", e)


def test_names_and_registering():
    assert Experiment.get_trainable_name(train) == "train"
    assert Experiment.register_if_needed(Class) == "Class"
    assert tune.registry.get_trainable_cls("Class") is Class
    assert Experiment.register_if_needed("Class") == "Class"
    with pytest.raises(TuneError, match="Improper"):
        Experiment.register_if_needed(3)


def test_r90_arguments_of_run_do_not_touch_an_experiment(tmp_path):
    e = Experiment("e", train, config={"x": tune.grid_search([1, 2])}, storage_path=tmp_path)
    analysis = tune.run(
        e, name="other", num_samples=5, config={"x": 7}, stop={"loss": 0}, verbose=0
    )
    assert analysis.experiment_path == e.path
    assert [t.config for t in analysis.trials] == [{"x": 1}, {"x": 2}]
    assert [t.last_result["training_iteration"] for t in analysis.trials] == [3, 3]


def test_r89_a_list_is_filled_with_experiments(tmp_path):
    every = [train]
    tune.run(every, storage_path=tmp_path, verbose=0)
    assert isinstance(every[0], Experiment)
    with pytest.raises(IndexError):
        tune.run([], storage_path=tmp_path)


def test_r152_run_experiments_returns_trials(tmp_path):
    spec = {"run": train, "num_samples": 2, "storage_path": str(tmp_path)}
    trials = tune.run_experiments({"a": spec}, verbose=0)
    assert type(trials) is list
    assert [t.status for t in trials] == ["TERMINATED"] * 2
    assert (tmp_path / "a").is_dir()


def test_r168_one_after_the_other(tmp_path):
    order = []

    def first(config):
        order.append("first")
        tune.report({"a": 1})

    def second(config):
        order.append("second")
        tune.report({"a": 1})

    def fails(config):
        order.append("fails")
        raise RuntimeError("no")

    every = [Experiment(f.__name__, f, storage_path=tmp_path) for f in (first, second)]
    scheduler = FIFOScheduler()
    trials = tune.run_experiments(every, scheduler=scheduler, concurrent=False, verbose=0)
    assert order == ["first", "second"]
    assert [t.trainable_name for t in trials] == ["first", "second"]
    every[0] = Experiment("fails", fails, storage_path=tmp_path)
    with pytest.raises(TuneError, match="did not complete"):
        tune.run_experiments(every, concurrent=False, verbose=0)
    assert order[2:] == ["fails"]


def several(tmp_path, **arguments):
    """Three experiments of different kinds in one run."""

    def slow(config):
        for i in range(config["n"]):
            tune.report({"i": i, "s": 1})

    def quick(config):
        while True:
            tune.report({"q": config["x"]})

    return [
        Experiment("slow", slow, config={"n": tune.grid_search([2, 4])}, storage_path=tmp_path),
        Experiment(
            "quick",
            quick,
            config={"x": 5},
            num_samples=3,
            stop={"training_iteration": 2},
            resources_per_trial={"cpu": 0.5},
            trial_name_creator=lambda trial: f"mine_{trial.trial_id}",
            storage_path=tmp_path,
        ),
        Experiment(
            "class", Class, config={"x": 1}, stop={"loss": 1}, max_failures=3, storage_path=tmp_path
        ),
    ]


@pytest.mark.parametrize("executor", ["inline", "process"])
@pytest.mark.parametrize("reuse", [False, True])
def test_r131_several_experiments_share_one_run(tmp_path, caplog, executor, reuse):
    caplog.set_level("INFO", "ctune")
    tune.shutdown()
    tune.init(executor=executor, num_cpus=2)
    every = several(tmp_path)
    trials = tune.run_experiments(every, verbose=0, reuse_actors=reuse)
    assert any("3 experiments" in r.message for r in caplog.records)  # R166
    assert [t.status for t in trials] == ["TERMINATED"] * 6
    assert [t.trainable_name for t in trials] == ["slow"] * 2 + ["quick"] * 3 + ["Class"]
    assert [t.last_result["training_iteration"] for t in trials] == [2, 4, 2, 2, 2, 1]
    assert [t.config for t in trials] == [{"n": 2}, {"n": 4}] + [{"x": 5}] * 3 + [{"x": 1}]
    assert [os.path.basename(t.local_experiment_path) for t in trials] == (
        ["slow"] * 2 + ["quick"] * 3 + ["class"]
    )
    assert [str(t).split("_")[0] for t in trials] == ["slow"] * 2 + ["mine"] * 3 + ["Class"]
    assert [t.max_failures for t in trials] == [0] * 5 + [3]
    assert [t.stopping_criterion for t in trials][4:] == [{"training_iteration": 2}, {"loss": 1}]
    assert [t.placement_group_factory.required_resources["CPU"] for t in trials] == (
        [1, 1, 0.5, 0.5, 0.5, 1]
    )
    ids = [t.trial_id for t in trials]
    assert [int(i.split("_")[1]) for i in ids] == list(range(6)) and len(set(ids)) == 6
    assert all(os.path.exists(os.path.join(t.path, "result.json")) for t in trials)


def test_r186_several_trainables_share_a_name(tmp_path):
    analysis = tune.run(
        [train, Class],
        name="both",
        config={"x": 1},
        stop={"training_iteration": 2},
        storage_path=tmp_path,
        verbose=0,
    )
    assert [t.trainable_name for t in analysis.trials] == ["train", "Class"]
    assert {t.local_experiment_path for t in analysis.trials} == {str(tmp_path / "both")}
    assert [t.last_result["training_iteration"] for t in analysis.trials] == [2, 2]


def test_a_failure_belongs_to_its_experiment(tmp_path):
    tries = {"once": 0, "thrice": 0}

    def once(config):
        tries["once"] += 1
        raise RuntimeError("no")

    def thrice(config):
        tries["thrice"] += 1
        raise RuntimeError("no")

    every = [
        Experiment("a", once, storage_path=tmp_path),
        Experiment("b", thrice, max_failures=2, storage_path=tmp_path),
    ]
    trials = tune.run_experiments(every, raise_on_failed_trial=False, verbose=0)
    assert tries == {"once": 1, "thrice": 3}
    assert [t.status for t in trials] == ["ERROR"] * 2


def test_the_first_stopper_serves_all(tmp_path):
    asked = []

    def stop(trial_id, result):
        asked.append(trial_id)
        return result["training_iteration"] == 2

    every = [
        Experiment("a", train, stop=stop, storage_path=tmp_path),
        Experiment("b", Class, config={"x": 1}, storage_path=tmp_path),
    ]
    trials = tune.run_experiments(every, verbose=0)
    assert [t.last_result["training_iteration"] for t in trials] == [2, 2]
    assert set(asked) == {t.trial_id for t in trials}


def test_a_searcher_takes_one_experiment(tmp_path):
    class Fixed(tune.search.Searcher):
        def suggest(self, trial_id):
            return {}

        def on_trial_complete(self, trial_id, result=None, error=False):
            pass

    with pytest.raises(AssertionError):
        tune.run([train, Class], search_alg=Fixed(), storage_path=tmp_path, verbose=0)


def test_two_trainables_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="lambda.*register_trainable"):
        tune.run([lambda config: None, lambda config: None], storage_path=tmp_path)


def test_the_limit_of_live_trials_counts_over_experiments(tmp_path):
    live, most = set(), []

    class Watch(tune.Callback):
        def on_trial_start(self, iteration, trials, trial, **info):
            live.add(trial.trial_id)
            most.append(len(live))

        def on_trial_complete(self, iteration, trials, trial, **info):
            live.discard(trial.trial_id)

    tune.run(several(tmp_path), max_concurrent_trials=1, callbacks=[Watch()], verbose=0)
    assert len(most) == 6 and max(most) == 1


def test_r43_the_words_follow_the_entry_point(tmp_path):
    for name, words in (
        ("TUNE_RUN", ["tune.run(...)", "config"]),
        ("TUNER", ["Tuner(...)", "param_space"]),
        ("TUNE_RUN_EXPERIMENTS", ["tune.run_experiments(...)", "experiment=Experiment(config)"]),
        ("TRAINER", ["<FrameworkTrainer>(...)", "param_space"]),
    ):
        with pytest.raises(ValueError) as caught:
            tune.run(train, config=3, _entrypoint=Entrypoint[name])
        assert all(word in str(caught.value) for word in words)
    with pytest.raises(ValueError, match="_entrypoint"):
        tune.run(train, _entrypoint="elsewhere")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),  # R57
        (False, None),  # R58
        (True, ResumeConfig()),  # R59
        ("AUTO", ResumeConfig()),  # R62
        ("whatever", ResumeConfig()),
        ("AUTO+ERRORED", ResumeConfig(errored=KIND.RESUME)),  # R63
        ("AUTO+RESTART_ERRORED", ResumeConfig(errored=KIND.RESTART)),  # R64
        (  # R65
            "AUTO+ERRORED_ONLY",
            ResumeConfig(KIND.SKIP, KIND.SKIP, KIND.RESUME),
        ),
        (  # R66
            "AUTO+RESTART_ERRORED_ONLY",
            ResumeConfig(KIND.SKIP, KIND.SKIP, KIND.RESTART),
        ),
        (  # R68
            "AUTO+ERRORED_ONLY+RESTART_ERRORED",
            ResumeConfig(errored=KIND.RESTART),
        ),
    ],
)
def test_r57_to_r68_forms_of_resume(given, expected):
    assert resume_config_of(given) == expected


def test_r61_r67_forms_of_resume_that_are_refused():
    for base in ("LOCAL", "REMOTE", "PROMPT", "ERRORED_ONLY"):
        with pytest.raises(DeprecationWarning, match=f"{base}.*AUTO"):
            resume_config_of(base)
    for setting in ("errored", "NEVER", ""):
        with pytest.raises(ValueError, match=repr(setting)):
            resume_config_of(f"AUTO+{setting}")
    for other in (0, 1, [], ResumeConfig()):
        with pytest.raises(ValueError, match=r"resume: must be True.*resume_config"):
            resume_config_of(other)


def test_r56_resume_config_wins_over_a_malformed_resume(tmp_path, caplog):
    caplog.set_level("INFO", "ctune")
    tune.run(
        train,
        resume="AUTO+NEVER",
        resume_config=ResumeConfig(),
        storage_path=tmp_path,
        name="e",
        verbose=0,
    )
    # R70: nothing to resume: an error, and a new experiment.
    assert [r.levelname for r in caplog.records if "to resume" in r.message] == ["ERROR"]
    assert any("restarts" in r.message for r in caplog.records if r.levelname == "INFO")


def test_r69_resume_is_parsed_after_everything_else(tmp_path):
    with pytest.raises(ValueError, match="max_concurrent_trials"):
        tune.run(train, resume="AUTO+NEVER", max_concurrent_trials=-1, storage_path=tmp_path)
    assert os.listdir(tmp_path) == []


def test_r86_pbt_hints_at_reuse(tmp_path):
    def hints(**arguments):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tune.run(
                Class,
                config={"x": 1},
                stop={"training_iteration": 1},
                metric="loss",
                mode="max",
                storage_path=tmp_path,
                verbose=0,
                scheduler=tune.create_scheduler("pbt", hyperparam_mutations={"x": [1, 2]}),
                **arguments,
            )
        return [w for w in caught if "reuse_actors" in str(w.message)]

    assert len(hints()) == 1
    assert hints(reuse_actors=True) == []
