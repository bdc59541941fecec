"""Opening experiments from disk: those of Ray Tune, without Ray, and our own."""

import functools
import importlib.util
import json
import math
import operator
import os
import pickle
import pickletools
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ctune
from ctune import ExperimentAnalysis
from ctune._storage import StorageContext
from ctune._unpickle import Unread, read_pickle
from ctune.experiment import Trial
from ctune.experiment._state import write_state
from ctune.result_grid import ResultGrid

pytest.importorskip("pandas")

REFERENCE = Path(__file__).parent.parent / "reference"


def load_recorder():
    spec = importlib.util.spec_from_file_location("recorder", REFERENCE / "record_experiment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECORDER = load_recorder()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The folders that the reference wrote, and what it said of them."""
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(REFERENCE / "experiment.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder, json.loads((folder / "answers.json").read_text())


def told(folder, name):
    analysis = ExperimentAnalysis(folder / name)
    return RECORDER.tell(analysis, ResultGrid(analysis), RECORDER.error_name)


@pytest.mark.parametrize("name", ["functions", "classes"])
def test_an_experiment_of_the_reference_tells_what_it_told_there(recorded, name):
    folder, answers = recorded
    got, expected = json.loads(json.dumps(told(folder, name))), answers[name]
    for mine, theirs in zip(got.pop("trials"), expected.pop("trials"), strict=True):
        # A worker's exception comes as it was raised, not in a wrapper.
        theirs["repr"] = re.sub(r"RayTaskError\((\w+)\)", r"\1", theirs["repr"])
        for key in theirs:
            assert mine[key] == theirs[key], (mine["id"], key)
    for key in expected:
        assert got[key] == expected[key], key
    assert "ray" not in sys.modules


# --- experiments of our own -------------------------------------------------------------------


class Boom(Exception):
    pass


def double(x):
    return 2 * x


def train(config):
    for step in range(4):
        if config["x"] == 3 and step == 2:
            raise Boom("too large")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "step").write_text(str(step))
            loss = math.nan if config["x"] == 4 else (config["x"] - 1) ** 2 + 1 / (step + 1)
            ctune.report(
                {"loss": loss, "deep": {"er": {"step": step}}, "array": np.arange(3)},
                checkpoint=ctune.Checkpoint(folder),
            )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run's analysis, whose state file is written."""
    ctune.init(executor="inline")
    analysis = ctune.run(
        train,
        name="experiment",
        storage_path=tmp_path_factory.mktemp("own"),
        config={"x": ctune.grid_search([0, 1, 2, 3, 4]), "f": double, "pair": [1, "a/b"]},
        metric="loss",
        mode="min",
        checkpoint_config=ctune.CheckpointConfig(
            num_to_keep=2, checkpoint_score_attribute="loss", checkpoint_score_order="min"
        ),
        raise_on_failed_trial=False,
        verbose=0,
    )
    for file in Path(analysis.experiment_path).glob("experiment_state-*.json"):
        file.unlink()
    write_state(analysis.experiment_path, session_of(analysis), analysis.trials, metric="loss")
    return analysis


def session_of(analysis):
    """Not later than the date in the names of its trials' directories."""
    return analysis.trials[0].path[-19:]


@pytest.fixture
def moved(finished, tmp_path):
    """A copy of the experiment elsewhere."""
    return Path(shutil.copytree(finished.experiment_path, tmp_path / "moved"))


def state_of(folder):
    (file,) = folder.glob("experiment_state-*.json")
    return file


def test_an_experiment_from_disk_tells_what_the_run_told(finished, moved):
    live = RECORDER.tell(finished, ResultGrid(finished), RECORDER.error_name)
    assert live["num_errors"] == 1 and live["errors"] == ["too large"]
    got = told(moved.parent, "moved")
    for mine, theirs in zip(got.pop("trials"), live.pop("trials"), strict=True):
        for key in theirs:
            # As text: JSON turns tuples into lists and keys into text.
            assert json.dumps(mine[key]) == json.dumps(theirs[key]), key
    for key in live:
        assert json.dumps(got[key]) == json.dumps(live[key]), key


def test_objects_come_back_as_they_were(moved):
    analysis = ExperimentAnalysis(moved, default_metric="loss", default_mode="min")
    assert analysis.best_config["f"](21) == 42
    assert isinstance(analysis.best_result["array"], np.ndarray)
    assert analysis.best_checkpoint.path.startswith(str(moved))
    assert Path(analysis.best_checkpoint.path, "step").read_text() == "3"


def test_only_standard_types_and_no_class_of_ours_are_pickled(moved):
    text = state_of(moved).read_text()
    found = {bytes.fromhex(digits) for digits in re.findall(r'\\"(80[0-9a-f]+)\\"', text)}
    names = set()
    for data in found:
        strings = []
        for opcode, argument, _ in pickletools.genops(data):
            if "UNICODE" in opcode.name:
                strings.append(argument)
            elif opcode.name == "STACK_GLOBAL":
                names.add(".".join(strings[-2:]))
    assert {name for name in names if name.startswith(("ctune", "ray"))} == set()
    assert "types.SimpleNamespace" in names


def test_a_state_file_is_json_with_a_trial_on_each_line(moved):
    text = state_of(moved).read_text()
    content = json.loads(text)
    assert content["runner_data"]["_metric"] == "loss"
    assert len(content["trial_data"]) == 5
    assert len(text.splitlines()) == 7
    state, run = map(json.loads, content["trial_data"][0])
    assert state["status"] == "TERMINATED" and run["last_result"]["training_iteration"] == 4


def test_trials_in_directories_beside_the_experiment_are_found(finished, moved):
    trial = ctune.experiment.Trial.from_directory(finished.trials[0].path, stub=True)
    shutil.copytree(trial.path, moved.parent / "second" / "trial")
    trial._path = str(moved.parent / "second" / "trial")
    write_state(str(moved), "2098-01-01_00-00-00", [trial])
    (read,) = ExperimentAnalysis(moved).trials
    assert read.path == trial.path
    assert read.local_experiment_path == str(moved.parent / "second")


def test_a_state_file_that_cannot_be_written_leaves_the_old_one(moved, finished):
    file = state_of(moved)
    before = file.read_bytes()

    class Failing:
        def _stored(self):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_state(str(moved), session_of(finished), [Failing()])
    assert file.read_bytes() == before
    assert not list(moved.glob("*.part"))


class Unpicklable:
    def __reduce__(self):
        raise TypeError("never")

    def __str__(self):
        return "a lock"


def test_what_json_and_pickle_cannot_hold_is_written_all_the_same(tmp_path):
    big = np.arange(100_000.0)
    loop = []
    loop.append(loop)
    config = {"lock": Unpicklable(), "keys": {(1, 2): 3}, "big": big, "set": {1}, "loop": loop,
              "int": np.int64(3), "nan": math.nan}  # fmt: skip
    trial = Trial("train", config=config, trial_id="t1",
                  storage=StorageContext(str(tmp_path), "exp", "dir"))  # fmt: skip
    trial.init_local_path()
    folder = tmp_path / "exp"
    file = Path(write_state(str(folder), "2026-01-01_00-00-00", [trial]))
    assert file.stat().st_size < 20_000
    (read,) = ExperimentAnalysis(folder).trials
    assert read.config["lock"] == "a lock"
    assert read.config["keys"] == {(1, 2): 3} and read.config["set"] == {1}
    assert read.config["int"] == 3 and math.isnan(read.config["nan"])
    assert read.config["big"] == {"_type": "CTUNE_LARGE"}
    # Where there is a params.pkl, it has the large ones.
    (folder / "dir" / "params.pkl").write_bytes(pickle.dumps({"big": big}))
    (read,) = ExperimentAnalysis(folder).trials
    assert np.array_equal(read.config["big"], big)


# --- runs that were killed --------------------------------------------------------------------


def test_without_a_state_file_the_directories_tell(moved):
    state_of(moved).unlink()
    analysis = ExperimentAnalysis(moved, default_metric="loss", default_mode="min")
    assert [trial.config["x"] for trial in analysis.trials] == [0, 1, 2, 3, 4]
    assert analysis.best_config["f"](21) == 42
    assert [trial.experiment_tag for trial in analysis.trials][:2] == ["0_x=0", "1_x=1"]
    # A function that returned left no mark of it.
    statuses = [trial.status for trial in analysis.trials]
    assert statuses == ["PENDING", "PENDING", "PENDING", "ERROR", "PENDING"]
    assert analysis.trials[3].num_failures == 1
    assert analysis.trials[3].get_error().rstrip().endswith("too large")
    assert Path(analysis.best_checkpoint.path).name == "checkpoint_000003"
    assert analysis.best_trial.metric_analysis["loss"]["max"] == 1.0


def test_a_trial_that_stopped_at_a_condition_is_known_to_have_ended(tmp_path):
    ctune.init(executor="inline", ignore_reinit_error=True)
    analysis = ctune.run(train, config={"x": 1}, stop={"training_iteration": 2},
                         name="e", storage_path=tmp_path, verbose=0)  # fmt: skip
    for file in Path(analysis.experiment_path).glob("experiment_state-*.json"):
        file.unlink()
    (trial,) = ExperimentAnalysis(analysis.experiment_path).trials
    assert trial.status == Trial.TERMINATED
    assert trial.trainable_name == "train"
    assert str(trial) == str(analysis.trials[0])


def test_results_that_are_newer_than_the_state_file_count(moved):
    trial = ExperimentAnalysis(moved).trials[1]
    last = dict(trial.last_result, training_iteration=5, loss=-7.0, done=True, array=0, config={})
    with open(f"{trial.path}/result.json", "a") as file:
        file.write(json.dumps(last) + "\n")
        file.write('{"loss": -8')  # being written when the run was killed
    again = ExperimentAnalysis(moved).trials[1]
    assert again.last_result["loss"] == -7.0
    assert again.metric_analysis["loss"]["min"] == -7.0
    assert len(ExperimentAnalysis(moved).trial_dataframes[trial.trial_id]) == 5
    assert again.config["f"](21) == 42


def test_copies_of_result_files_are_not_taken_for_newer_results(moved):
    for path in moved.glob("*/result.json"):
        os.utime(path, (2e9, 2e9))
    assert {t.status for t in ExperimentAnalysis(moved).trials} == {"TERMINATED", "ERROR"}


def test_trials_that_started_after_the_state_file_are_found_and_older_ones_are_not(moved):
    state = state_of(moved)
    first = ExperimentAnalysis(moved).trials[0]
    for name in ("train_abcde_00000_0_x=9_2099-01-01_00-00-00",
                 "train_abcde_00001_0_x=9_1999-01-01_00-00-00"):  # fmt: skip
        shutil.copytree(first.path, moved / name)
    assert len(ExperimentAnalysis(moved).trials) == 6
    assert len(ExperimentAnalysis(state).trials) == 5
    # A run says at its start that those of earlier ones are not its own.
    write_state(str(moved), "2098-01-01_00-00-00", [])
    (late,) = ExperimentAnalysis(moved).trials
    assert late.path.endswith("2099-01-01_00-00-00")


def test_a_table_is_read_from_progress_csv(moved):
    state_of(moved).unlink()
    before = ExperimentAnalysis(moved).trials[2]
    os.remove(f"{before.path}/result.json")
    trial = ExperimentAnalysis(moved).trials[2]
    assert trial.last_result["loss"] == before.last_result["loss"]
    assert trial.last_result["deep"] == {"er": {"step": 3}}
    assert trial.metric_analysis["loss"] == before.metric_analysis["loss"]


def test_a_table_whose_columns_contradict_each_other_is_a_warning(tmp_path, caplog):
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "progress.csv").write_text("a,a/b\r\n1,2\r\n")
    (trial,) = ExperimentAnalysis(tmp_path).trials
    assert trial.last_result == {}
    assert "a/b" in caplog.text


