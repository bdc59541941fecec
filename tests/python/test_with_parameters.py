"""with_parameters(): objects reach every trial, and large ones exist once."""

import functools
import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import ctune as tune
from ctune import _ctune, _pickling
from ctune._pickling import dump_trainable, load_trainable, map_payload
from ctune.trainable import wrap_function

LARGE = 1 << 17  # float64s: 1 MiB


@pytest.fixture(params=["inline", "process"])
def executor(request):
    tune.shutdown()
    tune.init(executor=request.param, num_cpus=2)
    yield request.param
    tune.shutdown()


@pytest.fixture
def run(executor, tmp_path):
    return functools.partial(tune.run, storage_path=str(tmp_path), verbose=0)


def travelled(trainable):
    """A trainable as a worker gets it."""
    if not isinstance(trainable, type):
        trainable = wrap_function(trainable)
    payload = dump_trainable(trainable, "it")
    return load_trainable(payload.data, map_payload(payload.fd))


def result_of(trainable):
    return trainable({}).train()


# --- what arrives ---


def facts(config, data, small, text, table, nothing):
    return {
        "sum": float(data.sum()),
        "dtype": str(data.dtype),
        "small": small["a"].tolist(),
        "text": len(text),
        "rows": len(table),
        "nothing": nothing is None,
    }


def test_objects_of_all_kinds_reach_functions(run):
    pandas = pytest.importorskip("pandas")
    data = np.arange(LARGE, dtype=np.float32)
    table = pandas.DataFrame({"x": np.ones(LARGE), "name": ["a"] * LARGE})
    bound = tune.with_parameters(
        facts, data=data, small={"a": np.ones(3)}, text=b"x" * 10**6, table=table, nothing=None
    )
    assert bound.__name__ == "facts"
    for trial in run(bound, num_samples=2).trials:
        last = trial.last_result
        assert last["sum"] == pytest.approx(float(data.sum()))
        assert last["dtype"] == "float32" and last["small"] == [1.0, 1.0, 1.0]
        assert (last["text"], last["rows"], last["nothing"]) == (10**6, LARGE, True)


class Class(tune.Trainable):
    def setup(self, config, data=None, scale=1):
        self.data, self.scale = data, scale

    def step(self):
        return {"sum": float(self.data.sum()) * self.scale, "done": True}


def test_objects_reach_setup_of_classes(run):
    bound = tune.with_parameters(Class, data=np.ones(LARGE), scale=2)
    assert bound.__name__ == "Class" and issubclass(bound, Class)
    (trial,) = run(bound).trials
    assert trial.last_result["sum"] == 2.0 * LARGE


def test_wrappers_can_be_nested_in_any_order(run):
    def function(config, a, b, c=0):
        return {"sum": a + 10 * b + 100 * c}

    with_a = tune.with_parameters(function, a=1)
    both = tune.with_parameters(tune.with_resources(with_a, {"cpu": 2}), b=2, a=3)
    assert run(both).trials[0].last_result["sum"] == 23
    assert both._resources.required_resources == {"CPU": 2}
    assert run(tune.with_parameters(with_a, b=5, c=1)).trials[0].last_result["sum"] == 151

    once = tune.with_parameters(Class, data=np.ones(4), scale=3)
    again = tune.with_parameters(tune.with_resources(once, {"cpu": 1}), scale=5)
    assert run(again).trials[0].last_result["sum"] == 20


def test_arguments_that_are_unknown_or_missing_are_named(run):
    def function(config, a, b):
        pass

    with pytest.raises(ValueError, match="'c'"):
        tune.with_parameters(function, c=1)
    with pytest.raises(ValueError, match="missing a required argument: 'b'"):
        run(tune.with_parameters(function, a=1))


def test_inline_trials_get_the_object_itself(tmp_path):
    tune.init(executor="inline")
    seen = []

    def function(config, thing):
        seen.append(thing)

    thing = object()
    tune.run(tune.with_parameters(function, thing=thing), storage_path=str(tmp_path), verbose=0)
    assert seen == [thing]
    tune.shutdown()


