"""Scripts that import ray, without Ray."""

import os
import pickle
import subprocess
import sys
import textwrap

import pytest

import ctune
import ctune.compat
from ctune.compat._modules import homes_of

pytestmark = pytest.mark.skipif(
    "ray" in sys.modules and "ctune" not in type(sys.modules["ray"]).__module__,
    reason="Ray itself is loaded",
)


@pytest.fixture
def ray():
    ctune.shutdown()
    ctune.compat.install()
    import ray

    yield ray
    ctune.compat.uninstall()
    ctune.shutdown()


def test_the_usual_imports(ray):
    lines = """
        from ray import tune, train
        from ray import air
        from ray.air import session
        from ray.tune import Tuner, TuneConfig, Callback, Trainable, Stopper, ResultGrid
        from ray.tune import ExperimentAnalysis
        from ray.tune.tune import run, run_experiments
        from ray.tune.experiment import Experiment, Trial
        from ray.tune.experiment.trial import Trial
        from ray.tune.registry import register_trainable, register_env, get_trainable_cls
        from ray.tune.schedulers import ASHAScheduler, AsyncHyperBandScheduler
        from ray.tune.schedulers import PopulationBasedTraining
        from ray.tune.schedulers.pb2 import PB2
        from ray.tune.schedulers.resource_changing_scheduler import DistributeResources
        from ray.tune.search import ConcurrencyLimiter, BasicVariantGenerator, Searcher
        from ray.tune.stopper import MaximumIterationStopper, TrialPlateauStopper, TimeoutStopper
        from ray.tune.logger import LoggerCallback, JsonLoggerCallback, CSVLoggerCallback
        from ray.tune.execution.placement_groups import PlacementGroupFactory
        from ray.tune.result import DEFAULT_METRIC, TRAINING_ITERATION
        from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, SyncConfig
    """
    names: dict = {}
    exec(textwrap.dedent(lines), names)
    for name in ("Tuner", "Checkpoint", "RunConfig", "Trainable", "Experiment", "run"):
        assert names[name] is getattr(ctune, name)
    assert names["session"].report is names["train"].report is ctune.report
    assert names["Trial"] is ctune.experiment.Trial


def test_every_name_of_tune_is_there(ray):
    import ray.tune

    for name in ctune.__all__:
        assert hasattr(ray.tune, name), name
    names: dict = {}
    exec("from ray.tune import *", names)
    assert names["uniform"] is ctune.uniform
    assert "Tuner" in dir(ray.tune)


def test_an_import_of_the_root_reaches_its_modules(ray):
    assert ray.tune.schedulers.ASHAScheduler is ctune.schedulers.ASHAScheduler
    assert ray.tune.tune.run is ctune.run
    assert ray.train.report is ctune.report
    assert ray.exceptions.RayError.__name__ == "RayError"
    assert ray.__version__.startswith("2.24.0+ctune")


def test_modules_can_be_pickled(ray):
    import ray.tune.schedulers

    assert pickle.loads(pickle.dumps(ray.tune)) is ray.tune
    assert pickle.loads(pickle.dumps(ray.tune.schedulers)) is ray.tune.schedulers


@pytest.mark.parametrize(
    "name", ["ray.rllib", "ray.serve", "ray.data", "ray.rllib.algorithms.ppo", "ray.train.torch"]
)
def test_what_is_out_of_scope_says_so(ray, name):
    with pytest.raises(ImportError, match="out of the scope"):
        __import__(name)


def test_what_is_missing_is_named(ray):
    with pytest.raises(ModuleNotFoundError, match=r"ray\.tune\.suggest"):
        import ray.tune.suggest  # noqa: F401
    with pytest.raises(ImportError, match="Nothing"):
        from ray.tune import Nothing  # noqa: F401
    with pytest.raises(NotImplementedError, match="ScalingConfig.*Ray Train"):
        ray.train.ScalingConfig(num_workers=2)
    assert homes_of("ray.tune.nothing") is None


def test_init_chooses_how_trials_run(ray):
    assert not ray.is_initialized()
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=True)
    assert ray.is_initialized() and ray.cluster_resources()["CPU"] == 3
    with pytest.raises(RuntimeError):
        ray.init()
    ray.init(ignore_reinit_error=True)
    ray.shutdown()
    with pytest.raises(ValueError, match="address"):
        ray.init(address="ray://somewhere:10001")
    ray.init(local_mode=True)
    assert ctune._runtime.runtime().executor == "inline"


