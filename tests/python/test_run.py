"""run() end to end, in this process and in worker processes."""

import csv
import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import ctune as tune
from ctune import Callback, Checkpoint, CheckpointConfig, Trainable, TuneError
from ctune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ctune.search import ConcurrencyLimiter, Searcher
from ctune.stopper import MaximumIterationStopper, Stopper


def train(config):
    for i in range(3):
        tune.report({"loss": config.get("x", 1) / (i + 1), "deep": {"i": i}})


class Counter(Trainable):
    def setup(self, config):
        self.count = config.get("start", 0)

    def step(self):
        self.count += 1
        return {"count": self.count}

    def save_checkpoint(self, checkpoint_dir):
        return {"count": self.count}

    def load_checkpoint(self, checkpoint):
        self.count = checkpoint["count"]

    def reset_config(self, new_config):
        self.setup(new_config)
        return True


class Broken(Counter):
    def step(self):
        if self.config.get("bad", True):
            raise KeyError("mine")
        return super().step()


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.delenv("CTUNE_EXECUTOR", raising=False)
    tune.shutdown()
    yield
    tune.shutdown()


@pytest.fixture(params=["inline", "process"])
def executor(request):
    tune.init(executor=request.param, num_cpus=2)
    return request.param


@pytest.fixture
def inline():
    tune.init(executor="inline", num_cpus=2)


@pytest.fixture
def run(tmp_path):
    def call(trainable, **arguments):
        arguments.setdefault("storage_path", str(tmp_path))
        arguments.setdefault("verbose", 0)
        return tune.run(trainable, **arguments)

    return call


def lines_of(trial):
    with open(os.path.join(trial.path, "result.json")) as f:
        return [json.loads(line) for line in f]


# --- what a run does ---


def test_a_function_is_tried_with_each_configuration(executor, run, tmp_path):
    analysis = run(
        train,
        name="exp",
        config={"x": tune.grid_search([4.0, 2.0, 8.0]), "c": "const"},
        metric="loss",
        mode="min",
    )
    assert [t.config for t in analysis.trials] == [{"x": x, "c": "const"} for x in (4.0, 2.0, 8.0)]
    assert {t.status for t in analysis.trials} == {"TERMINATED"}
    assert analysis.best_config == {"x": 2.0, "c": "const"}
    assert analysis.best_result["loss"] == pytest.approx(2 / 3)
    assert analysis.best_result["deep"] == {"i": 2}
    assert analysis.experiment_path == str(tmp_path / "exp")
    trial = analysis.trials[0]
    assert trial.metric_analysis["loss"]["max"] == 4.0
    assert trial.metric_analysis["deep/i"]["last"] == 2.0
    assert trial.metric_n_steps["loss"]["5"] == pytest.approx([4.0, 2.0, 4 / 3])
    assert trial.evaluated_params == {"x": 4.0}
    assert trial.trainable_name == "train"
    assert str(trial) == f"train_{trial.trial_id}"


def test_a_class_is_trained_until_the_stop_condition(executor, run):
    analysis = run(Counter, config={"start": 5}, stop={"training_iteration": 4})
    (trial,) = analysis.trials
    assert trial.last_result["count"] == 9
    assert trial.last_result["training_iteration"] == 4
    assert trial.last_result["done"] is True
    assert trial.get_trainable_cls() is Counter
    in_driver = trial.last_result["pid"] == os.getpid()
    assert in_driver == (executor == "inline")


def test_each_trial_has_its_files(executor, run):
    (trial,) = run(train, config={"x": 1.5, "b": [1, {"c": None}]}).trials
    assert os.path.basename(trial.path).startswith(f"{trial}_")
    with open(os.path.join(trial.path, "params.json")) as f:
        assert json.load(f) == {"x": 1.5, "b": [1, {"c": None}]}
    results = lines_of(trial)
    assert [r["loss"] for r in results] == [1.5, 0.75, 0.5]
    assert results[0]["config"] == {"x": 1.5, "b": [1, {"c": None}]}
    with open(os.path.join(trial.path, "progress.csv"), newline="") as f:
        rows = list(csv.DictReader(f))
    assert [float(r["deep/i"]) for r in rows] == [0, 1, 2]


