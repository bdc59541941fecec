"""Policies written in Python go on from a snapshot where they were."""

import functools
import importlib.util
import json
import logging
import pickle
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_resume import Curve, MyScheduler, MySearcher, arguments, outcome, run
from test_resume_search import SEARCHERS, WRAPS
from test_snapshots import Copies, inline, segments, snapshots  # noqa: F401

import ctune as tune
from ctune.schedulers import (
    PB2,
    ASHAScheduler,
    FIFOScheduler,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    ResourceChangingScheduler,
)
from ctune.search import ConcurrencyLimiter, Repeater, SearchGenerator
from ctune.stopper import FunctionStopper, MaximumIterationStopper, Stopper

More = Callable[[], dict[str, Any]]


def go(place: Path, make: More, **again: Any) -> Any:
    more = {"checkpoint_config": tune.CheckpointConfig(checkpoint_frequency=2), **make(), **again}
    return run(Curve, **{**arguments("fifo", place), **more})


def cuts(tmp_path: Path, make: More, every: int = 12) -> tuple[Any, list[Path]]:
    """An uncut run, and copies of it on the way that hold snapshots."""
    whole = go(tmp_path / "whole", make, callbacks=[Copies(tmp_path / "cuts", every)])
    found = [p for p in sorted((tmp_path / "cuts").iterdir()) if snapshots(p / "e")]
    assert len(found) > 1
    return whole, found


def kill(tmp_path: Path, make: More, every: int = 12) -> list[Path]:
    """A run that goes on from a snapshot ends as the uncut one, and leaves the same files."""
    whole, found = cuts(tmp_path, make, every)
    expected, files = outcome(whole), policy_files(tmp_path / "whole")
    for place in (found[0], found[-1]):
        again = outcome(go(place, make, resume=True))
        assert again == expected, f"cut at step {place.name}"
        assert policy_files(place) == files
    return found


def policy_files(place: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (place / "e").glob("pbt_*.txt")}


def kept_whole(tmp_path: Path, make: More) -> None:
    """No snapshot is written, and the run goes on from its journal."""
    expected = outcome(go(tmp_path, make))
    assert snapshots(tmp_path / "e") == []
    assert segments(tmp_path / "e") == ["journal-000000.ctj"]
    assert outcome(go(tmp_path, make, resume=True)) == expected


# --- searchers ---------------------------------------------------------------------------


def searching(make: Callable[[], Any], **more: Any) -> More:
    return lambda: {
        "search_alg": make(),
        "stop": {"training_iteration": 3},
        "num_samples": 8,
        **more,
    }


@pytest.mark.parametrize(
    "wrap",
    [pytest.param(wrap, marks=() if wrap == "limited" else pytest.mark.slow) for wrap in WRAPS],
)
@pytest.mark.parametrize("library", SEARCHERS)
def test_wrappers_of_search_libraries_go_on_from_a_snapshot(
    library: str, wrap: str, tmp_path: Path
) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    kill(tmp_path, searching(lambda: WRAPS[wrap](SEARCHERS[library]())), every=14)


