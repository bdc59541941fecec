"""run() and run_experiments(), numbered as in tools/run_lines.py."""

import datetime
import functools
import inspect
import os
import re
import signal
import threading
import time
import warnings

import pytest

import ctune as tune
from ctune import CheckpointConfig, Trainable, TuneError
from ctune._config import _Config
from ctune.experiment import Trial
from ctune.schedulers import ASHAScheduler, FIFOScheduler
from ctune.search import BasicVariantGenerator, ConcurrencyLimiter, SearchAlgorithm, Searcher
from ctune.stopper import MaximumIterationStopper, Stopper


@pytest.fixture(autouse=True)
def inline():
    tune.shutdown()
    tune.init(executor="inline", num_cpus=2)
    yield
    tune.shutdown()


@pytest.fixture
def run(tmp_path):
    return functools.partial(tune.run, storage_path=str(tmp_path), verbose=0)


def train(config):
    for i in range(3):
        tune.report({"loss": config.get("x", 0) + i, "n": {"a": i}})


class Class(Trainable):
    def step(self):
        return {"loss": self.iteration}


class Own(Searcher):
    def __init__(self, answer=True, **arguments):
        super().__init__(**arguments)
        self.answer, self.asked = answer, []

    def set_search_properties(self, metric, mode, config, **spec):
        self.asked.append((metric, mode, config, spec))
        return self.answer

    def suggest(self, trial_id):
        return {"x": 1}

    def on_trial_complete(self, trial_id, result=None, error=False):
        pass


PARAMETERS = [
    "run_or_experiment", "name", "metric", "mode", "stop", "time_budget_s", "config",
    "resources_per_trial", "num_samples", "storage_path", "storage_filesystem", "search_alg",
    "scheduler", "checkpoint_config", "verbose", "progress_reporter", "log_to_file",
    "trial_name_creator", "trial_dirname_creator", "sync_config", "export_formats",
    "max_failures", "fail_fast", "restore", "resume", "resume_config", "reuse_actors",
    "raise_on_failed_trial", "callbacks", "max_concurrent_trials", "keep_checkpoints_num",
    "checkpoint_score_attr", "checkpoint_freq", "checkpoint_at_end", "chdir_to_trial_dir",
    "local_dir", "_remote", "_remote_string_queue", "_entrypoint",
]  # fmt: skip


def test_r1_names_and_order_of_parameters():
    assert tune.run is tune.tune.run
    assert list(inspect.signature(tune.run).parameters) == PARAMETERS


def test_r2_r152_what_they_return(run, tmp_path):
    assert isinstance(run(train), tune.ExperimentAnalysis)
    spec = {"run": train, "storage_path": str(tmp_path)}
    assert type(tune.run_experiments({"a": spec}, verbose=0)) is list


def test_r3_what_can_run(run):
    tune.register_trainable("registered", train)
    for what in (train, Class, "registered", functools.partial(train), lambda config: None):
        analysis = run(what, stop={"training_iteration": 1} if what is Class else None)
        assert analysis.trials[0].status == "TERMINATED"


def test_r4_r179_names_of_experiments(run, monkeypatch):
    named = os.path.basename(run(train).experiment_path)
    assert re.fullmatch(r"train_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d+)?", named)
    assert os.path.basename(run(train, name="mine").experiment_path) == "mine"
    monkeypatch.setenv("TUNE_DISABLE_DATED_SUBDIR", "1")
    assert os.path.basename(run(train, name="").experiment_path) == "train"


def test_r5_r6_metric_and_mode_reach_all_who_want_them(run):
    scheduler, searcher = ASHAScheduler(), Own()
    analysis = run(train, metric="loss", mode="min", scheduler=scheduler, search_alg=searcher,
                   config={"y": 1})  # fmt: skip
    assert scheduler.metric == "loss"
    assert searcher.asked[0][:2] == ("loss", "min")
    assert (analysis.default_metric, analysis.default_mode) == ("loss", "min")


