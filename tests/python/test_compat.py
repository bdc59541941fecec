"""Scripts that import ray, without Ray."""

import asyncio
import logging
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
        from ray.tune.logger import Logger, LegacyLoggerCallback, UnifiedLogger
        from ray.tune.logger.aim import AimLoggerCallback
        from ray.tune.logger.wandb import WandbLoggerCallback
        from ray.air.integrations.wandb import WandbLoggerCallback, setup_wandb
        from ray.air.integrations.mlflow import MLflowLoggerCallback, setup_mlflow
        from ray.air.integrations.comet import CometLoggerCallback
        from ray.tune.integration.lightgbm import TuneReportCheckpointCallback
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
    "name",
    [
        "ray.rllib",
        "ray.serve",
        "ray.data",
        "ray.rllib.algorithms.ppo",
        "ray.train.torch",
        "ray.tune.integration.ray_train",
    ],
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
    for wrong in (3, (ref,)):
        with pytest.raises(ValueError, match="ObjectRef"):
            ray.get(wrong)
    with pytest.raises(TypeError, match="ObjectRefs"):
        ray.get([3])
    other = ray.put(None)
    assert ray.wait([ref, other]) == ([ref], [other])
    assert ray.wait([ref, other], num_returns=2) == ([ref, other], [])
    assert ray.wait([]) == ([], [])
    for wrong, error in ((ref, TypeError), ([3], TypeError), ([ref, ref], ValueError)):
        with pytest.raises(error, match="ray_waitables"):
            ray.wait(wrong)
    with pytest.raises(ValueError, match="num_returns"):
        ray.wait([ref], num_returns=2)
    assert ref.future().result() == [1] and ref.hex() != other.hex()


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


