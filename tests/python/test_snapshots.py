"""Snapshots keep a run's journal short; a run that goes on from one decides as the uncut one."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_resume import SCHEDULERS, Curve, arguments, curve, outcome, run

import ctune as tune
from ctune.search import BasicVariantGenerator


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CTUNE_SNAPSHOT_BYTES", "400")
    tune.init(executor="inline", num_cpus=3, journal_sync="none")  # nobody pulls the plug
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
    whole = run(trainable, **arguments(scheduler, tmp_path / "whole", callbacks=[copies], **more))
    return outcome(whole)


def go_on(scheduler: str, storage: Path, trainable: Any, **more: Any) -> list[Any]:
    if trainable is Curve:
        more.setdefault("checkpoint_config", tune.CheckpointConfig(checkpoint_frequency=2))
    return outcome(run(trainable, **arguments(scheduler, storage, resume=True, **more)))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_run_that_goes_on_from_a_snapshot_decides_as_the_uncut_one(
    scheduler: str, tmp_path: Path
) -> None:
    kill_everywhere(scheduler, tmp_path, every=16)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_run_goes_on_from_a_snapshot_at_every_step(scheduler: str, tmp_path: Path) -> None:
    kill_everywhere(scheduler, tmp_path, every=1)


@pytest.mark.parametrize("scheduler", ["fifo", "asha-brackets"])
def test_draws_from_the_stream_of_everybody_go_on_too(scheduler: str, tmp_path: Path) -> None:
    grid: dict[str, Any] = {"config": {"x": tune.uniform(0, 1), "g": tune.grid_search([1, 2])}}
    kill_everywhere(scheduler, tmp_path, every=11, search_alg=None, num_samples=4, **grid)


def kill_everywhere(scheduler: str, tmp_path: Path, every: int, **more: Any) -> None:
    expected = watched(scheduler, tmp_path, Curve, every, **more)
    whole = tmp_path / "whole" / "e"
    assert len(snapshots(whole)) == 2, "the last two are kept"
    assert len(segments(whole)) == 2
    assert segments(whole)[0] > "journal-000005.ctj", "there were many"
    cuts = sorted((tmp_path / "cuts").iterdir())
    assert len(cuts) > 1
    for place in cuts:
        assert go_on(scheduler, place, Curve, **more) == expected, f"cut at step {place.name}"


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_a_function_without_checkpoints_goes_on_unheard(scheduler: str, tmp_path: Path) -> None:
    expected = watched(scheduler, tmp_path, curve, every=7)
    for place in sorted((tmp_path / "cuts").iterdir()):
        assert go_on(scheduler, place, curve) == expected, f"cut at step {place.name}"


def test_an_experiment_that_has_moved_goes_on_from_its_snapshot(tmp_path: Path) -> None:
    expected = watched("fifo", tmp_path, Curve, every=20)
    cut = sorted((tmp_path / "cuts").iterdir())[0]
    assert snapshots(cut / "e")
    shutil.rmtree(tmp_path / "whole")  # nothing can be found where it was
    cut.rename(tmp_path / "elsewhere")
    assert go_on("fifo", tmp_path / "elsewhere", Curve) == expected


# --- damage, and deaths between the steps of a snapshot ------------------------------------


def one_cut(tmp_path: Path) -> tuple[list[Any], Path]:
    """What the uncut run gives, and a copy from its middle, with two snapshots."""
    expected = watched("asha", tmp_path, Curve, every=25)
    cut = sorted((tmp_path / "cuts").iterdir())[0]
    assert len(snapshots(cut / "e")) == 2
    return expected, cut


@pytest.mark.parametrize("part", ["json", "bin"])
@pytest.mark.parametrize("damage", ["bit", "half", "empty", "gone"])
def test_a_damaged_snapshot_gives_way_to_the_one_before(
    damage: str, part: str, tmp_path: Path
) -> None:
    expected, cut = one_cut(tmp_path)
    newest = (cut / "e" / snapshots(cut / "e")[-1]).with_suffix(f".{part}")
    data = bytearray(newest.read_bytes())
    if damage == "bit":
        data[len(data) // 2] ^= 1
    newest.write_bytes(data if damage == "bit" else data[: len(data) // 2 * (damage == "half")])
    if damage == "gone":
        newest.unlink()
    assert go_on("asha", cut, Curve) == expected


@pytest.mark.slow
def test_random_damage_to_snapshots_loses_nothing_or_is_told(tmp_path: Path) -> None:
    """The run goes on as the uncut one, or an error names the damage; nothing is made up."""
    expected, cut = one_cut(tmp_path)
    draw = random.Random(1)
    parts = sorted((cut / "e").glob("snapshot-*"))
    told = 0
    for i in range(200):
        place = tmp_path / "damaged"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(cut, place)
        for part in parts if i % 4 == 0 else draw.sample(parts, 1):
            file = place / "e" / part.name
            data = bytearray(file.read_bytes())
            for _ in range(draw.randrange(1, 4)):
                at = draw.randrange(len(data))
                if draw.random() < 0.3:
                    del data[at:]
                    data += b" "
                else:
                    data[at] ^= draw.randrange(1, 256)
            file.write_bytes(data)
        try:
            assert go_on("asha", place, Curve) == expected, f"damage {i}"
        except (tune.TuneError, ValueError) as error:
            told += 1
            assert "snapshot-" in str(error), f"damage {i}"
    assert 20 <= told <= 60, "only where both are damaged"


def test_without_a_snapshot_that_can_be_read_nothing_is_made_up(tmp_path: Path) -> None:
    _, cut = one_cut(tmp_path)
    for name in snapshots(cut / "e"):
        (cut / "e" / name).write_bytes(b"{}")
    with pytest.raises(Exception, match="snapshot-.*checksum"):
        go_on("asha", cut, Curve)


def test_a_death_at_any_step_of_a_snapshot_loses_nothing(tmp_path: Path) -> None:
    """Order: new segment, snapshot aside, renamed, older snapshots gone, older segments gone."""
    expected, cut = one_cut(tmp_path)
    last = int(segments(cut / "e")[-1].removeprefix("journal-").removesuffix(".ctj"))
    before, newest = snapshots(cut / "e")
    header = (cut / "e" / f"journal-{last:06d}.ctj").read_bytes()
    header = header[: 4 + int.from_bytes(header[:4], "little") + 4]

    def steps(place: Path) -> Iterator[None]:
        """Leaves what each death leaves, from the last step to the first."""
        segment = place / f"journal-{last:06d}.ctj"
        segment.write_bytes(header)
        yield  # nothing of the new segment was written yet
        segment.unlink()
        yield  # its name was not durable
        segment.write_bytes(header)
        (place / newest).rename(place / f".tmp-{newest}")
        yield  # not renamed
        segment.unlink()
        yield
        (place / f".tmp-{newest}").unlink()
        yield  # nothing was begun

    n = len(list(steps_of(cut, tmp_path / "probe", steps, None)))
    for k in range(n):
        place = tmp_path / f"death-{k}"
        list(steps_of(cut, place, steps, k))
        assert go_on("asha", place, Curve) == expected, f"death {k}"
    assert before < newest


def steps_of(cut: Path, place: Path, steps: Any, upto: int | None) -> Iterator[int]:
    """Copies an experiment and carries out its steps up to one of them."""
    shutil.copytree(cut, place)
    for k, _ in enumerate(steps(place / "e")):
        yield k
        if k == upto:
            return


class Stubborn:
    """An object that cannot be pickled."""

    def __deepcopy__(self, memo: Any) -> "Stubborn":
        return self

    def __reduce__(self) -> Any:
        raise TypeError("no pickle of me")


def no_snapshots(tmp_path: Path, caplog: pytest.LogCaptureFixture, **more: Any) -> str:
    """What a run logs that writes none, once."""
    analysis = run(Curve, **arguments("fifo", tmp_path, **more))
    assert [t.status for t in analysis.trials] == ["TERMINATED"] * 6
    (told,) = (r.message for r in caplog.records if "No snapshot was written" in r.message)
    assert segments(tmp_path / "e") == ["journal-000000.ctj"]
    assert snapshots(tmp_path / "e") == []
    return str(told)


def test_an_object_that_cannot_be_pickled_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # no params.pkl either
    told = no_snapshots(tmp_path, caplog, config={"x": tune.uniform(0, 1), "o": Stubborn()})
    assert "cannot be pickled" in told


def test_a_snapshot_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "e" / ".tmp-snapshot-000001.json").mkdir(parents=True)  # in its way
    assert "snapshot-000001.json" in no_snapshots(tmp_path, caplog)


# --- going on otherwise --------------------------------------------------------------------


def test_more_samples_and_a_later_stop_go_on_from_a_snapshot(tmp_path: Path) -> None:
    more: dict[str, Any] = {"checkpoint_config": tune.CheckpointConfig(checkpoint_frequency=1)}
    run(Curve, **arguments("fifo", tmp_path / "s", **more))
    more |= {"num_samples": 9, "stop": {"training_iteration": 7}}
    expected = run(Curve, **arguments("fifo", tmp_path / "whole", **more))
    again = run(Curve, **arguments("fifo", tmp_path / "s", resume=True, **more))
    for one, other in zip(outcome(again), outcome(expected), strict=True):
        assert [r["loss"] for r in one[2]] == [r["loss"] for r in other[2]]
        assert one[:2] == other[:2]
    assert len({t.trial_id.rsplit("_", 1)[0] for t in again.trials}) == 1


@pytest.mark.parametrize("first", [5, 40])  # of 40 results only statistics are left
def test_other_stop_conditions_hear_of_what_was_before(first: int, tmp_path: Path) -> None:
    more: dict[str, Any] = {"checkpoint_config": tune.CheckpointConfig(checkpoint_frequency=1)}
    more["stop"] = {"training_iteration": first}
    run(Curve, **arguments("fifo", tmp_path, **more))
    more["stop"] = tune.stopper.MaximumIterationStopper(first + 2)
    again = run(Curve, **arguments("fifo", tmp_path, resume="AUTO", **more))
    assert [t.last_result["training_iteration"] for t in again.trials] == [first + 2] * 6


def test_a_condition_that_is_not_new_does_not_hear_of_it_twice(tmp_path: Path) -> None:
    plateau = tune.stopper.TrialPlateauStopper("loss", std=0.0, num_results=90)
    steps = tune.stopper.MaximumIterationStopper

    def go(*conditions: Any, **more: Any) -> Any:
        more["checkpoint_config"] = tune.CheckpointConfig(checkpoint_frequency=1)
        more["stop"] = tune.stopper.CombinedStopper(*conditions)
        return run(Curve, **arguments("fifo", tmp_path, **more))

    go(steps(5))
    again = go(plateau, steps(9), resume="AUTO")
    assert [t.last_result["training_iteration"] for t in again.trials] == [9] * 6


@pytest.mark.parametrize("steps", [30, 2500])
def test_statistics_and_newest_values_do_not_depend_on_snapshots(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTUNE_SNAPSHOT_BYTES", str(steps * 60))
    more: dict[str, Any] = {"checkpoint_config": tune.CheckpointConfig(checkpoint_frequency=50)}
    more |= {"num_samples": 2, "stop": {"training_iteration": steps}}
    run(Curve, **arguments("fifo", tmp_path / "s", **more))
    assert snapshots(tmp_path / "s" / "e")
    more["stop"] = {"training_iteration": steps + 100}
    again = run(Curve, **arguments("fifo", tmp_path / "s", resume="AUTO", **more))
    whole = run(Curve, **arguments("fifo", tmp_path / "whole", **more))
    for one, other in zip(again.trials, whole.trials, strict=True):
        assert one.metric_analysis["loss"] == other.metric_analysis["loss"]
        assert one.metric_n_steps["loss"] == other.metric_n_steps["loss"]
        rows = [json.loads(line)["loss"] for line in (Path(one.path) / "result.json").open()]
        assert one.metric_n_steps["loss"]["10"] == rows[-10:]
        assert one.metric_analysis["loss"]["max"] == max(rows)
        assert one.metric_analysis["loss"]["avg"] == pytest.approx(sum(rows) / len(rows))


def test_several_experiments_go_on_from_a_snapshot(tmp_path: Path) -> None:
    def experiments(place: Path) -> list[Any]:
        return [
            tune.Experiment(
                name,
                Curve,
                config={"x": tune.uniform(0, 1)},
                num_samples=3,
                stop={"training_iteration": n},
                storage_path=str(place),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
            )
            for name, n in (("a", 4), ("b", 6))
        ]

    class Stops(tune.Callback):
        def on_trial_result(self, trials: Any, **info: Any) -> None:
            if sum(t.last_result.get("training_iteration", 0) for t in trials) == 20:
                raise KeyboardInterrupt

    def go(place: Path, **more: Any) -> list[Any]:
        np_state = {"search_alg": BasicVariantGenerator(random_state=3), "verbose": 0, **more}
        return outcome(run(experiments(place), **np_state))

    expected = go(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "part", callbacks=[Stops()])
    assert snapshots(tmp_path / "part" / "a")
    assert go(tmp_path / "part", resume=True) == expected


def test_a_run_that_went_on_many_times_keeps_few_files(tmp_path: Path) -> None:
    class Stops(tune.Callback):
        n = 0

        def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
            self.n += 1
            if self.n == 12:
                raise KeyboardInterrupt

    expected = watched("fifo", tmp_path, Curve, every=1000)
    more: dict[str, Any] = {"checkpoint_config": tune.CheckpointConfig(checkpoint_frequency=2)}
    for attempt in range(20):
        try:
            again = run(
                Curve,
                **arguments(
                    "fifo", tmp_path / "part", resume=attempt > 0, callbacks=[Stops()], **more
                ),
            )
            break
        except KeyboardInterrupt:
            assert len(snapshots(tmp_path / "part" / "e")) <= 2
            assert len(segments(tmp_path / "part" / "e")) <= 6
    assert attempt > 2
    assert outcome(again) == expected


def test_objects_in_configs_come_back(tmp_path: Path) -> None:
    box = {"config": {"x": tune.uniform(0, 1), "big": complex(1, 2), "t": (1, (2.5, None))}}
    copies = Copies(tmp_path / "cuts", 25)
    run(Curve, **arguments("fifo", tmp_path / "whole", callbacks=[copies], **box))
    cut = sorted((tmp_path / "cuts").iterdir())[0]
    assert snapshots(cut / "e")
    again = run(Curve, **arguments("fifo", cut, resume=True, **box))
    assert all(t.config["big"] == complex(1, 2) for t in again.trials)
    assert all(t.config["t"] == (1, (2.5, None)) for t in again.trials)
    whole = json.loads((Path(again.trials[0].local_path) / "params.json").read_text())
    assert whole["x"] == again.trials[0].config["x"]
