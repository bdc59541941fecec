"""The reporters of the older kind, and what chooses between the two kinds of output."""

import inspect
import logging
import re
import sys
import types
from types import SimpleNamespace

import pytest

import ctune as tune
from ctune import _display
from ctune._display import Listed, Running
from ctune._progress import Progress
from ctune.callback import Callback
from ctune.experiment import Trial
from ctune.experimental.output import AirVerbosity, ProgressReporter, TuneTerminalReporter
from ctune.logger import TBXLoggerCallback
from ctune.progress_reporter import (
    SKIP_RESULTS_IN_REPORT,
    CLIReporter,
    JupyterNotebookReporter,
    RemoteReporterMixin,
    TrialProgressCallback,
    TuneReporterBase,
)
from ctune.utils.log import Verbosity, has_verbosity, set_verbosity


@pytest.fixture(autouse=True)
def runtime(monkeypatch):
    for name in ("CTUNE_EXECUTOR", "RAY_AIR_NEW_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    tune.shutdown()
    tune.init(executor="inline", num_cpus=2)
    yield
    tune.shutdown()
    set_verbosity(Verbosity.V3_TRIAL_DETAILS)


@pytest.fixture
def older(monkeypatch):
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")


@pytest.fixture
def notebook(monkeypatch):
    """A notebook of which nothing is there but what the reporters touch."""
    shown = []

    class Handle:
        def __init__(self, text):
            shown.append([text])
            self.texts = shown[-1]

        def update(self, text):
            self.texts.append(text)

    class ZMQInteractiveShell:
        pass

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = ZMQInteractiveShell
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.HTML = str
    ipython.display.display = lambda text, display_id: Handle(text)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return shown


@pytest.fixture
def run(tmp_path):
    def call(trainable=None, **arguments):
        arguments.setdefault("storage_path", str(tmp_path))
        arguments.setdefault("raise_on_failed_trial", False)
        return tune.run(trainable or train, **arguments)

    return call


def train(config):
    for i in range(3):
        if config.get("bad") and i == 2:
            raise RuntimeError("on purpose")
        tune.report({"loss": config.get("x", 1) / (i + 1), "deep": {"i": i}})


class Hears(tune.ProgressReporter):
    """Writes down how it is called."""

    def __init__(self):
        self.calls = []

    def setup(self, **info):
        self.calls.append(("setup", info))

    def should_report(self, trials, done=False):
        self.calls.append(("should", len(trials), done))
        return True

    def report(self, trials, done, *sys_info):
        assert all(isinstance(trial, Trial) for trial in trials)
        self.calls.append(("report", len(trials), done, *sys_info))


def make_trial(number, status, result=None, params=None, failures=0, error=None):
    trial = Trial("train", trial_id=f"id_{number:05d}", config=dict(params or {"a": number}))
    trial.evaluated_params = dict(params or {"a": number})
    trial.set_status(status)
    trial.num_failures = failures
    trial._error_file = error
    if result is not None:
        trial._last_result = {
            "loss": 1.0 / (number + 1),
            "training_iteration": number,
            "time_total_s": 1.5 * number,
            "timesteps_total": None,
            "node_ip": "10.0.0.9",
            "pid": 77,
            "note": "x",
            **result,
        }
    return trial


@pytest.fixture
def trials():
    return [
        make_trial(0, "RUNNING", {}),
        make_trial(1, "TERMINATED", {}),
        make_trial(2, "ERROR", {}, failures=1, error="/e/2"),
        make_trial(3, "PENDING"),
        make_trial(4, "PAUSED", {}),
        make_trial(5, "TERMINATED", {}, failures=2, error="/e/5"),
    ]


def make(kind=CLIReporter, **arguments):
    reporter = kind(**arguments)
    own = "metric" in arguments
    reporter.setup(
        start_time=None,
        total_samples=10,
        metric=None if own else "loss",
        mode=None if own else "min",
    )
    return reporter


def table_of(text):
    """Cells of the first table, row by row."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rule = next(i for i, line in enumerate(lines) if line.startswith("|-"))
    end = next((i for i, x in enumerate(lines) if i > rule and "# failures" in x), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]]


# --- which output, and how much of it ---


def test_r17_r75_the_level_ends_at_two(run, capsys):
    """R17, R75: the newer output takes 0 to 2, and enumerations too; negative is an error."""
    for verbose, words in (
        (0, []),
        (1, ["Configuration for experiment", "Trial status:"]),
        (None, ["Trial status:"]),
        (3, ["finished iteration"]),
        (AirVerbosity.VERBOSE, ["finished iteration"]),
        (Verbosity.V1_EXPERIMENT, ["Trial status:"]),
    ):
        run(verbose=verbose)
        out = capsys.readouterr().out
        assert all(word in out for word in words)
        assert (out == "") == (not words)
        assert ("finished iteration" in out) == ("finished iteration" in words)
    with pytest.raises(ValueError, match="verbose.*-1"):
        run(verbose=-1)


def test_r17_r75_the_variable_selects_the_older_output(run, older, capsys):
    """R17, R75, R177: with RAY_AIR_NEW_OUTPUT=0 there are levels 0 to 3, and 3 is the default."""
    run()
    out = capsys.readouterr().out
    assert "== Status ==" in out and "Result for train_" in out and "Trial status" not in out
    run(verbose=2)
    out = capsys.readouterr().out
    assert "Result for" not in out and "reported loss=" in out
    run(verbose=1)
    out = capsys.readouterr().out
    assert "== Status ==" in out and "reported" not in out
    run(verbose=0)
    assert capsys.readouterr().out == ""
    for bad in (4, -1):
        with pytest.raises(ValueError, match=f"verbose.*{bad}"):
            run(verbose=bad)


def test_r77_the_older_level_follows(run, older, monkeypatch):
    """R77: the older reporters are silent beside the newer output."""
    run(verbose=2)
    assert has_verbosity(2) and not has_verbosity(3)
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "1")
    run(verbose=2)
    assert not has_verbosity(1)


def test_r76_r128_a_notebook_gets_html(run, notebook, caplog, capsys):
    """R76, R128: a notebook gets a JupyterNotebookReporter, whose output is updated."""
    caplog.set_level(logging.INFO, "ctune")
    run(verbose=1, metric="loss", mode="min")
    assert len(notebook) == 1 and len(notebook[0]) >= 2
    assert "<table>" in notebook[0][-1] and "TERMINATED" in notebook[0][-1]
    assert "notebook" in caplog.text
    assert capsys.readouterr().out == ""
    notebook.clear()
    run(verbose=2)
    assert sum("tuneStatus" in text for texts in notebook for text in texts) >= 2
    assert sum("tuneStatus" in text for texts in notebook[:1] for text in texts) <= 1
    assert any("trialProgress" in text for texts in notebook for text in texts)


def test_r128_a_training_and_other_places_get_text(run, older, notebook, monkeypatch, capsys):
    """R128: no HTML for trainers, nor where there is no notebook."""
    run(verbose=1, _entrypoint="TRAINER")
    assert notebook == [] and "== Status ==" in capsys.readouterr().out
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    run(verbose=1)
    assert notebook == [] and "== Status ==" in capsys.readouterr().out


def test_r18_r127_the_newer_output_ignores_a_reporter(run, caplog):
    """R18, R127: it is not called, and a warning says so."""
    reporter = Hears()
    run(progress_reporter=reporter, verbose=0)
    assert reporter.calls == []
    assert "progress_reporter is ignored" in caplog.text


def test_r18_r135_r138_r143_a_reporter_is_set_up_asked_and_told(run, older):
    """R18, R135, R138, R143: what the older output calls, and with what."""
    reporter = Hears()
    run(progress_reporter=reporter, num_samples=2, metric="loss", mode="min", verbose=1)
    (_, setup), *rest = reporter.calls
    assert set(setup) == {"start_time", "total_samples", "metric", "mode"}
    assert (setup["total_samples"], setup["metric"], setup["mode"]) == (2, "loss", "min")
    assert isinstance(setup["start_time"], float)
    assert rest[-2][0] == "should" and rest[-2][1:] == (2, True)
    kind, number, done, scheduler, resources = rest[-1]
    assert (kind, number, done) == ("report", 2, True)
    assert "FIFO" in scheduler and "0/2 CPUs" in resources
    assert all(call[2] is False for call in rest[:-2])
    reporter.calls.clear()
    run(progress_reporter=reporter, verbose=0)
    assert [call[0] for call in reporter.calls] == ["setup"]


def test_r135_a_reporter_among_the_callbacks_is_the_one_that_reports(run, capsys):
    """R135: it gets start time and number of trials, and prints the heartbeat."""
    heard = []

    class Mine(TuneTerminalReporter):
        def setup(self, start_time=None, total_samples=None, **info):
            super().setup(start_time, total_samples, **info)
            heard.append((start_time, total_samples, sorted(info)))

        def print_heartbeat(self, trials, *args, force=False):
            heard.append((len(trials), args, force))

    given = [Mine(AirVerbosity.DEFAULT)]
    run(callbacks=given, num_samples=3, verbose=1)
    kinds = [type(c) for c in given]
    assert kinds[0] is Mine and TuneTerminalReporter not in kinds
    as_callback, as_reporter, *beats = heard
    assert as_callback == (
        None,
        None,
        ["num_samples", "stop", "time_budget_s", "total_num_samples"],
    )
    assert as_reporter[0] > 0 and as_reporter[1] == 3
    assert beats[-1][0] == 3 and beats[-1][2] is True
    assert "Trial status" not in capsys.readouterr().out


def test_r116_r117_each_output_has_its_callback(run, older, monkeypatch, caplog):
    """R116, R117: one is added to the caller's list; the older one is dropped from a new list."""
    given = [Callback()]
    run(callbacks=given, verbose=0)
    assert type(given[1]) is TrialProgressCallback
    mine = [TrialProgressCallback()]
    run(callbacks=mine, verbose=0)
    assert sum(isinstance(c, TrialProgressCallback) for c in mine) == 1
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "1")
    given = [Callback()]
    run(callbacks=given, verbose=0)
    assert type(given[1]) is TuneTerminalReporter
    assert "ignored" not in caplog.text
    mine = [TrialProgressCallback(), Callback()]
    run(callbacks=mine, verbose=0)
    assert [type(c) for c in mine] == [TrialProgressCallback, Callback]
    assert "TrialProgressCallback is ignored" in caplog.text