# --- bad input --------------------------------------------------------------------------------


def test_no_experiment_says_where_it_looked_and_what_to_give(tmp_path):
    with pytest.raises(ValueError, match="no directory .*nothing.*storage_path"):
        ExperimentAnalysis(tmp_path / "nothing")
    with pytest.raises(ValueError, match="holds no experiment.*storage_path"):
        ExperimentAnalysis(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"experiment_state-x\.json"):
        ExperimentAnalysis(tmp_path / "experiment_state-x.json")
    (tmp_path / "experiment_state-x.json").mkdir()
    with pytest.raises(OSError, match=r"experiment_state-x\.json"):
        ExperimentAnalysis(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"trial_data": 3}', '{"trial_data": [["{}", "{}"]]}', "\ufffd",
     '{"trial_data": [["{\\"trial_id\\": 1", "{}"]]}'],
)  # fmt: skip
def test_a_damaged_state_file_is_named_and_the_directories_tell(moved, caplog, text):
    file = state_of(moved)
    file.write_text(text)
    with pytest.raises(ValueError, match=f"{file} is damaged.*directory is opened"):
        ExperimentAnalysis(file)
    assert len(ExperimentAnalysis(moved).trials) == 5
    assert "is damaged" in caplog.text
    for folder in moved.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    with pytest.raises(ValueError, match="is damaged"):
        ExperimentAnalysis(moved)


