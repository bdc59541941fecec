"""Snapshots keep a run's journal short; a run that goes on from one decides as the uncut one."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_resume import SCHEDULERS, Curve, arguments, curve, outcome, run

import ctune as tune

KEPT = {"pbt", "pbt-synch", "python"}  # schedulers whose state is not all in the engine


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CTUNE_SNAPSHOT_BYTES", "400")
    tune.init(executor="inline", num_cpus=3)
    yield
    tune.shutdown()


class Copies(tune.Callback):
    """Leaves what a kill would leave, before every so many steps of the run."""

    def __init__(self, to: Path, every: int) -> None:
        self.to = to
        self.every = every
        self.n = 0

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.n += 1
        if self.n % self.every == 0 and trials:
            source = Path(trials[0].local_path).parent
            shutil.copytree(source, self.to / f"{self.n:04d}" / source.name)


def snapshots(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("snapshot-*.json"))


def segments(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("journal-*.ctj"))


def watched(scheduler: str, tmp_path: Path, trainable: Any, every: int, **more: Any) -> list[Any]:
    """Runs to the end, with copies on the way; returns what happened."""
    if trainable is Curve:
        more.setdefault("checkpoint_config", tune.CheckpointConfig(checkpoint_frequency=2))
    copies = Copies(tmp_path / "cuts", every)
    whole = run(
        trainable, **arguments(scheduler, tmp_path / "whole", callbacks=[copies], **more)
    )
    return outcome(whole)


def go_on(scheduler: str, storage: Path, trainable: Any, **more: Any) -> list[Any]:
    if trainable is Curve:
        more.setdefault("checkpoint_config", tune.CheckpointConfig(checkpoint_frequency=2))
    return outcome(run(trainable, **arguments(scheduler, storage, resume=True, **more)))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_run_that_goes_on_from_a_snapshot_decides_as_the_uncut_one(
    scheduler: str, tmp_path: Path
) -> None:
    expected = watched(scheduler, tmp_path, Curve, every=5)
    whole = tmp_path / "whole" / "e"
    if scheduler in KEPT:
        assert not snapshots(whole)
        assert segments(whole) == ["journal-000000.ctj"]
        return
    assert len(snapshots(whole)) == 2, "the last two are kept"
    assert len(segments(whole)) == 2
    assert segments(whole)[0] > "journal-000005.ctj", "there were many"
    cuts = sorted((tmp_path / "cuts").iterdir())
    assert len(cuts) > 5
    for place in cuts:
        assert go_on(scheduler, place, Curve) == expected, f"cut at step {place.name}"