@pytest.mark.parametrize(
    "stop",
    [
        {"n/a": 1},
        MaximumIterationStopper(2),
        [MaximumIterationStopper(2), MaximumIterationStopper(9)],
        lambda trial_id, result: result["training_iteration"] == 2,
    ],
)
def test_r7_r94_forms_of_stop(run, stop):
    (trial,) = run(train, stop=stop).trials
    assert trial.last_result["training_iteration"] == 2


def test_r8_time_budgets(run):
    def endless(config):
        while True:
            time.sleep(0.005)
            tune.report({"a": 1})

    for budget in (0.1, datetime.timedelta(seconds=0.1)):
        (trial,) = run(endless, time_budget_s=budget).trials
        assert trial.status == "TERMINATED"


def test_r9_r78_r79_r80_r184_forms_of_config(run):
    class Mine(_Config):
        def to_dict(self):
            return {"x": 7}

    for given, used in ((None, {}), ({}, {}), ([], {}), ({"x": 1}, {"x": 1}), (Mine(), {"x": 7})):
        assert run(train, config=given).trials[0].config == used
    with pytest.raises(ValueError, match=r"config.*tune\.run\(\.\.\.\).*int"):
        run(train, config=3)
    with pytest.raises(NotImplementedError):
        _Config().to_dict()


def test_r10_resources(run):
    def asked(**arguments):
        (trial,) = run(train, **arguments).trials
        return trial.placement_group_factory.required_resources

    assert asked()["CPU"] == 1 and not asked().get("GPU")
    assert asked(resources_per_trial={"cpu": 0.5})["CPU"] == 0.5
    bundles = tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}])
    assert asked(resources_per_trial=bundles)["CPU"] == 2
    with pytest.raises(TuneError, match="resources_per_trial"):
        run(tune.with_resources(lambda config: None, {"cpu": 1}), resources_per_trial={"cpu": 1})


def test_r11_r82_num_samples(run):
    assert len(run(train).trials) == 1
    space = {"x": tune.grid_search([1, 2]), "y": tune.uniform(0, 1)}
    assert len(run(train, config=space, num_samples=3).trials) == 6
    assert run(train, num_samples=0).trials == []

    class Enough(Stopper):
        seen = 0

        def __call__(self, trial_id, result):
            self.seen += 1
            return False

        def stop_all(self):
            return self.seen >= 30

    assert len(run(train, num_samples=-1, stop=Enough()).trials) >= 10