class Saving(MySearcher):
    """Has the documented save() and restore(), and a lock, which no pickle holds."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def save(self, checkpoint_path: str) -> None:
        state = {k: v for k, v in vars(self).items() if k != "lock"}
        Path(checkpoint_path).write_bytes(pickle.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        vars(self).update(pickle.loads(Path(checkpoint_path).read_bytes()))


class Batches(Repeater):
    """A wrapper written in Python."""


@pytest.mark.parametrize(
    "make",
    [
        MySearcher,
        Saving,
        lambda: ConcurrencyLimiter(MySearcher(), max_concurrent=2),
        lambda: Batches(ConcurrencyLimiter(Saving(), max_concurrent=2), 2, set_index=False),
    ],
)
def test_searchers_written_in_python_go_on_from_a_snapshot(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    kill(tmp_path, searching(make, config={}, metric=None, mode=None))


class Generator(SearchGenerator):
    """A search algorithm of which the engine knows nothing."""

    made = 0

    def next_trial(self) -> Any:
        if self.made == 6:
            self.set_finished()
            return None
        self.made += 1
        return super().next_trial()

    @property
    def total_samples(self) -> int:
        return 6


def test_search_algorithms_go_on_from_a_snapshot(tmp_path: Path) -> None:
    make = searching(lambda: Generator(MySearcher()), config={}, metric=None, mode=None)
    kill(tmp_path, make)


def test_a_searcher_without_a_state_to_save_keeps_the_journal_whole(tmp_path: Path) -> None:
    class Locked(MySearcher):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    kept_whole(tmp_path, searching(Locked, config={}, metric=None, mode=None))


def test_why_no_snapshot_is_written_is_told_quietly_and_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(Saving):
        def save(self, checkpoint_path: str) -> None:
            if "e" not in Path(checkpoint_path).parts:
                raise OSError("the disk is full")

    caplog.set_level("INFO", logger="ctune")
    kept_whole(tmp_path, searching(Full, config={}, metric=None, mode=None))
    told = [r for r in caplog.records if "No snapshot" in r.getMessage()]
    assert [r.levelno for r in told] == [logging.INFO] * len(told)
    assert "Full" in told[0].getMessage() or "the disk is full" in told[0].getMessage()
    assert len(told) == 1


# --- schedulers --------------------------------------------------------------------------


class Remembers(FIFOScheduler):
    """Keeps trials, the controller and what it shares with the stopper; draws from streams."""

    def __init__(self, limit: int = 2) -> None:
        super().__init__()
        self.limit = limit
        self.trials: list[Any] = []
        self.scores: dict[Any, list[float]] = {}
        self.controller: Any = None
        self.shared: list[float] = []

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        assert self.controller in (None, controller), "there is one, also after a snapshot"
        assert all(any(t is own for own in controller.get_trials()) for t in self.trials)
        self.controller = controller
        self.trials.append(trial)

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        assert controller is self.controller
        self.scores.setdefault(trial, []).append(result["loss"])
        self.shared.append(result["loss"])
        unlucky = random.random() < 0.1 or np.random.random() < 0.1
        return self.STOP if unlucky and len(self.scores[trial]) > self.limit else self.CONTINUE


class Shares(Stopper):
    """Stops when an object that it shares with the scheduler says so."""

    def __init__(self, shared: list[float]) -> None:
        self.shared = shared

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return len(self.shared) % 7 == 6 or bool(result["training_iteration"] >= 8)

    def stop_all(self) -> bool:
        return False


def sharing() -> dict[str, Any]:
    scheduler = Remembers()
    return {"scheduler": scheduler, "stop": Shares(scheduler.shared)}


class Judge(ASHAScheduler):
    """One of ours with an opinion of its own."""

    def __init__(self) -> None:
        super().__init__(metric="loss", mode="min", max_t=8, grace_period=1, reduction_factor=2)
        self.spared = 0

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        said: str = super().on_trial_result(controller, trial, result)
        if said == self.STOP and self.spared < 3 and result["training_iteration"] < 8:
            self.spared += 1
            return self.CONTINUE
        return said


class Slotted(FIFOScheduler):
    """Its state is a file, as documented."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0
        self.lock = threading.Lock()

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self.n += 1
        return self.STOP if self.n % 5 == 0 else self.CONTINUE

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text(str(self.n))

    def restore(self, checkpoint_path: str) -> None:
        self.n = int(Path(checkpoint_path).read_text())


def resizing() -> Any:
    def allocate(controller: Any, trial: Any, result: dict[str, Any], scheduler: Any) -> Any:
        return tune.PlacementGroupFactory([{"CPU": 1 + result["training_iteration"] % 2}])

    return ResourceChangingScheduler(
        ASHAScheduler(max_t=6, grace_period=1, reduction_factor=2), allocate
    )


@pytest.mark.parametrize(
    "make",
    [
        sharing,
        lambda: {"scheduler": Judge(), "metric": None, "mode": None, "stop": None},
        lambda: {"scheduler": Slotted()},
        lambda: {"scheduler": resizing()},
    ],
    ids=["sharing", "subclass", "file", "resizing"],
)
def test_schedulers_written_in_python_go_on_from_a_snapshot(make: More, tmp_path: Path) -> None:
    kill(tmp_path, make)


def test_one_object_that_is_scheduler_and_stopper_goes_on(tmp_path: Path) -> None:
    class Both(FIFOScheduler, Stopper):
        def __init__(self) -> None:
            super().__init__()
            self.n = 0

        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            self.n += 1
            return self.CONTINUE

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return self.n % 6 == 5

        def stop_all(self) -> bool:
            return False

    try:
        both = Both()
    except TypeError:
        pytest.skip("two native bases do not go together")

    def make() -> dict[str, Any]:
        one = Both()
        return {"scheduler": one, "stop": one}

    assert both.n == 0
    kill(tmp_path, make)


# --- population-based training -----------------------------------------------------------


def pbt(**more: Any) -> More:
    def make() -> dict[str, Any]:
        options = {
            "time_attr": "training_iteration",
            "perturbation_interval": 2,
            "hyperparam_mutations": {"x": tune.uniform(0, 1), "y": [1, 2, 3]},
            **more,
        }
        return {
            "scheduler": PopulationBasedTraining(**options),
            "reuse_actors": True,
            "stop": {"training_iteration": 8},
        }

    return make


