"""A run that was cut goes on where it was: every form of resume=, every scheduler, every cut."""

import json
import pickle
import random
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ctune as tune
from ctune.experiment import Trial
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
def test_a_cut_run_decides_as_the_uncut_one_at_every_event(scheduler: str, tmp_path: Path) -> None:
    cut_everywhere(tmp_path, scheduler, Curve, every=1)


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_a_function_without_checkpoints_goes_on_unheard(scheduler: str, tmp_path: Path) -> None:
    cut_everywhere(tmp_path, scheduler, curve, every=7)


class Mortal(Curve):
    """Fails again and again where it fails at all."""

    def step(self) -> dict[str, Any]:
        if self.x > 0.2 and self.i == 2:
            raise RuntimeError("as asked")
        return super().step()


def test_a_failure_after_a_cut_casts_no_doubt_on_a_checkpoint_that_was_restored(
    tmp_path: Path,
) -> None:
    more: dict[str, Any] = {"max_failures": 2, "num_samples": 2, "raise_on_failed_trial": False}
    more["checkpoint_config"] = tune.CheckpointConfig(checkpoint_frequency=1)
    cut_everywhere(tmp_path, "fifo", Mortal, every=3, **more)


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


class Hesitant(MySearcher):
    """Draws for each question, also where it answers that there is nothing now."""

    def suggest(self, trial_id: str) -> Any:
        config = super().suggest(trial_id)
        if len(self.live) <= 2:
            return config
        del self.live[trial_id]
        return None


@pytest.mark.parametrize(
    "searcher", [Hesitant, lambda: ConcurrencyLimiter(MySearcher(), max_concurrent=2)]
)
def test_a_cut_run_with_a_python_searcher_suggests_as_the_uncut_one(
    searcher: Callable[[], Any], tmp_path: Path
) -> None:
    def again(k: int | None) -> dict[str, Any]:
        where = tmp_path / ("whole" if k is None else "part")
        more = {"search_alg": searcher(), "config": {}}
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


# --- forms of resume= --------------------------------------------------------------------


class Fragile(Curve):
    """Fails at its third step where a file says so."""

    def step(self) -> dict[str, Any]:
        if self.i == 2 and Path(self.config["flag"]).exists() and self.config["n"] in (1, 2):
            raise RuntimeError("as asked")
        return super().step()


def fragile(tmp_path: Path, **more: Any) -> Any:
    return run(
        Fragile,
        **{
            "name": "e",
            "storage_path": str(tmp_path),
            "config": {
                "flag": str(tmp_path / "flag"),
                "n": tune.grid_search([0, 1, 2]),
                "x": 0.5,
            },
            "stop": {"training_iteration": 4},
            "raise_on_failed_trial": False,
            "checkpoint_config": tune.CheckpointConfig(checkpoint_frequency=1),
            "verbose": 0,
            **more,
        },
    )


def iterations(analysis: Any) -> dict[int, list[int]]:
    """n of the config -> iterations in result.json."""
    return {
        t.config["n"]: [
            json.loads(line)["training_iteration"]
            for line in (Path(t.local_path) / "result.json").open()
        ]
        for t in analysis.trials
    }


@pytest.fixture
def failed(tmp_path: Path) -> Any:
    """An experiment of three trials, of which two have failed; the cause is mended."""
    (tmp_path / "flag").touch()
    analysis = fragile(tmp_path)
    assert [t.status for t in analysis.trials] == ["TERMINATED", "ERROR", "ERROR"]
    (tmp_path / "flag").unlink()
    return analysis


@pytest.mark.parametrize("resume", [True, "AUTO", "AUTO+", "whatever"])
def test_by_default_failed_trials_stay_failed(failed: Any, tmp_path: Path, resume: Any) -> None:
    # R59, R62: finished SKIP, unfinished RESUME, errored SKIP.
    if resume == "AUTO+":
        with pytest.raises(ValueError, match="resume: ''"):  # R67
            fragile(tmp_path, resume=resume)
        return
    again = fragile(tmp_path, resume=resume)
    assert [t.status for t in again.trials] == ["TERMINATED", "ERROR", "ERROR"]
    assert [t.trial_id for t in again.trials] == [t.trial_id for t in failed.trials]
    assert iterations(again) == {0: [1, 2, 3, 4], 1: [1, 2], 2: [1, 2]}
    assert again.trials[1].error_file is not None