def test_r114_metrics_that_a_trainable_names_reach_the_callback(run, older, capsys):
    """R114."""

    class Picky(tune.Trainable):
        _progress_metrics = ["b"]

        def step(self):
            return {"a": 1, "b": 2, "done": True}

    run(Picky, verbose=2)
    assert "reported b=2 with" in capsys.readouterr().out


def test_r136_a_metric_of_the_reporter_and_of_the_run_is_an_error(run, older, capsys):
    """R136. The reporter may serve several runs."""
    with pytest.raises(ValueError, match="metric.*CLIReporter"):
        run(progress_reporter=CLIReporter(metric="loss", mode="min"), metric="loss", mode="min")
    reporter = CLIReporter()
    for _ in range(2):
        run(progress_reporter=reporter, metric="loss", mode="min", verbose=1)
    run(progress_reporter=CLIReporter(metric="loss", mode="min"), verbose=1)
    assert capsys.readouterr().out.count("Current best trial") >= 3


def test_r137_tensorboard_is_named_if_its_files_are_written(run, capsys, tmp_path, monkeypatch):
    """R137."""
    given = [TBXLoggerCallback()] if _has_tensorboard() else []
    run(name="exp", callbacks=given, verbose=1)
    out = capsys.readouterr().out
    assert "Configuration for experiment   exp" in out
    assert f"View detailed results here: {tmp_path / 'exp'}\n" in out
    assert "BasicVariantGenerator" in out and "FIFOScheduler" in out
    assert ("tensorboard --logdir" in out) == bool(given)
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    run(name="exp", verbose=1)
    assert "tensorboard --logdir" not in capsys.readouterr().out


