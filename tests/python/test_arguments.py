"""Arguments of run() and Experiment, and variables, numbered as in tools/run_lines.py."""

import functools
import inspect
import logging
import os
import signal
import threading
import warnings

import pytest

import ctune as tune
from ctune import CheckpointConfig, ResumeConfig, SyncConfig, Trainable, TuneError
from ctune._plan import Entrypoint
from ctune.experiment import Experiment
from ctune.schedulers import ASHAScheduler
from ctune.search import ConcurrencyLimiter, Searcher
from ctune.stopper import MaximumIterationStopper


@pytest.fixture(autouse=True)
def inline():
    tune.shutdown()
    tune.init(executor="inline", num_cpus=4)
    yield
    tune.shutdown()


@pytest.fixture
def run(tmp_path):
    return functools.partial(tune.run, storage_path=str(tmp_path), verbose=0)


def train(config):
    for i in range(3):
        tune.report({"loss": i})


class Class(Trainable):
    made = 0

    def setup(self, config):
        type(self).made += 1

    def step(self):
        return {"loss": self.iteration}

    def reset_config(self, new_config):
        return True


def build(run=train, **arguments):
    return Experiment("e", run, **arguments)


# --- R92: what building an Experiment raises -----------------------------------------------------


@pytest.mark.parametrize("attribute", ["checkpoint_at_end", "checkpoint_frequency"])
def test_r92a_r92b_functions_are_not_saved_from_outside(attribute):
    config = CheckpointConfig(**{attribute: 1})
    with pytest.raises(ValueError, match=f"^{attribute}"):
        build(checkpoint_config=config)
    assert build(Class, checkpoint_config=config).checkpoint_config is config


def test_r92c_r92d_r92e_what_is_no_trainable():
    with pytest.raises(TuneError, match="Unknown trainable"):
        build("nobody registered this")
    for wrong in (3, None, object()):
        with pytest.raises(TuneError, match="Improper 'run'"):
            build(wrong)
    with pytest.raises(TypeError, match="dict.*no Trainable"):
        build(dict)
    for function in (lambda: None, lambda config, more: None, lambda *, config: None):
        with pytest.raises(ValueError, match="config"):
            build(function)


def test_r92f_what_cannot_be_pickled_is_named(tmp_path):
    lock = threading.Lock()

    class Holds(Class):
        held = {"inner": lock}

    def captures(config):
        return {"locked": lock.locked()}

    def deep(config):
        return captures(config)

    tune.shutdown()
    tune.init(executor="process")
    for trainable, names in (
        (captures, r"closed-over variable 'lock' of captures\(\)"),
        (deep, r"'lock' of captures\(\).* in the closed-over variable 'captures' of deep\(\)"),
        (Holds, "key 'inner'.* in the attribute 'held' of class Holds"),
        (functools.partial(lambda config, a: 1, a=lock), "argument 'a'"),
        (tune.with_parameters(lambda config, a: 1, a=lock), "argument 'a' of with_parameters"),
    ):
        with pytest.raises(TypeError, match=names):
            tune.run(trainable, storage_path=str(tmp_path), verbose=0)
    assert os.listdir(tmp_path) == []


def test_r92h_a_config_that_is_no_dict():
    for wrong in (3, [1], "x"):
        with pytest.raises(ValueError, match="^config"):
            build(config=wrong)


def test_r92i_r92j_forms_of_stop_that_are_none():
    class Alike:
        def __call__(self, trial_id, result):
            return False

        def stop_all(self):
            return False

    with pytest.raises(ValueError, match="stop.*int, MaximumIterationStopper"):
        build(stop=[3, MaximumIterationStopper(1)])
    for wrong in (3, "x", object()):
        with pytest.raises(ValueError, match="^stop"):
            build(stop=wrong)
    with pytest.raises(ValueError, match="stop_all"):
        build(stop=Alike())


