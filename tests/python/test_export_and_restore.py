"""export_formats at the end of trials, restore= at their beginning, and names with `env`."""

import gc
import os
import pickle
import signal

import pytest

import ctune
from ctune import Checkpoint, CheckpointConfig, TuneError, tune
from ctune.experiment.trial import ExportFormat
from ctune.schedulers import FIFOScheduler, TrialScheduler
from ctune.stopper import Stopper


class Exports(ctune.Trainable):
    def setup(self, config):
        self.n = config.get("start", 0)

    def step(self):
        self.n += 1
        if config_of(self, "fail") == self.n:
            raise ValueError("step failed")
        return {"n": self.n}

    def save_checkpoint(self, directory):
        return {"n": self.n}

    def load_checkpoint(self, state):
        self.n = state["n"] if isinstance(state, dict) else read(state)

    def reset_config(self, new_config):
        self.n = 0
        self.config = new_config
        return True

    def cleanup(self):
        self.cleaned = True

    def _export_model(self, export_formats, export_dir):
        assert not hasattr(self, "cleaned")
        if config_of(self, "export") == "fails":
            raise RuntimeError("no room for the model")
        if config_of(self, "export") == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        paths = {}
        for name in export_formats:
            paths[name] = os.path.join(export_dir, f"exported_{name}")
            with open(paths[name], "a") as f:
                f.write(f"{self.n} ")
        return paths


def config_of(trainable, key):
    return trainable.config.get(key)


def read(directory):
    with open(os.path.join(directory, "n")) as f:
        return int(f.read())


def function(config):
    checkpoint = tune.get_checkpoint()
    n = read(checkpoint.path) if checkpoint else 0
    for _ in range(2):
        n += 1
        tune.report({"n": n})


@pytest.fixture(params=["inline", "process"])
def executor(request):
    ctune.init(executor=request.param, num_cpus=2)
    yield request.param
    ctune.shutdown()


@pytest.fixture
def run(executor, tmp_path):
    def run(trainable=Exports, **arguments):
        if isinstance(trainable, type):
            arguments.setdefault("stop", {"training_iteration": 2})
        arguments.setdefault("storage_path", str(tmp_path / "results"))
        return tune.run(trainable, verbose=0, **arguments)

    return run


def exported(trial, name="model"):
    path = os.path.join(trial.path, f"exported_{name}")
    if not os.path.exists(path):
        return None
    with open(path) as f:
        return f.read()


class Hears(tune.Callback):
    def __init__(self):
        self.heard = []

    def on_trial_complete(self, trial, **info):
        self.heard.append("complete")

    def on_trial_error(self, trial, **info):
        self.heard.append("error")

    def on_experiment_end(self, trials, **info):
        self.heard.append("end")


def test_r23_each_trial_exports_once_at_its_end(run):
    analysis = run(num_samples=3, export_formats=["model", "mine"])
    for trial in analysis.trials:
        assert trial.export_formats == ["model", "mine"]
        assert exported(trial) == exported(trial, "mine") == "2 "


def test_r23_without_formats_nothing_is_exported(run):
    (trial,) = run(export_formats=None).trials
    assert trial.export_formats == []
    assert exported(trial) is None


def test_r23_workers_that_serve_many_trials_export_each(run):
    analysis = run(num_samples=6, export_formats=["h5"], reuse_actors=True)
    assert [exported(trial, "h5") for trial in analysis.trials] == ["2 "] * 6


def test_r23_functions_have_nothing_to_export(run):
    (trial,) = run(function, export_formats=["model"]).trials
    assert trial.status == "TERMINATED" and trial.last_result["n"] == 2


class StopsOthers(FIFOScheduler):
    """Stops the other trials when one has 3 results."""

    def on_trial_result(self, controller, trial, result):
        if result["training_iteration"] == 3:
            for other in list(controller.get_trials()):
                if other is not trial:
                    controller.stop_trial(other)
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE


def test_r23_trials_that_a_scheduler_stops_export_too(run):
    analysis = run(
        num_samples=2,
        export_formats=["model"],
        scheduler=StopsOthers(),
        stop={"training_iteration": 100},
    )
    for trial in analysis.trials:
        assert trial.status == "TERMINATED"
        assert exported(trial) is not None


