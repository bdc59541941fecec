"""A journal that was cut or damaged: the last consistent state, or an error that says so."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ctune as tune
from ctune.schedulers import ASHAScheduler
from ctune.search import BasicVariantGenerator


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    tune.init(executor="inline", num_cpus=2)
    yield
    tune.shutdown()


class Curve(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.i = 0

    def step(self) -> dict[str, Any]:
        self.i += 1
        return {"loss": self.config["x"] + 1 / self.i}


def run(storage: Path, resume: bool) -> Any:
    return tune.run(
        Curve,
        name="e",
        storage_path=str(storage),
        config={"x": tune.uniform(0, 1)},
        num_samples=3,
        stop={"training_iteration": 3},
        metric="loss",
        mode="min",
        scheduler=ASHAScheduler(max_t=3, grace_period=1, reduction_factor=2),
        search_alg=BasicVariantGenerator(random_state=1),
        callbacks=[tune.logger.JsonLoggerCallback()],
        resume=resume,
        verbose=0,
    )


def outcome(analysis: Any) -> list[Any]:
    found = []
    for trial in analysis.trials:
        lines = (Path(trial.local_path) / "result.json").read_text().splitlines()
        losses = [json.loads(line)["loss"] for line in lines]
        found.append((trial.status, trial.config["x"], losses))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    storage = tmp_path_factory.mktemp("whole")
    tune.init(executor="inline", num_cpus=2)
    expected = outcome(run(storage, False))
    tune.shutdown()
    return storage, expected


def copy(whole: Path, part: Path) -> Path:
    """An experiment with its journal alone; returns the journal."""
    if part.exists():
        shutil.rmtree(part)
    (part / "e").mkdir(parents=True)
    (journal,) = (whole / "e").glob("journal-*.ctj")
    return Path(shutil.copy(journal, part / "e" / journal.name))


def check_truncated(tmp_path: Path, whole: tuple[Path, list[Any]], places: Any) -> None:
    storage, expected = whole
    part = tmp_path / "part"
    size = copy(storage, part).stat().st_size
    for end in places(size):
        with copy(storage, part).open("r+b") as file:
            file.truncate(end)
        # Where not even the first turn is whole, a new experiment begins.
        assert outcome(run(part, True)) == expected, f"cut at byte {end}"


def test_a_journal_cut_at_any_byte_goes_on(tmp_path: Path, whole: tuple[Path, list[Any]]) -> None:
    check_truncated(tmp_path, whole, lambda size: range(0, size + 1, 97))


@pytest.mark.slow
def test_a_journal_cut_at_every_byte_goes_on(tmp_path: Path, whole: tuple[Path, list[Any]]) -> None:
    check_truncated(tmp_path, whole, lambda size: range(size + 1))


def test_a_run_whose_beginning_is_damaged_is_no_new_one(
    tmp_path: Path, whole: tuple[Path, list[Any]]
) -> None:
    part = tmp_path / "part"
    journal = copy(whole[0], part)
    with journal.open("r+b") as file:
        file.seek(60)
        file.write(b"?")
    with pytest.raises(tune.TuneError, match="ctune repair"):
        run(part, True)


def check_corrupted(tmp_path: Path, whole: tuple[Path, list[Any]], times: int, seed: int) -> None:
    """Damages bytes at random. The journal's last turn may pass for one that was cut off."""
    storage, expected = whole
    part = tmp_path / "part"
    rng = random.Random(seed)
    went_on = refused = 0
    for _ in range(times):
        journal = copy(storage, part)
        data = bytearray(journal.read_bytes())
        for _ in range(rng.choice((1, 1, 1, 3, 30))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        journal.write_bytes(data)
        try:
            analysis = run(part, True)
        except (tune.TuneError, ValueError, NotImplementedError) as error:
            refused += 1
            words = str(error)
            assert "journal" in words or "resume" in words, words
            assert journal.read_bytes() == data, "what is there stays"
            assert list(journal.parent.glob("journal-*")) == [journal], "and nothing is added"
        else:
            went_on += 1
            assert outcome(analysis) == expected
    assert refused > times / 3


def test_a_damaged_journal_is_refused_by_name(
    tmp_path: Path, whole: tuple[Path, list[Any]]
) -> None:
    check_corrupted(tmp_path, whole, 60, seed=1)


@pytest.mark.slow
def test_a_damaged_journal_is_refused_by_name_many_times(
    tmp_path: Path, whole: tuple[Path, list[Any]]
) -> None:
    check_corrupted(tmp_path, whole, 3000, seed=random.randrange(2**32))


# --- full disks --------------------------------------------------------------------------


class Filling(Curve):
    """Fills the disk at its first step, but for a few hundred bytes."""

    def step(self) -> dict[str, Any]:
        ballast = Path(self.config["ballast"])
        if not ballast.exists() and not Path(self.config["full_before"]).exists():
            with ballast.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
            Path(self.config["full_before"]).touch()
        return {**super().step(), "words": "w" * 3000}


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_a_run_that_a_full_disk_ended_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, executor: str
) -> None:
    tune.shutdown()
    tune.init(executor=executor, num_cpus=1)

    def go(resume: bool) -> Any:
        return tune.run(
            Filling,
            name="e",
            storage_path=str(small_disk),
            config={
                "x": tune.grid_search([0.1, 0.2]),
                "ballast": str(small_disk / "ballast"),
                "full_before": str(tmp_path / "full_before"),
            },
            stop={"training_iteration": 4},
            callbacks=[tune.logger.JsonLoggerCallback(), tune.logger.CSVLoggerCallback()],
            resume=resume,
            verbose=0,
        )

    with pytest.raises(OSError, match="make room|No space"):
        go(False)
    (small_disk / "ballast").unlink()
    analysis = go(True)
    assert [t.status for t in analysis.trials] == ["TERMINATED"] * 2
    for trial in analysis.trials:
        directory = Path(trial.local_path)
        lines = [json.loads(line) for line in (directory / "result.json").open()]
        assert [line["training_iteration"] for line in lines] == [1, 2, 3, 4]
        assert len((directory / "progress.csv").read_text().splitlines()) == 5
