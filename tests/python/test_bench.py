"""The table of learning curves and the command that measures schedulers."""

import re
import subprocess
import sys

import numpy as np
import pytest

import ctune
from ctune.bench import load_curves
from ctune.schedulers import ASHAScheduler


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine"])
def test_curves_are_those_of_something_that_learns(name):
    curves = load_curves(name)
    assert curves.error.shape == (1000, 81)
    assert curves.seconds.shape == (1000,)
    assert set(curves.config) == {"learning_rate", "batch_size", "width", "alpha", "momentum"}
    assert all(v.shape == (1000,) for v in curves.config.values())
    assert curves.error.min() >= 0
    assert curves.error.max() <= 1
    assert curves.error[:, -1].min() < 0.05  # the best ones are good
    assert np.median(curves.error[:, -1]) < np.median(curves.error[:, 0])
    assert (curves.seconds > 0).all()


def test_an_unknown_table_is_named():
    with pytest.raises(ValueError, match="'iris'"):
        load_curves("iris")


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine"])
def test_asha_is_as_good_as_random_search_in_a_third_of_its_time(name):
    curves = load_curves(name)
    reached = 0
    for seed in range(5):
        rows = np.random.default_rng(seed).permutation(1000)[:300]

        def search(scheduler, rows=rows):
            found = ctune.simulate(
                curves.error[rows],
                scheduler=scheduler,
                durations=curves.seconds[rows],
                num_workers=9,
                metric="error",
            )
            results = found.events("RESULT")
            return found.makespan, results["time"], np.minimum.accumulate(results["value"])

        whole, _, random_best = search(None)
        np.random.seed(seed)
        _, times, best = search(ASHAScheduler(max_t=81, grace_period=3, reduction_factor=3))
        as_good = best <= random_best[-1]
        if as_good.any():
            reached += 1
            assert times[np.argmax(as_good)] <= whole / 3
        assert best[-1] <= random_best[-1] + 0.005
    assert reached >= 3


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ctune.bench", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_a_row_for_each_scheduler():
    done = command("schedulers", "--sizes", "10,200", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "10 trials" in done.stdout
    assert "200 trials" in done.stdout
    for name in ("fifo", "async_hyperband", "hyperband", "median_stopping_rule"):
        row = re.search(rf"^{name} +decisions +([\d,]+) +([\d,]+)$", done.stdout, re.MULTILINE)
        assert row, done.stdout
        assert all(int(cell.replace(",", "")) > 1000 for cell in row.groups())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["schedulers", "--sizes", "x"], "--sizes"),
        (["schedulers", "--sizes", "0"], "--sizes"),
        (["schedulers", "--only", "best"], "'best'"),
        (["schedulers", "--rounds", "0"], "--rounds"),
        (["nothing"], "schedulers"),
    ],
)
def test_bad_options_are_named(arguments, words):
    done = command(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