def test_r23_trials_export_when_everything_is_stopped(run):
    class Enough(Stopper):
        results = 0

        def __call__(self, trial_id, result):
            self.results += 1
            return False

        def stop_all(self):
            return self.results >= 4

    analysis = run(num_samples=2, export_formats=["model"], stop=Enough())
    assert all(exported(trial) is not None for trial in analysis.trials)


def test_r23_a_failed_trial_exports_nothing(run):
    analysis = run(config={"fail": 2}, export_formats=["model"], raise_on_failed_trial=False)
    (trial,) = analysis.trials
    assert trial.status == "ERROR"
    assert exported(trial) is None


@pytest.mark.parametrize("how", ["fails", "dies"])
def test_r23_a_trial_whose_export_fails_is_a_failed_trial(run, executor, how):
    if how == "dies" and executor == "inline":
        pytest.skip("would kill the test")
    hears = Hears()
    analysis = run(
        config={"export": tune.grid_search(["works", how])},
        export_formats=["model"],
        max_failures=2,
        callbacks=[hears],
        raise_on_failed_trial=False,
    )
    works, fails = analysis.trials
    assert (works.status, fails.status) == ("TERMINATED", "ERROR")
    assert exported(works) == "2 "
    assert fails.num_failures == 1
    assert fails.last_result["training_iteration"] == 2  # it keeps what it has
    with open(fails.error_file) as f:
        text = f.read()
    assert ("no room for the model" if how == "fails" else "SIGKILL") in text
    assert sorted(hears.heard) == ["complete", "complete", "end", "error"]
    assert hears.heard[-1] == "end"


def test_r23_an_export_that_fails_makes_the_run_fail(run):
    with pytest.raises(TuneError, match="did not complete"):
        run(config={"export": "fails"}, export_formats=["model"])


def test_r23_fail_fast_holds_for_exports(run):
    with pytest.raises(RuntimeError, match="no room for the model"):
        run(config={"export": "fails"}, export_formats=["model"], fail_fast="raise")


def test_export_formats_are_checked_and_put_in_their_usual_form():
    formats = [" Model", "H5", "onnx", "checkpoint"]
    ExportFormat.validate(formats)
    assert formats == ["model", "h5", "onnx", "checkpoint"]
    with pytest.raises(TuneError, match="pickle"):
        ExportFormat.validate(["pickle"])


# --- restore= ---


@pytest.fixture
def checkpoint(tmp_path):
    directory = tmp_path / "home" / "checkpoint"
    directory.mkdir(parents=True)
    (directory / "n").write_text("40")
    return directory


@pytest.mark.parametrize("trainable", [Exports, function], ids=["class", "function"])
def test_r26_every_trial_starts_from_the_checkpoint(run, checkpoint, trainable):
    analysis = run(trainable, restore=str(checkpoint), num_samples=2)
    for trial in analysis.trials:
        assert trial.restore_path == str(checkpoint)
        assert trial.last_result["n"] == 42
        assert trial.last_result["training_iteration"] == 2
        assert trial.checkpoint == Checkpoint(str(checkpoint))
        assert trial.latest_checkpoint_result.metrics == {}
    assert sorted(os.listdir(checkpoint)) == ["n"]  # it is read, and left alone


def test_r26_iterations_start_at_0_whatever_the_checkpoint_says(run, tmp_path):
    first = run(
        stop={"training_iteration": 5}, checkpoint_config=CheckpointConfig(checkpoint_at_end=True)
    )
    path = first.trials[0].checkpoint.path
    (trial,) = run(restore=path).trials
    assert trial.last_result["n"] == 7
    assert trial.last_result["training_iteration"] == 2
    assert trial.last_result["iterations_since_restore"] == 2


def test_r26_a_trial_that_has_its_own_checkpoint_goes_on_from_that(run, checkpoint, tmp_path):
    mark = tmp_path / "mark"

    class FailsOnce(Exports):
        def step(self):
            result = super().step()
            if self.n == 44 and not mark.exists():
                mark.touch()
                raise ValueError("once")
            return result

    (trial,) = run(
        FailsOnce,
        restore=str(checkpoint),
        max_failures=1,
        checkpoint_config=CheckpointConfig(checkpoint_frequency=2),
        stop={"n": 46},
    ).trials
    assert trial.num_failures == 1
    assert trial.last_result["training_iteration"] == 6
    assert trial.last_result["iterations_since_restore"] == 4
    assert trial.checkpoint.path.startswith(trial.path)


