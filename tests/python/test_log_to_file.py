"""log_to_file: what a trial prints, in files of its own as well."""

import logging
import os
import re
import runpy
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ctune
from ctune import tune


class Talks(ctune.Trainable):
    def setup(self, config):
        print("setup", config["x"])
        self.n = 0

    def step(self):
        self.n += 1
        print("out", self.config["x"], self.n)
        print("err", self.config["x"], self.n, file=sys.stderr)
        return {"n": self.n}

    def reset_config(self, new_config):
        print("reset", new_config["x"])
        self.n = 0
        return True

    def cleanup(self):
        print("cleanup", self.config["x"])


def talks(config):
    for n in (1, 2):
        print("out", config["x"], n)
        print("err", config["x"], n, file=sys.stderr)
        tune.report({"n": n})


both_at_work = threading.Barrier(2, timeout=30)


class Meets(ctune.Trainable):
    def step(self):
        for word in ("one", "two"):
            both_at_work.wait()
            print(word, self.config["x"])
        return {}


@pytest.fixture(params=["inline", "process"])
def executor(request):
    ctune.init(executor=request.param, num_cpus=2)
    yield request.param
    ctune.shutdown()


@pytest.fixture
def run(tmp_path):
    def run(trainable, **arguments):
        arguments.setdefault("config", {"x": tune.grid_search([1, 2])})
        if isinstance(trainable, type):
            arguments.setdefault("stop", {"training_iteration": 2})
        analysis = tune.run(trainable, storage_path=str(tmp_path), verbose=0, **arguments)
        return sorted(analysis.trials, key=lambda trial: trial.config.get("x", 0))

    return run


def text(trial, name):
    with open(os.path.join(trial.path, name), errors="replace") as f:
        return f.read()


@pytest.mark.parametrize("trainable", [Talks, talks], ids=["class", "function"])
def test_r19_r93_true_means_a_file_for_each_stream(executor, run, trainable, capfd):
    trials = run(trainable, log_to_file=True)
    shown = capfd.readouterr()
    for x, trial in enumerate(trials, 1):
        out, err = text(trial, "stdout").splitlines(), text(trial, "stderr").splitlines()
        assert [line for line in out if "out" in line] == [f"out {x} 1", f"out {x} 2"]
        assert err == [f"err {x} 1", f"err {x} 2"]
        if trainable is Talks:
            assert (out[0], out[-1]) == (f"setup {x}", f"cleanup {x}")
        # ... and where it went before.
        assert all(line in shown.out for line in out)
        assert all(line in shown.err for line in err)
        assert trial.log_to_file == ("stdout", "stderr")


@pytest.mark.parametrize(
    ("given", "files"),
    [
        ("both.txt", ("both.txt", "both.txt")),
        (("o.txt", "sub/e.txt"), ("o.txt", "sub/e.txt")),
        (["o.txt", None], ("o.txt", None)),
    ],
)
def test_r93_names_of_files_may_be_given(executor, run, given, files):
    first, _ = run(talks, log_to_file=given)
    assert first.log_to_file == files
    assert "out 1 1\n" in text(first, files[0])
    if files[1] is None:
        assert "err" not in text(first, files[0])
    else:
        assert "err 1 2\n" in text(first, files[1])


def test_r93_without_it_there_are_no_files(executor, run):
    first, _ = run(talks, log_to_file=False)
    assert first.log_to_file == (None, None)
    assert not {"stdout", "stderr"} & set(os.listdir(first.path))


def test_trials_that_share_a_worker_have_files_of_their_own(executor, run):
    ctune.shutdown()
    ctune.init(executor=executor, num_cpus=1)
    trials = run(Talks, log_to_file=True, reuse_actors=True)
    assert text(trials[0], "stdout") == "setup 1\nout 1 1\nout 1 2\n"
    assert text(trials[1], "stdout").splitlines() == [
        "reset 2",
        "out 2 1",
        "out 2 2",
        "cleanup 2",
    ]
    assert text(trials[1], "stderr") == "err 2 1\nerr 2 2\n"


def test_a_trial_that_is_tried_again_appends(executor, run, tmp_path):
    mark = tmp_path / "mark"

    def train(config):
        print("life")
        tune.report({"n": 1})
        if not mark.exists():
            mark.touch()
            raise ValueError("first life")

    (trial,) = run(train, log_to_file=True, max_failures=1, config={})
    assert text(trial, "stdout") == "life\nlife\n"


