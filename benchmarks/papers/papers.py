"""Claims of the papers behind the schedulers, most of them in virtual time.

    python benchmarks/papers/papers.py          # prints docs/papers.md
    python benchmarks/papers/papers.py --write  # writes it

Everything follows from seeds.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import ctune
from ctune.bench import load_curves
from ctune.schedulers import ASHAScheduler, HyperBandScheduler, PopulationBasedTraining

OUT = Path(__file__).resolve().parent.parent.parent / "docs" / "papers.md"

PAGE = """# What the papers claim

Written by `python benchmarks/papers/papers.py --write`; the numbers follow from seeds.

## HyperBand's brackets

`HyperBandScheduler(max_t=81, reduction_factor=3)`, a round of 143 trials: how many reached each
milestone. Li et al. (JMLR 2018), table 1, start with n = 81, 27, 9, 6 and 5 for s = 4 … 0; Ray
Tune's formula, which this is, with 81, 34, 15, 8 and 5.

{brackets}

## ASHA: a model after 13/9 of time(R)

Nine workers, R = 9, r = 1, eta = 3, `promotion=True`: when the first configuration has been
trained to R. Li et al. (MLSys 2020), section 3.2.

{first}

## ASHA: stragglers and lost jobs

Configurations trained to R = 256 within 2,000 units of time: 25 workers, eta = 4,
`promotion=True`; means of 5 seeds. Without waiting it would be 48.8: each costs
1,024 units, its share of the trials that end below it included. Appendix A.1 of the same paper.

{stragglers}

## ASHA: linear scaling

R = 64, eta = 4, `promotion=True`, straggler deviation 0.2: work done by 1 to 512 workers.

{scaling}

## ASHA against random search

The tables of `ctune.bench.load_curves()`: 300 configurations, nine workers,
`ASHAScheduler(max_t=81, grace_period=3, reduction_factor=3)`; ten draws.

{random}

## PBT: the toy quadratic

Two trials minimise theta0^2 + theta1^2 by following the gradient of h0 theta0^2 + h1 theta1^2,
one with h = (1, 0), the other with h = (0, 1): neither can reach the best score, 1.2, alone.
`PopulationBasedTraining(perturbation_interval=4, quantile_fraction=0.5, synch=True)` with h0 and
h1 in {{0, 1}}, 300 steps of 0.02; real runs, ten seeds. Jaderberg et al. (2017), figure 2.

