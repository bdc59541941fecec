"""One run that is going to be killed: python victim.py DIRECTORY SCHEDULER EXECUTOR KIND TRIALS.

It goes on with what is in the directory, and writes a line into told.txt for each result that
a callback hears of: from then on the result must not be lost.
"""

import json
import logging
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import ctune
from ctune import CheckpointConfig, ResumeConfig
from ctune.callback import Callback
from ctune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
)
from ctune.search import BasicVariantGenerator

STEPS = 6
SCHEDULERS = {
    "fifo": FIFOScheduler,
    "asha": lambda: ASHAScheduler(max_t=STEPS, grace_period=1, reduction_factor=2),
    "hyperband": lambda: HyperBandScheduler(max_t=4, reduction_factor=2),
    "bohb": lambda: HyperBandForBOHB(max_t=4, reduction_factor=2),
    "median": lambda: MedianStoppingRule(time_attr="training_iteration", grace_period=2),
    "pbt": lambda: PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"x": ctune.uniform(0, 1)},
    ),
}


class Told(Callback):
    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **info: Any) -> None:
        line = [trial.trial_id, result["training_iteration"], result["loss"]]
        os.write(self.fd, (json.dumps(line) + "\n").encode())


class Curve(ctune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.i = 0

    def step(self) -> dict[str, Any]:
        self.i += 1
        time.sleep(self.config["pause"])
        return {"loss": (self.config["x"] - 0.3) ** 2 + 1 / self.i}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"i": self.i, "load": "x" * 5000}

    def load_checkpoint(self, state: dict[str, Any]) -> None:
        self.i = state["i"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.i = 0
        return True


def function(config: dict[str, Any]) -> None:
    for i in range(1, STEPS + 1):
        time.sleep(config["pause"])
        ctune.report({"loss": (config["x"] - 0.3) ** 2 + 1 / i})


def main() -> None:
    directory, scheduler, executor, kind, trials = sys.argv[1:]
    logging.basicConfig(level=logging.ERROR)
    ctune.init(executor=executor, num_cpus=2)
    random.seed(1)
    storage = Path(directory)
    storage.mkdir(parents=True, exist_ok=True)
    retry = ResumeConfig.ResumeType.RESUME
    analysis = ctune.run(
        Curve if kind == "class" else function,
        name="run",
        storage_path=directory,
        config={"x": ctune.uniform(0, 1), "pause": 0.002},
        num_samples=int(trials),
        metric="loss",
        mode="min",
        stop={"training_iteration": STEPS},
        scheduler=SCHEDULERS[scheduler](),
        search_alg=BasicVariantGenerator(random_state=1),
        checkpoint_config=CheckpointConfig(
            checkpoint_frequency=1 if kind == "class" else 0, num_to_keep=2
        ),
        max_failures=-1,
        reuse_actors=scheduler in ("pbt", "asha"),
        resume_config=ResumeConfig(errored=retry),
        callbacks=[Told(storage / "told.txt")],
        raise_on_failed_trial=False,
        verbose=0,
    )
    best = analysis.get_best_trial(scope="all")
    assert best is not None
    done = {
        "statuses": sorted({t.status for t in analysis.trials}),
        "trials": len(analysis.trials),
        "best": [best.trial_id, best.metric_analysis["loss"]["min"]],
    }
    (storage / "done.json").write_text(json.dumps(done))


if __name__ == "__main__":
    main()
