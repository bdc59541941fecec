"""What people see of a run: on terminals of two widths, in a pipe, and silent."""

import bdb
import io
import shutil
import sys
from types import SimpleNamespace

import pytest

import ctune as tune
from ctune import _display
from ctune._display import Block, Listed, Running, boxed
from ctune.experiment import Trial
from ctune.experimental import output
from ctune.experimental.output import (
    AirVerbosity,
    ProgressReporter,
    TrainReporter,
    TuneReporterBase,
    TuneTerminalReporter,
    get_air_verbosity,
)
from ctune.utils.log import Verbosity


def make_trial(number, status, loss=None, params=None):
    trial = Trial(
        "train",
        trial_id=f"ab_{number:05d}",
        config={**(params or {"lr": 0.1 * number, "layers": number}), "fixed": {"z": 1}},
        evaluated_params=params or {"lr": 0.1 * number, "layers": number},
    )
    trial.set_status(status)
    if loss is not None:
        trial._last_result = {
            "loss": loss,
            "other": 1,
            "training_iteration": number,
            "time_total_s": 1.5,
            "config": {"lr": 1},
            "nested": {"a": 2.0},
            "hostname": "h",
            "nothing": None,
        }
    return trial


class Driver:
    """A run that stands still."""

    def __init__(self, *trials):
        self.all = list(trials)

    @property
    def trials(self):
        return self.all

    def counts(self):
        return Listed(self.all).counts()

    def trials_with(self, status, limit):
        return Listed(self.all).trials_with(status, limit)

    def best(self, metric, mode, scope="last"):
        return Listed(self.all).best(metric, mode)

    def used_resources(self):
        return {"CPU": (1.5, 2.0), "GPU": (0.0, 0.0), "memory": (0.0, 1e9), "disk": (1.0, 4.0)}

    def describe(self):
        return "Using FIFO."


@pytest.fixture
def driver():
    return Driver(
        make_trial(1, "RUNNING", 3.0),
        make_trial(2, "TERMINATED", 1.25),
        make_trial(3, "TERMINATED", 2.0),
        make_trial(4, "ERROR"),
        make_trial(5, "PENDING"),
    )