def test_output_of_c_code_and_of_child_processes_is_in_the_file(run):
    ctune.init(executor="process", num_cpus=2)

    def train(config):
        os.write(1, b"from C\n")
        os.write(2, b"error from C\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        tune.report({"n": 1})

    try:
        first, second = run(train, log_to_file=True)
    finally:
        ctune.shutdown()
    for trial in (first, second):
        assert text(trial, "stdout") == "from C\nfrom a child\n"
        assert text(trial, "stderr") == "error from C\n"


def test_what_a_worker_prints_before_it_dies_is_in_the_file(run):
    ctune.init(executor="process", num_cpus=2)

    def train(config):
        print("last words", flush=True)
        os._exit(3)

    try:
        (trial,) = run(train, log_to_file=True, config={}, raise_on_failed_trial=False)
    finally:
        ctune.shutdown()
    assert trial.status == "ERROR"
    assert text(trial, "stdout") == "last words\n"


def test_binary_rubbish_breaks_nothing(executor, run):
    rubbish = bytes(range(256)) * 50

    def train(config):
        print("\udcff\x00\x1b[31m\r" + "\u4e2d" * 3)
        sys.stdout.buffer.write(rubbish)
        sys.stdout.flush()
        sys.stderr.buffer.write(rubbish)
        sys.stderr.flush()
        tune.report({"n": 1})

    first, second = run(train, log_to_file=True)
    for trial in (first, second):
        assert trial.status == "TERMINATED" and trial.last_result["n"] == 1
        with open(os.path.join(trial.path, "stdout"), "rb") as f:
            data = f.read()
        assert data == b"\\udcff\x00\x1b[31m\r" + "\u4e2d".encode() * 3 + b"\n" + rubbish
        with open(os.path.join(trial.path, "stderr"), "rb") as f:
            assert f.read() == rubbish


def test_log_records_of_the_runtime_are_in_the_file_for_stderr(executor, run, capfd):
    def train(config):
        logging.getLogger("ctune.test").warning("record %d", config["x"])
        tune.report({"n": 1})

    for x, trial in enumerate(run(train, log_to_file=True), 1):
        form = rf"\[WARNING [-0-9: ,]+\] \S+: \d+  record {x}\n"
        assert re.fullmatch(form, text(trial, "stderr"))
    if executor == "process":  # inline, pytest's handlers have it
        assert "record 1" in capfd.readouterr().err
    assert logging.getLogger("ctune").handlers == []


def test_an_inline_trial_has_the_streams_while_it_is_at_work_only(run):
    ctune.init(executor="inline", num_cpus=2)
    before = sys.stdout, sys.stderr
    seen = []

    class Listens(tune.Callback):
        def on_trial_result(self, **info):
            print("from a callback")
            seen.append((sys.stdout, sys.stderr))

    try:
        first, second = run(talks, log_to_file=True, callbacks=[Listens()])
    finally:
        ctune.shutdown()
    assert seen == [before] * 4
    assert (sys.stdout, sys.stderr) == before
    assert "callback" not in text(first, "stdout") + text(second, "stdout")


def test_an_inline_trial_that_raises_leaves_with_its_own_exception(run):
    error = ValueError("mine")

    def train(config):
        print("before")
        raise error

    ctune.init(debug=True)
    try:
        with pytest.raises(ValueError) as caught:
            run(train, log_to_file=True)
    finally:
        ctune.shutdown()
    assert caught.value is error


def test_trials_in_threads_do_not_mix(run):
    example = Path(__file__).parents[2] / "examples" / "thread_executor.py"
    executor = runpy.run_path(str(example))["ThreadExecutor"]
    before = sys.stdout
    ctune.init(executor=executor(slots=2))
    try:
        trials = run(Meets, log_to_file="out", stop={"training_iteration": 1})
    finally:
        ctune.shutdown()
    for x, trial in enumerate(trials, 1):
        assert text(trial, "out") == f"one {x}\ntwo {x}\n"
    assert sys.stdout is before


def test_a_file_that_cannot_be_opened_fails_the_trial(executor, run, tmp_path):
    (tmp_path / "file").write_text("")
    path = str(tmp_path / "file" / "out")
    (trial,) = run(talks, log_to_file=path, config={"x": 1}, raise_on_failed_trial=False)
    assert trial.status == "ERROR"
    assert path.rpartition("/")[0] in text(trial, "error.txt")


def test_a_trainable_that_starts_threads_when_loaded_has_files_too(run, tmp_path, monkeypatch):
    (tmp_path / "starts_a_thread.py").write_text(
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "from ctune import tune\n"
        "def train(config):\n"
        "    print('in', config['x'])\n"
        "    tune.report({'n': 1})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from starts_a_thread import train

    ctune.init(executor="process", num_cpus=1)
    try:
        first, second = run(train, log_to_file="out")
    finally:
        ctune.shutdown()
    assert text(first, "out") == "in 1\n" and text(second, "out") == "in 2\n"