def test_errors_of_remote_calls(ray):
    @ray.remote(num_returns=2)
    def pair(n):
        return list(range(n))

    @ray.remote
    class Actor:
        @ray.method(num_returns=2)
        def pair(self):
            return 1, 2

        async def later(self):
            return 3

    assert ray.get(pair.remote(2)) == [0, 1]
    assert ray.get(pair.options(num_returns=1).remote(3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="num_returns"):
        ray.get(pair.remote(3))
    actor = Actor.remote()
    assert ray.get(actor.pair.remote()) == [1, 2]
    assert ray.get(actor.later.remote()) == 3
    for wrong in (
        lambda: Actor(),
        lambda: actor.pair(),
        lambda: ray.remote(3),
        lambda: ray.remote(),
    ):
        with pytest.raises(TypeError, match="remote"):
            wrong()
    for wrong in (lambda: pair.options(bogus=1), lambda: ray.remote(bogus=1)):
        with pytest.raises(ValueError, match="bogus"):
            wrong()
    with pytest.raises(AttributeError, match="nothing"):
        actor.nothing  # noqa: B018
    with pytest.raises(ValueError, match="actor"):
        ray.kill(3)


def test_actors_have_names(ray):
    @ray.remote
    class Box:
        def __init__(self, value):
            self.value = value

        def get(self):
            return self.value

    box = Box.options(name="box").remote(1)
    assert ray.get(ray.get_actor("box").get.remote()) == 1
    again = Box.options(name="box", get_if_exists=True).remote(2)
    assert ray.get(again.get.remote()) == 1
    with pytest.raises(ValueError, match="'box'"):
        Box.options(name="box").remote(3)
    ray.kill(box)
    with pytest.raises(ValueError, match="'box'"):
        ray.get_actor("box")
    Box.options(name="box").remote(4)
    ray.shutdown()
    with pytest.raises(ValueError, match="'box'"):
        ray.get_actor("box")


def test_the_context_of_init(ray):
    with ray.init(num_cpus=1, runtime_env={"env_vars": {"CTUNE_TEST_SET": "1"}}) as context:
        assert os.environ.pop("CTUNE_TEST_SET") == "1"
        assert context.dashboard_url is None and context["address"] == "local"
        assert context.address_info["node_ip_address"] == ray.util.get_node_ip_address()
    assert not ray.is_initialized()
    with pytest.raises(RuntimeError, match="nonsense"):
        ray.init(nonsense=1)
    with pytest.raises(ValueError, match=r"runtime_env.*pip"):
        ray.init(runtime_env={"pip": ["torch"]})
    ray.init(_memory=3, object_store_memory=10**9, namespace="n", logging_level="ERROR")
    assert ray.logger.level == logging.ERROR
    logging.getLogger("ctune").setLevel(logging.NOTSET)


def test_a_queue(ray):
    from ray.util.queue import Empty, Full, Queue

    queue = Queue(maxsize=2)
    queue.put_nowait_batch([1, 2])
    assert len(queue) == queue.size() == 2 and queue.full() and not queue.empty()
    with pytest.raises(Full):
        queue.put_nowait(3)
    with pytest.raises(Full):
        queue.put_nowait_batch([3])
    with pytest.raises(Empty):
        queue.get_nowait_batch(3)
    assert queue.get_nowait_batch(2) == [1, 2]
    with pytest.raises(Empty):
        queue.get(timeout=0)
    for wrong in (lambda: queue.get(timeout=-1), lambda: queue.put(1, timeout=-1)):
        with pytest.raises(ValueError, match="timeout"):
            wrong()
    for wrong in (lambda: queue.put_nowait_batch(3), lambda: queue.get_nowait_batch("x")):
        with pytest.raises(TypeError, match="items"):
            wrong()

    async def both():
        await queue.put_async(4)
        return await queue.get_async()

    assert asyncio.run(both()) == 4
    queue.shutdown()
    with pytest.raises(ray.exceptions.ActorDiedError):
        queue.qsize()


def test_placement_groups(ray):
    from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table

    group = placement_group([{"CPU": 1}, {"CPU": 2}], strategy="SPREAD", name="g")
    assert isinstance(group, PlacementGroup) and ray.util.placement_group is placement_group
    assert ray.get(group.ready()) is group and group.wait(1)
    assert group.bundle_specs == [{"CPU": 1}, {"CPU": 2}] and group.bundle_count == 2
    ray.util.remove_placement_group(group)
    assert placement_group_table() == {} and ray.util.get_current_placement_group() is None


SHARING = """
import ray
from ray import tune
from ray.util.queue import Queue

@ray.remote
class Counter:
    def __init__(self):
        self.n = 0
    def add(self, n):
        if n == 3:
            raise KeyError("three")
        self.n += n
        return self.n

counter = Counter.options(name="c").remote()
queue = Queue()
data = ray.put(list(range(10)))

def train(config):
    assert ray.get(data) == list(range(10))
    ray.get(counter.add.remote(1))
    ray.get(ray.get_actor("c").add.remote(10))
    try:
        ray.get(counter.add.remote(3))
    except KeyError:
        queue.put((config["x"], __import__("os").getpid()))
    tune.report({"x": config["x"]})

if __name__ == "__main__":
    tune.run(train, config={"x": tune.grid_search([1, 2])}, storage_path=__import__("sys").argv[1],
             verbose=0, max_concurrent_trials=1)
    items = queue.get_nowait_batch(2)
    print("n", ray.get(counter.add.remote(0)), [x for x, _ in items])
    assert __import__("os").getpid() not in [pid for _, pid in items]
"""


def run_script(tmp_path, text, *arguments, before=(), **env):
    """Runs a script under compat and returns what it printed."""
    (tmp_path / "job.py").write_text(text)
    done = subprocess.run(
        [sys.executable, *before, "-m", "ctune.compat", *(arguments or ["job.py", str(tmp_path)])],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_trials_use_actors_and_queues_of_the_driver(tmp_path):
    assert run_script(tmp_path, SHARING) == "n 22 [1, 2]\n"


SPAWNING = """
import multiprocessing
import sys
import ray
from ray import tune

class Step(tune.Trainable):
    def step(self):
        return {"loss": double(self.config["x"]), "done": True}

def double(x):
    return 2 * x

def child(x, queue):
    queue.put((double(x), type(ray).__module__, "ray.tune" in sys.modules))

if __name__ == "__main__":
    for method in ("spawn", "fork"):
        context = multiprocessing.get_context(method)
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(2, queue))
        process.start()
        print(method, *queue.get())
        process.join()
    analysis = tune.run(Step, config={"x": 3}, metric="loss", mode="min", verbose=0,
                        storage_path=sys.argv[1])
    print(analysis.best_result["loss"])
"""


def test_a_script_starts_processes_of_its_own(tmp_path):
    assert run_script(tmp_path, SPAWNING).splitlines() == [
        "spawn 4 ctune.compat._modules True",
        "fork 4 ctune.compat._modules True",
        "6",
    ]


def test_relative_imports_and_modules_beside_the_script(tmp_path):
    package = tmp_path / "jobs"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "deep" / "__init__.py").write_text("")
    (package / "parts.py").write_text(
        "from ray import tune\n"
        "class Own:\n    three = 3\n"
        "def train(config):\n    tune.report({'y': config['own'].three})\n"
    )
    (package / "deep" / "main.py").write_text(
        "import sys\nfrom ray import tune\nfrom ..parts import Own, train\n"
        "def wrapped(config):\n    train(config)\n"
        "a = tune.run(wrapped, config={'own': Own()}, metric='y', mode='max', verbose=0,\n"
        "             storage_path=sys.argv[1])\n"
        "print(a.best_result['y'], __name__, __package__, len(sys.argv), sys.argv[0])\n"
    )
    (package / "__main__.py").write_text("print('main', __package__)\n")
    out = run_script(tmp_path, "", "-m", "jobs.deep.main", str(tmp_path))
    main = package / "deep" / "main.py"
    assert out == f"3 __main__ jobs.deep 2 {main}\n"
    assert run_script(tmp_path, "", "-m", "jobs") == "main jobs\n"


REAL = """
import sys
import ray
from ray import tune
import helper

def train(config):
    import ray
    tune.report({"version": ray.__version__, "helped": helper.help()})

a = tune.run(train, metric="helped", mode="max", verbose=0, storage_path=sys.argv[1])
print(a.best_result["version"] == ray.__version__ == helper.ray.__version__)
print("ctune" in ray.__version__, a.best_result["helped"])
"""


def test_compat_goes_before_an_installed_ray(tmp_path):
    site = tmp_path / "site" / "ray"
    site.mkdir(parents=True)
    (site / "__init__.py").write_text("raise RuntimeError('the installed Ray was imported')")
    (tmp_path / "helper.py").write_text("import ray\ndef help():\n    return 3\n")
    path = os.pathsep.join([str(site.parent), *filter(None, sys.path)])
    assert run_script(tmp_path, REAL, PYTHONPATH=path) == "True\nTrue 3\n"


def test_install_after_the_real_ray_is_refused(monkeypatch):
    import types

    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    with pytest.raises(RuntimeError, match="Ray itself"):
        ctune.compat.install()