def test_every_truncation_of_a_state_file_is_noticed(finished, tmp_path):
    text = Path(finished.experiment_path, state_of(Path(finished.experiment_path))).read_text()
    file = tmp_path / "experiment_state-2026-01-01_00-00-00.json"
    for length in range(0, len(text.rstrip()), 997):
        file.write_text(text[:length])
        with pytest.raises(ValueError, match="is damaged"):
            ExperimentAnalysis(tmp_path)


def test_a_file_of_a_newer_version_asks_for_an_upgrade(moved):
    file = state_of(moved)
    file.write_text(json.dumps({**json.loads(file.read_text()), "ctune": {"version": 2}}))
    with pytest.raises(ValueError, match="newer version.*pip install -U ctune"):
        ExperimentAnalysis(moved)


def test_results_damaged_in_the_middle_are_read_up_to_there(moved, caplog):
    state_of(moved).unlink()
    trial = ExperimentAnalysis(moved).trials[0]
    path = Path(trial.path, "result.json")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "garbage", *lines[2:]]) + "\n")
    analysis = ExperimentAnalysis(moved)
    assert analysis.trials[0].last_result["training_iteration"] == 1
    assert f"{path}: line 2" in caplog.text
    assert analysis.trial_dataframes[trial.trial_id].empty