def test_loggers_can_be_left_out(inline, run, monkeypatch):
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    analysis = run(train, metric="loss", mode="min")
    assert analysis.best_result["loss"] == pytest.approx(1 / 3)
    path = analysis.trials[0].path
    assert not path or not os.path.isdir(path) or "result.json" not in os.listdir(path)


def test_registered_names_partials_lambdas_and_generators_run(inline, run):
    tune.register_trainable("by name", train)
    assert str(run("by name").trials[0]).startswith("by name_")
    assert str(run(lambda config: {"a": 1}).trials[0]).startswith("lambda_")

    def counts(config):
        yield from ({"i": i} for i in range(3))

    assert run(counts).trials[0].last_result["i"] == 2


def test_large_objects_are_bound_with_parameters(executor, run):
    data = list(range(10_000))

    def sums(config, data):
        return {"sum": sum(data)}

    (trial,) = run(tune.with_parameters(sums, data=data)).trials
    assert trial.last_result["sum"] == sum(data)
    assert trial.config == {}


def test_objects_in_the_config_arrive(executor, run):
    class Model:
        size = 3

    def sizes(config):
        return {"size": config["model"].size, "fn": config["f"](2)}

    config = {"model": Model(), "f": lambda x: x + 1, "pair": (1, 2)}
    (trial,) = run(sizes, config=config).trials
    assert trial.last_result["size"] == 3
    assert trial.last_result["fn"] == 3


def test_the_same_seed_gives_the_same_configurations(inline, run):
    from ctune.search import BasicVariantGenerator

    def configs():
        analysis = run(
            lambda config: {"a": 1},
            config={"x": tune.uniform(0, 1), "n": tune.randint(0, 100)},
            num_samples=5,
            search_alg=BasicVariantGenerator(random_state=7),
        )
        return [t.config for t in analysis.trials]

    assert configs() == configs()


def test_names_come_from_the_users_functions(inline, run):
    analysis = run(
        train,
        config={"x": tune.grid_search([1, 2])},
        trial_name_creator=lambda t: f"name-{t.config['x']}",
        trial_dirname_creator=lambda t: f"dir-{t.config['x']}",
    )
    assert [str(t) for t in analysis.trials] == ["name-1", "name-2"]
    assert [os.path.basename(t.path) for t in analysis.trials] == ["dir-1", "dir-2"]


def test_a_directory_name_with_a_separator_ends_the_run(inline, run):
    with pytest.raises((ValueError, TuneError), match="trial_dirname_creator.*a/b"):
        run(train, trial_dirname_creator=lambda t: "a/b")


# --- stopping ---


@pytest.mark.parametrize(
    "stop",
    [
        {"training_iteration": 2},
        lambda trial_id, result: result["training_iteration"] >= 2,
        MaximumIterationStopper(2),
        [MaximumIterationStopper(5), MaximumIterationStopper(2)],
    ],
    ids=["dict", "function", "stopper", "list"],
)
def test_every_kind_of_stop_condition(inline, run, stop):
    analysis = run(Counter, stop=stop, num_samples=2)
    assert [t.last_result["count"] for t in analysis.trials] == [2, 2]


def test_a_stopper_in_python_stops_all(inline, run):
    class After(Stopper):
        seen = 0

        def __call__(self, trial_id, result):
            self.seen += 1
            return False

        def stop_all(self):
            return self.seen >= 5

    analysis = run(Counter, stop=After(), num_samples=3)
    assert {t.status for t in analysis.trials} <= {"TERMINATED"}


def test_a_time_budget_ends_the_run_well(executor, run):
    analysis = run(Counter, time_budget_s=0.2)
    (trial,) = analysis.trials
    assert trial.status == "TERMINATED"


def test_an_unknown_metric_in_stop_names_it_and_the_known_ones(inline, run):
    with pytest.raises(TuneError, match="speling") as caught:
        run(train, stop={"speling": 3})
    assert "loss" in str(caught.value)


def test_an_unknown_metric_is_found_at_the_first_result(inline, run):
    with pytest.raises((TuneError, ValueError), match="speling") as caught:
        run(train, metric="speling", mode="min", num_samples=3)
    assert "loss" in str(caught.value)


