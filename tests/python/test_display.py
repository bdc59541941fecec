"""What people see of a run: on terminals of two widths, in a pipe, and silent."""

import io
import shutil
import sys
from types import SimpleNamespace

import pytest

from ctune import _display
from ctune._display import Display
from ctune.experiment import Trial
from ctune.schedulers import FIFOScheduler


def make_trial(number, status, loss=None, params=None):
    trial = Trial(
        "train",
        trial_id=f"ab_{number:05d}",
        evaluated_params=params or {"lr": 0.1 * number, "layers": number},
    )
    trial.set_status(status)
    if loss is not None:
        trial._last_result = {
            "loss": loss,
            "other": 1,
            "training_iteration": number,
            "time_total_s": 1.5,
        }
    return trial


class Driver:
    """A run that stands still."""

    def __init__(self, *trials):
        self.trials = list(trials)

    def counts(self):
        out = dict.fromkeys(("PENDING", "RUNNING", "PAUSED", "TERMINATED", "ERROR"), 0)
        for trial in self.trials:
            out[trial.status] += 1
        return out

    def trials_with(self, status, limit):
        return [t for t in self.trials if t.status == status][:limit]

    def best(self, metric, mode, scope="last"):
        known = [t for t in self.trials if metric in t.last_result]
        sign = 1 if mode == "min" else -1
        return min(known, key=lambda t: sign * t.last_result[metric], default=None)

    def used_resources(self):
        return {"CPU": (1.5, 2.0), "GPU": (0.0, 0.0), "memory": (0.0, 1e9)}


def make_plan(**changes):
    settings = dict(
        verbose=1,
        name="exp",
        experiment_dir="/results/exp",
        metric="loss",
        mode="min",
        total_samples=64,
        search_alg=SimpleNamespace(searcher=Driver()),
        scheduler=FIFOScheduler(),
        log_trial_errors=True,
    )
    return SimpleNamespace(**{**settings, **changes})


@pytest.fixture
def driver():
    return Driver(
        make_trial(1, "RUNNING", 3.0),
        make_trial(2, "TERMINATED", 1.25),
        make_trial(3, "TERMINATED", 2.0),
        make_trial(4, "ERROR"),
        make_trial(5, "PENDING"),
    )


def width(monkeypatch, columns, lines=24):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))
    assert shutil.get_terminal_size().columns == columns


def test_silent_means_no_output_and_no_hooks(driver, capsys):
    display = Display(make_plan(verbose=0))
    assert not display.wanted and display.hooks() == {}
    display.start(driver)
    display.end()
    assert capsys.readouterr().out == ""


def test_in_a_pipe_the_start_and_the_end_are_plain_lines(driver, capsys):
    display = Display(make_plan())
    display.start(driver)
    start = capsys.readouterr().out
    for word in ("exp", "/results/exp", "Driver", "64 trials", "FIFOScheduler", "loss"):
        assert word in start
    display.heartbeat()
    assert capsys.readouterr().out == ""
    display.end()
    end = capsys.readouterr().out
    assert "Best: loss=1.25 by train_ab_00002 with lr=0.2, layers=2" in end
    assert "3/64 trials (1 RUNNING, 1 PENDING, 2 TERMINATED, 1 ERROR)" in end
    assert "Failed trials (1):" in end and "/results/exp" in end
    assert "\x1b" not in start + end