class Clock:
    """Stands in for `time`; goes on when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 1_700_000_000.0
        for module in (output, _display):
            monkeypatch.setattr(module, "time", self)

    def time(self):
        return self.now

    def strftime(self, form):
        return "2023-11-14 22:13:20"


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def make(level=1, kind=TuneTerminalReporter, samples=64, **arguments):
    arguments.setdefault("metric", "loss")
    arguments.setdefault("mode", "min")
    reporter = kind(AirVerbosity(level), samples, **arguments)
    reporter.setup(start_time=output.time.time(), total_samples=samples)
    return reporter


def begin(reporter, **changes):
    facts = dict(
        experiment_name="exp",
        experiment_path="/results/exp",
        searcher_str="Search",
        scheduler_str="FIFOScheduler",
        total_num_samples=64,
        tensorboard_path="/results/exp",
    )
    reporter.experiment_started(**{**facts, **changes})


def beat(reporter, driver, force=False):
    reporter.print_heartbeat(driver.trials, Running(driver).resources(), force=force)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    size(monkeypatch, 100)
    monkeypatch.setattr(output, "_FIRST_BLOCK_S", 0.0)
    # A tracer of the test run itself is no debugger.
    monkeypatch.setattr(sys, "gettrace", lambda: None)

    def enter():  # in the test itself: pytest puts a stream of its own there before it
        out = Terminal()
        monkeypatch.setattr(sys, "stdout", out)
        return out

    return enter


def size(monkeypatch, columns, lines=24):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))
    assert shutil.get_terminal_size().columns == columns


# --- levels ---


def test_levels_end_at_two_and_are_none_with_the_older_output(monkeypatch):
    assert [get_air_verbosity(v) for v in (0, 1, 2, 3, 7)] == [0, 1, 2, 2, 2]
    assert get_air_verbosity(Verbosity.V3_TRIAL_DETAILS) is AirVerbosity.VERBOSE
    with pytest.raises(ValueError, match="-1"):
        get_air_verbosity(-1)
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")
    assert get_air_verbosity(2) is None


def test_the_names_of_the_module_are_there():
    for name in output.__all__:
        assert getattr(output, name) is not None
    assert output.ORDER[0] == "RUNNING" and "config" in output.BLACKLISTED_KEYS
    assert float in output.VALID_SUMMARY_TYPES
    assert output.DEFAULT_COLUMNS["training_iteration"] == "iter"
    with pytest.raises(AttributeError, match="nothing"):
        output.nothing  # noqa: B018


def test_silent_means_no_output_and_no_hooks(driver, capsys):
    reporter = make(0)
    begin(reporter)
    beat(reporter, driver, force=True)
    for hook in (reporter.on_trial_start, reporter.on_trial_complete, reporter.on_trial_error):
        hook(iteration=1, trials=driver.trials, trial=driver.trials[0])
    assert capsys.readouterr().out == ""
    assert set(reporter._deaf_to) == {
        "on_trial_start", "on_trial_complete", "on_trial_result", "on_trial_error",
        "on_trial_recover", "on_checkpoint",
    }  # fmt: skip


def test_a_run_calls_the_hooks_that_a_subclass_overrides():
    class Mine(TuneTerminalReporter):
        def on_trial_complete(self, iteration, trials, trial, **info):
            pass

    assert "on_trial_complete" in make(1)._deaf_to
    assert "on_trial_complete" not in make(1, Mine)._deaf_to
    assert make(2)._deaf_to == ()


# --- in a pipe ---


def test_r137_the_start_says_what_runs_and_where(capsys):
    """R137."""
    reporter = make()
    begin(reporter)
    out = capsys.readouterr().out
    assert "Configuration for experiment   exp" in out
    for word in ("Search algorithm", "Search ", "FIFOScheduler", "Number of trials", "64"):
        assert word in out
    assert "View detailed results here: /results/exp\n" in out
    assert "run: `tensorboard --logdir /results/exp`" in out
    begin(reporter, tensorboard_path=None, total_num_samples=sys.maxsize)
    out = capsys.readouterr().out
    assert "tensorboard" not in out.lower()
    assert "infinite" in out


def test_in_a_pipe_a_report_comes_every_thirty_seconds(driver, capsys, clock):
    reporter = make()
    reports = 0
    for _ in range(300):
        clock.now += 0.25
        beat(reporter, driver)
        reports += capsys.readouterr().out.count("Trial status:")
    assert reports == 3  # at once, and after 30 and 60 of 75 seconds


def test_a_report_says_how_far_what_is_used_and_what_is_best(driver, capsys, clock):
    reporter = make()
    clock.now += 3723.5
    beat(reporter, driver)
    out = capsys.readouterr().out
    assert "Trial status: 1 RUNNING | 2 TERMINATED | 1 PENDING | 1 ERROR (of 64)\n" in out
    assert "Current time: 2023-11-14 22:13:20. Total running time: 1hr 2min 3s\n" in out
    assert "1.5/2 CPUs, 0/0 GPUs, 1/4 disk" in out and "memory" not in out
    assert "Current best trial: ab_00002 with loss=1.25 and params={'lr': 0.2" in out
    lines = [line for line in out.splitlines() if line.startswith("│")]
    assert lines[0].split()[1:5] == ["Trial", "name", "status", "lr"]
    assert [line.split()[2] for line in lines[1:]] == [
        "RUNNING", "TERMINATED", "TERMINATED", "PENDING", "ERROR"
    ]  # fmt: skip
    assert "Number of errored trials" not in out
    assert "\x1b" not in out


def test_the_last_report_has_all_rows_and_the_errors(capsys, clock):
    trials = [make_trial(n, "TERMINATED", float(n)) for n in range(30)]
    trials += [make_trial(30, "ERROR"), make_trial(31, "TERMINATED", 5.0)]
    trials[30].num_failures = trials[31].num_failures = 2
    trials[30]._error_file = "/results/error.txt"
    driver = Driver(*trials)
    reporter = make(samples=32)
    beat(reporter, driver)
    out = capsys.readouterr().out
    assert out.count("train_ab_") == 6
    assert "26 more TERMINATED" in out
    beat(reporter, driver, force=True)
    out = capsys.readouterr().out
    assert "more TERMINATED" not in out
    table, errors = out.split("Number of errored trials: 2")
    assert table.count("train_ab_") == 32
    assert "/results/error.txt" in errors and "2*" in errors
    assert "* ended well when it was tried again" in errors


def test_a_report_shows_the_parameters_of_the_space(driver, capsys):
    space = {"lr": tune.uniform(0, 1), "fixed": {"z": 1, "g": tune.grid_search([1])}}
    reporter = make(config=space)
    beat(reporter, driver)
    head = next(line for line in capsys.readouterr().out.splitlines() if "Trial name" in line)
    assert "lr" in head and "fixed/g" in head
    assert "layers" not in head and "fixed/z" not in head


def test_starts_and_ends_are_found_by_looking(driver, capsys, clock):
    reporter = make()
    reporter._watch(Running(driver))
    driver.all = [make_trial(1, "RUNNING"), make_trial(2, "PENDING")]
    beat(reporter, driver)
    out = capsys.readouterr().out
    assert "Trial train_ab_00001 started with configuration:\n╭" in out
    assert "│ fixed/z" in out
    assert "ab_00002 started" not in out and "completed" not in out
    first, second = driver.all
    first.set_status("TERMINATED")
    first._last_result = {"loss": 0.123456, "training_iteration": 7, "pid": 3, "tiny": 1.5e-9}
    second.set_status("TERMINATED")  # between two looks
    clock.now += 1
    beat(reporter, driver)
    out = capsys.readouterr().out
    assert "Trial train_ab_00001 completed after 7 iterations at 2023" in out
    assert "training_iteration         7 │" in out and "0.12346 │" in out and "1.5e-09 │" in out
    assert "pid" not in out
    assert "ab_00002 started" in out and "ab_00002 completed after 0 iterations" in out
    beat(reporter, driver)
    assert "completed" not in capsys.readouterr().out


def test_too_many_starts_and_ends_are_not_all_told(capsys, clock):
    reporter = make(samples=50)
    driver = Driver(*(make_trial(n, "RUNNING") for n in range(50)))
    reporter._watch(Running(driver))
    beat(reporter, driver)
    out = capsys.readouterr().out
    assert out.count("started with configuration") == 20
    assert out.count("only some are told of") == 1
    for trial in driver.all:
        trial.set_status("TERMINATED")
    clock.now += 6
    beat(reporter, driver)
    out = capsys.readouterr().out
    assert out.count("completed after") == 3
    assert "only some" not in out


def test_level_2_tells_of_each_result_and_checkpoint_by_hooks(driver, capsys):
    reporter = make(2)
    reporter._watch(Running(driver))
    trial = driver.trials[0]
    beat(reporter, driver)
    assert "started" not in capsys.readouterr().out  # the hook says it
    what = {"iteration": 1, "trials": driver.trials, "trial": trial}
    reporter.on_trial_start(**what)
    reporter.on_trial_result(**what, result=trial.last_result)
    reporter.on_checkpoint(**what, checkpoint=SimpleNamespace(path="/c"))
    reporter.on_trial_complete(**what)
    out = capsys.readouterr().out
    assert "Trial train_ab_00001 started with configuration:" in out
    assert "Trial train_ab_00001 finished iteration 1 at " in out
    assert "Trial train_ab_00001 saved a checkpoint for iteration 1 at: (local)/c\n" in out
    assert "Trial train_ab_00001 completed after 1 iterations at" in out
    assert out.count("Trial train_ab_00001 result") == 1  # the last one had been shown
    table = out[out.index("finished iteration") :]
    rows = [line.split()[1] for line in table.splitlines() if line.startswith("│")][1:]
    assert rows == ["time_total_s", "training_iteration", "loss", "nested/a", "other"]


def test_errors_and_retries_name_the_error_file(driver, capsys):
    reporter = make()
    trial = driver.trials[3]
    trial._error_file, trial.num_failures = "/results/error.txt", 1
    reporter.on_trial_recover(iteration=1, trials=driver.trials, trial=trial)
    out = capsys.readouterr().out
    assert "errored after 0 iterations at" in out and "tried again; it has failed once" in out
    reporter.on_trial_error(iteration=1, trials=driver.trials, trial=trial)
    out = capsys.readouterr().out
    assert "Trial train_ab_00004 errored after 0 iterations at" in out
    assert "Error file: /results/error.txt\n" in out


def test_r114_only_the_metrics_that_a_trainable_names_are_shown(driver, capsys):
    """R114: default callbacks take what `_progress_metrics` says."""
    reporter = make(2, progress_metrics=["loss"])
    reporter.on_trial_result(
        iteration=1, trials=[], trial=driver.trials[0], result={"loss": 0.5, "other": 2}
    )
    out = capsys.readouterr().out
    assert "loss" in out and "other" not in out


def test_a_training_is_told_of_without_the_word_trial(driver, capsys):
    reporter = TrainReporter(AirVerbosity.DEFAULT)
    reporter.setup()
    trial = driver.trials[0]
    what = {"iteration": 1, "trials": driver.trials, "trial": trial}
    assert reporter._deaf_to == ()
    begin(reporter)
    reporter.on_trial_start(**what)
    reporter.on_trial_result(**what, result=trial.last_result)
    beat(reporter, driver, force=True)
    out = capsys.readouterr().out
    assert "Training started with configuration" in out
    assert "Training finished iteration 1" in out
    assert "Trial" not in out


def test_a_reporter_of_ones_own_needs_a_report():
    class Mine(ProgressReporter):
        pass

    with pytest.raises(NotImplementedError, match="Mine"):
        Mine(AirVerbosity.DEFAULT).print_heartbeat([], force=True)
    assert issubclass(TuneReporterBase, ProgressReporter)


def test_frames_are_of_ascii_where_others_cannot_be_printed(monkeypatch):
    assert boxed(["a", "b"], [["1", "x"], ["22", "y"]], right=[0]) == (
        "╭────────╮\n│  a   b │\n├────────┤\n│  1   x │\n│ 22   y │\n╰────────╯"
    )
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    assert boxed(["a"], [["1"]]).isascii()
    assert _display.say("Trial ❤ started")
    out.seek(0)
    assert out.read() == "Trial ? started\n"


def test_values_that_cannot_be_printed_are_named(capsys):
    class Sulks:
        def __str__(self):
            raise RuntimeError("no")

    trial = make_trial(1, "RUNNING", params={"x": Sulks(), "text": "a\nb" * 50})
    beat(make(), Driver(trial))
    make()._say_start(trial)
    out = capsys.readouterr().out
    assert out.count("<Sulks>") == 2
    assert "...a b" not in out.splitlines()[0] and max(map(len, out.splitlines()[4:])) < 200


def test_a_closed_output_does_not_end_the_run(driver, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    reporter = make()
    out.close()
    begin(reporter)
    beat(reporter, driver, force=True)


def test_a_run_without_trials_ends_quietly(capsys):
    beat(make(), Driver(), force=True)
    assert "Trial status: none yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59, "59s"), (61, "1min 1s"), (3601, "1hr 0min 1s"), (172805, "2d 0hr 0min 5s")],
)
def test_durations_are_for_people(seconds, text):
    assert _display.duration(seconds) == text


# --- on a terminal ---


@pytest.mark.parametrize("columns", [80, 160])
def test_the_block_fits_the_terminal(driver, terminal, monkeypatch, columns):
    terminal()
    size(monkeypatch, columns)
    many = {f"parameter_{i}": i / 3 for i in range(12)}
    for number in range(10, 60):
        driver.all.append(make_trial(number, "RUNNING", 5.0, many))
    reporter = make()
    reporter._watch(Running(driver))
    shown = []
    reporter._block.show = shown.extend
    beat(reporter, driver)
    assert len(shown) <= 24
    text = "\n".join(shown)
    table = [line for line in shown if line.startswith(("│", "╭"))]
    assert max(map(len, table)) <= columns
    assert "train_ab_00001" in text and "train_ab_00002" in text
    assert "more parameters" in text


def test_wide_terminals_show_more_parameters(terminal, monkeypatch):
    many = {f"parameter_{i}": i / 3 for i in range(5)}
    driver = Driver(make_trial(1, "RUNNING", 5.0, many))
    shown = {}
    for columns in (80, 160):
        size(monkeypatch, columns)
        reporter = make()
        table = reporter._table(driver.trials, columns)
        shown[columns] = table[0].count("parameter_")
    assert shown[80] < shown[160] == 5


def test_on_a_terminal_one_live_block_is_redrawn(driver, terminal):
    out = terminal()
    reporter = make()
    reporter._watch(Running(driver))
    for _ in range(3):
        beat(reporter, driver)
    drawn = out.getvalue()
    assert drawn.count("1.5/2 CPUs") == 3
    assert "\x1b[" in drawn
    assert "started with configuration" not in drawn  # the block shows it
    assert drawn.count("train_ab_00002 completed") == 1
    beat(reporter, driver, force=True)
    reporter._unwatch()
    assert out.getvalue().endswith("╯\n")
    assert sys.stdout is out


def test_a_short_run_draws_no_block(driver, terminal, monkeypatch):
    terminal()
    monkeypatch.setattr(output, "_FIRST_BLOCK_S", 1000.0)
    monkeypatch.setattr(_display, "_start_live", lambda: pytest.fail("drew a block"))
    reporter = make()
    reporter._watch(Running(driver))
    beat(reporter, driver)
    beat(reporter, driver, force=True)


def test_a_debugger_gets_the_terminal_for_itself(driver, terminal):
    out = terminal()
    reporter = make()
    reporter._watch(Running(driver))
    beat(reporter, driver)
    assert sys.stdout is not out  # rich moves what others print above the block
    before = bdb.Bdb.__init__
    debugger = bdb.Bdb()
    assert debugger.breaks == {}
    assert sys.stdout is out
    assert bdb.Bdb.__init__ is not before
    shown = len(out.getvalue())
    beat(reporter, driver)
    text = out.getvalue()[shown:]
    assert "\x1b" not in text and "Trial status" in text  # plain from here on
    reporter._unwatch()


def test_under_a_debugger_there_is_no_block(terminal, monkeypatch):
    terminal()
    monkeypatch.setattr(sys, "gettrace", lambda: print)
    assert not Block().possible
    monkeypatch.setattr(sys, "gettrace", lambda: None)
    assert Block().possible
    monkeypatch.setenv("TERM", "dumb")
    assert not Block().possible