def test_r92k_forms_of_log_to_file_that_are_none():
    for wrong in (("a",), ("a", "b", "c"), []):
        if wrong:
            with pytest.raises(ValueError, match=f"log_to_file.*{len(wrong)}"):
                build(log_to_file=wrong)
    for wrong in (3, object()):
        with pytest.raises(ValueError, match="^log_to_file"):
            build(log_to_file=wrong)


def test_r91_elements_of_a_list_get_the_arguments_of_run(run):
    every = [train, Class, build(num_samples=3)]
    run(every, name="both", stop={"training_iteration": 2}, config={"x": 1}, num_samples=2)
    first, second, own = every
    for one in (first, second):
        assert (one.name, one.spec["config"], one.spec["num_samples"]) == ("both", {"x": 1}, 2)
        assert one.spec["stop"] == {"training_iteration": 2}
    assert (own.name, own.spec["config"], own.spec["num_samples"]) == ("e", {}, 3)


def test_r95_a_lambda_is_called_lambda(run):
    (trial,) = run(lambda config: {"a": 1}).trials
    assert trial.trainable_name == "lambda" and str(trial).startswith("lambda_")


# --- parameters ----------------------------------------------------------------------------------


def test_r22_r81_configurations_default_to_objects_of_their_own(run):
    """What a deprecated argument changes is not seen by the next run."""
    run(train, sync_config=SyncConfig(sync_period=1))
    with pytest.raises(ValueError, match="sync_config"):
        run(train, sync_config=3)
    with pytest.warns(DeprecationWarning):
        run([first := build(Class, stop={"training_iteration": 1})], keep_checkpoints_num=1)
    assert first.checkpoint_config.num_to_keep is None
    a, b = build(), build()
    assert a.checkpoint_config == CheckpointConfig()
    assert a.checkpoint_config is not b.checkpoint_config


def test_r29_workers_are_reused_if_asked_for(run):
    stop = {"training_iteration": 1}
    for arguments, made in (({}, 3), ({"reuse_actors": False}, 3), ({"reuse_actors": True}, 1)):
        Class.made = 0
        run(Class, num_samples=3, stop=stop, max_concurrent_trials=1, **arguments)
        assert Class.made == made


class Counts(tune.Callback):
    def __init__(self):
        self.now = self.most = 0

    def on_trial_start(self, **info):
        self.now += 1
        self.most = max(self.most, self.now)

    def on_trial_complete(self, **info):
        self.now -= 1


def test_r31_r32_callbacks_hear_and_trials_are_limited(run):
    for limit, most in ((None, 4), (1, 1), (2, 2), (0, 4)):
        counts = Counts()
        run(train, num_samples=6, callbacks=[counts], max_concurrent_trials=limit)
        assert counts.most == most
    run(train, callbacks=None)
    run(train, callbacks=[])
    run(train, callbacks=(Counts(),))


def test_r33_to_r36_deprecated_checkpoint_arguments(run):
    given = inspect.signature(tune.run).parameters
    defaults = {"keep_checkpoints_num": None, "checkpoint_score_attr": None}
    defaults |= {"checkpoint_freq": 0, "checkpoint_at_end": False}
    assert {name: given[name].default for name in defaults} == defaults

    class Saves(Class):
        def save_checkpoint(self, checkpoint_dir):
            return {"i": self.iteration}

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (trial,) = run(
            Saves,
            stop={"training_iteration": 5},
            keep_checkpoints_num=1,
            checkpoint_score_attr="min-loss",
            checkpoint_freq=2,
            checkpoint_at_end=True,
        ).trials
    told = {str(w.message).split()[0] for w in caught if w.category is DeprecationWarning}
    assert told >= set(defaults)
    kept = sorted(name for name in os.listdir(trial.path) if name.startswith("checkpoint_"))
    assert len(kept) == 2  # of those after 2, 4 and 5 iterations: the best, and the last