@pytest.mark.parametrize("synch", [False, True])
def test_policy_files_of_population_based_training_come_out_the_same(
    synch: bool, tmp_path: Path
) -> None:
    found = kill(tmp_path, pbt(synch=synch), every=20)
    assert len(policy_files(found[0])) > 1


@pytest.mark.parametrize("synch", [False, True])
def test_a_run_that_is_cut_twice_logs_each_exploit_once(
    synch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTUNE_SNAPSHOT_BYTES", "3000")  # exploits are behind it
    make = pbt(synch=synch)
    whole, found = cuts(tmp_path, make, every=16)
    again = tmp_path / "again"
    go(found[0], make, resume=True, callbacks=[Copies(again, every=16)])
    places = [place for place in sorted(again.iterdir()) if snapshots(place / "e")]
    for place in places[:3]:
        assert outcome(go(place, make, resume=True)) == outcome(whole)
        assert policy_files(place) == policy_files(tmp_path / "whole"), f"cut at {place.name}"


def drawn() -> float:
    return random.uniform(0, 1)


def test_functions_of_population_based_training_go_on(tmp_path: Path) -> None:
    def make() -> dict[str, Any]:
        rng = np.random.default_rng(3)  # belongs to the function below

        def explore(config: dict[str, Any]) -> dict[str, Any]:
            return {**config, "x": min(1.0, config["x"] + 0.01 * rng.random())}

        return pbt(hyperparam_mutations={"x": drawn}, custom_explore_fn=explore)()

    kill(tmp_path, make, every=20)


def test_pb2_goes_on_from_a_snapshot(tmp_path: Path) -> None:
    pytest.importorskip("scipy")

    def make() -> dict[str, Any]:
        scheduler = PB2(
            time_attr="training_iteration",
            perturbation_interval=2,
            hyperparam_bounds={"x": [0.0, 1.0]},
        )
        return {"scheduler": scheduler, "reuse_actors": True, "stop": {"training_iteration": 6}}

    kill(tmp_path, make, every=20)


def test_a_replay_of_a_policy_goes_on_from_a_snapshot(tmp_path: Path) -> None:
    policy = tmp_path / "pbt_policy_a.txt"
    rows = [["a", "b", 4, 4, {"x": 0.1}, {"x": 0.2}], ["a", "b", 8, 8, {"x": 0.2}, {"x": 0.7}]]
    policy.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make() -> dict[str, Any]:
        return {
            "scheduler": PopulationBasedTrainingReplay(str(policy)),
            "config": {},
            "num_samples": 1,
            "metric": None,
            "mode": None,
            "search_alg": None,
            "stop": {"training_iteration": 24},
        }

    found = kill(tmp_path, make, every=6)
    again = go(found[-1], make, resume=True)
    assert [t.config for t in again.trials] == [{"x": 0.7}]


# --- stop conditions ---------------------------------------------------------------------


class Counts(Stopper):
    """Ends each trial at its last result but one that counts."""

    def __init__(self, every: int = 5) -> None:
        self.every = every
        self.n = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.n += 1
        return self.n % self.every == 0 or bool(result["training_iteration"] >= 9)

    def stop_all(self) -> bool:
        return self.n > 90


LIMIT = 4
TOTAL = {"n": 0}


def at_limit(trial_id: str, result: dict[str, Any]) -> bool:
    return bool(result["training_iteration"] >= LIMIT)


def elsewhere(trial_id: str, result: dict[str, Any]) -> bool:
    TOTAL["n"] += 1
    return TOTAL["n"] % 5 == 0


def counting() -> Callable[[str, dict[str, Any]], bool]:
    n = 0

    def stop(trial_id: str, result: dict[str, Any]) -> bool:
        nonlocal n
        n += 1
        return n % 5 == 0

    return stop


def by_attribute() -> Callable[[str, dict[str, Any]], bool]:
    def stop(trial_id: str, result: dict[str, Any]) -> bool:
        stop.n += 1  # type: ignore[attr-defined]
        return stop.n % 5 == 0  # type: ignore[attr-defined]

    stop.n = 0  # type: ignore[attr-defined]
    return stop


STOPS: dict[str, Callable[[], Any]] = {
    "stopper": Counts,
    "function": lambda: at_limit,
    "closure": counting,
    "attribute": by_attribute,
    "method": lambda: Counts().__call__,
    "partial": lambda: functools.partial(lambda n, _, r: r["training_iteration"] >= n, 3),
    "several": lambda: [Counts(7), MaximumIterationStopper(6), FunctionStopper(counting())],
}


@pytest.mark.parametrize("kind", STOPS)
def test_stop_conditions_written_in_python_go_on_from_a_snapshot(kind: str, tmp_path: Path) -> None:
    kill(tmp_path, lambda: {"stop": STOPS[kind](), "scheduler": MyScheduler()})


def test_from_when_a_function_changes_what_is_not_its_own_the_journal_is_kept(
    tmp_path: Path,
) -> None:
    def make() -> dict[str, Any]:
        TOTAL["n"] = 0
        return {"stop": elsewhere}

    found = kill(tmp_path, make)
    assert len({tuple(snapshots(place / "e")) for place in found}) == 1, "there were no more"


# --- other arguments than before ---------------------------------------------------------


def test_what_the_user_changes_counts_and_what_the_run_changed_stays(tmp_path: Path) -> None:
    stopper = Counts(every=1000)
    _, found = cuts(tmp_path, lambda: {"stop": [Counts(1000), MaximumIterationStopper(9)]})
    again = go(found[-1], lambda: {"stop": [stopper, MaximumIterationStopper(9)]}, resume=True)
    heard = sum(len(lines) for _, _, lines in outcome(again))
    assert (stopper.n, stopper.every) == (heard, 1000), "it has heard of each result"
    other = Counts(every=3)
    go(found[-2], lambda: {"stop": [other, MaximumIterationStopper(9)]}, resume=True)
    assert other.every == 3


def test_a_new_stop_condition_written_in_python_hears_what_numbers_tell(tmp_path: Path) -> None:
    """What was before is told to it without texts, which no snapshot keeps."""
    heard: list[tuple[str, int]] = []

    class New(Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            heard.append((trial_id, result["training_iteration"]))
            return len(result["date"]) == 0  # a text

        def stop_all(self) -> bool:
            return False

    _, found = cuts(tmp_path, lambda: {"stop": {"training_iteration": 7}})
    again = go(found[-1], lambda: {"stop": [New(), MaximumIterationStopper(7)]}, resume=True)
    assert len(set(heard)) == len(heard)
    assert set(heard) >= {(t.trial_id, i) for t in again.trials for i in range(1, 8)}


def test_a_policy_that_holds_a_data_set_keeps_the_journal_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctune._policies._MAX_PICKLE", 1 << 20)
    data = np.zeros(1 << 20)

    def stop(trial_id: str, result: dict[str, Any]) -> bool:
        return bool(result["training_iteration"] >= 4 + data[0])

    kept_whole(tmp_path, lambda: {"stop": stop})


def test_a_scheduler_that_refers_to_the_searcher_finds_it_again(tmp_path: Path) -> None:
    class Knows(FIFOScheduler):
        def __init__(self, searcher: Any) -> None:
            super().__init__()
            self.searcher = searcher

        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            assert self.searcher is controller.search_alg.searcher
            return self.STOP if len(self.searcher.live) % 3 == 2 else self.CONTINUE

    def make() -> dict[str, Any]:
        searcher = MySearcher()
        more = searching(lambda: searcher, config={}, metric=None, mode=None)()
        return {**more, "scheduler": Knows(searcher)}

    kill(tmp_path, make)


def test_a_state_that_cannot_be_restored_is_told(tmp_path: Path) -> None:
    class Picky(MySearcher):
        def __setstate__(self, state: Any) -> None:
            raise ImportError("the library is gone")

    def make() -> dict[str, Any]:
        return searching(Picky, config={}, metric=None, mode=None)()

    _, found = cuts(tmp_path, make)
    with pytest.raises(tune.TuneError, match="Picky cannot be restored.*the library is gone"):
        go(found[0], make, resume=True)


def test_an_interrupt_while_a_policy_is_saved_ends_the_run(tmp_path: Path) -> None:
    class Slow(Saving):
        def save(self, checkpoint_path: str) -> None:
            if "e" not in Path(checkpoint_path).parts:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, searching(Slow, config={}, metric=None, mode=None))


def test_the_objects_of_a_snapshot_stand_in_a_file_beside_it(tmp_path: Path) -> None:
    make = searching(MySearcher, config={"o": complex(1, 2)}, metric=None, mode=None)
    _, found = cuts(tmp_path, make)
    place = found[0] / "e"
    newest = snapshots(place)[-1]
    state = json.loads((place / newest).read_text())["state"]
    pickles = (place / newest).with_suffix(".pkl")
    assert state["objects"].startswith(f"{pickles.stat().st_size} bytes, crc32c ")
    with pickles.open("rb") as file:
        assert pickle.load(file) == complex(1, 2)
    assert len(list(place.glob("snapshot-*.pkl"))) == len(snapshots(place)), "they go together"