def test_the_check_of_the_metric_can_be_switched_off(inline, run, monkeypatch):
    monkeypatch.setenv("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    analysis = run(train, metric="speling", mode="min")
    assert analysis.trials[0].status == "TERMINATED"


def test_asha_stops_bad_trials_early(executor, run):
    def learns(config):
        for i in range(16):
            tune.report({"score": config["x"] * (i + 1)})

    analysis = run(
        learns,
        config={"x": tune.grid_search(list(range(16, 0, -1)))},
        metric="score",
        mode="max",
        scheduler=ASHAScheduler(max_t=16, grace_period=1, reduction_factor=2),
    )
    iterations = [t.last_result["training_iteration"] for t in analysis.trials]
    assert analysis.best_config["x"] == 16
    assert max(iterations) == 16
    assert sum(i < 16 for i in iterations) >= 8
    assert {t.status for t in analysis.trials} == {"TERMINATED"}


def test_nan_metrics_do_no_harm(executor, run):
    def odd(config):
        for i in range(3):
            tune.report({"loss": math.nan if config["bad"] else 1.0 / (i + 1)})

    analysis = run(
        odd,
        config={"bad": tune.grid_search([True, False, True])},
        metric="loss",
        mode="min",
        scheduler="async_hyperband",
    )
    assert analysis.best_config == {"bad": False}
    assert math.isnan(lines_of(analysis.trials[0])[0]["loss"])


# --- policies in Python ---


def test_a_scheduler_in_python_decides(inline, run):
    class Second(TrialScheduler):
        def on_trial_add(self, controller, trial):
            pass

        def on_trial_error(self, controller, trial):
            pass

        def on_trial_result(self, controller, trial, result):
            stop = result["training_iteration"] >= 2
            return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

        def on_trial_complete(self, controller, trial, result):
            pass

        def on_trial_remove(self, controller, trial):
            pass

        def choose_trial_to_run(self, controller):
            for trial in controller.get_trials():
                if trial.status == trial.PENDING:
                    return trial
            return None

        def debug_string(self):
            return "second"

    analysis = run(Counter, scheduler=Second(), num_samples=3)
    assert [t.last_result["count"] for t in analysis.trials] == [2, 2, 2]


def test_a_searcher_in_python_suggests_and_hears(inline, run):
    class Walk(Searcher):
        def __init__(self):
            super().__init__()
            self.made, self.heard = 0, {}

        def set_search_properties(self, metric, mode, config, **spec):
            return True

        def suggest(self, trial_id):
            self.made += 1
            return {"x": float(self.made)}

        def on_trial_complete(self, trial_id, result=None, error=False):
            self.heard[trial_id] = (result or {}).get("loss")

    walk = Walk()
    analysis = run(
        train,
        search_alg=ConcurrencyLimiter(walk, max_concurrent=1),
        num_samples=3,
        metric="loss",
        mode="min",
    )
    assert [t.config["x"] for t in analysis.trials] == [1.0, 2.0, 3.0]
    assert sorted(walk.heard.values()) == pytest.approx([1 / 3, 2 / 3, 1.0])


@pytest.mark.parametrize("where", ["scheduler", "stop", "callback"])
def test_an_error_in_a_policy_ends_the_run_with_its_traceback(inline, run, where):
    class BadScheduler(FIFOScheduler):
        def on_trial_result(self, controller, trial, result):
            raise ZeroDivisionError("oops")

    class BadCallback(Callback):
        def on_trial_result(self, **info):
            raise ZeroDivisionError("oops")

    def bad_stop(trial_id, result):
        raise ZeroDivisionError("oops")

    arguments = {
        "scheduler": {"scheduler": BadScheduler()},
        "stop": {"stop": bad_stop},
        "callback": {"callbacks": [BadCallback()]},
    }[where]
    with pytest.raises(TuneError, match="(?s)Traceback.*ZeroDivisionError: oops"):
        run(train, **arguments)


# --- failures ---


def test_a_failed_trial_is_an_error_at_the_end_with_its_traceback(executor, run):
    with pytest.raises(TuneError, match="did not complete") as caught:
        run(Broken, config={"bad": tune.grid_search([True, False])},
            stop={"training_iteration": 2})  # fmt: skip
    (failed,) = caught.value.args[1]
    assert failed.status == "ERROR"
    with open(failed.error_file) as f:
        text = f.read()
    assert "Failure # 1" in text and "KeyError: 'mine'" in text
    assert "in step" in text
    assert isinstance(failed.get_pickled_error(), KeyError)


def test_other_trials_go_on_after_a_failure(executor, run):
    analysis = run(
        Broken,
        config={"bad": tune.grid_search([True, False])},
        stop={"training_iteration": 2},
        raise_on_failed_trial=False,
    )
    assert [t.status for t in analysis.trials] == ["ERROR", "TERMINATED"]
    assert analysis.trials[1].last_result["count"] == 2


def test_fail_fast_stops_the_others(inline, run):
    analysis = run(
        Broken,
        config={"bad": tune.grid_search([True, False, False])},
        fail_fast=True,
        raise_on_failed_trial=False,
    )
    assert analysis.trials[0].status == "ERROR"
    assert all(t.status == "TERMINATED" for t in analysis.trials[1:])


@pytest.mark.filterwarnings("ignore:fail_fast")
def test_fail_fast_raise_raises_the_trials_own_error(executor, run):
    with pytest.raises(KeyError, match="mine"):
        run(Broken, fail_fast="raise")


def test_a_failed_trial_is_tried_again_from_its_checkpoint(executor, run, tmp_path):
    marker = tmp_path / "failed"

    class Once(Counter):
        def step(self):
            if self.count == 3 and not marker.exists():
                marker.write_text("")
                raise RuntimeError("first time")
            return super().step()

    analysis = run(
        Once,
        stop={"count": 5},
        max_failures=1,
        checkpoint_config=CheckpointConfig(checkpoint_frequency=2),
    )
    (trial,) = analysis.trials
    assert trial.status == "TERMINATED"
    assert trial.num_failures == 1
    assert [r["count"] for r in lines_of(trial)] == [1, 2, 3, 3, 4, 5]
    assert trial.last_result["training_iteration"] == 5


def test_results_that_are_not_dicts_fail_the_trial_with_their_value(executor, run):
    class Bad(Trainable):
        def step(self):
            return [1, 2]

    analysis = run(Bad, raise_on_failed_trial=False)
    with open(analysis.trials[0].error_file) as f:
        text = f.read()
    assert "dict" in text and "[1, 2]" in text


def test_a_trainable_that_cannot_start_fails(executor, run):
    class Never(Counter):
        def setup(self, config):
            raise OSError("no data")

    analysis = run(Never, raise_on_failed_trial=False)
    with open(analysis.trials[0].error_file) as f:
        assert "no data" in f.read()


def test_a_killed_worker_is_a_failure_that_names_the_signal(run):
    tune.init(executor="process", num_cpus=2)

    def dies(config):
        tune.report({"a": 1})
        os.kill(os.getpid(), signal.SIGKILL)

    analysis = run(dies, raise_on_failed_trial=False)
    (trial,) = analysis.trials
    assert trial.status == "ERROR"
    assert trial.last_result["a"] == 1
    with open(trial.error_file) as f:
        assert "SIGKILL" in f.read()


def test_circular_parameters_are_one_error_before_any_trial(inline, run, tmp_path):
    with pytest.raises(Exception, match="a cannot be resolved.*circle"):
        run(
            train,
            config={
                "a": tune.sample_from(lambda spec: spec.config.b),
                "b": tune.sample_from(lambda spec: spec.config.a),
            },
        )


def test_finished_trials_stay_intact_when_the_run_fails(inline, run, tmp_path):
    class Fails(Callback):
        done = 0

        def on_trial_complete(self, **info):
            self.done += 1
            if self.done == 2:
                raise ValueError("stop here")

    with pytest.raises(TuneError, match="stop here"):
        run(train, name="exp", num_samples=4, callbacks=[Fails()])
    folders = [p for p in (tmp_path / "exp").iterdir() if p.is_dir()]
    whole = [p for p in folders if len((p / "result.json").read_text().splitlines()) == 3]
    assert len(whole) >= 2


# --- checkpoints ---


def test_functions_continue_from_the_checkpoint_they_reported(executor, run, tmp_path):
    marker = tmp_path / "failed"

    def goes_on(config):
        start = 0
        checkpoint = tune.get_checkpoint()
        if checkpoint:
            with checkpoint.as_directory() as path:
                with open(os.path.join(path, "at")) as f:
                    start = int(f.read())
        for i in range(start, 4):
            if i == 2 and not marker.exists():
                marker.write_text("")
                raise RuntimeError("once")
            own = tmp_path / f"own-{i}"
            own.mkdir(exist_ok=True)
            (own / "at").write_text(str(i + 1))
            tune.report({"i": i}, checkpoint=Checkpoint.from_directory(str(own)))

    (trial,) = run(goes_on, max_failures=1).trials
    assert [r["i"] for r in lines_of(trial)] == [0, 1, 2, 3]
    assert trial.last_result["training_iteration"] == 4
    assert os.path.basename(trial.checkpoint.path) == "checkpoint_000003"
    assert os.path.isdir(trial.checkpoint.path)


def test_only_the_best_checkpoints_are_kept(executor, run):
    class Scores(Counter):
        def step(self):
            return {**super().step(), "score": -abs(self.count - 3)}

    analysis = run(
        Scores,
        stop={"training_iteration": 6},
        metric="score",
        mode="max",
        checkpoint_config=CheckpointConfig(
            num_to_keep=2,
            checkpoint_score_attribute="score",
            checkpoint_frequency=1,
        ),
    )
    (trial,) = analysis.trials
    kept = {n for n in os.listdir(trial.path) if n.startswith("checkpoint_")}
    assert "checkpoint_000002" in kept
    assert len(kept) <= 3
    assert analysis.best_checkpoint.path.endswith("checkpoint_000002")


def test_a_checkpoint_at_the_end(executor, run):
    config = CheckpointConfig(checkpoint_at_end=True)
    analysis = run(Counter, stop={"count": 3}, checkpoint_config=config)
    (trial,) = analysis.trials
    restored = Counter()
    restored.restore(trial.checkpoint)
    assert restored.train()["count"] == 4
    assert restored.iteration == 4


# --- callbacks ---


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def setup(self, stop=None, num_samples=None, total_num_samples=None, **info):
        self.calls.append(("setup", num_samples, total_num_samples))

    def on_trial_start(self, iteration, trials, trial, **info):
        self.calls.append(("start", trial))

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.calls.append(("result", result["loss"], result["done"]))

    def on_trial_complete(self, iteration, trials, trial, **info):
        self.calls.append(("complete", trial))

    def on_trial_error(self, iteration, trials, trial, **info):
        self.calls.append(("error", trial))

    def on_checkpoint(self, iteration, trials, trial, checkpoint, **info):
        self.calls.append(("checkpoint", os.path.basename(checkpoint.path)))

    def on_trial_save(self, iteration, trials, trial, **info):
        self.calls.append(("save", trial))

    def on_experiment_end(self, trials, **info):
        self.calls.append(("end", len(trials)))


def test_callbacks_hear_a_trial_from_start_to_end(executor, run):
    recorder = Recorder()
    (trial,) = run(train, callbacks=[recorder]).trials
    assert [c[0] for c in recorder.calls] == [
        "setup", "start", "result", "result", "result", "complete", "end"
    ]  # fmt: skip
    assert recorder.calls[0] == ("setup", 1, 1)
    assert recorder.calls[1] == ("start", trial)
    assert recorder.calls[2] == ("result", 1.0, False)
    assert recorder.calls[-1] == ("end", 1)


def test_callbacks_hear_of_checkpoints_and_errors(inline, run):
    class Saves(Counter):
        def step(self):
            if self.count == 2:
                raise ValueError("third")
            return {**super().step(), "loss": 1.0}

    recorder = Recorder()
    run(
        Saves,
        callbacks=[recorder],
        raise_on_failed_trial=False,
        checkpoint_config=CheckpointConfig(checkpoint_frequency=1),
    )
    kinds = [c[0] for c in recorder.calls]
    assert kinds.count("checkpoint") == kinds.count("save") == 2
    assert ("checkpoint", "checkpoint_000001") in recorder.calls
    assert kinds[-2:] == ["error", "end"]


def test_an_error_in_on_checkpoint_is_only_logged(inline, run, caplog):
    class Bad(Callback):
        def on_checkpoint(self, **info):
            raise ValueError("cannot upload")

    config = CheckpointConfig(checkpoint_at_end=True)
    run(Counter, stop={"count": 1}, checkpoint_config=config, callbacks=[Bad()])
    assert "cannot upload" in caplog.text


# --- resources and reuse ---


def test_no_more_trials_run_at_once_than_allowed(run):
    tune.init(executor="inline", num_cpus=4)

    class Watch(Callback):
        most = 0

        def on_trial_result(self, trials, **info):
            running = sum(t.status == "RUNNING" for t in trials)
            self.most = max(self.most, running)

    for arguments, most in (
        ({"max_concurrent_trials": 2}, 2),
        ({"resources_per_trial": {"cpu": 2}}, 2),
        ({}, 4),
    ):
        watch = Watch()
        run(train, num_samples=8, callbacks=[watch], **arguments)
        assert watch.most == most


def test_resources_that_depend_on_the_config_and_can_never_be_given(inline, run):
    asks = tune.with_resources(lambda config: {"a": 1}, lambda c: {"cpu": c["n"]})
    assert run(asks, config={"n": 2}).trials[0].status == "TERMINATED"
    with pytest.raises((ValueError, TuneError), match="CPU"):
        run(asks, config={"n": 99})


def test_workers_are_reused(run):
    tune.init(executor="process", num_cpus=1)
    fresh = run(Counter, num_samples=4, stop={"count": 1})
    assert len({t.last_result["pid"] for t in fresh.trials}) == 4
    reused = run(Counter, num_samples=4, stop={"count": 1}, reuse_actors=True)
    assert len({t.last_result["pid"] for t in reused.trials}) == 1
    assert [t.last_result["count"] for t in reused.trials] == [1] * 4


# --- the run and its surroundings ---


def test_run_works_in_another_thread(inline, run):
    got = []
    thread = threading.Thread(target=lambda: got.append(run(train)))
    thread.start()
    thread.join()
    assert got[0].trials[0].status == "TERMINATED"


def test_signal_handlers_are_put_back(inline, run):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGUSR1)
    run(train)
    after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGUSR1)
    assert before == after


