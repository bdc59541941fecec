"""A run that was cut goes on where it was: every form of resume=, every scheduler, every cut."""

import json
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ctune as tune
from ctune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
)
from ctune.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher

TURN = 4
VOLATILE = {
    "date",
    "timestamp",
    "time_this_iter_s",
    "time_total_s",
    "time_since_restore",
    "iterations_since_restore",
    "trial_id",
    "pid",
    "hostname",
    "node_ip",
    "experiment_tag",
}


@pytest.fixture(autouse=True)
def inline() -> Iterator[None]:
    tune.init(executor="inline", num_cpus=3)
    yield
    tune.shutdown()


def turns(segment: Path) -> list[int]:
    """Offsets behind each turn of a journal's segment, as docs/formats describes it."""
    data, at, ends = segment.read_bytes(), 0, []
    while at < len(data):
        (n,) = struct.unpack_from("<I", data, at)
        kind = data[at + 4]
        at += 4 + n + 4
        if kind == TURN:
            ends.append(at)
    return ends


class Curve(tune.Trainable):
    """A learning curve that depends on the config alone."""

    def setup(self, config: dict[str, Any]) -> None:
        self.x = config["x"]
        self.i = 0

    def step(self) -> dict[str, Any]:
        self.i += 1
        noise = np.random.default_rng([int(self.x * 1e6), self.i]).normal() / 20
        return {"loss": (self.x - 0.3) ** 2 + 1 / self.i + noise}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"i": self.i, "x": self.x}

    def load_checkpoint(self, state: dict[str, Any]) -> None:
        self.i = state["i"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.x = new_config["x"]
        self.i = 0
        return True


def curve(config: dict[str, Any]) -> None:
    """The same as a function, without checkpoints."""
    for i in range(1, 100):
        noise = np.random.default_rng([int(config["x"] * 1e6), i]).normal() / 20
        tune.report({"loss": (config["x"] - 0.3) ** 2 + 1 / i + noise})


class MyScheduler(FIFOScheduler):
    """Written in Python, with a state of its own: stops what is worse than the last three."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self.seen.append(result["loss"])
        worst = len(self.seen) > 3 and result["loss"] > max(self.seen[-4:-1])
        return self.STOP if worst or len(self.seen) % 17 == 0 else self.CONTINUE


class MySearcher(Searcher):
    """Written in Python: draws around the best that it has heard of."""

    def __init__(self) -> None:
        super().__init__(metric="loss", mode="min")
        self.rng = np.random.default_rng(7)
        self.live: dict[str, float] = {}
        self.best = (9.0, 0.5)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        x = float(np.clip(self.best[1] + self.rng.normal() / 5, 0, 1))
        self.live[trial_id] = x
        return {"x": x}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        x = self.live.pop(trial_id)
        if result:
            self.best = min(self.best, (result["loss"], x))


SCHEDULERS: dict[str, Callable[[], Any]] = {
    "fifo": FIFOScheduler,
    "asha": lambda: ASHAScheduler(max_t=6, grace_period=1, reduction_factor=2),
    "asha-brackets": lambda: ASHAScheduler(max_t=6, grace_period=1, reduction_factor=2, brackets=2),
    "asha-promotion": lambda: ASHAScheduler(
        max_t=4, grace_period=1, reduction_factor=2, promotion=True
    ),
    "hyperband": lambda: HyperBandScheduler(max_t=4, reduction_factor=2),
    "bohb": lambda: HyperBandForBOHB(max_t=4, reduction_factor=2),
    "median": lambda: MedianStoppingRule(
        time_attr="training_iteration", grace_period=1, min_samples_required=2
    ),
    "pbt": lambda: PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"x": tune.uniform(0, 1)},
        log_config=False,
    ),
    "pbt-synch": lambda: PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"x": [0.1, 0.2, 0.3]},
        synch=True,
        log_config=False,
    ),
    "python": MyScheduler,
}


def arguments(scheduler: str, storage: Path, **more: Any) -> dict[str, Any]:
    return {
        "name": "e",
        "storage_path": str(storage),
        "config": {"x": tune.uniform(0, 1)},
        "num_samples": 6,
        "metric": "loss",
        "mode": "min",
        "stop": {"training_iteration": 5},
        "scheduler": SCHEDULERS[scheduler](),
        "search_alg": BasicVariantGenerator(random_state=3),
        "reuse_actors": "pbt" in scheduler,
        "verbose": 0,
        **more,
    }


def run(trainable: Any, **kwargs: Any) -> Any:
    random.seed(5)
    np.random.seed(5)
    return tune.run(trainable, **kwargs)


def plain(result: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in result.items() if k not in VOLATILE}


def outcome(analysis: Any) -> list[Any]:
    """What happened to each trial, without times and names of processes."""
    found = []
    for trial in analysis.trials:
        directory = Path(trial.local_path)
        lines = [json.loads(line) for line in (directory / "result.json").open()]
        rows = (directory / "progress.csv").read_text().splitlines()
        assert len(rows) == len(lines) + 1, "each result stands in both files, once"
        found.append((trial.status, trial.config, [plain(line) for line in lines]))
    return found


def cut(whole: Path, part: Path, end: int) -> None:
    """Leaves of an experiment what is there when its run is cut behind a turn."""
    if part.exists():
        shutil.rmtree(part)
    shutil.copytree(whole, part)
    (segment,) = part.glob("journal-*.ctj")
    with segment.open("r+b") as file:
        file.truncate(end)
    for name in ("result.json", "progress.csv"):  # written after the journal: brought up to it
        for path in part.glob(f"*/{name}"):
            path.unlink()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_cut_run_decides_as_the_uncut_one(scheduler: str, tmp_path: Path) -> None:
    cut_everywhere(tmp_path, scheduler, Curve, every=9)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_cut_run_decides_as_the_uncut_one_at_every_event(scheduler: str, tmp_path: Path) -> None:
    cut_everywhere(tmp_path, scheduler, Curve, every=1)


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_a_function_without_checkpoints_goes_on_unheard(scheduler: str, tmp_path: Path) -> None:
    cut_everywhere(tmp_path, scheduler, curve, every=7)


def cut_everywhere(tmp_path: Path, scheduler: str, trainable: Any, every: int, **more: Any) -> None:
    if trainable is Curve:
        more.setdefault("checkpoint_config", tune.CheckpointConfig(checkpoint_frequency=2))
    whole = run(trainable, **arguments(scheduler, tmp_path / "whole", **more))
    expected = outcome(whole)
    (segment,) = Path(whole.experiment_path).glob("journal-*.ctj")
    ends = turns(segment)
    assert len(ends) > 20
    for k in range(0, len(ends), every):
        cut(tmp_path / "whole" / "e", tmp_path / "part" / "e", ends[k])
        again = arguments(scheduler, tmp_path / "part", resume=True, **more)
        assert outcome(run(trainable, **again)) == expected, f"cut behind turn {k} of {len(ends)}"


def test_a_cut_run_with_a_python_searcher_suggests_as_the_uncut_one(tmp_path: Path) -> None:
    def again(k: int | None) -> dict[str, Any]:
        where = tmp_path / ("whole" if k is None else "part")
        more = {"search_alg": ConcurrencyLimiter(MySearcher(), max_concurrent=2), "config": {}}
        more |= {"metric": None, "mode": None}
        more["resume"] = k is not None
        return arguments("fifo", where, **more)

    whole = run(Curve, **again(None))
    expected = outcome(whole)
    (segment,) = Path(whole.experiment_path).glob("journal-*.ctj")
    ends = turns(segment)
    for k in range(0, len(ends), 5):
        cut(tmp_path / "whole" / "e", tmp_path / "part" / "e", ends[k])
        assert outcome(run(Curve, **again(k))) == expected, f"cut behind turn {k}"
