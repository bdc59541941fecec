"""What trials print while a live block is on the terminal: above it, whole, with whose it is."""

import os
import re
import socket
import struct
import subprocess
import sys
import textwrap
import threading

import pytest

from ctune import _display
from ctune.execution import _prints
from ctune.execution._prints import Prints, _Pipe

WAIT_S = 30


class Shown:
    """Takes lines; others can wait for them."""

    def __init__(self):
        self.lines = []
        self._changed = threading.Condition()
        self.may = threading.Event()
        self.may.set()

    def __call__(self, lines):
        assert self.may.wait(WAIT_S)
        with self._changed:
            self.lines += lines
            self._changed.notify_all()

    def wait_for(self, *lines):
        with self._changed:
            assert self._changed.wait_for(lambda: self.lines == list(lines), WAIT_S), self.lines


@pytest.fixture
def shown():
    return Shown()


@pytest.fixture
def prints(shown):
    with Prints(shown, [1, 2]) as prints:
        yield prints


def worker(prints, label="t pid=1"):
    """Returns what a worker prints into."""
    read, write = os.pipe()
    with socket.socket(fileno=os.dup(prints.outlet[0])) as outbox:
        socket.send_fds(outbox, [label.encode()], [read])
    os.close(read)
    return open(write, "wb", buffering=0)


def process(prints, code, **streams):
    """Runs code in a process that prints as a worker does; returns its id."""
    code = f"import os; from ctune.execution._prints import Outlet; {{}}; {code}"
    code = code.format(f"Outlet(*{prints.outlet}).lead('t')")
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    one = subprocess.Popen(
        [sys.executable, "-c", code], pass_fds=[prints.outlet[0]], env=env, **streams
    )
    one.wait(WAIT_S)
    return one.pid


def pieces(*data, now=0.0):
    pipe = _Pipe(-1, "t")
    return pipe, [text for part in data for _, text in pipe.take(part, now)]


# --- lines ---


def test_lines_are_shown_when_they_are_whole():
    pipe, lines = pieces(b"on", b"e\ntwo\r\n\nthr", b"ee")
    assert lines == ["one", "two", ""]
    assert pipe.unfinished() == [("t", "three")]
    assert pipe.unfinished() == []


def test_an_unfinished_line_is_due_after_a_second_and_a_bar_after_ten():
    pipe, _ = pieces(b"text", now=5.0)
    pipe.take(b" more", 5.5)
    assert pipe.due == 6.0
    pipe.take(b"\n", 5.6)
    assert pipe.due is None
    pipe.take(b"\r10%", 7.0)
    pipe.take(b"\r20%", 8.0)
    assert pipe.due == 17.0
    assert pipe.unfinished() == [("t", "20%")] and pipe.due is None


def test_of_a_bar_only_the_newest_state_is_kept():
    pipe, lines = pieces(*(b"\r%d%%" % n for n in range(100)), b"\r100%\nnext\n")
    assert lines == ["100%", "next"]
    pipe, lines = pieces(*(b"%d%%\r" % n for n in range(100)))
    assert lines == [] and pipe.unfinished() == [("t", "99%")]
    pipe, lines = pieces(b"\r50%", b"\r   \r")  # a bar that takes itself away
    assert lines == [] and pipe.unfinished() == []


def test_endless_lines_are_cut_between_characters():
    _, lines = pieces(b"a" + "é".encode() * 20_000)
    assert len(lines) == 2 and all(re.fullmatch("a?é+", line) for line in lines)
    assert max(len(line.encode()) for line in lines) <= 16 << 10
    _, lines = pieces(b"\x80" * 40_000)
    assert len(lines) == 2 and set("".join(lines)) == set("\\x80")


def test_lines_cannot_command_the_terminal():
    harmless = _display.harmless
    assert harmless("plain é 中") == "plain é 中"
    assert harmless("a\tb") == "a\tb"
    assert harmless("\x1b[31mred\x1b[0m") == "\x1b[31mred\x1b[0m"
    assert harmless("a\x1b[2J\x1b[Hb\x1b]0;title\x07c\x1b[?25ld\x1b(Be\x1b7f") == "abcdef"
    assert harmless("\x00\x01\x7f\x9b2J\u2028") == "\\x00\\x01\\x7f\\x9b2J\\u2028"
    assert harmless("ding\a\b") == "ding"
    assert "\x1b" not in harmless("\x1b\x1b[2J[31m \x1b")