def test_r26_one_that_has_none_starts_from_it_again(run, checkpoint, tmp_path):
    mark = tmp_path / "mark"

    def train(config):
        n = read(tune.get_checkpoint().path)
        tune.report({"n": n + 1})
        if not mark.exists():
            mark.touch()
            raise ValueError("once")

    (trial,) = run(train, restore=str(checkpoint), max_failures=1).trials
    assert trial.num_failures == 1
    assert trial.last_result["n"] == 41


def test_r26_workers_that_serve_many_trials_restore_each(run, checkpoint):
    analysis = run(restore=str(checkpoint), num_samples=5, reuse_actors=True)
    assert [trial.last_result["n"] for trial in analysis.trials] == [42] * 5
    assert [trial.last_result["training_iteration"] for trial in analysis.trials] == [2] * 5


def test_r26_the_path_is_expanded_and_made_absolute(run, checkpoint, monkeypatch):
    monkeypatch.setenv("HOME", str(checkpoint.parent))
    assert run(restore="~/checkpoint").trials[0].restore_path == str(checkpoint)
    monkeypatch.chdir(checkpoint.parent)
    assert run(restore="checkpoint").trials[0].last_result["n"] == 42


def test_r26_a_missing_directory_is_an_error_before_any_trial(run, tmp_path):
    with pytest.raises(ValueError, match="restore: .*nowhere' is not a directory"):
        run(restore=str(tmp_path / "nowhere"))
    assert not (tmp_path / "results").exists()


def test_r26_a_checkpoint_that_cannot_be_loaded_fails_the_trial(run, tmp_path):
    (tmp_path / "empty").mkdir()
    (trial,) = run(restore=str(tmp_path / "empty"), raise_on_failed_trial=False).trials
    assert trial.status == "ERROR"
    with open(trial.error_file) as f:
        assert "FileNotFoundError" in f.read()
    with open(trial.pickled_error_file, "rb") as f:
        assert isinstance(pickle.load(f), FileNotFoundError)


# --- names ---


class CartPole:
    pass


@pytest.mark.parametrize(
    ("env", "name"),
    [("Cart/Pole", "Cart_Pole"), (CartPole, "CartPole"), (3, "3"), (None, "None")],
    ids=str,
)
def test_the_parameter_env_is_in_the_names_of_trials(run, env, name):
    seen = []

    class Sees(tune.Callback):
        def on_trial_start(self, trial, **info):
            seen.append(str(trial))

    (trial,) = run(config={"env": env}, callbacks=[Sees()]).trials
    assert str(trial) == f"Exports_{name}_{trial.trial_id}"
    assert seen == [str(trial)]
    assert os.path.basename(trial.path).startswith(f"Exports_{name}_{trial.trial_id}_")
    assert trial.custom_trial_name is None


def test_env_may_be_searched_and_a_name_of_ones_own_wins(run):
    analysis = run(config={"env": tune.grid_search(["A", "B"])})
    assert [str(t).split("_")[1] for t in analysis.trials] == ["A", "B"]
    (trial,) = run(config={"env": "A"}, trial_name_creator=lambda trial: "mine").trials
    assert str(trial) == "mine"


# --- what a run leaves ---


def test_functions_are_left_when_the_run_is_interrupted(tmp_path):
    seen = []

    def train(config):
        try:
            for n in range(100):
                if n == 2:
                    os.kill(os.getpid(), signal.SIGINT)
                seen.append(n)
                tune.report({"n": n})
        except BaseException as error:
            seen.append(type(error))
            raise

    ctune.init(executor="inline")
    try:
        analysis = tune.run(train, storage_path=str(tmp_path), verbose=0)
    finally:
        ctune.shutdown()
    reported = len(seen)
    assert seen[-1] is SystemExit
    assert analysis.trials[0].last_result["n"] < 100
    del analysis
    gc.collect()
    assert len(seen) == reported