def test_r98_local_mode_runs_one_trial_at_a_time(ray, tmp_path):
    order = []

    def train(config):
        for i in range(2):
            order.append((config["x"], i))
            ray.train.report({"i": i})

    ray.init(local_mode=True, num_cpus=4)
    ray.tune.run(
        train,
        config={"x": ray.tune.grid_search([1, 2])},
        storage_path=tmp_path,
        verbose=0,
        max_concurrent_trials=5,
    )
    assert order == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_put_and_get(ray):
    ref = ray.put([1])
    assert ray.get(ref) == [1] and ray.get([ref, ref]) == [[1], [1]]
    with pytest.raises(TypeError):
        ray.put(ref)
    with pytest.raises(ValueError, match="ObjectRef"):
        ray.get(3)
    ready, rest = ray.wait([ref, ref], num_returns=2)
    assert len(ready) == 2 and rest == []


def test_remote_functions_and_actors(ray):
    @ray.remote
    def double(x, y=0):
        return 2 * x + y

    @ray.remote(num_cpus=2)
    def fails():
        raise KeyError("here")

    @ray.remote
    class Counter:
        def __init__(self, start):
            self.n = start

        def add(self, n):
            self.n += n
            return self.n

    assert ray.get(double.remote(ray.put(3), y=1)) == 7
    assert ray.get(double.options(num_cpus=1).remote(1)) == 2
    with pytest.raises(TypeError, match="remote"):
        double(1)
    ref = fails.remote()
    with pytest.raises(KeyError, match="here") as caught:
        ray.get(ref)
    assert isinstance(caught.value, ray.exceptions.RayTaskError)
    counter = Counter.remote(1)
    assert ray.get([counter.add.remote(1), counter.add.remote(2)]) == [2, 4]
    ray.kill(counter)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(counter.add.remote(1))


def test_util(ray):
    from ray.util.queue import Queue

    queue = Queue()
    queue.put(1)
    assert queue.get() == 1
    assert ray.util.get_node_ip_address().count(".") == 3
    assert ray.util.inspect_serializability(3)[0]
    assert not ray.util.inspect_serializability(sys.stdout)[0]
    group = ray.util.placement_group([{"CPU": 1}, {"CPU": 2}])
    assert group.required_resources["CPU"] == 3


def test_install_twice_and_take_back():
    before = list(sys.meta_path)
    ctune.compat.install()
    ctune.compat.install()
    assert len(sys.meta_path) == len(before) + 1
    ctune.compat.uninstall()
    ctune.compat.uninstall()
    assert sys.meta_path == before and "ray.tune" not in sys.modules


SCRIPT = """
import sys
import ray
from ray import train, tune
from ray.tune.schedulers import AsyncHyperBandScheduler

class Own:
    pass

def trainable(config):
    assert isinstance(config["own"], Own)
    for i in range(config["n"]):
        tune.report({"loss": i}) if config["new"] else train.report({"loss": i})

if __name__ == "__main__":
    ray.init(num_cpus=2)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"n": 2, "new": tune.grid_search([True, False]), "own": Own()},
        tune_config=tune.TuneConfig(metric="loss", mode="min",
                                    scheduler=AsyncHyperBandScheduler()),
        run_config=train.RunConfig(storage_path=sys.argv[1], name="e", verbose=0),
    )
    grid = tuner.fit()
    assert not grid.errors, grid.errors
    print("done", len(grid), sys.argv, __file__)
    ray.shutdown()
"""


@pytest.mark.parametrize("how", ["script", "module"])
def test_a_script_runs_without_an_edit(tmp_path, how):
    (tmp_path / "job.py").write_text(SCRIPT)
    target = [str(tmp_path / "job.py")] if how == "script" else ["-m", "job"]
    done = subprocess.run(
        [sys.executable, "-m", "ctune.compat", *target, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("done 2 ") and "job.py" in done.stdout


def test_its_command_line(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "ctune.compat", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert run("--help").returncode == 0 and "usage" in run("--help").stderr
    assert run().returncode == 2
    missing = run(str(tmp_path / "nothing.py"))
    assert missing.returncode == 2 and "nothing.py" in missing.stderr
    (tmp_path / "exits.py").write_text("import sys, ray.tune\nsys.exit(7)\n")
    assert run(str(tmp_path / "exits.py")).returncode == 7
    (tmp_path / "fails.py").write_text("import ray.serve\n")
    assert "out of the scope" in run(str(tmp_path / "fails.py")).stderr