def test_r39_r40_r45_there_is_no_remote_driver(run):
    """_remote=True is refused, which R45 allows; None and False are what run() does."""
    run(train, _remote=False)
    run(train, _remote=None, _remote_string_queue=None)
    for arguments in ({"_remote": True}, {"_remote_string_queue": object()}):
        with pytest.raises(NotImplementedError, match=next(iter(arguments))):
            run(train, **arguments)


def test_r41_entry_points(run):
    assert [e.name for e in Entrypoint] == [
        "TUNE_RUN", "TUNE_RUN_EXPERIMENTS", "TUNER", "TRAINER"
    ]  # fmt: skip
    assert Entrypoint.of(None) is Entrypoint.TUNE_RUN
    for entry in Entrypoint:
        with pytest.raises(ValueError, match="mode"):
            run(train, mode="no", _entrypoint=entry)
    with pytest.raises(ValueError, match="_entrypoint"):
        run(train, _entrypoint="BUTTON")


def test_r44_r173_a_runtime_is_started_and_said_so(run, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    run(train)
    assert "tune.run(...)" not in caplog.text  # one is up already
    tune.shutdown()
    monkeypatch.setenv("CTUNE_EXECUTOR", "inline")
    run(train)
    assert "tune.run(...)" in caplog.text and "TUNE_DISABLE_AUTO_INIT" not in caplog.text
    caplog.clear()
    monkeypatch.setenv("TUNE_DISABLE_AUTO_INIT", "1")
    run(train)
    assert "TUNE_DISABLE_AUTO_INIT=1" in caplog.text
    caplog.clear()
    monkeypatch.setenv("TUNE_DISABLE_AUTO_INIT", "yes")  # exactly "1" counts
    run(train)
    assert "TUNE_DISABLE_AUTO_INIT" not in caplog.text


def test_r71_types_of_resuming():
    kind = ResumeConfig.ResumeType
    assert {k.name: k.value for k in kind} == {
        "RESUME": "resume",
        "RESTART": "restart",
        "SKIP": "skip",
    }
    assert ResumeConfig() == ResumeConfig(kind.SKIP, kind.RESUME, kind.SKIP)


def test_r72_the_first_steps_in_order(run, monkeypatch, caplog):
    """The words, then the runtime, then _remote, then what is deprecated."""
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("TUNE_RESULT_DIR", "/x")
    wrong = {"local_dir": "/y", "mode": "no"}
    with pytest.raises(ValueError, match="_entrypoint"):
        run(train, _entrypoint="BUTTON", _remote=True, **wrong)
    assert caplog.text == ""
    tune.shutdown()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NotImplementedError, match="_remote"):
            run(train, _remote=True, **wrong)
        assert "tune.run(...)" in caplog.text
        with pytest.raises(DeprecationWarning, match="TUNE_RESULT_DIR"):
            run(train, **wrong)


# --- R188 ----------------------------------------------------------------------------------------


class Own(Searcher):
    def __init__(self, accepts=True):
        super().__init__(metric="loss", mode="min")
        self.accepts = accepts

    def set_search_properties(self, metric, mode, config, **spec):
        return self.accepts

    def suggest(self, trial_id):
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id, result=None, error=False):
        pass


def twice():
    return {"scheduler": ASHAScheduler(metric="loss", mode="min"), "metric": "loss", "mode": "min"}