def test_in_a_pipe_a_line_comes_every_ten_seconds(driver, capsys, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(_display.time, "monotonic", lambda: clock[0])
    display = Display(make_plan())
    display.start(driver)
    capsys.readouterr()
    lines = 0
    for _ in range(100):
        clock[0] += 0.25
        display.heartbeat()
        lines += len(capsys.readouterr().out.splitlines())
    assert lines == 2
    display.end()
    assert "Ended after 25.0 s" in capsys.readouterr().out


def test_a_line_says_how_far_what_is_used_and_what_is_best(driver, monkeypatch):
    display = Display(make_plan())
    display.start(driver)
    line = " | ".join(display._summary())
    assert "3/64 trials" in line
    assert "CPU 1.5/2" in line
    assert "GPU" not in line and "memory" not in line
    assert "Best: loss=1.25" in line


@pytest.mark.parametrize("columns", [80, 160])
def test_the_block_fits_the_terminal(driver, monkeypatch, columns):
    width(monkeypatch, columns)
    many = {f"parameter_{i}": i / 3 for i in range(12)}
    for number in range(10, 60):
        driver.trials.append(make_trial(number, "RUNNING", 5.0, many))
    display = Display(make_plan())
    display.start(driver)
    block = display._block()
    assert max(map(len, block)) <= columns
    assert len(block) <= 24
    text = "\n".join(block)
    assert "train_ab_00001" in text and "train_ab_00002" in text
    assert "more parameters" in text


def test_wide_terminals_show_more_parameters(driver, monkeypatch):
    many = {f"parameter_{i}": i / 3 for i in range(6)}
    driver.trials = [make_trial(1, "RUNNING", 5.0, many)]
    shown = {}
    for columns in (80, 160):
        width(monkeypatch, columns)
        display = Display(make_plan())
        display.start(driver)
        table = "\n".join(line for line in display._block() if "Best" not in line)
        shown[columns] = table.count("parameter_")
    assert shown[80] < shown[160] == 6


def test_on_a_terminal_one_live_block_is_redrawn(driver, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    width(monkeypatch, 100)
    monkeypatch.setattr(_display, "_FIRST_BLOCK_S", 0.0)
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    display = Display(make_plan())
    display.start(driver)
    for _ in range(3):
        display.heartbeat()
    drawn = out.getvalue()
    assert drawn.count("CPU 1.5/2") == 3
    assert "\x1b[" in drawn
    display.end()
    assert out.getvalue().rstrip().endswith("Results: /results/exp")
    assert display._live is None


def test_a_short_run_draws_no_block(driver, monkeypatch):
    monkeypatch.setattr(_display, "_is_terminal", lambda: True)
    monkeypatch.setattr(_display, "_start_live", lambda: pytest.fail("drew a block"))
    display = Display(make_plan())
    display.start(driver)
    display.heartbeat()
    display.end()


def test_failures_are_shown_at_once(driver, capsys):
    failed = driver.trials[3]
    hooks = Display(make_plan()).hooks()
    assert list(hooks) == ["TRIAL_FAILURE"]
    hooks["TRIAL_FAILURE"](trial=failed, error="Traceback\nKeyError: 'x'\n")
    out = capsys.readouterr().out
    assert "train_ab_00004 failed" in out
    assert "  KeyError: 'x'" in out and "Traceback" in out
    hooks = Display(make_plan(log_trial_errors=False)).hooks()
    hooks["TRIAL_FAILURE"](trial=failed, error="Traceback\nKeyError: 'x'\n")
    out = capsys.readouterr().out
    assert "KeyError" in out and "Traceback" not in out


def test_results_are_shown_at_the_second_level_only(driver, capsys):
    hooks = Display(make_plan(verbose=2)).hooks()
    hooks["RESULT"](
        trial=driver.trials[0],
        result={"a": {"b": 0.123456789}, "training_iteration": 7, "config": {"x": 1}},
    )
    assert capsys.readouterr().out == "Trial train_ab_00001 result 7: a/b=0.12346\n"
    hooks["CHECKPOINT"](trial=driver.trials[0], checkpoint=SimpleNamespace(path="/c"))
    assert "/c" in capsys.readouterr().out


def test_without_a_metric_the_users_metrics_are_shown(driver, capsys):
    display = Display(make_plan(metric=None, mode=None, total_samples=sys.maxsize))
    display.start(driver)
    display.end()
    out = capsys.readouterr().out
    assert "Best" not in out
    assert "loss" in out and "other" in out
    assert "endless trials" in out


def test_the_last_table_ranks_by_the_metric(driver, capsys):
    driver.trials += [make_trial(n, "TERMINATED", 100.0 + n) for n in range(10, 30)]
    display = Display(make_plan(mode="max"))
    display.start(driver)
    capsys.readouterr()
    display.end()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("train_ab_00029")
    assert "... and 15 more trials" in lines


def test_a_closed_output_does_not_end_the_run(driver, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    display = Display(make_plan())
    out.close()
    display.start(driver)
    display.end()


def test_a_run_without_trials_ends_quietly(capsys):
    display = Display(make_plan())
    display.start(Driver())
    display.end(failed=True)
    assert "Ended with an error" in capsys.readouterr().out
