"""What a run writes into its journal, read back as docs/formats describes it."""

import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ctune as tune
from ctune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from ctune.search import Searcher
from ctune.stopper import Stopper

EVENT, ANSWER, BLOB = 2, 14, 8
VERDICT, ORDERS, CHOICE, SUGGESTION, STOP, STOP_ALL, REAL, INTEGER, REQUEST, NAME, DIRNAME = range(
    11
)


@pytest.fixture(autouse=True)
def inline() -> Iterator[None]:
    tune.init(executor="inline", num_cpus=2)
    yield
    tune.shutdown()


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        self.at += n
        assert self.at <= len(self.data)
        return self.data[self.at - n : self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def left(self) -> bool:
        return self.at < len(self.data)


def answers(directory: Path) -> list[tuple[int, bytes]]:
    """(kind, bytes) of every answer in an experiment's journal."""
    out = []
    for path in sorted(directory.glob("journal-*.ctj")):
        file = Bytes(path.read_bytes())
        while file.left():
            (n,) = struct.unpack("<I", file.take(4))
            frame = Bytes(file.take(n))
            file.take(4)
            if frame.take(1)[0] != EVENT or frame.take(1)[0] != ANSWER:
                continue
            for _ in ("trial", "serial"):
                assert frame.varint() == 0
            frame.take(8)
            frame.varint()
            assert frame.take(1)[0] == BLOB
            blob = Bytes(frame.take(frame.varint()))
            while blob.left():
                kind = blob.take(1)[0]
                out.append((kind, blob.take(blob.varint())))
    return out


def kinds(analysis: Any) -> Counter[int]:
    return Counter(kind for kind, _ in answers(Path(analysis.experiment_path)))


def train(config: dict[str, Any]) -> None:
    for i in range(3):
        tune.report({"loss": config.get("x", 0.0) + i})


def run(tmp_path: Path, **options: Any) -> Any:
    return tune.run(
        train,
        name="exp",
        metric="loss",
        mode="min",
        storage_path=str(tmp_path),
        verbose=0,
        **options,
    )


def test_a_native_run_records_only_what_numpy_drew(tmp_path: Path) -> None:
    found = kinds(run(tmp_path, config={"x": tune.uniform(0, 1)}, num_samples=4))
    assert found == {SUGGESTION: 5}  # four trials, and that there are no more


def test_the_bracket_of_a_trial_is_a_recorded_draw(tmp_path: Path) -> None:
    scheduler = AsyncHyperBandScheduler(max_t=3)
    found = kinds(run(tmp_path, config={}, num_samples=4, scheduler=scheduler))
    assert found[REAL] == 4
    assert found[VERDICT] == 0


def test_verdicts_choices_and_orders_of_a_python_scheduler_are_recorded(
    tmp_path: Path,
) -> None:
    class Picky(FIFOScheduler):
        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            for other in controller.get_live_trials():
                if other.trial_id.endswith("3"):
                    controller.stop_trial(other)
            return self.STOP if trial.trial_id.endswith("1") else self.CONTINUE

    analysis = run(
        tmp_path, config={}, num_samples=4, scheduler=Picky(), trial_name_creator=lambda t: "n"
    )
    found = answers(Path(analysis.experiment_path))
    verdicts = [data for kind, data in found if kind == VERDICT]
    assert {data[0] for data in verdicts} == {0, 2}
    assert any(data[1] > 0 for data in verdicts)  # the order to stop the last trial
    assert Counter(kind for kind, _ in found)[CHOICE] >= 3
    assert [data for kind, data in found if kind == NAME] == [b"n"] * 4


def test_suggestions_of_a_python_searcher_are_recorded(tmp_path: Path) -> None:
    class Fixed(Searcher):
        def suggest(self, trial_id: str) -> dict[str, Any]:
            return {"x": 0.25, "name": "something to find"}

        def on_trial_complete(self, *args: Any, **kwargs: Any) -> None:
            pass

    analysis = run(tmp_path, search_alg=Fixed(metric="loss", mode="min"), num_samples=2)
    made = [d for k, d in answers(Path(analysis.experiment_path)) if k == SUGGESTION and d[0] == 0]
    assert len(made) == 2
    for trial, data in zip(analysis.trials, made, strict=True):
        assert trial.trial_id.encode() in data
        assert b"something to find" in data
        assert struct.pack("<d", 0.25) in data


def test_what_a_stopper_says_is_recorded_where_it_says_yes(tmp_path: Path) -> None:
    class Second(Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return bool(result["training_iteration"] == 2)

        def stop_all(self) -> bool:
            return False

    analysis = run(tmp_path, config={}, stop=Second())
    found = answers(Path(analysis.experiment_path))
    assert [data for kind, data in found if kind == STOP] == [b"\0"]  # the first trial
    assert not [data for kind, data in found if kind == STOP_ALL]
    found = answers(Path(run(tmp_path, config={}, stop={"loss": 1}).experiment_path))
    assert [data for kind, data in found if kind == STOP] == [b"\0", b"\0"]


class Unpicklable:
    def __deepcopy__(self, memo: dict[int, Any]) -> "Unpicklable":
        return self  # so that run() takes it

    def __reduce__(self) -> str:
        raise TypeError("not this one")


class Large:
    payload = b"look for me" * 100

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (self.payload,)


@pytest.mark.parametrize(("value", "copies"), [(Large(), 1), (Unpicklable(), 0)])
def test_an_object_in_every_config_is_kept_at_most_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, copies: int
) -> None:
    # params.pkl would need the pickle, too.
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    analysis = run(tmp_path, config={"x": tune.uniform(0, 1), "object": value}, num_samples=5)
    found = answers(Path(analysis.experiment_path))
    assert sum(data.count(Large.payload) for _, data in found) == copies
    assert len(analysis.trials) == 5


# --- sync policies ---------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["init", "environment"])
@pytest.mark.parametrize("policy", ["none", "interval", "always"])
def test_the_sync_policy_says_how_often_the_journal_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, by: str
) -> None:
    from ctune import _run

    stats = []
    finish = _run._finish

    def watched(plan: Any, driver: Any, *rest: Any) -> None:
        stats.append(driver.stats())
        finish(plan, driver, *rest)

    monkeypatch.setattr(_run, "_finish", watched)
    tune.shutdown()
    if by == "init":
        tune.init(executor="inline", journal_sync=policy)
    else:
        monkeypatch.setenv("CTUNE_JOURNAL_SYNC", policy)
        tune.init(executor="inline")
    results = 25

    def train(config: dict[str, Any]) -> None:
        for n in range(results):
            tune.report({"n": n})

    tune.run(train, storage_path=str(tmp_path), verbose=0)
    [found] = stats
    if policy == "none":
        assert found["syncs"] == 0
    elif policy == "always":  # each result is heard of: it is written to files
        assert found["syncs"] >= results
    else:
        assert 1 <= found["syncs"] < results


def test_an_unknown_sync_policy_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tune.shutdown()
    with pytest.raises(ValueError, match=r"journal_sync: must be one of 'none'.*got 'daily'"):
        tune.init(executor="inline", journal_sync="daily")
    monkeypatch.setenv("CTUNE_JOURNAL_SYNC", "daily")
    with pytest.raises(ValueError, match=r"CTUNE_JOURNAL_SYNC: must be one of .*got 'daily'"):
        tune.init(executor="inline")
