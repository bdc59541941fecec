"""Measures ctune beside Ray Tune, Optuna and Syne Tune, on this machine, in one go.

    python benchmarks/run.py [--rounds 3] [--only WORD [--write]] [--reference-python PATH]

Each figure is measured in a fresh process; the sides of a row take turns, so that a slow
moment of the machine meets all of them. Ray 2.24.0, Optuna and Syne Tune come from an
environment of their own, made once under the user's cache directory (CTUNE_BENCH_ENV names
another place).

Prints a table of medians and ratios and writes it to benchmarks/results/latest.json, where rows
that were not measured keep what they had; benchmarks/readme.py puts a summary of that file into
the README.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"
REFERENCE = [
    "ray[tune]==2.24.0",
    "pandas<3",
    "optuna>=4",
    "syne-tune>=0.14",
    "scikit-learn>=1.2",
    "setuptools<81",
]
LOGGERS_OFF = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
LOGGERS = (
    ("no loggers", ""),
    ("JSON and CSV", "csv json"),
    ("JSON, CSV, TensorBoard", "csv json tbx"),
)
TIMEOUT_S = 900


@dataclass
class Row:
    """One line of the table: a case, and per column the side that measure.py knows."""

    name: str
    case: str
    unit: str
    sides: dict[str, str]
    value: str = "seconds"
    rate: bool = False  # show 1/seconds
    scale: float = 1.0  # from the SI unit to the shown one
    env: dict[str, str] = field(default_factory=dict)
    over: str | None = None  # column whose median is subtracted from the others
    goal: str = ""
    samples: dict[str, list[float]] = field(default_factory=dict)

    def shown(self, column: str) -> list[float]:
        """The samples in the unit of the row."""
        values = self.samples.get(column, [])
        if self.over and column != self.over:
            base = statistics.median(self.samples[self.over])
            values = [v - base for v in values]
        return [(1 / v if self.rate else v) * self.scale for v in values if v or not self.rate]

    def ratio(self, column: str) -> tuple[float, float, float] | None:
        """How many times better ctune is than that column: median, lowest, highest."""
        ours, theirs = self.shown("ctune"), self.shown(column)
        if not ours or not theirs or min(*ours, *theirs) <= 0:
            return None

        def better(a: float, b: float) -> float:
            return a / b if self.rate else b / a

        pairs = [better(a, b) for a, b in zip(ours, theirs, strict=False)]
        return (
            better(statistics.median(ours), statistics.median(theirs)),
            min(pairs),
            max(pairs),
        )


def rows() -> list[Row]:
    made = [
        Row(
            "import, over NumPy's",
            "import",
            "ms",
            {"ctune": "ctune", "ray": "ray", "optuna": "optuna"},
            scale=1e3,
            goal="ctune at most 20 ms",
        ),
        Row(
            "run() to first step, inline",
            "first",
            "ms",
            {"ctune": "ctune-inline", "ray": "ray"},
            scale=1e3,
            env=LOGGERS_OFF,
            goal="under 20 ms",
        ),
        Row(
            "run() to first step, process",
            "first",
            "ms",
            {"ctune": "ctune-process", "ray": "ray"},
            scale=1e3,
            env=LOGGERS_OFF,
            goal="under 400 ms",
        ),
    ]
    for loggers, names in LOGGERS:
        for kind in ("class", "function"):
            goal = {"class": "3 µs", "function": "15 µs"}[kind]
            made.append(
                Row(
                    f"cost of a result, inline, {kind}, {loggers}",
                    "results",
                    "µs",
                    {"ctune": f"ctune-inline-{kind}", "bare": "bare", "ray": f"ray-{kind}"},
                    scale=1e6,
                    over="bare",
                    env={**LOGGERS_OFF, "BENCH_LOGGERS": names},
                    goal={"": goal, "csv json": f"{goal} + 9 µs"}.get(names, "50x"),
                )
            )
    for loggers, names in LOGGERS:
        made.append(
            Row(
                f"results, 2 processes, 10 metrics, {loggers}",
                "results",
                "1/s",
                {"ctune": "ctune-process-class-pair", "ray": "ray-class-pair"},
                rate=True,
                env={**LOGGERS_OFF, "BENCH_LOGGERS": names},
                goal={"": "20,000/s", "csv json": ""}.get(names, "50x"),
            )
        )
    for how, ours, theirs, goal in (
        ("inline", "ctune-inline", "ray", ""),
        ("process, reused", "ctune-process-reuse", "ray-reuse", "500/s"),
        ("process", "ctune-process", "ray", "67/s"),
    ):
        made.append(
            Row(
                f"trials of one result, {how}",
                "trials",
                "1/s",
                {"ctune": ours, "ray": theirs},
                rate=True,
                env=LOGGERS_OFF,
                goal=goal,
            )
        )
    memory = {"ctune": "ctune-inline", "ray": "ray"}
    made += [
        Row(
            "driver memory per trial",
            "memory",
            "KiB",
            memory,
            value="bytes",
            scale=1 / 1024,
            env=LOGGERS_OFF,
            goal="1 KiB",
        ),
        Row(
            "1 GiB given to 8 trials, most memory over an interpreter",
            "shared",
            "MB",
            {"ctune": "ctune", "ray": "ray"},
            value="over_interpreter",
            scale=1e-6,
            env=LOGGERS_OFF,
            goal="under 1,300 MB",
        ),
        Row(
            "cost of a trial, early",
            "memory",
            "µs",
            memory,
            value="early",
            scale=1e6,
            env=LOGGERS_OFF,
        ),
        Row(
            "cost of a trial, late",
            "memory",
            "µs",
            memory,
            value="late",
            scale=1e6,
            env=LOGGERS_OFF,
        ),
        Row(
            "step and result, after 100 trials",
            "memory",
            "µs",
            {"ctune": "ctune-inline"},
            value="result_early",
            scale=1e6,
            env=LOGGERS_OFF,
        ),
        Row(
            "step and result, after 100,000 trials",
            "memory",
            "µs",
            {"ctune": "ctune-inline"},
            value="result_late",
            scale=1e6,
            env=LOGGERS_OFF,
            goal="1.1 x after 100",
        ),
    ]
    made += kept_rows()
    for count in (100, 1000, 10_000, 100_000):
        sides = {"ctune": f"ctune-{count}", "ray": f"ray-{count}"}
        if count in (100, 100_000):
            sides["engine"] = f"asha-{count}"
        made.append(
            Row(
                f"ASHA decisions, {count:,} trials",
                "asha",
                "1/s",
                sides,
                rate=True,
                goal={100: "1,000,000/s", 100_000: "500,000/s"}.get(count, ""),
            )
        )
    peers = {
        "async_hyperband": ("ASHA", ("optuna", "syne")),
        "hyperband": ("HyperBand", ("optuna",)),
        "median_stopping_rule": ("median rule", ("optuna",)),
        "pbt": ("PBT", ()),
    }
    for name, (label, others) in peers.items():
        for count in (100, 1000, 10_000, 100_000):
            made.append(
                Row(
                    f"{label}, an experiment of {count:,} trials",
                    "schedulers",
                    "1/s",
                    {side: f"{side}-{name}-{count}" for side in ("ctune", "ray", *others)},
                    rate=True,
                    goal="500,000/s" if name == "pbt" else "1,000,000/s",
                )
            )
    for name in ("fifo", "asha", "hyperband"):
        made.append(
            Row(
                f"simulated results, {name}",
                "simulate",
                "1/s",
                {"ctune": f"ctune-{name}"},
                rate=True,
                goal="1,000,000/s" if name == "fifo" else "",
            )
        )
    made += [
        Row(
            "configurations as trials",
            "configs",
            "1/s",
            {"ctune": "ctune", "ray": "ray", "engine": "configs"},
            rate=True,
        ),
        Row(
            "configurations, generate_variants",
            "variants",
            "1/s",
            {"ctune": "ctune", "ray": "ray"},
            rate=True,
            goal="500,000/s",
        ),
        Row(
            "limiter calls",
            "limiter",
            "1/s",
            {"ctune": "ctune", "ray": "ray", "engine": "limiter"},
            rate=True,
            goal="5,000,000/s",
        ),
        Row(
            "digits job, 64 trials, 2 CPUs",
            "digits",
            "s",
            {"ctune": "ctune-process", "ray": "ray", "optuna": "optuna"},
            goal="before both",
        ),
    ]
    return made


def kept_rows() -> list[Row]:
    """What it costs to lose nothing: the journal, going on, states, memory."""
    both = {"ctune": "ctune-inline-256", "ray": "ray-256"}
    made = [
        Row("resume of 256 finished trials", "resume", "ms", both, scale=1e3, goal="50 ms"),
        Row(
            "of that, the replay",
            "resume",
            "ms",
            {"ctune": "ctune-inline-256"},
            value="replay",
            scale=1e3,
        ),
        Row(
            "opening 256 finished trials",
            "resume",
            "ms",
            both,
            value="open",
            scale=1e3,
            goal="50 ms",
        ),
        Row(
            "resume of 10,000 finished trials, 50,000 results",
            "resume",
            "s",
            {"ctune": "ctune-inline-10000"},
            goal="1 s",
        ),
    ]
    for width in (2, 10):
        made.append(
            Row(
                f"journal, bytes per result of {width} metrics",
                "journal",
                "bytes",
                {"ctune": f"ctune-inline-interval-{width}"},
                value="bytes",
                env=LOGGERS_OFF,
            )
        )
        made += [
            Row(
                f"journal, cost of a result of {width} metrics, sync {sync}",
                "journal",
                "µs",
                {"off": f"ctune-inline-off-{width}", "ctune": f"ctune-inline-{sync}-{width}"},
                scale=1e6,
                over="off",
                env=LOGGERS_OFF,
                goal="1 µs" if sync == "interval" else "",
            )
            for sync in ("none", "interval", "always")
        ]
    for count in (100, 1000, 10_000, 100_000):
        sides = {"ctune": f"ctune-inline-{count}", "ray": f"ray-{count}"}
        if count == 100_000:
            del sides["ray"]
        made.append(
            Row(
                f"saving one more change, {count:,} trials",
                "states",
                "µs",
                sides,
                scale=1e6,
                env=LOGGERS_OFF,
                goal="flat",
            )
        )
        made.append(
            Row(
                f"a snapshot of {count:,} trials, per trial",
                "states",
                "µs",
                {"ctune": sides["ctune"]},
                value="snapshot",
                scale=1e6,
                env=LOGGERS_OFF,
                goal="flat",
            )
        )
    made += [
        Row(
            f"memory per result, 1,000,000 results of {trials} trial{'s' * (trials > 1)}",
            "soak",
            "bytes",
            {"ctune": f"ctune-inline-{trials}"},
            value="growth",
            env=LOGGERS_OFF,
            goal="flat",
        )
        for trials in (1, 1000)
    ]
    return made


# --- the other side's environment -----------------------------------------------------------


def reference_python(given: str | None) -> str:
    if given:
        return given
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    where = Path(os.environ.get("CTUNE_BENCH_ENV") or cache / "ctune" / "bench-env")
    python = where / "bin" / "python"
    stamp = where / "requirements"
    wanted = "\n".join(REFERENCE)
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"bench: making {where} with {', '.join(REFERENCE)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(where)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *REFERENCE], check=True)
        stamp.write_text(wanted)
    return str(python)


# --- measuring -------------------------------------------------------------------------------


def run_json(command: list[str], env: dict[str, str]) -> dict[str, float] | None:
    """The JSON on the last line of what the command prints; None, with a word, if it fails."""
    full = {**os.environ, **env}
    # Installed packages are compiled already; so is a source tree after its first run.
    full.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="ctune-bench-") as scratch:
        full["TMPDIR"] = scratch
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=full, timeout=TIMEOUT_S, cwd=HERE
            )
        except subprocess.TimeoutExpired:
            print(f"bench: {' '.join(command[1:])} took over {TIMEOUT_S} s", file=sys.stderr)
            return None
    try:
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        print(f"bench: {' '.join(command[1:])} failed:", file=sys.stderr)
        print((done.stderr or done.stdout)[-800:], file=sys.stderr)
        return None
    return found


def engine_figures() -> dict[str, float]:
    """Compiles engine.c with the engine and runs it; {} without a compiler."""
    flags = subprocess.run(
        [os.environ.get("PKG_CONFIG", "pkg-config"), "--cflags", "--libs", "libcjson"],
        capture_output=True,
        text=True,
    ).stdout.split()
    sources = [str(p) for p in sorted((ROOT / "csrc" / "engine").rglob("*.c"))]
    compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
    with tempfile.TemporaryDirectory() as scratch:
        program = os.path.join(scratch, "engine")
        subprocess.run(
            [
                compiler,
                "-std=c11",
                "-O2",
                "-DNDEBUG",
                "-D_GNU_SOURCE",
                '-DCT_VERSION="bench"',
                "-pthread",
                f"-I{ROOT / 'csrc' / 'engine'}",
                str(HERE / "engine.c"),
                *sources,
                *flags,
                "-lm",
                "-o",
                program,
            ],
            check=True,
        )
        return run_json([program], {}) or {}


def measure(table: list[Row], rounds: int, reference: str) -> None:
    """Fills the samples of all rows."""
    pythons = {"ray": reference, "optuna": reference, "syne": reference}
    groups: dict[tuple[Any, ...], list[tuple[Row, str]]] = {}
    for row in table:
        for column, side in row.sides.items():
            if column != "engine":
                key = (row.case, side, column, tuple(sorted(row.env.items())))
                groups.setdefault(key, []).append((row, column))
    for number in range(rounds):
        for (case, side, column, env), targets in groups.items():
            print(
                f"\rbench: round {number + 1}/{rounds}: {case} {side}".ljust(70),
                end="\r",
                file=sys.stderr,
                flush=True,
            )
            python = pythons.get(column, sys.executable)
            command = [python, str(HERE / "measure.py"), case, side]
            found = run_json(command, dict(env))
            for row, name in targets:
                if found is not None:
                    row.samples.setdefault(name, []).append(found[row.value])
    print(" " * 70, end="\r", file=sys.stderr)
    if any("engine" in row.sides for row in table):
        figures = engine_figures()
        for row in table:
            side = row.sides.get("engine")
            if side in figures:
                row.samples["engine"] = [figures[side]]


# --- showing ---------------------------------------------------------------------------------


def number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(values: list[float]) -> str:
    """The median, and the lowest and highest."""
    if not values:
        return "-"
    low, high = number(min(values)), number(max(values))
    middle = number(statistics.median(values))
    return middle if low == high else f"{middle} ({low}-{high})"


def ratios(row: Row, column: str) -> str:
    found = row.ratio(column)
    if found is None:
        return "-"
    middle, low, high = found
    return f"{number(middle)}x ({number(low)}-{number(high)})"


def lines(table: list[Row]) -> Iterator[tuple[str, ...]]:
    yield (
        "measured",
        "unit",
        "ctune",
        "Ray Tune",
        "Optuna",
        "Syne Tune",
        "C alone",
        "ctune is better by",
        "goal",
    )
    for row in table:
        if row.samples:
            yield (
                row.name,
                row.unit,
                spread(row.shown("ctune")),
                spread(row.shown("ray")),
                spread(row.shown("optuna")),
                spread(row.shown("syne")),
                spread(row.shown("engine")),
                ratios(row, "ray"),
                row.goal,
            )


def show(table: list[Row]) -> None:
    cells = list(lines(table))
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for i, line in enumerate(cells):
        print("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())
        if i == 0:
            print("  ".join("-" * w for w in widths))
    print(
        "Medians, lowest and highest in brackets. Ray Tune has no inline mode: its trials "
        "are processes in every row."
    )


def machine() -> dict[str, Any]:
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            name = next(x.partition(":")[2].strip() for x in f if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": name,
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def write(table: list[Row]) -> Path:
    """Puts the rows that were measured into the file; others keep what they had, and its date."""
    path = RESULTS / "latest.json"
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT
    ).stdout.strip()
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    found = {row["name"]: row for row in known}
    for row in table:
        if row.samples:
            found[row.name] = {
                "name": row.name,
                "date": time.strftime("%Y-%m-%d"),
                "commit": commit,
                "unit": row.unit,
                "goal": row.goal,
                "values": {c: row.shown(c) for c in row.samples},
                "better_than_ray": row.ratio("ray"),
            }
    names = [row.name for row in rows()]
    out = {"machine": machine(), "rows": [found[name] for name in names if name in found]}
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(out, indent=1) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure ctune beside Ray Tune and Optuna.")
    parser.add_argument("--rounds", type=int, default=3, help="samples of each figure (3)")
    parser.add_argument("--only", default="", help="rows whose name or case has this word")
    parser.add_argument("--write", action="store_true", help="also what --only measured")
    parser.add_argument("--reference-python", help="an interpreter with Ray 2.24 and Optuna")
    args = parser.parse_args()
    table = [r for r in rows() if args.only in r.name or args.only == r.case]
    if not table:
        parser.error(f"--only: no row has {args.only!r} in its name")
    measure(table, args.rounds, reference_python(args.reference_python))
    show(table)
    if args.write or not args.only:
        print(f"Written to {write(table).relative_to(ROOT)}")
        subprocess.run([sys.executable, str(HERE / "readme.py")], check=True)


if __name__ == "__main__":
    main()