def _has_tensorboard():
    try:
        TBXLoggerCallback()
    except ImportError:
        return False
    return True


def test_r138_r143_the_newer_output_reports_at_the_end(run, capsys):
    """R138, R143: a report with all trials and the table of errors."""
    run(config={"bad": tune.grid_search([False, True])}, verbose=1)
    out = capsys.readouterr().out
    last = out[out.rindex("Trial status:") :]
    assert last.startswith("Trial status: 1 TERMINATED | 1 ERROR\n")
    assert last.count("│ train_") == 3 and "Number of errored trials: 1" in last
    assert "errored after 2 iterations" in out and "Error file: " in out


def test_r141_r148_the_older_output_logs_how_long_it_took(run, older, caplog):
    """R141, R148: total time, and that of the loop, with two decimals."""
    caplog.set_level(logging.INFO, "ctune")
    run(verbose=1)
    total, loop = map(
        float, re.search(r"took (\d+\.\d\d) seconds, (\d+\.\d\d) of", caplog.text).groups()
    )
    assert total >= loop >= 0
    caplog.clear()
    run(verbose=0)
    assert "seconds" not in caplog.text


def test_r155_run_experiments_hands_a_reporter_on(older, tmp_path):
    """R155."""
    reporter = Hears()
    experiment = tune.Experiment("exp", train, storage_path=str(tmp_path))
    tune.run_experiments(experiment, progress_reporter=reporter, verbose=1)
    assert reporter.calls[-1][:3] == ("report", 1, True)