@pytest.mark.parametrize(
    "resume", ["AUTO+ERRORED", "AUTO+ERRORED_ONLY", "AUTO+RESTART_ERRORED+ERRORED"]
)
def test_failed_trials_go_on_from_their_checkpoints(
    failed: Any, tmp_path: Path, resume: str
) -> None:
    # R60, R63, R65, R68: the last setting counts.
    again = fragile(tmp_path, resume=resume)
    assert [t.status for t in again.trials] == ["TERMINATED"] * 3
    assert [t.trial_id for t in again.trials] == [t.trial_id for t in failed.trials]
    assert iterations(again) == {n: [1, 2, 3, 4] for n in range(3)}
    assert again.trials[1].error_file is None
    assert again.trials[1].num_failures == 1


@pytest.mark.parametrize("resume", ["AUTO+RESTART_ERRORED", "AUTO+RESTART_ERRORED_ONLY"])
def test_failed_trials_start_anew_as_new_trials(failed: Any, tmp_path: Path, resume: str) -> None:
    # R64, R66
    again = fragile(tmp_path, resume=resume)
    assert [t.status for t in again.trials] == ["TERMINATED"] * 3
    before = {t.trial_id for t in failed.trials}
    assert [t.trial_id in before for t in again.trials] == [True, False, False]
    assert iterations(again) == {n: [1, 2, 3, 4] for n in range(3)}
    assert {t.config["n"] for t in again.trials} == {0, 1, 2}
    third = fragile(tmp_path, resume=True)  # a replay gives the new trials the same ids
    assert [t.trial_id for t in third.trials] == [t.trial_id for t in again.trials]


def test_resume_config_wins_over_resume(failed: Any, tmp_path: Path) -> None:
    # R28, R56: even over a malformed one. R71: the enum.
    kind = tune.ResumeConfig.ResumeType
    assert [kind("resume"), kind("restart"), kind("skip")] == [
        kind.RESUME,
        kind.RESTART,
        kind.SKIP,
    ]
    config = tune.ResumeConfig(finished=kind.RESTART, errored=kind.SKIP)
    again = fragile(tmp_path, resume="LOCAL+nonsense", resume_config=config)
    assert sorted(t.status for t in again.trials) == ["ERROR", "ERROR", "TERMINATED"]
    assert failed.trials[0].trial_id not in [t.trial_id for t in again.trials]


@pytest.mark.parametrize("base", ["LOCAL", "REMOTE", "PROMPT", "ERRORED_ONLY"])
def test_forms_that_are_gone(tmp_path: Path, base: str) -> None:
    with pytest.raises(DeprecationWarning, match=f"{base}.*'AUTO'"):  # R61
        fragile(tmp_path, resume=base)


@pytest.mark.parametrize("resume", [None, False])
def test_without_resume_a_new_experiment_begins(failed: Any, tmp_path: Path, resume: Any) -> None:
    again = fragile(tmp_path, resume=resume)  # R57, R58
    assert {t.trial_id for t in again.trials}.isdisjoint(t.trial_id for t in failed.trials)
    assert [t.status for t in again.trials] == ["TERMINATED"] * 3


def test_with_nothing_to_resume_a_new_experiment_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="ctune")
    analysis = fragile(tmp_path, resume=True)  # R70
    assert [t.status for t in analysis.trials] == ["TERMINATED"] * 3
    levels = [r.levelname for r in caplog.records if r.message.startswith("The")]
    assert levels == ["ERROR", "INFO"]
    with pytest.raises(tune.TuneError, match="no experiment to resume"):
        fragile(tmp_path, name="other", resume=True, fail_fast=True)


def test_unfinished_trials_may_be_skipped_or_start_anew(tmp_path: Path) -> None:
    kind = tune.ResumeConfig.ResumeType
    whole = fragile(tmp_path / "whole")
    (segment,) = Path(whole.experiment_path).glob("journal-*.ctj")
    end = turns(segment)[8]  # all three are under way
    for fate, ids in ((kind.SKIP, True), (kind.RESTART, False)):
        cut(tmp_path / "whole" / "e", tmp_path / "part" / "e", end)
        again = fragile(tmp_path / "part", resume_config=tune.ResumeConfig(unfinished=fate))
        assert [t.status for t in again.trials] == ["TERMINATED"] * 3
        known = {t.trial_id for t in whole.trials}
        assert all((t.trial_id in known) is ids for t in again.trials)
        told = iterations(again)
        assert all((len(lines) < 4) is ids for lines in told.values()), told