# Wrong arguments, each with what names it; where two need the same argument, the first's counts.
ORDER = [
    (lambda: {"env": "TUNE_RESULT_DIR"}, "TUNE_RESULT_DIR"),
    (lambda: {"env": "RAY_AIR_LOCAL_CACHE_DIR"}, "RAY_AIR_LOCAL_CACHE_DIR"),
    (lambda: {"local_dir": "/x"}, "^local_dir"),
    (lambda: {"mode": "no"}, "^mode"),
    (lambda: {"verbose": -1}, "^verbose"),
    (lambda: {"config": 3}, "^config"),
    (lambda: {"keep_checkpoints_num": 1}, "^keep_checkpoints_num"),
    (lambda: {"checkpoint_score_attr": "a"}, "^checkpoint_score_attr"),
    (lambda: {"checkpoint_freq": 1}, "^checkpoint_freq"),
    (lambda: {"checkpoint_at_end": True}, "^checkpoint_at_end"),
    (lambda: {"chdir_to_trial_dir": False}, "RAY_CHDIR_TO_TRIAL_DIR"),
    (lambda: {"scheduler": "nobody"}, "scheduler"),
    (lambda: {"stop": 3}, "^stop"),
    (lambda: {"fail_fast": True, "max_failures": 2}, "^max_failures"),
    (lambda: {"search_alg": "nobody"}, "^search_alg"),
    (lambda: {"search_alg": Own(), "max_concurrent_trials": -1}, "^max_concurrent_trials"),
    (
        lambda: {"search_alg": ConcurrencyLimiter(Own(), 2), "max_concurrent_trials": 3},
        "^max_concurrent_trials",
    ),
    (lambda: {"search_alg": Own(False), "config": {"x": tune.uniform(0, 1)}}, "^config.*Own"),
    (twice, "^metric, mode"),
    (lambda: {"callbacks": 3}, "^callbacks"),
    (lambda: {"resume": "LOCAL"}, "^resume"),
    (lambda: {"fail_fast": "nonsense"}, "^fail_fast"),
]


@pytest.mark.parametrize("place", range(len(ORDER)))
def test_r188_of_two_errors_the_earlier_wins(run, monkeypatch, place):
    """Each error alone, and together with the one after it."""
    make, pattern = ORDER[place]
    for following in (dict, ORDER[place + 1][0] if place + 1 < len(ORDER) else dict):
        wrong = [make(), following()]
        for one in wrong:
            if "env" in one:
                monkeypatch.setenv(one.pop("env"), "/x")
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            with pytest.raises((ValueError, DeprecationWarning), match=pattern):
                run(Class, **{**wrong[1], **wrong[0]})


# --- GPUs, signals, the controller ---------------------------------------------------------------


def declares(config):
    return tune.PlacementGroupFactory([{"CPU": 1}])


class Declares(Class):
    @classmethod
    def default_resource_request(cls, config):
        return declares(config)


def test_r121_r181_r182_idle_gpus_are_mentioned_once(tmp_path, caplog):
    tune.shutdown()
    tune.init(executor="inline", num_cpus=2, num_gpus=1)
    tune.register_trainable("plain", Class)
    tune.register_trainable("declaring", Declares)
    pgf = tune.PlacementGroupFactory

    def asks(config):
        train(config)

    wanted = [
        (Class, None, True),
        (train, None, True),
        ("plain", None, True),
        (Experiment("e", Class, stop={"training_iteration": 1}), None, True),
        (Class, {"cpu": 1}, True),
        (Class, {"cpu": 1, "gpu": 0}, True),
        (Class, pgf([{"CPU": 1}]), True),
        (Class, {"gpu": 1}, False),
        (Class, pgf([{"CPU": 1, "GPU": 0.5}]), False),
        (Declares, None, False),
        ("declaring", None, False),
        (Experiment("e", Declares, stop={"training_iteration": 1}), None, False),
        (tune.with_resources(asks, {"cpu": 1}), None, False),
        ([Class, Class], None, True),
    ]
    for trainable, resources, told in wanted:
        caplog.clear()
        tune.run(
            trainable,
            resources_per_trial=resources,
            stop={"training_iteration": 1},
            storage_path=str(tmp_path),
            verbose=0,
        )
        assert caplog.text.count("There are GPUs") == int(told), (trainable, resources)