def test_a_tuner_hands_a_reporter_on(older, tmp_path):
    reporter = Hears()
    config = tune.RunConfig(storage_path=str(tmp_path), progress_reporter=reporter)
    assert config.verbose == 3
    tune.Tuner(train, run_config=config).fit()
    assert reporter.calls[-1][:3] == ("report", 1, True)


# --- reporters that misbehave ---


class Bad(Hears):
    def __init__(self, where):
        super().__init__()
        self.where = where

    def _perhaps(self, where):
        if where == self.where:
            raise KeyError("mine")

    def setup(self, **info):
        self._perhaps("setup")

    def should_report(self, trials, done=False):
        self._perhaps("should")
        return True

    def report(self, trials, done, *sys_info):
        self._perhaps("last" if done else "report")


@pytest.mark.parametrize("where", ["setup", "should", "report", "last"])
def test_a_reporter_that_raises_ends_the_run_and_loses_nothing(run, older, tmp_path, where):
    with pytest.raises(tune.TuneError, match="KeyError: 'mine'") as caught:
        run(name="exp", progress_reporter=Bad(where), verbose=1)
    assert isinstance(caught.value.__cause__, KeyError)
    found = tune.ExperimentAnalysis(str(tmp_path / "exp")).trials if where == "last" else []
    assert all(trial.status == "TERMINATED" and trial.last_result for trial in found)
    assert len(found) == (where == "last")
    run(name="exp2", verbose=0)  # nothing of the failed one is left


def test_what_is_no_reporter_is_refused(run, older):
    for bad in ("x", object(), CLIReporter):
        with pytest.raises(ValueError, match="progress_reporter"):
            run(progress_reporter=bad)


def test_a_subclass_may_override_any_part(run, older, capsys):
    class Mine(CLIReporter):
        def should_report(self, trials, done=False):
            return done

        def _progress_str(self, trials, done, *sys_info, fmt="psql", delim="\n"):
            return f"{len(trials)} mine, " + super()._progress_str(trials, done, *sys_info)

        def _print(self, msg):
            print("<<", msg.splitlines()[0])

    run(progress_reporter=Mine(), num_samples=2, verbose=1)
    assert capsys.readouterr().out == "<< 2 mine, == Status ==\n"


# --- the text ---


def test_the_report_has_the_documented_parts(trials):
    text = make()._progress_str(trials, False, "Using FIFO.", "1/2 CPUs")
    lines = text.splitlines()
    assert lines[0] == "== Status =="
    assert re.fullmatch(r"Current time: [\d-]+ [\d:]+ \(running for 00:00:0\d\.\d\d\)", lines[1])
    assert lines[2:4] == ["Using FIFO.", "1/2 CPUs"]
    assert lines[4] == (
        "Current best trial: id_00005 with loss=0.16666666666666666 and parameters={'a': 5}"
    )
    assert (
        lines[5] == "Number of trials: 6/10 (1 ERROR, 1 PAUSED, 1 PENDING, 1 RUNNING, 2 TERMINATED)"
    )
    head, _, *rows = table_of(text)
    assert head == ["Trial name", "status", "loc", "a", "iter", "total time (s)", "loss"]
    assert [(row[0][-1], row[1]) for row in rows] == [
        ("0", "RUNNING"), ("4", "PAUSED"), ("3", "PENDING"), ("1", "TERMINATED"),
        ("5", "TERMINATED"), ("2", "ERROR"),
    ]  # fmt: skip
    assert rows[0] == ["train_id_00000", "RUNNING", "10.0.0.9:77", "0", "0", "0", "1"]
    assert rows[2][2:] == ["", "3", "", "", ""]
    assert "Number of errored trials: 2" in text
    assert re.search(r"train_id_00005 +\| +2\* \| /e/5", text)
    assert text.rstrip().endswith("* ended well when it was tried again")