def test_trials_that_fail_fast_ended_are_finished_ones(tmp_path: Path) -> None:
    kind = tune.ResumeConfig.ResumeType
    broken = tmp_path / "broken"
    broken.touch()

    def train(config: dict[str, Any]) -> None:
        for i in range(1, 4):
            if config["x"] == 1 and i == 2 and broken.exists():
                raise RuntimeError("as asked")
            tune.report({"i": i})

    def go(**options: Any) -> list[tuple[str, int]]:
        analysis = tune.run(
            train,
            name="e",
            storage_path=str(tmp_path / "to"),
            config={"x": tune.grid_search([0, 1, 2, 3])},
            fail_fast=True,
            raise_on_failed_trial=False,
            verbose=0,
            **options,
        )
        return [(t.status, t.last_result.get("i", 0)) for t in analysis.trials]

    ended = [("TERMINATED", 2), ("ERROR", 1), ("TERMINATED", 1), ("TERMINATED", 0)]
    assert go() == ended
    broken.unlink()
    assert go(resume=True) == ended
    # Those that failed go on alone, although the run may not have another failure.
    went_on = [ended[0], ("TERMINATED", 3), *ended[2:]]
    assert go(resume="AUTO+ERRORED") == went_on
    assert go(resume_config=tune.ResumeConfig(finished=kind.RESUME)) == [("TERMINATED", 3)] * 4


# --- a finished run is extended ----------------------------------------------------------


def test_a_finished_run_takes_more_samples(tmp_path: Path) -> None:
    first = run(Curve, **arguments("fifo", tmp_path))
    more = run(Curve, **arguments("fifo", tmp_path, num_samples=9, resume=True))
    assert outcome(more)[:6] == outcome(first)
    assert len(more.trials) == 9
    whole = run(Curve, **arguments("fifo", tmp_path / "whole", num_samples=9))
    assert outcome(more) == outcome(whole)


@pytest.mark.parametrize("resume", [True, "AUTO", "AUTO+ERRORED"])
def test_an_experiment_without_a_journal_is_not_begun_anew_in_silence(
    resume: Any, tmp_path: Path
) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "experiment_state-2026-01-01_00-00-00.json").write_text("{}")
    with pytest.raises(tune.TuneError, match=r"no journal.*Ray Tune.*another name"):
        run(Curve, **arguments("fifo", tmp_path, resume=resume))
    assert len(list((tmp_path / "e").iterdir())) == 1, "nothing was written"


def test_a_run_that_was_cut_before_its_first_turn_begins_anew(tmp_path: Path) -> None:
    expected = outcome(run(Curve, **arguments("fifo", tmp_path)))
    (state,) = (tmp_path / "e").glob("experiment_state-*.json")
    data = json.loads(state.read_text())
    assert data["trial_data"]
    shutil.rmtree(tmp_path / "e")
    (tmp_path / "e").mkdir()
    state.write_text(json.dumps({**data, "trial_data": []}))
    assert outcome(run(Curve, **arguments("fifo", tmp_path, resume=True))) == expected


def test_a_finished_run_goes_on_to_a_later_stop(tmp_path: Path) -> None:
    run(Curve, **arguments("asha", tmp_path, stop={"training_iteration": 3}))
    more = run(Curve, **arguments("asha", tmp_path, resume=True))
    ended = [t.last_result["training_iteration"] for t in more.trials]
    assert max(ended) == 5
    for _, _, lines in outcome(more):
        assert [line["training_iteration"] for line in lines] == list(range(1, len(lines) + 1))


def test_a_later_stop_counts_for_all_trials_wherever_the_run_was_cut(tmp_path: Path) -> None:
    def go(storage: Path, last: int, **more: Any) -> Any:
        policy = tune.CheckpointConfig(checkpoint_frequency=2)
        stop = {"training_iteration": last}
        more.update(num_samples=2, checkpoint_config=policy, stop=stop)
        return run(Curve, **arguments("fifo", storage, **more))

    whole = tmp_path / "whole"
    go(whole, 4)
    for i, end in enumerate(turns(next(whole.glob("*/journal-000000.ctj")))[1:]):
        part = tmp_path / str(i)
        cut(whole / "e", part / "e", end)
        trials = go(part, 6, resume=True).trials
        assert [t.last_result["training_iteration"] for t in trials] == [6, 6], i