def test_r126_signal_handlers_are_put_back(run):
    """Ray Tune leaves its own in place; see docs/differences.md."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGUSR1)
    during = []

    def looks(config):
        during.append((signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGUSR1)))

    run(looks)
    assert all(a is not b for a, b in zip(during[0], before, strict=True))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGUSR1)) == before


def test_r174_ctrl_c_can_be_left_alone(run, monkeypatch):
    monkeypatch.setenv("TUNE_DISABLE_SIGINT_HANDLER", "1")
    before = signal.getsignal(signal.SIGINT)
    seen = []
    run(lambda config: seen.append(signal.getsignal(signal.SIGINT)))
    assert seen == [before]


def test_r129_r167_the_first_experiment_speaks_for_all(tmp_path):
    class Saves(Class):
        def save_checkpoint(self, checkpoint_dir):
            return {}

    first = Experiment(
        "first",
        Saves,
        stop=MaximumIterationStopper(2),
        checkpoint_config=CheckpointConfig(checkpoint_frequency=1),
        storage_path=str(tmp_path / "a"),
    )
    second = Experiment("second", Saves, stop=MaximumIterationStopper(9), storage_path=tmp_path)
    counts = Counts()
    trials = tune.run_experiments([first, second], verbose=0, callbacks=[counts])
    assert counts.most == 2  # one run
    assert [t.last_result["training_iteration"] for t in trials] == [2, 2]
    for trial in trials:
        assert any(name.startswith("checkpoint_") for name in os.listdir(trial.path))


def test_r73_the_clock_starts_before_mode_is_checked(run, monkeypatch):
    asked = []

    class Time:
        def time(self):
            asked.append(1)
            return 0.0

    monkeypatch.setattr("ctune._plan.time", Time())
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        with pytest.raises(DeprecationWarning, match="local_dir"):
            run(train, mode="no", local_dir="/x")
    assert not asked
    with pytest.raises(ValueError, match="mode"):
        run(train, mode="no")
    assert len(asked) == 1


def test_r27_what_resume_takes(run, caplog):
    assert inspect.signature(tune.run).parameters["resume"].default is None
    for given in (None, False, True, "AUTO"):  # nothing to resume: a new experiment
        caplog.clear()
        assert len(run(train, resume=given, name=f"with {given}").trials) == 1
        assert ("no experiment to resume" in caplog.text) == bool(given)


def test_r177_the_older_output(run, monkeypatch):
    kinds = []
    for value in ("1", "0"):
        monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", value)
        callbacks = [Counts()]
        run(train, callbacks=callbacks)
        kinds.append({type(c).__name__ for c in callbacks})
    assert "TrialProgressCallback" not in kinds[0] and "TrialProgressCallback" in kinds[1]


def test_r172_configs_in_experiments_keep_objects_and_functions(tmp_path):
    thing = object()
    config = {
        "thing": thing,
        "a": tune.grid_search([1, 2]),
        "b": tune.sample_from(lambda spec: 10 * spec.config.a),
    }
    seen = []

    def looks(given):
        seen.append((given["thing"], given["a"], given["b"]))

    tune.run(Experiment("e", looks, config=config, storage_path=tmp_path), verbose=0)
    assert sorted((a, b) for _, a, b in seen) == [(1, 10), (2, 20)]
    assert config["thing"] is thing and callable(config["b"].func)
    assert all(type(one) is object for one, _, _ in seen)


# --- variables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["TUNE_RESULT_DIR", "RAY_AIR_LOCAL_CACHE_DIR"])
def test_r176_variables_that_are_gone_warn(run, monkeypatch, variable):
    monkeypatch.setenv(variable, "/x")
    with pytest.warns(DeprecationWarning, match=f"{variable}.*storage_path"):
        run(train)
    monkeypatch.setenv(variable, "")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        run(train)


def test_r180_variables_read_for_each_run(run, monkeypatch):
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "1")  # nothing is written now and then
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "1")
    monkeypatch.setenv("TUNE_FORCE_TRIAL_CLEANUP_S", "0.5")
    monkeypatch.setenv("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
    assert len(run(train, num_samples=3).trials) == 3
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "0")
    with pytest.raises(ValueError, match="TUNE_MAX_PENDING_TRIALS_PG"):
        run(train)
