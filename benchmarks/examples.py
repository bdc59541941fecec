"""Runs Ray Tune's own example scripts under Ray and under ctune.compat, and compares the times.

    python benchmarks/examples.py [--rounds 3] [--only WORD] [--reference-python PATH]

The scripts are those of the reference's installation, with `--smoke-test`; the time is that of
the whole process, most of which is what the example's training takes. The two sides take turns.
Prints the medians in seconds and the ratio with its lowest and highest value over the rounds. A
script that fails on either side is named and left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import ROOT, TIMEOUT_S, reference_python

EXAMPLES = [
    "async_hyperband_example",
    "custom_func_checkpointing",
    "hyperband_example",
    "hyperband_function_example",
    "logging_example",
    "optuna_example",
    "pb2_example",
    "pbt_example",
    "pbt_function",
    "tune_basic_example",
]


def seconds(command: list[str], path: list[str]) -> float | None:
    """Runs a script in a home directory of its own; None if it fails."""
    with tempfile.TemporaryDirectory(prefix="ctune-examples-") as home:
        env = {**os.environ, "HOME": home, "PYTHONPATH": os.pathsep.join(path)}
        start = time.perf_counter()
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=env, cwd=home, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            print(f"{' '.join(command[1:])}: over {TIMEOUT_S} s", file=sys.stderr)
            return None
        taken = time.perf_counter() - start
    if done.returncode:
        print(f"{' '.join(command[1:])}: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    return taken


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="only examples whose name contains this")
    parser.add_argument("--reference-python", help="a Python with ray[tune]==2.24.0")
    given = parser.parse_args()
    reference = reference_python(given.reference_python)
    found = subprocess.run(
        [reference, "-c", "import ray.tune.examples as e; print(*e.__path__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    folder = Path(found.stdout.strip())
    print(f"{'example':<28}{'ctune s':>9}{'Ray s':>9}  ctune is faster by")
    with tempfile.TemporaryDirectory(prefix="ctune-examples-") as site:
        (Path(site) / "ray" / "tune").mkdir(parents=True)
        (Path(site) / "ray" / "tune" / "examples").symlink_to(folder)
        for name in EXAMPLES:
            if given.only not in name:
                continue
            script = [str(folder / f"{name}.py"), "--smoke-test"]
            sides = {
                "ctune": ([sys.executable, "-m", "ctune.compat"], [str(ROOT / "python"), site]),
                "ray": ([reference], []),
            }
            times: dict[str, list[float | None]] = {side: [] for side in sides}
            for _ in range(given.rounds):
                for side, (command, path) in sides.items():
                    times[side].append(seconds([*command, *script], path))
            pairs = [
                (own, other)
                for own, other in zip(times["ctune"], times["ray"], strict=True)
                if own is not None and other is not None
            ]
            if not pairs:
                continue
            own, other = (statistics.median(side) for side in zip(*pairs, strict=True))
            each = sorted(b / a for a, b in pairs)
            print(
                f"{name:<28}{own:>9.2f}{other:>9.2f}  {other / own:.1f}× "
                f"({each[0]:.1f}–{each[-1]:.1f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
