"""A machine that lost power: the journal lost its last turns, other files did not.

What these turns told of happens again. Each result then stands once in the files, and the run
decides as the one that was not cut.
"""

import csv
import json
import random
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ctune as tune
from ctune.schedulers import ASHAScheduler, PopulationBasedTraining
from ctune.search import BasicVariantGenerator

TURN = 4


@pytest.fixture(autouse=True)
def inline() -> Iterator[None]:
    tune.init(executor="inline", num_cpus=2)
    yield
    tune.shutdown()


def turn_ends(journal: Path) -> list[int]:
    """Offsets behind the turns of a segment."""
    data = journal.read_bytes()
    ends, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        kind = data[at + 4]
        at += length + 8
        if kind == TURN:
            ends.append(at)
    return ends


def lose(whole: Path, part: Path, turns: int) -> None:
    """Copies an experiment, but the journal as it was after so many turns."""
    shutil.copytree(whole / "e", part / "e")
    journal = max((part / "e").glob("journal-*.ctj"))
    with journal.open("r+b") as file:
        file.truncate(turn_ends(journal)[turns - 1])


class Curve(tune.Trainable):
    """May fail, and saves."""

    def setup(self, config: dict[str, Any]) -> None:
        self.i = 0

    def step(self) -> dict[str, Any]:
        self.i += 1
        if self.config["x"] > 0.5 and self.i == 2 and not self.config["fine"]:
            raise RuntimeError("as asked")
        words = 'one, "two"\nthree'
        return {"loss": self.config["x"] + 1 / self.i, "words": words}

    def save_checkpoint(self, directory: str) -> None:
        (Path(directory) / "i").write_text(str(self.i))

    def load_checkpoint(self, directory: str) -> None:
        self.i = int((Path(directory) / "i").read_text())


def run(storage: Path, resume: bool, **options: Any) -> Any:
    given: dict[str, Any] = {
        "config": {"x": tune.uniform(0, 1), "fine": False},
        "num_samples": 3,
        "scheduler": ASHAScheduler(max_t=4, grace_period=1, reduction_factor=2),
        "checkpoint_config": tune.CheckpointConfig(checkpoint_frequency=1),
    }
    return tune.run(
        Curve,
        name="e",
        storage_path=str(storage),
        stop={"training_iteration": 4},
        metric="loss",
        mode="min",
        search_alg=BasicVariantGenerator(random_state=1),
        resume=resume,
        verbose=0,
        raise_on_failed_trial=False,
        **{**given, **options},
    )


def outcome(analysis: Any) -> list[Any]:
    """What the trials are, and what their files tell of them."""
    found = []
    for trial in analysis.trials:
        folder = Path(trial.local_path)
        lines = [json.loads(line) for line in (folder / "result.json").open()]
        errors = folder / "error.txt"
        found.append(
            (
                trial.status,
                trial.config["x"],
                [(line["training_iteration"], line["loss"]) for line in lines],
                len(list(csv.reader((folder / "progress.csv").open(newline="")))),
                errors.read_text().count("Failure # ") if errors.exists() else 0,
                sorted(path.name for path in folder.glob("*checkpoint_*")),
            )
        )
    return found


def test_what_a_lost_turn_left_in_the_files_stands_once(tmp_path: Path) -> None:
    expected = outcome(run(tmp_path / "whole", False))
    assert sum(one[4] for one in expected) == 1, "a trial fails"
    (journal,) = (tmp_path / "whole" / "e").glob("journal-*.ctj")
    turns = len(turn_ends(journal))
    for kept in range(1, turns + 1, 5):
        part = tmp_path / f"part{kept}"
        lose(tmp_path / "whole", part, kept)
        assert outcome(run(part, True)) == expected, f"{kept} of {turns} turns were kept"


class CopyAt(tune.Callback):
    """Copies the experiment at a result, as a disk may have it when the power goes."""

    def __init__(self, result: int, source: Path, target: Path) -> None:
        self.left, self.source, self.target = result, source, target

    def on_trial_result(self, **info: Any) -> None:
        self.left -= 1
        if self.left == 0:
            shutil.copytree(self.source, self.target, dirs_exist_ok=True)