def test_the_time_between_two_runs_costs_no_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(Curve, **arguments("fifo", tmp_path / "whole", time_budget_s=1000))
    (segment,) = Path(whole.experiment_path).glob("journal-*.ctj")
    cut(tmp_path / "whole" / "e", tmp_path / "part" / "e", turns(segment)[9])
    data = bytearray((tmp_path / "part" / "e" / segment.name).read_bytes())
    age(data, 100_000.0)  # as if it had been cut long ago
    (tmp_path / "part" / "e" / segment.name).write_bytes(data)
    again = run(Curve, **arguments("fifo", tmp_path / "part", time_budget_s=1000, resume=True))
    assert outcome(again) == outcome(whole)


def age(data: bytearray, seconds: float) -> None:
    """Makes each turn of a segment, and each event in it, older."""
    from ctune import _ctune

    at = 0
    while at < len(data):
        (n,) = struct.unpack_from("<I", data, at)
        kind, start = data[at + 4], at + 5
        place = start if kind == TURN else None
        if kind == 2:  # EVENT: kind byte, trial, serial (varints), time
            place = start + 1
            for _ in range(2):
                while data[place] & 0x80:
                    place += 1
                place += 1
        if place is not None:
            (time,) = struct.unpack_from("<d", data, place)
            struct.pack_into("<d", data, place, time - seconds)
        struct.pack_into("<I", data, at + 4 + n, _ctune.crc32c(bytes(data[at + 4 : at + 4 + n])))
        at += 4 + n + 4


def test_a_run_that_its_budget_ended_goes_on_with_a_longer_one(tmp_path: Path) -> None:
    class Slow(Curve):
        def step(self) -> dict[str, Any]:
            return {**super().step(), "x": self.x}

    class Once(tune.Stopper):
        def __init__(self) -> None:
            self.asked = 0

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            self.asked += 1
            return False

        def stop_all(self) -> bool:
            return self.asked == 7

    first = run(Slow, **arguments("fifo", tmp_path, stop=Once()))
    assert sum(t.last_result.get("training_iteration", 0) for t in first.trials) < 10
    more = run(Slow, **arguments("fifo", tmp_path, resume=True))  # stop: another one
    assert all(len(lines) == 5 for _, _, lines in outcome(more))