def test_what_a_trial_writes_is_its_own(run, executor):
    if executor == "inline":
        pytest.skip("there the trials share the object itself")

    def function(config, data):
        before = float(data.sum())
        data += 1.0
        return {"before": before, "after": float(data.sum())}

    data = np.ones(LARGE)
    for trial in run(tune.with_parameters(function, data=data), num_samples=3).trials:
        assert trial.last_result["before"] == LARGE
        assert trial.last_result["after"] == 2 * LARGE
    assert data.sum() == LARGE


# --- how they travel ---


def test_an_array_is_shared_and_not_part_of_the_pickle():
    data = np.arange(LARGE, dtype=float)
    payload = dump_trainable(wrap_function(tune.with_parameters(lambda c, d: 1, d=data)), "it")
    assert len(payload.data) < 20_000
    assert os.fstat(payload.fd).st_size >= data.nbytes
    payload.close()
    assert payload.fd == -1 and payload.data == b""


def test_captured_arrays_are_shared_too():
    data = np.arange(LARGE, dtype=float)

    def captures(config):
        return {"sum": float(data.sum())}

    payload = dump_trainable(wrap_function(captures), "it")
    assert len(payload.data) < 20_000 and payload.segment is not None
    assert result_of(travelled(captures))["sum"] == data.sum()


def test_an_array_that_is_bound_twice_travels_once():
    data = np.arange(LARGE, dtype=float)
    payload = dump_trainable(
        wrap_function(tune.with_parameters(lambda config, a, b: 1, a=data, b=[data, data[:]])), "it"
    )
    assert os.fstat(payload.fd).st_size < 3 * data.nbytes


def test_code_alone_needs_no_shared_memory():
    assert dump_trainable(wrap_function(lambda config: 1), "it").segment is None


@pytest.mark.parametrize(
    "data",
    [
        np.asfortranarray(np.arange(LARGE, dtype=float).reshape(2, -1)),
        np.arange(4 * LARGE, dtype=np.int8)[3:],
        np.arange(LARGE, dtype=float)[::2],
        np.zeros((LARGE, 0)),
        np.array([{"a": 1}, None] * LARGE, dtype=object),
        np.ones(LARGE, dtype=[("x", "f4"), ("y", "i8")]),
        np.arange(LARGE, dtype=">f8"),
        bytearray(b"x" * LARGE),
    ],
    ids=["fortran", "odd offset", "strided", "empty", "objects", "records", "big-endian", "bytes"],
)
def test_arrays_of_all_layouts_arrive_and_stay(data):
    before = bytes(data) if isinstance(data, bytearray) else data.copy()
    cls = travelled(tune.with_parameters(lambda config, data: {"data": data}, data=data))
    arrived = result_of(cls)["data"]
    if isinstance(data, bytearray):
        assert arrived == before == data
        return
    assert arrived.dtype == before.dtype
    assert arrived.flags.c_contiguous or data.flags.f_contiguous
    np.testing.assert_array_equal(arrived, before)
    np.testing.assert_array_equal(data, before)


def test_a_read_only_array_stays_read_only_and_a_mapped_file_is_copied(tmp_path):
    data = np.ones(LARGE)
    data.flags.writeable = False
    np.save(tmp_path / "data.npy", data)
    mapped = np.load(tmp_path / "data.npy", mmap_mode="r+")
    cls = travelled(
        tune.with_parameters(
            lambda config, data, mapped: {"flag": data.flags.writeable, "sum": mapped.sum()},
            data=data,
            mapped=mapped,
        )
    )
    result = result_of(cls)
    assert result["flag"] is False and result["sum"] == LARGE
    mapped[0] = 5  # still the file
    mapped.flush()
    assert np.load(tmp_path / "data.npy")[0] == 5


def test_a_large_array_stays_its_owner_s_after_it_was_shared():
    data = np.arange(8 * 2**20, dtype=float)  # 64 MiB: it has pages of its own
    expected = data.copy()
    address = data.__array_interface__["data"][0]
    cls = travelled(tune.with_parameters(lambda config, data: {"sum": data.sum()}, data=data))
    assert data.__array_interface__["data"][0] == address
    np.testing.assert_array_equal(data, expected)
    data[:] = 0.0
    assert result_of(cls)["sum"] == expected.sum()
    data.resize(2 * len(data), refcheck=False)
    assert data[0] == 0.0
    data = None