def test_a_run_in_days_has_a_clock(trials):
    reporter = make()
    reporter.set_start_time(reporter._start_time - 90061.5)
    assert "running for 1 days, 01:01:01.5" in reporter._progress_str(trials, False)


def test_the_number_of_trials_may_be_infinite(trials):
    reporter = make()
    reporter.set_total_samples(sys.maxsize)
    assert "Number of trials: 6/infinite (" in reporter._progress_str(trials, False)
    assert "Number of trials" not in reporter._progress_str([], False)


@pytest.mark.parametrize(
    ("arguments", "head"),
    [
        ({"metric_columns": ["loss", "absent"]}, ["a", "loss"]),
        ({"metric_columns": {"loss": "L", "note": "N"}}, ["a", "L", "N"]),
        ({"parameter_columns": ["a"]}, ["a", "iter", "total time (s)", "loss"]),
        ({"parameter_columns": {"a": "A"}}, ["A", "iter", "total time (s)", "loss"]),
        ({"infer_limit": 0}, ["a", "iter", "total time (s)"]),
    ],
)
def test_columns_are_those_that_were_asked_for(trials, arguments, head):
    assert table_of(make(**arguments)._progress_str(trials, False))[0][3:] == head


def test_columns_can_be_added(trials):
    reporter = make(metric_columns={"loss": "L"}, parameter_columns=["a"])
    reporter.add_metric_column("note", "N")
    reporter.add_metric_column("training_iteration")
    reporter.add_parameter_column("b/c")
    for trial in trials:
        trial.config["b"] = {"c": 7}
    head, _, first, *_ = table_of(reporter._progress_str(trials, False))
    assert head[3:] == ["a", "b/c", "L", "N", "training_iteration"]
    assert first[4] == "7"
    assert "parameters={'a': 5, 'b/c': 7}" in reporter._progress_str(trials, False)
    for add, name in ((reporter.add_metric_column, "loss"), (reporter.add_parameter_column, "a")):
        with pytest.raises(ValueError, match=name):
            add(name)
    with pytest.raises(ValueError, match="representation.*'B'"):
        reporter.add_parameter_column("b", "B")
    with pytest.raises(ValueError, match="metric_columns.*3"):
        CLIReporter(metric_columns=3)


def test_rows_that_find_no_room_are_counted(trials):
    text = make(max_progress_rows=4, max_error_rows=1)._progress_str(trials, False)
    assert [row[1] for row in table_of(text)[2:]] == ["RUNNING", "PAUSED", "PENDING", "TERMINATED"]
    assert "... 2 more trials not shown (1 TERMINATED, 1 ERROR)" in text
    assert "Number of errored trials: 2\nThe first 1 of them (1 more):" in text
    assert "/e/5" not in text


def test_no_status_takes_all_rows():
    trials = [make_trial(n, "TERMINATED", {}) for n in range(30)]
    trials += [make_trial(n, "ERROR", {}) for n in range(30, 33)]
    rows = table_of(make(max_progress_rows=10)._progress_str(trials, False))[2:]
    assert [row[1] for row in rows] == ["TERMINATED"] * 7 + ["ERROR"] * 3


def test_the_table_may_begin_with_the_best(trials):
    def order(reporter):
        return [row[0][-1] for row in table_of(reporter._progress_str(trials, False))[2:]]

    trials[1]._last_result["loss"] = float("nan")
    assert order(make(sort_by_metric=True)) == list("043512")
    trials[1]._last_result["loss"] = 0.01
    assert order(make(sort_by_metric=True)) == list("043152")
    assert order(make(sort_by_metric=True, metric="loss", mode="max")) == list("043512")
    with pytest.warns(UserWarning, match="sort_by_metric"):
        CLIReporter(sort_by_metric=True).setup()


def test_long_names_and_values_are_cut():
    trial = make_trial(
        1, "RUNNING", {"a_metric_with_a_name_that_is_long": 1.0},
        {"text": "x" * 50, "other": "x" * 49 + "y", "a_parameter_with_a_name": True},
    )  # fmt: skip
    head, wrapped, _, row = table_of(make(max_column_length=15)._progress_str([trial], False))
    texts = [cell for cell in row if cell.startswith("xxx")]
    assert len(set(texts)) == 2 and all(re.fullmatch("x{10}_[0-9a-f]{4}", t) for t in texts)
    assert wrapped[head.index("a_parameter_")] == "with_a_name"
    assert "True" in row