def test_ten_thousand_metrics_are_read(tmp_path):
    folder = tmp_path / "train_abcde_00000_0_2026-01-01_00-00-00"
    folder.mkdir()
    result = {f"m{i}": i for i in range(10_000)}
    (folder / "result.json").write_text(json.dumps(result) + "\n")
    analysis = ExperimentAnalysis(tmp_path)
    assert analysis.trials[0].last_result == result
    assert analysis.trials[0].trial_id == "abcde_00000"
    assert analysis.dataframe().shape == (1, 10_001)


def test_opening_leaves_the_files_alone(moved):
    def listing():
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in moved.rglob("*")}

    before = listing()
    grid = ResultGrid(ExperimentAnalysis(moved))
    repr(grid), grid.get_dataframe()
    assert listing() == before


# --- pickles ----------------------------------------------------------------------------------


class Calls:
    """Pickled as a call of something."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


RAN = []


def note_that_it_ran(*args):
    RAN.append(args)


class WithCode(Exception):
    def __init__(self, text):
        note_that_it_ran(text)
        super().__init__(text)


@pytest.mark.parametrize(
    "thing",
    [
        Calls(os.system, "false"),
        Calls(eval, "1"),
        Calls(exec, "1"),
        Calls(open, "/dev/null"),
        Calls(subprocess.Popen, ["false"]),
        Calls(type, "X", (), {}),
        Calls(note_that_it_ran, 1),
        Calls(functools.partial(note_that_it_ran, 1)),
        Calls(operator.methodcaller("upper"), "x"),
        WithCode("x"),
    ],
)
def test_reading_a_pickle_calls_no_code_that_it_asks_for(thing):
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        data = cloudpickle.dumps({"good": 1, "bad": thing})
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    RAN.clear()
    value = read_pickle(data)
    assert RAN == []
    assert value["good"] == 1
    assert isinstance(value["bad"], Unread)
    assert "unread" in repr(value["bad"])


def test_a_pickle_cannot_change_functions_and_classes_that_exist():
    from cloudpickle import cloudpickle as helpers

    for target, call in (
        (json.dumps, Calls(helpers._function_setstate, json.dumps, ({"x": 1}, {}))),
        (Trial, Calls(helpers._class_setstate, Trial, ({"x": 1}, {}))),
    ):
        assert isinstance(read_pickle(pickle.dumps(call)), Unread)
        assert not hasattr(target, "x")


def test_placeholders_say_why_and_can_be_loaded_on_request():
    value = read_pickle(pickle.dumps(Calls(os.getcwd)))
    assert "getcwd" in value.reason
    assert value.load() == os.getcwd()
    inner = read_pickle(pickle.dumps([Calls(os.getcwd)]))[0]
    with pytest.raises(ValueError, match="part of another"):
        inner.load()
    missing = b"\x80\x04\x8c\x0bno_such_mod\x8c\x05Thing\x93)R."
    assert "no_such_mod" in read_pickle(missing).reason
    raising = pickle.dumps(Calls(int, "x"))
    assert "ValueError" in read_pickle(raising).reason
    for data in (b"", b"garbage", pickle.dumps([1, 2])[:-3]):
        assert "damaged" in read_pickle(data).reason


@given(st.binary(max_size=60))
def test_no_bytes_make_reading_raise(data):
    read_pickle(data)
    read_pickle(pickle.dumps({"a": [1.5, None], "b": "text"})[:-2] + data)


def test_data_of_usual_types_is_read_as_it_is():
    import collections
    import datetime
    import decimal
    import fractions

    import pandas

    values = [
        np.arange(4), np.float32(2), np.datetime64("2026-01-01"), np.array(["a", None], object),
        pandas.Timestamp("2026-01-01"), datetime.datetime(2026, 1, 1), datetime.timedelta(3),
        decimal.Decimal("1.2"), Path("/x"), collections.OrderedDict(a=1), fractions.Fraction(1, 3),
        collections.deque([1], 3), 1 + 2j, {1, 2}, frozenset([1]), range(3), KeyError("x"),
        np.random.RandomState(1), pandas.DataFrame({"a": [1, 2]}), len, int, np.sin,
    ]  # fmt: skip
    for value in values:
        read = read_pickle(pickle.dumps(value))
        assert type(read) is type(value) and str(read) == str(value)
    assert read_pickle(cloudpickle.dumps(lambda x: x + 1))(1) == 2


def test_values_that_cannot_be_read_leave_the_rest_readable(moved):
    file = state_of(moved)
    bad = pickle.dumps(Calls(os.getcwd)).hex()
    content = json.loads(file.read_text())
    state = json.loads(content["trial_data"][0][0])
    state["config"]["f"]["value"] = bad
    content["trial_data"][0][0] = json.dumps(state)
    file.write_text(json.dumps(content))
    trials = ExperimentAnalysis(moved).trials
    assert isinstance(trials[0].config["f"], Unread)
    assert trials[0].config["x"] == 0 and trials[1].config["f"](21) == 42
    Path(trials[3].path, "error.pkl").write_bytes(bytes.fromhex(bad))
    error = ResultGrid(ExperimentAnalysis(moved))[3].error
    assert isinstance(error, ctune.TuneError) and "too large" in str(error)


@pytest.mark.slow
def test_ten_thousand_trials_open_in_seconds(tmp_path):
    trials = []
    for number in range(10_000):
        trial = Trial("train", config={"x": number}, trial_id=f"abcde_{number:05d}",
                      storage=StorageContext(str(tmp_path), "exp", f"d{number}"))  # fmt: skip
        trial._last_result = {"loss": number, "training_iteration": 1}
        trial._metric_analysis = {
            name: dict.fromkeys(("max", "min", "avg", "last", "last-5-avg", "last-10-avg"), 0.5)
            for name in ("loss", "time_total_s", "done", "training_iteration")
        }
        trials.append(trial)
    (tmp_path / "exp").mkdir()
    write_state(str(tmp_path / "exp"), "2026-01-01_00-00-00", trials)
    start = time.monotonic()
    assert len(ExperimentAnalysis(tmp_path / "exp").trials) == 10_000
    assert time.monotonic() - start < 10  # about 1 s alone