{toy}
"""


class Toy(ctune.Trainable):
    """The quadratic; theta is what checkpoints carry."""

    def setup(self, config: dict[str, Any]) -> None:
        self.theta = np.array([0.9, 0.9])

    def step(self) -> dict[str, float]:
        h = np.array([self.config["h0"], self.config["h1"]])
        self.theta = self.theta - 0.02 * h * self.theta
        return {"score": 1.2 - float(np.sum(self.theta**2))}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        np.save(os.path.join(checkpoint_dir, "theta.npy"), self.theta)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.theta = np.load(os.path.join(checkpoint_dir, "theta.npy"))


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    heads = list(head)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def hyperband_brackets() -> str:
    """How many trials reach each milestone of a round, counted in a simulated one."""
    curves = np.random.default_rng(0).random((143, 81))
    found = ctune.simulate(curves, scheduler=HyperBandScheduler(max_t=81), num_workers=20)
    results = found.events("RESULT")
    last = np.zeros(143, int)
    np.maximum.at(last, results["trial"], results["iteration"])
    first, rows = 0, []
    for s, size in enumerate([5, 8, 15, 34, 81]):
        mine = last[first : first + size]
        first += size
        milestones = [m if m >= 81 // 3**s else None for m in (1, 3, 9, 27, 81)]
        rows.append([s, *(int((mine >= m).sum()) if m else "" for m in milestones)])
    return table(["s", "r = 1", "3", "9", "27", "81"], rows)


def first_model() -> str:
    """A job that trains anew at each rung takes 1 + 3 + 9 units: so long are the epochs."""
    curves = np.arange(9.0)[:, None] + np.zeros(9)
    rows = []
    for name, epochs in (
        ("training goes on from a checkpoint", np.ones(9)),
        ("training starts anew at each rung", np.array([1.0] + 8 * [1.5])),
    ):
        scheduler = ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3, promotion=True)
        durations = np.broadcast_to(epochs, (9, 9))
        found = ctune.simulate(curves, scheduler=scheduler, durations=durations, num_workers=9)
        results = found.events("RESULT")
        done = float(results["time"][results["iteration"] == 9].min())
        rows.append([name, f"{done:g}/9"])
    return table(["", "of time(R)"], rows)


def trained(std: float, failures: float) -> tuple[float, float]:
    """Trained to R = 256 in 2,000 units, and when the first was; means of 5 seeds."""
    counts, firsts = [], []
    for seed in range(5):
        curves = np.random.default_rng(seed).random(14_000)[:, None] + np.zeros(256)
        np.random.seed(seed)
        found = ctune.simulate(
            curves,
            scheduler=ASHAScheduler(max_t=256, grace_period=1, reduction_factor=4, promotion=True),
            num_workers=25,
            straggler_std=std,
            failures=failures,
            seed=seed,
        )
        results = found.events("RESULT")
        done = results["time"][results["iteration"] == 256]
        counts.append(int((done <= 2000).sum()))
        firsts.append(float(done.min()))
    return statistics.mean(counts), statistics.mean(firsts)


def stragglers() -> str:
    rows = []
    for std in (0.0, 0.1, 0.56, 1.33):
        for failures in (0.0, 0.002, 0.005):
            count, first = trained(std, failures)
            rows.append([std, failures, f"{count:.1f}", f"{first:.0f}"])
    head = ["straggler deviation", "losses per unit", "trained in 2,000 units"]
    return table([*head, "first one after"], rows)


def scaling() -> str:
    curves = np.random.default_rng(0).random((60_000, 64))
    rows, alone = [], 0.0
    for workers in (1, 8, 64, 512):
        np.random.seed(0)
        scheduler = ASHAScheduler(max_t=64, grace_period=1, reduction_factor=4, promotion=True)
        found = ctune.simulate(curves, scheduler=scheduler, num_workers=workers, straggler_std=0.2)
        results = found.events("RESULT")
        count = int((results["time"] <= 200).sum())
        alone = alone or count
        rows.append([workers, f"{count:,}", f"{count / alone:.1f}x"])
    return table(["workers", "epochs in 200 units of time", "of one worker's"], rows)


def search(curves: Any, rows: Any, scheduler: Any) -> tuple[float, Any, Any]:
    """Makespan, times of results, and the best error so far at each."""
    found = ctune.simulate(
        curves.error[rows],
        scheduler=scheduler,
        durations=curves.seconds[rows],
        num_workers=9,
        metric="error",
    )
    results = found.events("RESULT")
    return found.makespan, results["time"], np.minimum.accumulate(results["value"])


def against_random() -> str:
    lines = []
    for name in ("digits", "breast_cancer", "wine"):
        curves = load_curves(name)
        shares, ends = [], []
        for seed in range(10):
            rows = np.random.default_rng(seed).permutation(1000)[:300]
            whole, _, best = search(curves, rows, None)
            np.random.seed(seed)
            scheduler = ASHAScheduler(max_t=81, grace_period=3, reduction_factor=3)
            _, times, halved = search(curves, rows, scheduler)
            as_good = halved <= best[-1]
            shares.append(times[np.argmax(as_good)] / whole if as_good.any() else np.inf)
            ends.append((best[-1], halved[-1]))
        means = np.mean(ends, axis=0)
        lines.append(
            [
                name,
                f"{np.isfinite(shares).sum()} of 10",
                f"{statistics.median(shares):.1%}",
                f"{means[0]:.4f}",
                f"{means[1]:.4f}",
            ]
        )
    head = ["table", "as good as random search", "after this share of its time (median)"]
    return table([*head, "error of random search", "of ASHA"], lines)


def toy(seed: int, exploits: bool) -> list[float]:
    """Final scores of the two trials."""
    random.seed(seed)
    scheduler = PopulationBasedTraining(
        "training_iteration",
        perturbation_interval=4,
        quantile_fraction=0.5,
        hyperparam_mutations={"h0": [0.0, 1.0], "h1": [0.0, 1.0]},
        synch=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        found = ctune.run(
            Toy,
            config={
                "h0": ctune.grid_search([1.0, 0.0]),
                "h1": ctune.sample_from(lambda config: 1.0 - config["h0"]),
            },
            metric="score",
            mode="max",
            stop={"training_iteration": 300},
            scheduler=scheduler if exploits else None,
            storage_path=folder,
            verbose=0,
        )
        return [trial.last_result["score"] for trial in found.trials]


def toys() -> str:
    ctune.init(executor="inline", num_cpus=2)
    lines = []
    for label, exploits in (("with PBT", True), ("without", False)):
        scores = np.array([toy(seed, exploits) for seed in range(10)])
        lines.append([label, *(f"{s.min():.4f} to {s.max():.4f}" for s in scores.T)])
    ctune.shutdown()
    return table(["", "score of the first trial", "of the second"], lines)


def page() -> str:
    return PAGE.format(
        brackets=hyperband_brackets(),
        first=first_model(),
        stragglers=stragglers(),
        scaling=scaling(),
        random=against_random(),
        toy=toys(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/papers.md")
    if parser.parse_args().write:
        OUT.write_text(page())
    else:
        print(page(), end="")


if __name__ == "__main__":
    main()
