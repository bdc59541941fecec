"""Puts a summary of benchmarks/results/latest.json between the README's bench markers."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def shown(values: list[float] | None) -> str:
    if not values:
        return ""
    value = statistics.median(values)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def factor(found: list[float] | None) -> str:
    if not found:
        return ""
    middle, low, high = (f"{x:,.0f}" if x >= 10 else f"{x:.2g}" for x in found)
    return f"{middle}× ({low}–{high})"


def times(data: dict[str, Any]) -> str:
    counts = sorted({len(v) for row in data["rows"] for v in row["values"].values()})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{span} round{'s' * (counts[-1] > 1)}"


def dates(data: dict[str, Any]) -> str:
    found = sorted({row["date"] for row in data["rows"]})
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def summary(data: dict[str, Any]) -> str:
    out = [
        "| measured | unit | ctune | Ray Tune 2.24 | Optuna | Syne Tune | ctune is better by |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in data["rows"]:
        values = row["values"]
        out.append(
            f"| {row['name']} | {row['unit']} | {shown(values.get('ctune'))} "
            f"| {shown(values.get('ray'))} | {shown(values.get('optuna'))} "
            f"| {shown(values.get('syne'))} "
            f"| {factor(row['better_than_ray'])} |"
        )
    m = data["machine"]
    out += [
        "",
        f"Medians of {times(data)} on {m['cpus']} CPUs ({m['processor']}), {m['system']}, "
        f"Python {m['python']}, {dates(data)}; in brackets the lowest and highest ratio of a "
        "round. The sides of a row are measured by turns. Ray Tune's trials are processes in "
        "every row.",
    ]
    return "\n".join(out)


def main() -> None:
    readme = ROOT / "README.md"
    source = ROOT / "benchmarks" / "results" / "latest.json"
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        sys.exit(f"{readme}: has no {BEGIN} and {END}")
    if not source.exists():
        sys.exit(f"{source}: does not exist; run `make bench` first")
    head, rest = text.split(BEGIN, 1)
    _, tail = rest.split(END, 1)
    table = summary(json.loads(source.read_text(encoding="utf-8")))
    readme.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}", encoding="utf-8")
    print("README.md: the table is that of", dates(json.loads(source.read_text())))


if __name__ == "__main__":
    main()