def test_a_segment_says_when_it_is_closed():
    segment = _ctune.Segment()
    assert segment.write(b"abc") == 3
    segment.close()
    segment.close()
    for call in (segment.fileno, lambda: segment.write(b""), lambda: segment.place(b"", 0)):
        with pytest.raises(ValueError, match="closed"):
            call()
    with pytest.raises(OSError, match="shared memory"):
        _ctune.map_segment(-1)


# --- what does not travel ---


def test_r92g_code_that_is_too_large_points_to_with_parameters(tmp_path, monkeypatch):
    """As in the reference, where 95 MiB is the limit of an actor's class."""
    assert _pickling._MAX_CODE == 95 * 2**20
    monkeypatch.setattr(_pickling, "_MAX_CODE", 2**20)
    tune.init(executor="process")
    table = list(range(10**6))

    def captures(config):
        return {"n": len(table)}

    run = functools.partial(tune.run, storage_path=str(tmp_path), verbose=0)
    try:
        with pytest.raises(tune.TuneError, match=r"captures.*'table'.*with_parameters"):
            run(captures)
        assert os.listdir(tmp_path) == []
        bound = tune.with_parameters(lambda config, table: {"n": len(table)}, table=table)
        assert run(bound).trials[0].last_result["n"] == 10**6
    finally:
        tune.shutdown()


# --- memory ---

MEASURED = """
import glob, json, os, sys
import numpy as np
import ctune as tune

def family():
    parents = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(path.split("/")[2])] = int(fields[1])
    found, new = set(), {os.getpid()}
    while new:
        found |= new
        new = {pid for pid, parent in parents.items() if parent in new} - found
    return found

def pss():
    total = 0
    for pid in family():
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total / 1024

class Measures(tune.Callback):
    seen = 0
    def on_trial_result(self, **info):
        self.seen += 1
        if self.seen == 8:
            print(json.dumps([len(family()), pss()]), flush=True)
            os.close(gate)

def train(config, data):
    fd = os.open(config["gate"], os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(fd, True)
    tune.report({"sum": float(data.sum())})
    os.read(fd, 1)  # until the driver closes the gate: all are there

os.mkfifo(sys.argv[1] + "/gate")
gate = os.open(sys.argv[1] + "/gate", os.O_RDWR)
tune.init(executor="process", num_cpus=8)
data = np.ones(int(sys.argv[2]) * 2**17)
tune.run(
    tune.with_parameters(train, data=data), num_samples=8, verbose=0, storage_path=sys.argv[1],
    config={"gate": sys.argv[1] + "/gate"}, callbacks=[Measures()],
)
"""


@pytest.mark.skipif("CTUNE_UNDER_ASAN" in os.environ, reason="ASan's shadow is counted, too")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_eight_trials_and_the_driver_have_one_copy(tmp_path):
    def measure(mib):
        storage = tmp_path / str(mib)
        storage.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(storage), str(mib)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        processes, used = json.loads(done.stdout.splitlines()[0])
        assert processes == 10
        return used

    assert measure(64) - measure(1) < 1.3 * 63


def test_nothing_is_left_of_a_driver_that_was_killed(tmp_path):
    script = """
        import sys, time
        import numpy as np
        import ctune as tune

        def train(config, data):
            print("running", flush=True)
            time.sleep(60)

        tune.init(executor="process", num_cpus=1)
        data = np.ones(2**20)
        bound = tune.with_parameters(train, data=data)
        tune.run(bound, verbose=0, storage_path=sys.argv[1])
    """
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    driver = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], stdout=subprocess.PIPE
    )
    assert driver.stdout.readline() == b"running\n"
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.read()  # until the worker is gone, too
    driver.stdout.close()
    after = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    assert after <= before


def test_workers_that_load_for_themselves_share_too(tmp_path):
    """Loading starts a thread, so that the helper begins anew."""
    tune.init(executor="process", num_cpus=2)

    class Starts:
        def __reduce__(self):
            return _start_a_thread, ()

    def function(config, data, thing):
        return {"sum": float(data.sum()), "thing": thing}

    bound = tune.with_parameters(function, data=np.ones(LARGE), thing=Starts())
    try:
        analysis = tune.run(bound, num_samples=2, storage_path=str(tmp_path), verbose=0)
        for trial in analysis.trials:
            assert trial.last_result["sum"] == LARGE and trial.last_result["thing"] == "started"
    finally:
        tune.shutdown()


def _start_a_thread():
    import threading

    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return "started"