def test_lines_are_marked_and_fit_the_encoding(monkeypatch, capsys):
    _display.Block().print_above([("t pid=1", "one"), ("t pid=1", "\x1b[31mred")])
    out = capsys.readouterr().out
    assert out == "\x1b[2m(t pid=1)\x1b[0m one\n\x1b[2m(t pid=1)\x1b[0m \x1b[31mred\x1b[0m\n"


# --- the pipes ---


def test_each_line_comes_with_whose_it_is(prints, shown):
    with worker(prints, "a pid=1") as a, worker(prints, "b pid=2") as b:
        a.write(b"one\n")
        shown.wait_for(("a pid=1", "one"))
        b.write(b"two\n")
        shown.wait_for(("a pid=1", "one"), ("b pid=2", "two"))
        assert not any(os.get_inheritable(pipe.fd) for pipe in prints._pipes)


def test_an_unfinished_line_is_shown_after_a_while(prints, shown, monkeypatch):
    monkeypatch.setattr(_prints, "_UNFINISHED_S", 0.05)
    with worker(prints) as out:
        out.write(b"Password: ")
        shown.wait_for(("t pid=1", "Password: "))


def test_what_a_dead_worker_has_printed_is_shown(prints, shown):
    pid = process(prints, 'os.write(2, b"to stderr"); os.kill(os.getpid(), 9)')
    shown.wait_for((f"t pid={pid}", "to stderr"))


def test_flush_and_close_leave_nothing_behind(prints, shown):
    shown.may.clear()
    with worker(prints) as one, worker(prints) as other:
        one.write(b"x\n" * 1000)
        other.write(b"y\nz")
        shown.may.set()
        prints.flush()
        assert len(shown.lines) == 1001
    with Prints(shown, [1]) as last:
        with worker(last) as out:
            out.write(b"end")
    assert shown.lines[-1] == ("t pid=1", "end")


def test_a_process_that_keeps_its_pipe_does_not_hold_the_run_up(shown):
    before = len(os.listdir("/dev/fd"))
    prints = Prints(shown, [1])
    out = worker(prints)
    stop = threading.Event()

    def print_for_ever():
        try:
            while not stop.is_set():
                out.write(b"endless\n" * 100)
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=print_for_ever)
    thread.start()
    prints.close()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    stop.set()
    out.close()
    assert len(os.listdir("/dev/fd")) == before
    assert all(thread.name != "ctune-prints" for thread in threading.enumerate())


def test_who_prints_more_than_is_read_waits_alone(prints, shown):
    shown.may.clear()
    with worker(prints, "flood") as out:
        thread = threading.Thread(target=lambda: [out.write(b"line\n" * 1000) for _ in range(200)])
        thread.start()
        with worker(prints, "other") as other:
            other.write(b"hello\n")  # does not wait
        assert thread.is_alive()
        shown.may.set()
        thread.join(WAIT_S)
    prints.flush()
    assert len(shown.lines) == 200_001 and ("other", "hello") in shown.lines


@pytest.mark.parametrize("error", [OSError("gone"), SystemExit(1), RuntimeError("mistake")])
def test_workers_never_wait_for_a_terminal_that_is_gone(error, caplog):
    def show(lines):
        raise error

    with Prints(show, [1]) as prints, worker(prints) as out:
        for _ in range(100):
            out.write(b"x" * 9_999 + b"\n")
        prints.flush()
    assert ("cannot be shown any more" in caplog.text) == isinstance(error, RuntimeError)


def test_where_descriptors_are_few_nothing_is_lost(prints, shown, monkeypatch):
    with worker(prints, "a") as a:
        a.write(b"one\n")
        shown.wait_for(("a", "one"))
        monkeypatch.setattr(_prints.resource, "getrlimit", lambda what: (10, 10))
        with worker(prints, "b") as b:  # the last one, which was under way
            b.write(b"two\n")
            shown.wait_for(("a", "one"), ("b", "two"))
        with pytest.raises(OSError), worker(prints, "c"):
            pass
        process(prints, 'print("three")', stdout=a)
        shown.wait_for(("a", "one"), ("b", "two"), ("a", "three"))


# --- whole runs ---

