"""ctune repair: what is sound is kept, what was stays beside it, a running run is not touched."""

import os
import re

import pytest

import ctune
from ctune._lock import locked
from ctune.cli.scripts import cli

JOURNAL = "journal-000000.ctj"


@pytest.fixture
def experiment(tmp_path):
    """The directory of an experiment whose whole journal is one segment."""

    def train(config):
        for n in range(50):
            ctune.report({"n": n})

    class Reports(ctune.Callback):
        def on_trial_result(self, **info):
            pass  # so that each result is a write of its own

    ctune.init(executor="inline", num_cpus=1)
    ctune.run(train, storage_path=str(tmp_path), name="e", verbose=0, callbacks=[Reports()])
    ctune.shutdown()
    directory = tmp_path / "e"
    for path in directory.glob("snapshot-*.json"):
        path.unlink()
    for path in directory.glob("journal-*.ctj"):
        if path.name != JOURNAL:
            path.unlink()
    return directory


def repair(directory, *options):
    return cli(["repair", str(directory), *options])


def state(directory):
    return {name: (directory / name).read_bytes() for name in os.listdir(directory)
            if name.startswith(("journal", "snapshot"))}  # fmt: skip


def test_a_sound_journal_is_left_alone(experiment, capsys):
    before = state(experiment)
    assert repair(experiment) == 0
    said = capsys.readouterr().out
    assert re.search(rf"{JOURNAL}: sound, [\d,]+ bytes with \d+ turns and \d+ events", said)
    assert "Nothing is damaged." in said
    assert state(experiment) == before


def test_a_damaged_journal_is_cut_and_its_old_content_kept(experiment, capsys):
    path = experiment / JOURNAL
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)

    assert repair(experiment, "--dry-run") == 0
    assert "this was a dry run" in capsys.readouterr().out
    assert path.read_bytes() == data and len(state(experiment)) == 1

    assert repair(experiment) == 0
    said = capsys.readouterr().out
    found = re.search(
        rf"{JOURNAL}: damaged \(.*byte (\d+).*\); kept ([\d,]+) bytes with (\d+) turns and "
        rf"(\d+) events; dropped ([\d,]+) bytes with (\d+) turns and (\d+) events. "
        rf"As it was: (\S+)",
        said,
    )
    assert found, said
    kept, dropped = (int(found[i].replace(",", "")) for i in (2, 5))
    assert kept + dropped == len(data) and int(found[1]) >= kept
    assert int(found[3]) > 10 and int(found[6]) > 10
    assert path.read_bytes() == bytes(data[:kept])
    with open(found[8], "rb") as file:
        assert file.read() == data

    assert repair(experiment) == 0
    assert "Nothing is damaged." in capsys.readouterr().out


def test_a_damaged_header_costs_nothing(experiment, capsys):
    path = experiment / JOURNAL
    data = bytearray(path.read_bytes())
    whole = bytes(data)
    data[20] ^= 0xFF
    path.write_bytes(data)
    assert repair(experiment) == 0
    assert "with a new one all is kept" in capsys.readouterr().out
    assert path.read_bytes() == whole


def test_a_journal_that_a_run_writes_to_is_refused(experiment, capsys):
    before = state(experiment)
    with locked([str(experiment)]):
        assert repair(experiment) == 1
    assert f"locked by process {os.getpid()} on" in capsys.readouterr().err
    assert state(experiment) == before


def test_where_there_is_no_journal_that_is_said(tmp_path, capsys):
    assert repair(tmp_path / "nowhere") == 1
    assert "there is no directory" in capsys.readouterr().err
    assert repair(tmp_path) == 1
    assert "holds no journal" in capsys.readouterr().err


def test_a_journal_of_another_version_is_not_touched(experiment, capsys):
    from ctune import _ctune

    path = experiment / JOURNAL
    data = path.read_bytes()
    with pytest.raises(TypeError):
        _ctune.repair(str(experiment))
    at = data.index(b"ctunejnl") + 8
    body = bytearray(data[: at + 4])
    body[at] = 77
    # A header with a sound checksum: of type and payload.
    length = int.from_bytes(data[:4], "little")
    content = bytes(body[4:]) + data[at + 4 : 4 + length]
    path.write_bytes(data[:4] + content + crc32c(content).to_bytes(4, "little"))
    before = state(experiment)
    assert repair(experiment) == 1
    assert "use the version of ctune that wrote it" in capsys.readouterr().err
    assert state(experiment) == before


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_a_repaired_experiment_can_be_resumed(tmp_path):
    def train(config):
        n = 0
        checkpoint = ctune.get_checkpoint()
        if checkpoint is not None:
            with open(os.path.join(checkpoint.path, "n")) as file:
                n = int(file.read())
        while n < 12:
            n += 1
            (tmp_path / "source").mkdir(exist_ok=True)
            (tmp_path / "source" / "n").write_text(str(n))
            ctune.report(
                {"n": n}, checkpoint=ctune.Checkpoint.from_directory(str(tmp_path / "source"))
            )

    class Ends(ctune.Callback):
        def on_trial_result(self, result, **info):
            if result["n"] == 10:
                raise KeyboardInterrupt

    def run(**arguments):
        return ctune.run(train, storage_path=str(tmp_path), name="e", verbose=0, **arguments)

    ctune.init(executor="inline", num_cpus=1)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(callbacks=[Ends()])
        path = tmp_path / "e" / JOURNAL
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
        for snapshot in (tmp_path / "e").glob("snapshot-*.json"):
            snapshot.unlink()
        with pytest.raises(Exception, match="`ctune repair`"):
            run(resume=True)
        assert repair(tmp_path / "e") == 0
        [trial] = run(resume=True).trials
    finally:
        ctune.shutdown()
    assert trial.status == "TERMINATED" and trial.last_result["n"] == 12


def test_a_journal_without_its_beginning_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CTUNE_SNAPSHOT_BYTES", "0")

    class Counts(ctune.Trainable):
        def step(self):
            return {"n": self.iteration + 1}

    def run(stop, **arguments):
        return ctune.run(
            Counts, storage_path=str(tmp_path), name="e", verbose=0, stop={"n": stop}, **arguments
        )

    ctune.init(executor="inline", num_cpus=1)
    try:
        run(2)
        run(4, resume=True)
        first = tmp_path / "e" / JOURNAL
        for size in (60, 0, None):  # None: gone
            if size is None:
                first.unlink()
            else:
                os.truncate(first, size)
            with pytest.raises(ctune.TuneError, match=r"goes on with a run whose beginning"):
                run(6, resume=True)
    finally:
        ctune.shutdown()
    assert repair(tmp_path / "e") == 1
    assert "Put them back" in capsys.readouterr().err


def test_it_is_said_when_nothing_is_left(experiment, capsys):
    path = experiment / JOURNAL
    path.write_bytes(b"no journal" * 100)
    assert repair(experiment) == 0
    assert "Nothing is left that a run could go on from." in capsys.readouterr().out
