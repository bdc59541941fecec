"""The command line: tables of trials and experiments, notes, and errors."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import ctune
from ctune.cli import commands
from ctune.cli.scripts import cli

pandas = pytest.importorskip("pandas")


def train(config):
    for step in range(2):
        ctune.report({"mean_loss": config["x"] / (step + 1), "word": "w" * config["x"]})


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    ctune.init(executor="inline")
    for name, values in (("first", [3, 1, 2]), ("second", [5])):
        ctune.run(train, name=name, storage_path=folder, verbose=0,
                  config={"x": ctune.grid_search(values), "none": None})  # fmt: skip
    return folder


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def table(capsys):
    """Runs a command; returns its table as lists of cells, and what is printed below it."""

    def run(*arguments):
        assert cli([str(a) for a in arguments]) == 0
        lines = capsys.readouterr().out.splitlines()
        rows = [[c.strip() for c in line.split("|")[1:-1]] for line in lines if line[0] == "|"]
        return [rows[0], *rows[2:]], [line for line in lines if line[0] not in "|+"]

    return run


def test_trials_are_listed_with_the_usual_columns(project, table):
    (header, *rows), below = table("list-trials", project / "first")
    assert header == ["mean_loss", "training_iteration", "trial_id", "time_total_s", "config/x"]
    assert [row[-1] for row in rows] == ["3", "1", "2"]
    assert below == ["Empty columns: ['config/none']"]
    assert table("ls", project / "first")[0] == [header, *rows]


def test_columns_rows_and_their_order_are_chosen(project, table):
    path = project / "first"
    (header, *rows), _ = table("ls", path, "--columns", "config/x,mean_loss", "--sort", "config/x")
    assert header == ["mean_loss", "config/x"]
    assert rows == [["0.5", "1"], ["1", "2"], ["1.5", "3"]]
    (_, *rows), _ = table("ls", path, "--columns=config/x", "--sort=mean_loss", "--desc", "True")
    assert rows == [["3"], ["2"], ["1"]]
    (_, *rows), _ = table("ls", path, "--columns=config/x", "--sort=mean_loss", "--limit", 1)
    assert rows == [["1"]]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("config/x < 2", ["1"]),
        ("config/x <= 2", ["1", "2"]),
        ("config/x == 2", ["2"]),
        ("config/x != 2", ["3", "1"]),
        ("mean_loss >= 1", ["3", "2"]),
        ("mean_loss > 1", ["3"]),
        ("word == ww", ["2"]),
    ],
)
def test_rows_are_filtered(project, table, condition, expected):
    (_, *rows), _ = table("ls", project / "first", "--columns", "config/x", "--filter", condition)
    assert [row[0] for row in rows] == expected


def test_a_narrow_terminal_shows_what_fits(project, table, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "45")
    (header, *_), below = table("ls", project / "first")
    assert header == ["mean_loss", "training_iteration"]
    assert below[0].startswith("Dropped columns: ['trial_id',")
    frame = pandas.DataFrame({"wide" * 20: [1], "empty": [None]})
    _, dropped, empty = commands.print_format_output(frame)
    assert (dropped, empty) == (["wide" * 20, "empty"], [])


def test_tables_are_written_to_files(project, table, tmp_path):
    for name in ("t.csv", "t.pkl", "t.p", "t.PICKLE"):
        _, below = table("ls", project / "first", "-o", tmp_path / name, "--sort", "config/x")
        assert f"Output saved at {tmp_path / name}" in below
    assert list(pandas.read_csv(tmp_path / "t.csv")["config/x"]) == [1, 2, 3]
    assert list(pandas.read_pickle(tmp_path / "t.pkl")["config/x"]) == [1, 2, 3]


def test_experiments_are_listed(project, table):
    (header, *rows), _ = table("list-experiments", project)
    assert header == ["name", "total_trials", "last_updated"]
    assert [row[:2] for row in rows] == [["first", "3"], ["second", "1"]]
    (_, *rows), _ = table("lsx", project, "--filter", "total_trials > 1", "--columns=name")
    assert rows == [["first"]]
    (_, *rows), _ = table("lsx", project, "--sort", "name", "--desc", "1", "--limit=1")
    assert rows[0][0] == "second"


def test_experiments_of_the_reference_are_listed_too(tmp_path, table):
    archive = Path(__file__).parent.parent / "reference" / "experiment.tar.gz"
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    (_, *rows), _ = table("lsx", tmp_path)
    assert [row[:2] for row in rows] == [["classes", "2"], ["functions", "5"]]
    (_, *rows), _ = table("ls", tmp_path / "classes", "--columns=config/lr", "--sort=config/lr")
    assert rows == [["0.25"], ["0.5"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ls", "PROJECT/nothing"], "No trial data found.*PROJECT/nothing"),
        (["ls", "PROJECT"], "No trial data found.*holds no experiment"),
        (["ls", "PROJECT/first", "--columns", "a,trial_id"], "columns: there is no 'a'.*mean_loss"),
        (["ls", "PROJECT/first", "--sort", "a"], "sort: there is no column 'a'"),
        (["ls", "PROJECT/first", "--filter", "a < 1"], "filter: there is no column 'a'"),
        (["ls", "PROJECT/first", "--filter", "config/x<1"], "filter: must be .*config/x<1"),
        (["ls", "PROJECT/first", "--filter", "config/x ~ 1"], "filter: must be .*<="),
        (["ls", "PROJECT/first", "--filter", "config/x < b"], "filter: 'config/x' holds numbers"),
        (["ls", "PROJECT/first", "--output", "x.txt"], "output: must end in .csv.*x.txt"),
        (["lsx", "PROJECT/nothing"], "no directory PROJECT/nothing"),
        (["lsx", "PROJECT", "--columns", "a"], "columns: there is none of"),
        (["add-note", "PROJECT/nothing"], "no directory PROJECT/nothing"),
    ],
)
def test_errors_say_what_is_wrong_and_end_with_code_1(project, capsys, arguments, words):
    assert cli([a.replace("PROJECT", str(project)) for a in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    with_path = words.replace("PROJECT", str(project))
    assert re.search(f"^Error: .*{with_path}", captured.err, re.DOTALL)


@pytest.mark.parametrize(
    "arguments", [[], ["lst"], ["ls"], ["ls", "x", "--desc", "maybe"], ["ls", "x", "--limit=a"]]
)
def test_a_wrong_command_line_ends_with_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        cli(arguments)
    assert caught.value.code == 2
    assert "usage: ctune" in capsys.readouterr().err


def test_a_directory_without_experiments_is_an_error(tmp_path, capsys):
    assert cli(["lsx", str(tmp_path)]) == 1
    assert "No experiments found" in capsys.readouterr().err


def test_a_note_is_written_with_the_editor(tmp_path, capsys, monkeypatch):
    editor = tmp_path / "editor.py"
    editor.write_text("import sys; open(sys.argv[1], 'a').write('noted')")
    monkeypatch.setattr(commands, "EDITOR", f"{sys.executable} {editor}")
    for verb in ("created", "updated"):
        assert cli(["add-note", str(tmp_path)]) == 0
        assert f"Note {verb} at: {tmp_path}/note.txt" in capsys.readouterr().out
    assert cli(["add-note", str(tmp_path), "--filename", "other.md"]) == 0
    assert (tmp_path / "other.md").read_text() == "noted"


def test_an_editor_that_fails_is_an_error(tmp_path, capsys, monkeypatch):
    for editor, words in (("no-such-editor", "cannot be run"), ("false", "ended with code 1")):
        monkeypatch.setattr(commands, "EDITOR", editor)
        assert cli(["add-note", str(tmp_path)]) == 1
        assert words in capsys.readouterr().err
    monkeypatch.setattr(commands, "EDITOR", "true")
    assert cli(["add-note", str(tmp_path)]) == 0
    assert "No note was saved" in capsys.readouterr().out


def test_the_package_runs_as_a_program(project):
    done = subprocess.run(
        [sys.executable, "-m", "ctune", "lsx", str(project)],
        capture_output=True, text=True, timeout=60, env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "first" in done.stdout