def test_a_first_interrupt_keeps_everything_and_returns(executor, run, caplog):
    class Interrupts(Callback):
        def on_trial_result(self, result, **info):
            if result["count"] == 3:
                os.kill(os.getpid(), signal.SIGINT)

    with caplog.at_level(logging.WARNING):
        analysis = run(Counter, callbacks=[Interrupts()], stop={"count": 10**6})
    (trial,) = analysis.trials
    assert trial.last_result["count"] >= 3
    assert len(lines_of(trial)) >= 3
    assert "interrupted" in caplog.text


def test_importing_stays_light():
    code = (
        "import sys, ctune; heavy = {'numpy', 'pandas', 'rich', 'cloudpickle', "
        "'pyarrow', 'tabulate'} & set(sys.modules); print(sorted(heavy))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_both_import_styles_find_everything():
    from ctune import tune as module

    assert module.run is tune.run
    for name in tune.__all__:
        assert getattr(module, name) is getattr(tune, name)
    with pytest.raises(AttributeError, match="nothing"):
        getattr(module, "nothing")  # noqa: B009
    assert set(tune.__all__) <= set(dir(module))


def test_an_analysis_has_tables(inline, run):
    pytest.importorskip("pandas")
    analysis = run(train, num_samples=2, metric="loss", mode="min")
    assert len(analysis.dataframe()) == 2
    assert list(analysis.best_dataframe["deep/i"]) == [0, 1, 2]


def test_the_display_shows_a_real_run(executor, run, capfd):
    with pytest.raises(TuneError):
        run(
            Broken,
            name="shown",
            config={"bad": tune.grid_search([True, False])},
            stop={"count": 2},
            metric="count",
            mode="max",
            verbose=2,
        )
    out = capfd.readouterr().out
    assert "Configuration for experiment   shown" in out
    assert "failed" in out and "KeyError: 'mine'" in out
    assert "finished iteration 2" in out
    assert " with count=2 and params={" in out
    assert "Trial status: 1 TERMINATED | 1 ERROR" in out
    assert "Number of errored trials: 1" in out


def test_the_time_of_a_run_is_its_own(inline, run):
    start = time.time()
    (trial,) = run(train).trials
    assert start - 1 <= trial.start_time <= time.time() + 1


def test_submodules_need_no_import_of_their_own():
    code = (
        "import ctune as tune; print(tune.schedulers.FIFOScheduler.__name__, "
        "tune.tune.run is tune.run, tune.stopper.Stopper is tune.Stopper)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["FIFOScheduler", "True", "True"]
    with pytest.raises(AttributeError, match="nothing"):
        getattr(tune, "nothing")  # noqa: B009