@pytest.mark.parametrize(
    ("level", "given", "done", "table"),
    [(3, None, False, True), (2, None, False, False), (2, None, True, True), (1, None, True, False),
     (1, True, False, True), (3, False, False, False), (3, False, True, True)],
)  # fmt: skip
def test_when_there_is_a_table(trials, level, given, done, table):
    set_verbosity(level)
    text = make(print_intermediate_tables=given)._progress_str(trials, done)
    assert ("Trial name" in text.split("Number of errored")[0]) == table


def test_a_reporter_reports_every_few_seconds(trials, monkeypatch):
    reporter = make()
    assert [reporter.should_report(trials, done) for done in (False, False, True, False)] == [
        True, False, True, False
    ]  # fmt: skip
    reporter = make(max_report_frequency=0)
    assert reporter.should_report(trials) and reporter.should_report(trials)


def test_a_run_answers_without_a_walk_over_its_trials(trials):
    class Driver:
        def __init__(self):
            self.trials = trials

        def counts(self):
            return {"PENDING": 0, "RUNNING": 9_000, "PAUSED": 0, "TERMINATED": 1, "ERROR": 1}

        def trials_with(self, status, limit):
            return Listed(trials).trials_with(status, limit)

        def best(self, metric, mode):
            return trials[1]

    reporter = make()
    reporter._running = Running(Driver())
    text = reporter._progress_str(trials, False)
    assert "Number of trials: 9002/10 (1 ERROR, 9000 RUNNING, 1 TERMINATED)" in text
    assert "Current best trial: id_00001" in text
    assert "9000 RUNNING" not in reporter._progress_str(list(trials), False)


# --- notebooks ---


def test_html_holds_the_same(trials, notebook):
    reporter = make(JupyterNotebookReporter)
    trials[0].config["a"] = "<b>"
    trials[5].config["a"] = "<i>"
    html = reporter._progress_html(trials, False, "Using <FIFO>.", "1/2 CPUs")
    assert "Using &lt;FIFO&gt;.<br>1/2 CPUs" in html
    assert "{&#x27;a&#x27;: &#x27;&lt;i&gt;&#x27;}" in html and "<i>" not in html
    assert "Number of trials: 6/10" in html and "train_id_00004" in html
    assert "Number of errored trials: 2" in html
    for _ in range(3):
        reporter.report(trials, False)
    assert [len(texts) for texts in notebook] == [3]
    reporter = make(JupyterNotebookReporter, overwrite=False)
    for _ in range(2):
        reporter.report(trials, False)
    assert [len(texts) for texts in notebook] == [3, 1, 1]


