"""Compares ctune's public names and signatures with the reference's.

    python tools/api_diff.py [--reference PYTHON]

Without `--reference` the recording in tests/reference/api.json.gz is asked; with it the Ray
that PYTHON has installed. Prints what is missing or differs, one line each:

    ray.tune.X: missing
    ray.tune.X.method: missing
    ray.tune.X(parameter): missing, keyword only, order, default 3 instead of 4

Of several versions the earliest that has a name counts. The table "Signatures" of
docs/differences.md justifies differences: its first column holds the text before the colon, in
backticks; it may contain `*`. What is not justified, and a row that justifies nothing, is an
error: the exit status is 1.
"""

from __future__ import annotations

import argparse
import fnmatch
import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORDER = ROOT / "tests" / "reference" / "record_api.py"
RECORDED = ROOT / "tests" / "reference" / "api.json.gz"
DIFFERENCES = ROOT / "docs" / "differences.md"
HEADING = "## Signatures"

Facts = dict[str, Any]
sys.path.insert(0, str(RECORDER.parent))

import record_api  # noqa: E402


def ours() -> Facts:
    """Returns the facts of ctune, as compat shows it."""
    import ctune.compat

    ctune.compat.install()
    try:
        return record_api.collect(inside=lambda module: module.split(".")[0] == "ctune")
    finally:
        ctune.compat.uninstall()


def reference(python: str | None) -> dict[str, Facts]:
    """Returns version -> the facts of the reference."""
    if python is None:
        return json.loads(gzip.decompress(RECORDED.read_bytes()))
    done = subprocess.run(
        [python, str(RECORDER), "-"], check=True, stdout=subprocess.PIPE, timeout=300
    )
    return json.loads(done.stdout)


def differences(theirs: Facts, own: Facts) -> Iterator[tuple[str, str]]:
    """Yields (place, what differs). A class or function is compared once, where it is defined."""
    seen = set()
    for name, facts in theirs.items():
        found = own.get(name, {"kind": "missing"})
        if found["kind"] == "missing":
            yield name, "missing"
        elif facts["kind"] == "value":
            # Paths and versions are the machine's.
            if facts["value"] != found.get("value") and "/" not in str(facts["value"]):
                yield name, f"{found.get('value')!r} instead of {facts['value']!r}"
        elif facts["kind"] in ("class", "function") and facts["home"] not in seen:
            seen.add(facts["home"])
            yield from _callables(name, facts, found)


def _callables(name: str, theirs: Facts, own: Facts) -> Iterator[tuple[str, str]]:
    yield from _parameters(name, theirs.get("call"), own.get("call"))
    for member, facts in theirs.get("members", {}).items():
        found = own.get("members", {}).get(member)
        if found is None:
            yield f"{name}.{member}", "missing"
        elif not member.startswith("__"):  # those are called by position
            yield from _parameters(f"{name}.{member}", facts.get("call"), found.get("call"))


def _parameters(name: str, theirs: list | None, own: list | None) -> Iterator[tuple[str, str]]:
    if theirs is None or all(kind.startswith("var_") for _, kind, *_ in theirs):
        return  # nothing is known, or it takes anything
    if own is None:
        if theirs:
            yield name, "no signature"
        return
    stars = {kind for _, kind, *_ in own}
    if {"var_positional", "var_keyword"} <= stars:
        return  # takes anything
    mine = {parameter[0]: parameter for parameter in own}
    order = [p for p, kind, *_ in own if kind in ("positional_or_keyword", "positional_only")]
    place = 0
    for parameter, kind, *default in theirs:
        if kind in ("var_positional", "var_keyword"):
            if kind not in stars:
                yield f"{name}({parameter})", "missing"
            continue
        if parameter.startswith("_"):
            continue
        found = mine.get(parameter)
        if found is None:
            yield f"{name}({parameter})", "missing"
            place += kind == "positional_or_keyword"
            continue
        if kind != "keyword_only":
            if found[1] == "keyword_only":
                yield f"{name}({parameter})", "keyword only"
            elif order[place : place + 1] != [parameter]:
                yield f"{name}({parameter})", f"order: {order.index(parameter)}, not {place}"
            place += 1
        if found[2:] != default and (default or not found[2:]):
            yield f"{name}({parameter})", f"default {_text(found[2:])} instead of {_text(default)}"
    known = {parameter[0] for parameter in theirs}
    if not any(kind == "var_keyword" for _, kind, *_ in theirs):
        for parameter, kind, *default in own:
            if parameter not in known and not default and not kind.startswith("var_"):
                yield f"{name}({parameter})", "required, but the reference does not have it"


def _text(default: list) -> str:
    return repr(default[0]) if default else "none"


def justified(path: Path = DIFFERENCES) -> list[str]:
    """Returns the patterns of the table of differences.md."""
    text = path.read_text(encoding="utf-8")
    section = text.partition(f"\n{HEADING}\n")[2].partition("\n## ")[0]
    patterns = []
    for line in section.splitlines():
        cell = line.split("|")[1] if line.startswith("|") else ""
        patterns += re.findall(r"`([^`]+)`", cell)
    return patterns


def compare(theirs: dict[str, Facts], own: Facts, patterns: list[str]) -> list[str]:
    """Returns the lines to print: unjustified differences, and justifications of nothing."""
    lines = []
    used = set()
    known: set[str] = set()
    for version, facts in sorted(theirs.items()):
        new = {name: fact for name, fact in facts.items() if name not in known}
        known.update(new)
        for place, what in differences(new, own):
            matching = [p for p in patterns if fnmatch.fnmatchcase(place, p)]
            used.update(matching)
            if not matching:
                lines.append(f"{place}: {what} ({version})")
    lines += [
        f"{p}: differs in nothing, take it out of {DIFFERENCES.name}"
        for p in patterns
        if p not in used
    ]
    return lines


def main() -> int:
    """Prints the lines; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", metavar="PYTHON", help="an interpreter that has Ray")
    theirs = reference(parser.parse_args().reference)
    lines = compare(theirs, ours(), justified())
    print(*lines, sep="\n", end="\n" if lines else "")
    count = sum(len(facts) for facts in theirs.values())
    print(f"{len(lines)} differences in {count} names", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