def test_worker_processes_make_lost_results_again_once(tmp_path: Path) -> None:
    tune.shutdown()
    tune.init(executor="process", num_cpus=2)
    whole, copy, part = tmp_path / "whole", tmp_path / "copy", tmp_path / "part"
    options: dict[str, Any] = {
        "config": {"x": tune.grid_search([0.1, 0.2]), "fine": True},
        "num_samples": 1,
        "scheduler": None,
    }
    run(whole, False, callbacks=[CopyAt(6, whole / "e", copy / "e")], **options)
    (journal,) = (copy / "e").glob("journal-*.ctj")
    lose(copy, part, len(turn_ends(journal)) - 5)
    before = sum(len(path.read_text().splitlines()) for path in part.glob("e/*/result.json"))
    assert before >= 5
    for status, _, results, rows, _, checkpoints in outcome(run(part, True, **options)):
        assert status == "TERMINATED"
        assert [iteration for iteration, _ in results] == [1, 2, 3, 4]
        assert rows == 5
        assert checkpoints == [f"checkpoint_{index:06d}" for index in range(4)]


def policy_files(storage: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (storage / "e").glob("pbt_*.txt")}


def run_pbt(storage: Path, resume: bool) -> list[Any]:
    random.seed(3)
    np.random.seed(3)
    analysis = run(
        storage,
        resume,
        config={"x": tune.uniform(0, 1), "fine": True},
        num_samples=5,
        scheduler=PopulationBasedTraining(
            time_attr="training_iteration",
            perturbation_interval=1,
            quantile_fraction=0.5,
            hyperparam_mutations={"x": tune.uniform(0, 1)},
        ),
    )
    return outcome(analysis)


@pytest.mark.parametrize("snapshots", [False, True])
def test_each_exploit_stands_once_in_the_policy_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshots: bool
) -> None:
    whole = tmp_path / "whole"
    (whole / "e").mkdir(parents=True)
    (whole / "e" / "pbt_global.txt").write_text("of an earlier run\n")
    if snapshots:
        monkeypatch.setenv("CTUNE_SNAPSHOT_BYTES", "3000")
    expected = run_pbt(whole, False)
    assert any((whole / "e").glob("snapshot-*.json")) == snapshots
    journal = max((whole / "e").glob("journal-*.ctj"))
    turns = len(turn_ends(journal))
    said = policy_files(whole)
    assert len(said) > 2
    assert said["pbt_global.txt"].startswith("of an earlier run\n[")
    for kept in range(1, turns + 1, 9):
        part = tmp_path / f"part{kept}"
        lose(whole, part, kept)
        assert run_pbt(part, True) == expected, f"{kept} of {turns} turns were kept"
        assert policy_files(part) == said, f"{kept} of {turns} turns were kept"


def test_a_checkpoint_that_the_journal_lost_is_no_checkpoint(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    run(whole, False)
    lose(whole, tmp_path / "part", 4)
    (first,) = (tmp_path / "part" / "e").glob("Curve_*_00000_*")
    newer = first / "checkpoint_000009"
    newer.mkdir()
    (newer / "i").write_text("half")
    run(tmp_path / "part", True)
    assert sorted(path.name for path in first.glob("*checkpoint_*")) == ["checkpoint_000000"]


def test_what_a_user_deleted_is_written_again_once(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    expected = outcome(run(whole, False))
    lose(whole, tmp_path / "part", 12)
    gone = [*(tmp_path / "part" / "e").glob("*/result.json")]
    gone += (tmp_path / "part" / "e").glob("*/progress.csv")
    assert len(gone) == 6
    for path in gone:
        path.unlink()
    assert outcome(run(tmp_path / "part", True)) == expected


def test_files_of_loggers_that_are_off_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    run(whole, False)
    lose(whole, tmp_path / "part", 12)
    files = [*(tmp_path / "part" / "e").glob("*/result.json")]
    before = [path.read_bytes() for path in files]
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    run(tmp_path / "part", True)
    assert [path.read_bytes() for path in files] == before


def test_a_second_experiment_of_a_name_does_not_write_into_the_folders_of_the_first(
    tmp_path: Path,
) -> None:
    def name(trial: Any) -> str:
        return f"x({trial.config['x']:.2f})"

    first = run(tmp_path, False, trial_dirname_creator=name)
    second = run(tmp_path, False, trial_dirname_creator=name)
    folders = [Path(trial.local_path) for trial in [*first.trials, *second.trials]]
    assert len(set(folders)) == 6
    assert folders[0].name == "x_0.51_"
    assert outcome(first) == outcome(second)