def test_r12_storage_defaults_to_ray_results(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    analysis = tune.run(train, verbose=0)
    assert os.path.dirname(analysis.experiment_path) == str(tmp_path / "ray_results")


def test_r14_r97_r99_search_algorithms(run):
    run(train, search_alg="random")
    with pytest.raises(ValueError, match="randm.*variant_generator"):
        run(train, search_alg="randm")
    run(train, search_alg=BasicVariantGenerator(), num_samples=2)


def test_r15_r83_r84_schedulers(run):
    for given in (None, "fifo", "FIFO", FIFOScheduler()):
        run(train, scheduler=given)
    with pytest.raises(ValueError, match=r"(?i)nobody"):
        run(train, scheduler="nobody")


def test_r20_r21_names_of_trials(run):
    analysis = run(
        train,
        num_samples=2,
        trial_name_creator=lambda trial: f"mine_{trial.trial_id}",
        trial_dirname_creator=lambda trial: f"dir_{trial.trial_id}",
    )
    for trial in analysis.trials:
        assert str(trial) == f"mine_{trial.trial_id}"
        assert os.path.basename(trial.path) == f"dir_{trial.trial_id}"
    with pytest.raises((ValueError, TuneError), match="separator"):
        run(train, trial_dirname_creator=lambda trial: "a/b")


def test_r24_r25_r96_failures(run):
    tries = []

    def fails(config):
        tries.append(1)
        raise LookupError("mine")

    run(fails, max_failures=3, raise_on_failed_trial=False)
    assert len(tries) == 4
    for fast in (True, "raise", "RAISE"):
        with pytest.raises(ValueError, match=r"max_failures.*fail_fast"):
            run(fails, fail_fast=fast, max_failures=1)
    with pytest.warns(UserWarning), pytest.raises(LookupError, match="mine"):
        run(fails, fail_fast="raise")
    with pytest.raises(ValueError, match="fail_fast"):  # R130
        run(fails, fail_fast="sometimes")


def test_r30_r145_r146_r147_r187_failed_trials(run, caplog):
    def fails(config):
        if config["x"]:
            raise LookupError("mine")

    space = {"x": tune.grid_search([0, 1])}
    with pytest.raises(TuneError) as caught:
        run(fails, config=space)
    text, trials = caught.value.args
    assert text == "Trials did not complete" and [t.config["x"] for t in trials] == [1]
    caplog.clear()
    analysis = run(fails, config=space, raise_on_failed_trial=False)
    assert [t.status for t in analysis.trials] == ["TERMINATED", "ERROR"]
    assert any(r.levelname == "ERROR" and "did not complete" in r.message for r in caplog.records)
    failed = analysis.trials[1]
    assert "LookupError: mine" in open(failed.error_file).read()
    assert isinstance(failed.get_pickled_error(), LookupError)


def test_r42_unknown_arguments(run):
    with pytest.raises(TypeError, match="unknown_argument"):
        run(train, unknown_argument=1)


def test_r46_r47_environment_variables_that_are_gone(run, monkeypatch):
    for variable in ("TUNE_RESULT_DIR", "RAY_AIR_LOCAL_CACHE_DIR"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, "/x")
            with pytest.warns(DeprecationWarning, match=variable):
                run(train)


def test_r38_r48_local_dir(tmp_path):
    with pytest.warns(DeprecationWarning, match="storage_path"):
        analysis = tune.run(train, local_dir=str(tmp_path / "a"), verbose=0)
    assert analysis.experiment_path.startswith(str(tmp_path / "a"))


def test_r49_to_r54_deprecated_checkpoint_arguments(run):
    config = CheckpointConfig(num_to_keep=9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(
            Class,
            stop={"training_iteration": 1},
            checkpoint_config=config,
            keep_checkpoints_num=2,
            checkpoint_score_attr="min-loss",
            raise_on_failed_trial=False,
        )
    assert len([w for w in caught if w.category is DeprecationWarning]) == 3
    assert (config.num_to_keep, config.checkpoint_score_attribute) == (2, "loss")
    assert config.checkpoint_score_order == "min" and config.score_attr == "min-loss"
    with pytest.warns(DeprecationWarning):
        run(train, checkpoint_config=config, checkpoint_score_attr="max-loss")
    assert (config.checkpoint_score_attribute, config.checkpoint_score_order) == ("max-loss", "max")


def test_r37_r55_chdir_to_trial_dir(run):
    for value in (True, False, None):
        with pytest.raises(DeprecationWarning, match="RAY_CHDIR_TO_TRIAL_DIR"):
            run(train, chdir_to_trial_dir=value)


def test_r74_mode(run):
    with pytest.raises(ValueError, match=r'tune\.run\(\.\.\.\).*"min".*"max"'):
        run(train, mode="best")
    run(train, mode="")


def test_r85_schedulers_without_buffers(run, monkeypatch):
    monkeypatch.setenv("TUNE_RESULT_BUFFER_LENGTH", "7")
    with pytest.warns(UserWarning, match="HyperBandScheduler.*TUNE_RESULT_BUFFER_LENGTH.*7"):
        run(train, scheduler="hyperband", metric="loss", mode="min")
    assert os.environ["TUNE_RESULT_BUFFER_LENGTH"] == "1"  # R175


def test_r87_the_callers_config_stays(run):
    config = {"x": tune.uniform(0, 1), "deep": {"list": [1]}}
    kept = dict(config)
    run(train, config=config)
    assert config == kept


def test_r88_objects_come_through(run):
    class Thing:
        pass

    thing, seen = Thing(), []

    def look(config):
        seen.append((config["thing"], config["f"]))

    run(look, config={"thing": thing, "x": 2, "f": tune.sample_from(lambda spec: spec.config.x)})
    ((found, two),) = seen
    assert type(found) is Thing and two == 2


def test_r95_a_lambda_is_called_lambda(run):
    assert run(lambda config: None).trials[0].trainable_name == "lambda"


def test_r100_to_r107_limits_of_concurrency(run, caplog):
    limited = ConcurrencyLimiter(Own(), max_concurrent=2)
    run(train, search_alg=limited, config={"y": 1})
    with pytest.raises(ValueError, match=r"3.*2.*max_concurrent_trials=None"):
        run(train, search_alg=ConcurrencyLimiter(Own(), 2), max_concurrent_trials=3)
    caplog.clear()
    run(train, search_alg=ConcurrencyLimiter(Own(), 2), max_concurrent_trials=2)
    assert "ignored" in caplog.text
    with pytest.raises(ValueError, match="-1"):
        run(train, search_alg=Own(), max_concurrent_trials=-1)
    caplog.clear()
    run(train, search_alg=BasicVariantGenerator(), max_concurrent_trials=2)
    assert "ignored" in caplog.text


def test_r108_r110_r111_search_properties(run):
    searcher = Own()
    run(train, search_alg=searcher)
    assert searcher.asked == []  # no config
    searcher = Own()
    run(train, search_alg=searcher, config={"y": 1}, num_samples=2, stop={"loss": 5})
    ((_, _, config, spec),) = searcher.asked
    assert config == {"y": 1}
    assert spec == {"num_samples": 2, "stop": {"loss": 5}, "time_budget_s": None}
    with pytest.raises(ValueError, match=r"config.*tune\.run\(\.\.\.\)"):
        run(train, search_alg=Own(answer=False), config={"y": tune.uniform(0, 1)})
    run(train, search_alg=Own(answer=False), config={"y": 1})


def test_r109_searchers_of_the_old_form(run, caplog):
    class Old(Own):
        def set_search_properties(self, metric, mode, config):
            return True

    run(train, search_alg=Old(), config={"y": 1})
    assert "spec" in caplog.text


def test_r112_r113_metric_given_twice(run):
    with pytest.raises(ValueError, match="AsyncHyperBandScheduler"):
        run(train, scheduler=ASHAScheduler(metric="loss", mode="min"), metric="loss", mode="min")


def test_r115_r133_callbacks_are_set_up(run):
    heard = []

    class Hear(tune.Callback):
        def setup(self, **info):
            heard.append(info)

    run(train, callbacks=[Hear()], num_samples=3, stop={"loss": 9}, time_budget_s=60)
    assert heard == [
        {"stop": {"loss": 9}, "num_samples": 3, "time_budget_s": 60.0, "total_num_samples": 3}
    ]


def test_r118_r178_default_loggers(run, monkeypatch):
    given = [tune.Callback()]
    (trial,) = run(train, callbacks=given).trials
    assert [type(c).__name__ for c in given[2:4]] == ["CSVLoggerCallback", "JsonLoggerCallback"]
    assert {"result.json", "progress.csv"} <= set(os.listdir(trial.path))
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    (trial,) = run(train).trials
    assert not {"result.json", "progress.csv"} & set(os.listdir(trial.path))


def test_r122_to_r125_r149_r151_ctrl_c_ends_a_run_gracefully(run, caplog):
    before = signal.getsignal(signal.SIGINT)
    sent = []

    def endless(config):
        while True:
            tune.report({"a": 1})
            if config["signal"] not in sent:
                sent.append(config["signal"])
                signal.raise_signal(config["signal"])

    for number in (signal.SIGINT, signal.SIGUSR1):
        caplog.clear()
        analysis = run(endless, config={"signal": int(number)})
        assert len(analysis.trials) == 1 and analysis.trials[0].last_result["a"] == 1
        texts = [r.message for r in caplog.records if r.levelname == "WARNING"]
        assert any("Ctrl+C again" in text for text in texts)
        assert any("tune.run(..., resume=True)" in text for text in texts)
        assert signal.getsignal(signal.SIGINT) is before


def test_r124_other_threads_get_no_handler(run):
    found = []
    thread = threading.Thread(target=lambda: found.append(run(train)))
    thread.start()
    thread.join(30)
    assert found[0].trials[0].status == "TERMINATED"


def test_r139_r140_errors_of_a_callback_end_the_run(run):
    ended = []

    class Fails(tune.Callback):
        def on_trial_result(self, **info):
            raise RuntimeError("of the callback")

        def on_experiment_end(self, trials, **info):
            ended.append(trials)

    with pytest.raises(TuneError, match="of the callback"):
        run(train, callbacks=[Fails()])
    assert len(ended) == 1  # R144


def test_r142_the_last_state_is_written(run, caplog):
    caplog.set_level("INFO", "ctune")
    analysis = run(train)
    (line,) = [r.message for r in caplog.records if "Wrote the state" in r.message]
    assert analysis.experiment_path in line and re.search(r"in \d+\.\d{4}s", line)


def test_r150_the_analysis(run):
    analysis = run(train, num_samples=2, metric="loss", mode="max", name="e")
    assert os.path.basename(analysis.experiment_path) == "e"
    assert len(analysis.trials) == 2 and all(isinstance(t, Trial) for t in analysis.trials)
    assert analysis.best_trial is analysis.trials[0]


def test_r153_to_r163_parameters_of_run_experiments():
    parameters = inspect.signature(tune.run_experiments).parameters
    assert {name: p.default for name, p in list(parameters.items())[1:]} == {
        "scheduler": None, "verbose": None, "progress_reporter": None, "resume": None,
        "resume_config": None, "reuse_actors": False, "raise_on_failed_trial": True,
        "concurrent": True, "callbacks": None, "_remote": None,
    }  # fmt: skip
    assert next(iter(parameters)) == "experiments"


def test_r169_r170_r171_what_is_passed_on(tmp_path):
    heard = []

    class Hear(tune.Callback):
        def on_experiment_end(self, trials, **info):
            heard.append([t.trainable_name for t in trials])

    specs = {
        name: {"run": what, "stop": {"training_iteration": 1}, "storage_path": str(tmp_path)}
        for name, what in (("a", train), ("b", Class))
    }
    tune.run_experiments(specs, callbacks=[Hear()], concurrent=False, verbose=0)
    assert heard == [["train"], ["Class"]]
    with pytest.raises(IndexError):
        tune.run_experiments([], verbose=0)


def test_r183_tune_error():
    assert TuneError.__bases__ == (Exception,)


def test_r185_documented_usage(run):
    tune.register_trainable("my_trainable", train)
    analysis = run(
        "my_trainable",
        num_samples=10,
        stop={"training_iteration": 2},
        max_failures=3,
        config={"lr": tune.uniform(0, 1), "momentum": tune.uniform(0, 1)},
        resume=True,
        name="documented",
    )
    assert len(analysis.trials) == 10
    assert all(t.last_result["training_iteration"] == 2 for t in analysis.trials)


def test_r188_the_order_of_errors(run, monkeypatch):
    """With everything wrong, each error comes once the one before it is mended."""
    wrong = {
        "mode": "best",
        "config": 3,
        "chdir_to_trial_dir": True,
        "scheduler": "nobody",
        "run_or_experiment": 5,
        "fail_fast": True,
        "search_alg": "nobody",
        "callbacks": 3,
        "resume": "LOCAL",
    }
    mended = {**dict.fromkeys(wrong), "chdir_to_trial_dir": "DEPRECATED", "fail_fast": False}
    mended["run_or_experiment"] = train
    expected = [
        "mode", "config", "RAY_CHDIR_TO_TRIAL_DIR", "scheduler", "Improper 'run'",
        "max_failures", "search_alg", "callbacks", "resume",
    ]  # fmt: skip
    arguments = {**wrong, "max_failures": 1}
    for (name, _), words in zip(wrong.items(), expected, strict=True):
        with pytest.raises((Exception, DeprecationWarning), match=words):
            run(**arguments)
        arguments[name] = mended[name]
    run(**arguments)


def test_r106_other_search_algorithms_limit_themselves(run, caplog):
    class Two(SearchAlgorithm):
        made = 0

        def add_configurations(self, experiments):
            (self.experiment,) = experiments

        def next_trial(self):
            if self.made == 2:
                self.set_finished()
                return None
            self.made += 1
            return Trial(self.experiment.spec["run"], trial_id=f"own_{self.made}")

    analysis = run(train, search_alg=Two(), max_concurrent_trials=1)
    assert "ignored" in caplog.text and len(analysis.trials) == 2