def test_html_needs_ipython_and_a_notebook(trials, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.warns(UserWarning, match="CLIReporter"):
        reporter = make(JupyterNotebookReporter)
    with pytest.raises(ImportError, match="pip install ipython"):
        reporter.report(trials, False)


def test_a_queue_takes_what_is_displayed(trials, notebook):
    reporter = make(JupyterNotebookReporter)
    assert isinstance(reporter, RemoteReporterMixin) and reporter.output_queue is None
    texts = []
    reporter.output_queue = SimpleNamespace(put=texts.append)
    reporter.report(trials, True)
    assert len(texts) == 1 and notebook == []
    RemoteReporterMixin().display(texts[0])


# --- results ---


def told(callback, trials, capsys):
    running, ended, failed = trials[:3]
    ended._last_result["done"] = True
    what = {"iteration": 1, "trials": trials}
    for trial in (running, running, ended):
        callback.on_trial_result(**what, trial=trial, result=trial.last_result)
    callback.on_trial_complete(**what, trial=ended)
    callback.on_trial_error(**what, trial=failed)
    return capsys.readouterr().out


def test_whole_results_at_level_3(trials, capsys):
    for trial in trials:
        if trial.last_result:
            trial._last_result.update(config={"a": 1}, hist_stats={"x": [1]})
    out = told(TrialProgressCallback(), trials, capsys)
    assert out.count("Result for train_id_00000:") == 1  # the second came too soon
    assert "  loss: 1.0\n" in out
    assert "config" not in out and "hist_stats" not in out and "timesteps_total" not in out
    assert out.count("Trial train_id_00001 completed.") == 1
    assert "Result for train_id_00002:" in out


def test_one_line_at_level_2(trials, capsys):
    set_verbosity(2)
    out = told(TrialProgressCallback(metric="loss"), trials, capsys)
    assert out.splitlines() == [
        "Trial train_id_00000 reported loss=1.00 with parameters={'a': 0}.",
        "Trial train_id_00001 reported loss=0.50 with parameters={'a': 1}. This trial completed.",
        "The trial train_id_00002 errored with parameters={'a': 2}. Error file: /e/2",
    ]
    out = told(TrialProgressCallback(progress_metrics=["note"]), trials, capsys)
    assert "reported note=x with" in out
    out = told(TrialProgressCallback(), trials, capsys)
    assert "reported loss=1.0,note=x with" in out


def test_nothing_below_level_2_and_no_hooks(trials, capsys):
    set_verbosity(1)
    callback = TrialProgressCallback()
    assert told(callback, trials, capsys) == ""
    assert set(callback._deaf_to) == {"on_trial_result", "on_trial_error", "on_trial_complete"}

    class Mine(TrialProgressCallback):
        pass

    assert Mine()._deaf_to == ()
    set_verbosity(2)
    assert callback._deaf_to == ()


def test_results_in_a_notebook_are_one_table(trials, notebook, capsys):
    set_verbosity(2)
    assert told(TrialProgressCallback(), trials, capsys) == ""
    assert len(notebook) == 1 and len(notebook[0]) == 3
    last = notebook[0][-1]
    assert all(f"train_id_0000{n}" in last for n in (0, 1, 2)) and "<th>note" in last


# --- names, and the module of levels ---


def test_levels_can_be_set_by_number_and_name():
    set_verbosity(1)
    assert has_verbosity(0) and has_verbosity(Verbosity.V1_EXPERIMENT) and not has_verbosity(2)
    set_verbosity(Verbosity.V2_TRIAL_NORM)
    assert has_verbosity(2) and int(Verbosity.V2_TRIAL_NORM) == 2
    for bad in (4, -1, "x", None):
        with pytest.raises(ValueError, match="verbose"):
            set_verbosity(bad)


def test_the_documented_arguments_and_defaults():
    parameters = inspect.signature(JupyterNotebookReporter).parameters
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert {name: p.default for name, p in parameters.items()} == {
        "overwrite": True, "metric_columns": None, "parameter_columns": None,
        "total_samples": None, "max_progress_rows": 20, "max_error_rows": 20,
        "max_column_length": 20, "max_report_frequency": 5, "infer_limit": 3,
        "print_intermediate_tables": None, "metric": None, "mode": None, "sort_by_metric": False,
    }  # fmt: skip
    own = dict(parameters)
    del own["overwrite"]
    assert dict(inspect.signature(CLIReporter).parameters) == own
    assert {type(None), int, float} <= TuneReporterBase.VALID_SUMMARY_TYPES
    assert SKIP_RESULTS_IN_REPORT == {"config", "done", "experiment_tag", "trial_id"}
    for method in ("should_report", "report"):
        with pytest.raises(NotImplementedError, match=method):
            getattr(tune.ProgressReporter(), method)([], False)
    assert tune.ProgressReporter().setup() is None


def test_the_display_is_a_small_part_of_a_run():
    """A report on 100,000 trials asks the engine and shows a few of them."""
    asked = []

    class Driver:
        trials = property(lambda self: pytest.fail("walked over the trials"))

        def counts(self):
            return {"RUNNING": 2, "TERMINATED": 99_998, "PENDING": 0, "PAUSED": 0, "ERROR": 0}

        def trials_with(self, status, limit):
            asked.append(limit)
            return []

        def best(self, metric, mode):
            return None

        def used_resources(self):
            return {"CPU": (2.0, 2.0)}

    reporter = TuneTerminalReporter(AirVerbosity.DEFAULT, 100_000)
    one = SimpleNamespace(storage=SimpleNamespace(place="/exp"))
    plan = SimpleNamespace(
        progress_reporter=None, callbacks=[reporter], total_samples=100_000, verbose=1,
        name="exp", experiment_dir="/exp", experiments=[one],
        search_alg=None, scheduler=None, metric=None, mode=None,
    )  # fmt: skip
    progress = Progress(plan)
    progress.start(Driver())
    for _ in range(3):
        progress.heartbeat()
    progress.end()
    assert max(asked) <= 200 and len(asked) < 30
    assert isinstance(reporter, ProgressReporter) and _display.total_text(None) == "infinite"