SCRIPT = """
import ctypes, os, signal, subprocess, sys, threading, time
import ctune
from ctune import tune

executor, verbose, file = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "file"
ctune.init(executor=executor, num_cpus=2)


class Threads:
    def __reduce__(self):
        return start, ()


def start():
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return Threads()


def train(config, keep=Threads() if sys.argv[4] == "threads" else None):
    x = config["x"]
    print(f"hello {x}")
    if executor == "process":
        ctypes.CDLL(None).printf(b"from C %d\\n", ctypes.c_int(x))
        subprocess.run(["sh", "-c", f"echo from a child {x} >&2"])
        print("\\x1b[2J\\x1b[Hno \\x1b[31mred", x)
        for n in range(5):
            print(f"\\rstep {n} of 5", end="", flush=True)
        print()
        if x == 3:
            print("killed", x, end="", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    for n in range(4):
        time.sleep(0.15)
        print("at", x, n, file=sys.stderr)
        tune.report({"loss": x})
    print("last words", x, end="")


space = {"x": tune.grid_search([1, 2, 3] if executor == "process" else [1, 2])}
tune.run(train, config=space, verbose=verbose, raise_on_failed_trial=False,
         storage_path=os.environ["STORE"], log_to_file=file)
"""


def start(arguments, store, **streams):
    env = {**os.environ, "TERM": "xterm", "STORE": str(store), "PYTHONPATH": ":".join(sys.path)}
    for name in ("COLUMNS", "LINES"):
        env.pop(name, None)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), *arguments], env=env, **streams
    )


def on_terminal(arguments, store):
    """Runs the script on a terminal of its own and returns what it was sent."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    process = start(arguments, store, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    guard = threading.Timer(WAIT_S, process.kill)
    guard.start()
    sent = []
    try:
        while data := os.read(ours, 65536):
            sent.append(data)
    except OSError:  # nobody has it open any more
        pass
    assert process.wait() == 0
    guard.cancel()
    os.close(ours)
    return b"".join(sent).decode()


def screen(sent):
    """Returns the lines of a terminal that is high enough."""
    rows, row, column = [""], 0, 0
    for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|[\r\n])", sent):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            rows += [""] * (row >= len(rows))
        elif part.startswith("\x1b["):
            if part[-1] == "A":
                row -= int(part[2:-1] or 1)
            elif part[-1] == "K":
                rows[row] = ""
            else:
                assert part[-1] in "mhl", part
        elif part:
            rows[row] = rows[row][:column].ljust(column) + part + rows[row][column + len(part) :]
            column += len(part)
    return rows


@pytest.mark.parametrize("more", [("-", "-"), ("file", "threads")])
def test_prints_of_workers_are_above_the_block(tmp_path, more):
    """Also of a helper that begins anew because the trainable starts threads."""
    file = more[0]
    sent = on_terminal(["process", "1", *more], tmp_path)
    assert "RUNNING" in sent  # there was a block
    lines = screen(sent)
    said = {}
    for line in lines:
        found = re.fullmatch(r"\(train_\w+_0000(\d) pid=\d+\) (.*)", line.rstrip())
        if found:
            said.setdefault(int(found[1]) + 1, []).append(found[2])
    for x in (1, 2, 3):
        expected = [f"hello {x}", f"no red {x}", "step 4 of 5"]
        if file != "file":  # what is not Python's goes to the file only
            expected += [f"from C {x}", f"from a child {x}"]
        expected += [f"at {x} {n}" for n in range(4)] if x < 3 else []
        expected.append(f"last words {x}" if x < 3 else f"killed {x}")
        assert sorted(said[x]) == sorted(expected)
    table = next(n for n, line in enumerate(lines) if "3 TERMINATED" in line or "1 ERROR" in line)
    assert max(n for n, line in enumerate(lines) if "last words" in line) < table
    assert sum("RUNNING" in line for line in lines) == 0  # no remains of the block
    if file == "file":
        (out,) = tmp_path.glob("*/train_*_00001_*/stdout")
        assert "hello 2\n" in out.read_text() and "last words 2" in out.read_text()


def test_prints_of_trials_in_this_process_are_above_the_block(tmp_path):
    sent = on_terminal(["inline", "1", "-", "-"], tmp_path)
    assert "RUNNING" in sent
    lines = [line.rstrip() for line in screen(sent)]
    for x in (1, 2):
        for line in (f"hello {x}", *(f"at {x} {n}" for n in range(4))):
            assert lines.count(line) == 1
    assert not any("RUNNING" in line for line in lines)


def test_in_a_pipe_and_in_silence_workers_print_where_the_driver_does(tmp_path):
    with start(["process", "1", "-", "-"], tmp_path, stdout=subprocess.PIPE, text=True) as run:
        said = run.stdout.read()
    assert run.returncode == 0
    assert all(f"hello {x}" in said for x in (1, 2, 3)) and "(train" not in said
    sent = on_terminal(["process", "0", "-", "-"], tmp_path)
    assert "hello 1" in sent and "(train" not in sent
