"""Names and signatures are the reference's; see tools/api_diff.py."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "api_diff.py"


@pytest.fixture(scope="module")
def api_diff():
    spec = importlib.util.spec_from_file_location("api_diff", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_differs_that_is_not_justified():
    done = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True, timeout=120)
    assert done.stdout == "" and done.returncode == 0, done.stdout + done.stderr


def function(*parameters):
    return {"kind": "function", "home": "ray.f", "call": [list(p) for p in parameters]}


A = ("a", "positional_or_keyword")
B = ("b", "positional_or_keyword", 3)


@pytest.mark.parametrize(
    ("theirs", "own", "expected"),
    [
        (function(A, B), function(A, B), []),
        (function(A, B), function(A), ["f(b): missing"]),
        (function(A, B), function(A, (*B[:2], 4)), ["f(b): default 4 instead of 3"]),
        (function(A, B), function(A, B[:2]), ["f(b): default none instead of 3"]),
        (function(A), function((*A, 1)), []),
        (function(A, B), function(A, ("b", "keyword_only", 3)), ["f(b): keyword only"]),
        (function(A), function(A, B), []),
        (function(A), function(A, ("c", "keyword_only")), ["f(c): required"]),
        (function(A, ("k", "var_keyword")), function(A), ["f(k): missing"]),
        (function(A), function(("x", "var_positional"), ("y", "var_keyword")), []),
        (function(A), {"kind": "missing"}, ["f: missing"]),
        (function(A), {"kind": "function", "home": "ctune.f", "call": None}, ["f: no signature"]),
        ({"kind": "value", "value": 3}, {"kind": "value", "value": 4}, ["f: 4 instead of 3"]),
        (
            function(A, ("c", "positional_or_keyword")),
            function(("c", "positional_or_keyword"), A),
            ["f(a): order: 1, not 0", "f(c): order: 0, not 1"],
        ),
    ],
)
def test_what_counts_as_a_difference(api_diff, theirs, own, expected):
    lines = api_diff.compare({"2.24": {"f": theirs}}, {"f": own}, [])
    assert len(lines) == len(expected)
    for line, text in zip(lines, expected, strict=True):
        assert line.startswith(text)


def test_members_of_classes_are_compared(api_diff):
    theirs = {"kind": "class", "home": "ray.C", "call": [], "members": {"m": {"call": [list(A)]}}}
    own = {"kind": "class", "home": "ctune.C", "call": [], "members": {}}
    assert api_diff.compare({"2.24": {"C": theirs}}, {"C": own}, []) == ["C.m: missing (2.24)"]
    # A class is compared where it is named first, and a name in the version that had it first.
    facts = {"a.C": theirs, "b.C": theirs}
    lines = api_diff.compare({"2.60": facts, "2.24": facts}, {"a.C": own, "b.C": own}, [])
    assert lines == ["a.C.m: missing (2.24)"]


def test_a_justification_of_nothing_is_an_error(api_diff, tmp_path):
    document = tmp_path / "differences.md"
    document.write_text(
        "# D\n\n## Signatures\n\n| name | why |\n|---|---|\n| `f(a)`, `g*` | because of `h` |\n"
        "\n## Missing\n\n| `i` | |\n".replace("\\\n", "\n")
    )
    patterns = api_diff.justified(document)
    assert patterns == ["f(a)", "g*"]
    lines = api_diff.compare({"2.24": {"f": function(A)}}, {"f": function()}, patterns)
    assert lines == ["g*: differs in nothing, take it out of differences.md"]