# --- what may not change -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"run_or_experiment": curve}, "run_or_experiment: .*Curve.*curve"),
        ({"scheduler": HyperBandScheduler()}, "scheduler: .*AsyncHyperBandScheduler.*HyperBand"),
        ({"scheduler": ASHAScheduler(max_t=7)}, "scheduler: "),
        ({"search_alg": MySearcher()}, "search_alg: .*BasicVariantGenerator"),
        ({"config": {"x": tune.uniform(0, 1), "y": 1}}, "config: .*'y' is new"),
        ({"config": {}}, "config: .*'x' is missing"),
        ({"config": {"x": tune.uniform(0, 2)}}, r"config: .*\(0, 2\)"),
        ({"metric": "accuracy"}, "metric: .*'loss'.*'accuracy'"),
    ],
)
def test_what_decided_about_trials_must_be_the_same(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    run(Curve, **arguments("asha", tmp_path))
    before = sorted(path.name for path in (tmp_path / "e").iterdir())
    again = {"run_or_experiment": Curve} | arguments("asha", tmp_path, resume=True) | change
    if "metric" not in change and "search_alg" in change:
        again |= {"config": {}}
    with pytest.raises(ValueError, match=words):
        tune.run(**again)
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == before


def test_a_constant_may_change_for_trials_to_come(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    space = {"x": tune.uniform(0, 1), "path": "a"}
    run(Curve, **arguments("fifo", tmp_path, config=space))
    again = arguments("fifo", tmp_path, config=space | {"path": "b"}, num_samples=8, resume=True)
    more = run(Curve, **again)
    assert [t.config["path"] for t in more.trials] == ["a"] * 6 + ["b"] * 2
    assert "'path' was 'a' and is 'b' now" in caplog.text


def test_an_experiment_may_be_moved(tmp_path: Path) -> None:
    whole = run(Curve, **arguments("pbt", tmp_path / "whole"))
    (segment,) = Path(whole.experiment_path).glob("journal-*.ctj")
    cut(tmp_path / "whole" / "e", tmp_path / "part" / "other", turns(segment)[40])
    (tmp_path / "whole").rename(tmp_path / "elsewhere")
    again = run(Curve, **arguments("pbt", tmp_path / "part", name="other", resume=True))
    assert [o[2] for o in outcome(again)]
    assert all(str(tmp_path / "part" / "other") in t.local_path for t in again.trials)
    for trial in again.trials:
        assert trial.checkpoint is None or str(tmp_path / "part") in trial.checkpoint.path


def test_pending_trials_get_new_resources(tmp_path: Path) -> None:
    whole = run(Curve, **arguments("fifo", tmp_path / "whole"))
    (segment,) = Path(whole.experiment_path).glob("journal-*.ctj")
    cut(tmp_path / "whole" / "e", tmp_path / "part" / "e", turns(segment)[2])
    again = run(
        Curve, **arguments("fifo", tmp_path / "part", resources_per_trial={"cpu": 2}, resume=True)
    )  # R132
    asked = [t.placement_group_factory.required_resources["CPU"] for t in again.trials]
    assert asked.count(2) >= 3
    assert outcome(again) == outcome(whole)


# --- Tuner.restore -----------------------------------------------------------------------


def tuner(tmp_path: Path) -> Any:
    return tune.Tuner(
        Fragile,
        param_space={"flag": str(tmp_path / "flag"), "n": tune.grid_search([0, 1, 2]), "x": 0.5},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(
            name="e", storage_path=str(tmp_path), stop={"training_iteration": 4}, verbose=0
        ),
    )


def test_a_tuner_is_restored(tmp_path: Path) -> None:
    (tmp_path / "flag").touch()
    grid = tuner(tmp_path).fit()
    assert grid.num_errors == 2
    (tmp_path / "flag").unlink()
    again = tune.Tuner.restore(str(tmp_path / "e"), Fragile)
    assert again.get_results().num_errors == 2
    assert again.fit().num_errors == 2
    (tmp_path / "e").rename(tmp_path / "moved")
    again = tune.Tuner.restore(str(tmp_path / "moved"), Fragile, resume_errored=True)
    grid = again.fit()
    assert grid.num_errors == 0
    assert [r.metrics["training_iteration"] for r in grid] == [4, 4, 4]
    assert grid.get_best_result().config["n"] in (0, 1, 2)


def test_what_tuner_restore_refuses(tmp_path: Path) -> None:
    tuner(tmp_path).fit()
    with pytest.raises(FileNotFoundError, match="path: .*nowhere"):
        tune.Tuner.restore(str(tmp_path / "nowhere"), Fragile)
    with pytest.raises(ValueError, match="trainable: .*'Fragile', not 'Curve'"):
        tune.Tuner.restore(str(tmp_path / "e"), Curve)
    with pytest.raises(ValueError, match="param_space: "):
        tune.Tuner.restore(str(tmp_path / "e"), Fragile, param_space={"z": 1})


def test_a_longer_budget_leaves_alone_what_a_stop_condition_ended(tmp_path: Path) -> None:
    first = run(Curve, **arguments("fifo", tmp_path, time_budget_s=100))
    again = run(Curve, **arguments("fifo", tmp_path, time_budget_s=200, resume=True))
    assert outcome(again) == outcome(first)
    assert [t.last_result["training_iteration"] for t in again.trials] == [5] * 6


def until(n: int) -> Any:
    return lambda _, result: result["training_iteration"] >= n


@pytest.mark.parametrize(
    "stop",
    [
        until,
        lambda n: tune.stopper.FunctionStopper(until(n)),
        lambda n: tune.stopper.CombinedStopper(tune.stopper.MaximumIterationStopper(n)),
        lambda n: tune.stopper.CombinedStopper(tune.stopper.FunctionStopper(until(n))),
    ],
    ids=["function", "stopper", "combined", "both"],
)
def test_a_finished_run_goes_on_if_a_function_or_a_member_changed(
    stop: Any, tmp_path: Path
) -> None:
    def go(n: int, **more: Any) -> list[int]:
        trials = run(Curve, **arguments("fifo", tmp_path, stop=stop(n), **more)).trials
        return [trial.last_result["training_iteration"] for trial in trials]

    assert go(3) == [3] * 6
    assert go(3, resume=True) == [3] * 6, "nothing changed"
    assert go(5, resume=True) == [5] * 6


def test_a_later_stop_leaves_alone_what_another_condition_ended(tmp_path: Path) -> None:
    class Line(Curve):
        def step(self) -> dict[str, Any]:
            self.i += 1
            return {"height": self.i if self.x > 0.5 else 0}

    def line(n: int, resume: bool) -> list[int]:
        stop = {"training_iteration": n, "height": 3}
        more = {"config": {"x": tune.grid_search([0.1, 0.9])}, "num_samples": 1}
        more |= {"metric": None, "mode": None, "resume": resume}
        analysis = run(Line, **arguments("fifo", tmp_path, **{"stop": stop, **more}))
        return [t.last_result["training_iteration"] for t in analysis.trials]

    assert line(5, False) == [5, 3]
    assert line(8, True) == [8, 3]
    assert line(9, True) == [9, 3]


class UpTo(tune.Stopper):
    """Written in Python, with a memory."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.seen: dict[str, int] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.seen[trial_id] = self.seen.get(trial_id, 0) + 1
        return self.seen[trial_id] >= self.n

    def stop_all(self) -> bool:
        return False


def joined(n: int) -> Any:
    stopper = tune.stopper
    return stopper.CombinedStopper(stopper.MaximumIterationStopper(n), stopper.TimeoutStopper(99))


CONDITIONS: dict[str, Callable[[int], Any]] = {
    "function": lambda n: lambda trial_id, result: result["training_iteration"] >= n,
    "python": UpTo,
    "joined": joined,
    "list": lambda n: [tune.stopper.MaximumIterationStopper(n), UpTo(n + 1)],
}


@pytest.mark.parametrize("kind", CONDITIONS)
def test_any_later_stop_lets_trials_go_on_and_the_same_one_does_not(
    kind: str, tmp_path: Path
) -> None:
    def ended(n: int, resume: bool) -> list[int]:
        stop = CONDITIONS[kind](n)
        analysis = run(Curve, **arguments("fifo", tmp_path, stop=stop, resume=resume))
        return [t.last_result["training_iteration"] for t in analysis.trials]

    assert [ended(2, False), ended(2, True), ended(4, True)] == [[n] * 6 for n in (2, 2, 4)]


class Bang(tune.Callback):
    """Ends the run at a result."""

    def __init__(self, at: int) -> None:
        self.left = at

    def on_trial_result(self, **info: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("as asked")


class Judge(HyperBandScheduler):
    """Written in Python, with a memory."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.results = 0

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self.results += 1
        if self.results == 9:
            return self.STOP
        return super().on_trial_result(controller, trial, result)


@pytest.mark.parametrize("scheduler", [HyperBandScheduler, Judge])
@pytest.mark.parametrize(
    "stop",
    [
        UpTo,
        lambda n: [
            tune.stopper.MaximumIterationStopper(n),
            tune.stopper.ExperimentPlateauStopper("loss", std=0.01, top=3, mode="min", patience=2),
        ],
    ],
)
def test_a_notebook_goes_on_with_the_objects_that_it_began_with(
    scheduler: Any, stop: Callable[[int], Any], tmp_path: Path
) -> None:
    def begin(where: str) -> dict[str, Any]:
        more = {"metric": None, "mode": None, "stop": stop(5)}
        more["scheduler"] = scheduler(max_t=8, reduction_factor=2, metric="loss", mode="min")
        return arguments("fifo", tmp_path / where) | more

    whole = outcome(run(Curve, **begin("whole")))
    cut = begin("part")
    for at in (9, 5):
        with pytest.raises(tune.TuneError, match="as asked"):
            run(Curve, **cut, callbacks=[Bang(at)], resume=at != 9)
    assert outcome(run(Curve, **cut, resume=True)) == whole
    assert outcome(run(Curve, **cut, resume=True)) == whole


def test_who_keeps_what_cannot_be_copied_is_told_that_it_hears_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop = UpTo(3)
    stop.lock = threading.Lock()  # type: ignore[attr-defined]
    run(Curve, **arguments("fifo", tmp_path, stop=stop))
    assert not caplog.records
    run(Curve, **arguments("fifo", tmp_path, stop=stop, resume=True))
    (record,) = caplog.records
    assert "stop: this UpTo was in a run of this process before" in record.getMessage()


def test_a_stopper_with_a_memory_is_not_asked_again(tmp_path: Path) -> None:
    def ended(n: int, resume: bool) -> list[int]:
        stop = tune.stopper.MaximumIterationStopper(n)
        analysis = run(Curve, **arguments("fifo", tmp_path, **{"stop": stop, "resume": resume}))
        return [t.last_result["training_iteration"] for t in analysis.trials]

    assert [ended(2, False), ended(4, True), ended(5, True)] == [[n] * 6 for n in (2, 4, 5)]


# --- callbacks with a state --------------------------------------------------------------


class Counting(tune.Callback):
    """Counts results, and ends the run at one of them."""

    def __init__(self, until: int = 0) -> None:
        self.n = 0
        self.until = until
        self.known_at_setup: int | None = None

    def setup(self, **info: Any) -> None:
        self.known_at_setup = self.n

    def on_trial_result(self, **info: Any) -> None:
        self.n += 1
        if self.n == self.until:
            raise RuntimeError("as asked")

    def get_state(self) -> dict[str, Any] | None:
        return {"n": self.n}

    def set_state(self, state: dict[str, Any]) -> None:
        self.n = state["n"]


def counted(tmp_path: Path, callback: Any, resume: bool, **more: Any) -> Any:
    trainable = more.pop("trainable", Curve)
    given = arguments("fifo", tmp_path, callbacks=[tune.Callback(), callback], resume=resume)
    return run(trainable, **{**given, **more})


def test_callbacks_get_their_states_back_before_their_setup(tmp_path: Path) -> None:
    with pytest.raises(tune.TuneError, match="as asked"):
        counted(tmp_path, Counting(until=7), resume=False)
    again = Counting(until=12)
    with pytest.raises(tune.TuneError, match="as asked"):
        counted(tmp_path, again, resume=True)
    assert (again.known_at_setup, again.n) == (7, 12)
    last = Counting()
    counted(tmp_path, last, resume=True)
    assert (last.known_at_setup, last.n) == (12, 6 * 5)


def test_states_of_callbacks_are_kept_while_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctune._resume._CALLBACKS_S", 0.0)
    monkeypatch.setattr("ctune._run._HEARTBEAT_S", 0.0)
    seen: list[int] = []

    class Looks(Counting):
        def on_trial_result(self, **info: Any) -> None:
            super().on_trial_result(**info)
            (path,) = (tmp_path / "e").glob("callback-states-*.pkl")
            seen.append(pickle.loads(path.read_bytes())[1]["n"])

    def stop(_: str, result: dict[str, Any]) -> bool:
        # The beats of a run have a share of its time: after a slow one the next is late.
        return (bool(seen) and seen[-1] > 0) or result["training_iteration"] >= 20_000

    counted(tmp_path, Looks(), resume=False, stop=stop)
    assert seen[0] == 0 and seen[-1] > 0, "as after a kill -9 at that moment"


def test_a_new_run_forgets_the_states_of_callbacks_of_an_older_one(tmp_path: Path) -> None:
    class Quiet(Counting):
        def get_state(self) -> dict[str, Any] | None:
            return None

    (tmp_path / "e").mkdir()
    old = tmp_path / "e" / "callback-states-2000-01-01_00-00-00.pkl"
    old.write_bytes(pickle.dumps({1: {"n": 500}}))
    counted(tmp_path, Quiet(), resume=False)
    again = Counting()
    counted(tmp_path, again, resume=True)
    assert again.known_at_setup == 0


def test_states_of_callbacks_that_cannot_be_read_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(tune.TuneError, match="as asked"):
        counted(tmp_path, Counting(until=7), resume=False)
    (path,) = (tmp_path / "e").glob("callback-states-*.pkl")
    path.write_bytes(b"junk")
    again = Counting()
    counted(tmp_path, again, resume=True)
    assert again.known_at_setup == 0
    assert "states of callbacks" in caplog.text and str(path) in caplog.text


def test_a_state_that_cannot_be_pickled_does_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(Counting):
        def get_state(self) -> dict[str, Any] | None:
            return {"n": threading.Lock()}

    analysis = counted(tmp_path, Odd(), resume=False)
    assert [t.status for t in analysis.trials] == ["TERMINATED"] * 6
    assert caplog.text.count("states of callbacks cannot be kept") == 1


# --- what a run that goes on must have ---------------------------------------------------


def files(directory: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize(
    ("parameter", "function"),
    [
        ("trial_name_creator", lambda trial: f"t{trial.trial_id}"),
        ("trial_dirname_creator", lambda trial: f"d{trial.trial_id}"),
        ("resources_per_trial", lambda config: {"cpu": 1 + round(config["x"])}),
    ],
)
def test_functions_that_answer_for_trials_come_and_go_with_an_error(
    parameter: str, function: Any, begins: bool, tmp_path: Path
) -> None:
    if parameter == "resources_per_trial":
        there: dict[str, Any] = {"trainable": tune.with_resources(Curve, function)}
    else:
        there = {parameter: function}
    first, second = (there, {}) if begins else ({}, there)
    with pytest.raises(tune.TuneError, match="as asked"):
        counted(tmp_path, Counting(until=7), resume=False, **first)
    before = files(tmp_path / "e")
    with pytest.raises(ValueError, match=rf"^{parameter}: .* was begun with"):
        counted(tmp_path, Counting(), resume=True, **second)
    assert files(tmp_path / "e") == before
    counted(tmp_path, Counting(), resume=True, **first)


def test_a_replay_that_fails_leaves_the_list_of_trials_as_it_was(tmp_path: Path) -> None:
    class Broken(MyScheduler):
        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            if self.seen and self.seen[0] < 0:
                raise RuntimeError("another scheduler of the same name")
            return super().on_trial_result(controller, trial, result)

    Broken.__name__ = "MyScheduler"
    with pytest.raises(tune.TuneError, match="as asked"):
        counted(tmp_path, Counting(until=7), resume=False, scheduler=MyScheduler())
    states = {p: p.read_bytes() for p in (tmp_path / "e").glob("*.json")}
    assert states
    broken = Broken()
    broken.seen.append(-1.0)
    with pytest.raises(tune.TuneError, match="another scheduler"):
        counted(tmp_path, Counting(), resume=True, scheduler=broken)
    assert {p: p.read_bytes() for p in (tmp_path / "e").glob("*.json")} == states
    last = Counting()
    counted(tmp_path, last, resume=True, scheduler=MyScheduler())
    assert last.known_at_setup == 7


def test_random_search_by_name_is_the_same_as_by_default(tmp_path: Path) -> None:
    with pytest.raises(tune.TuneError, match="as asked"):
        counted(tmp_path, Counting(until=7), resume=False, search_alg=None)
    analysis = counted(tmp_path, Counting(), resume=True, search_alg="variant_generator")
    assert [t.status for t in analysis.trials] == ["TERMINATED"] * 6


def listed(directory: Path) -> Any:
    """The newest file that lists the trials: its head, and what it says of each."""
    content = json.loads(max(directory.glob("experiment_state-*.json")).read_text())
    return content, content.pop("trial_data")


def test_where_all_trials_have_ended_their_list_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(Curve, **arguments("fifo", tmp_path))
    (before, trials), made = listed(tmp_path / "e"), []
    monkeypatch.setattr(Trial, "_stored", lambda self: made.append(self))
    run(Curve, **arguments("fifo", tmp_path, resume=True, metric="loss", mode="max"))
    (after, again) = listed(tmp_path / "e")
    assert made == [] and again == trials
    assert before["runner_data"]["_start_time"] < after["runner_data"]["_start_time"]
    assert before["ctune"]["journal"] != after["ctune"]["journal"]


@pytest.mark.parametrize("what", ["journal", "directory"])
def test_a_list_of_trials_of_another_moment_or_place_is_made_again(
    tmp_path: Path, what: str
) -> None:
    run(Curve, **arguments("fifo", tmp_path))
    head, trials = listed(tmp_path / "e")
    head["ctune"][what] = {"journal": [0, 99], "directory": "/elsewhere"}[what]
    (file,) = (tmp_path / "e").glob("experiment_state-*.json")
    file.write_text(json.dumps(head)[:-1] + ', "trial_data": [\n\n]}\n')
    run(Curve, **arguments("fifo", tmp_path, resume=True))
    assert listed(tmp_path / "e")[1] == trials


def test_one_of_several_experiments_does_not_go_on_alone(tmp_path: Path) -> None:
    def experiments() -> list[tune.Experiment]:
        return [
            tune.Experiment(
                name,
                Curve,
                config={"x": 0.1},
                stop={"training_iteration": 2},
                storage_path=str(tmp_path),
            )
            for name in ("one", "other")
        ]

    tune.run_experiments(experiments(), verbose=0)
    with pytest.raises(tune.TuneError, match="'.*other'.* run beside others"):
        tune.run_experiments(experiments()[1], resume=True, verbose=0)
    trials = tune.run_experiments(experiments(), resume=True, verbose=0)
    assert [trial.status for trial in trials] == ["TERMINATED"] * 2
