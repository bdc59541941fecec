"""Kills runs at random, lets them go on, and counts what is lost: python chaos.py --help.

Each round is one experiment: a driver is started on it (victim.py), killed with SIGKILL after a
random time (or one of its workers is), and started again until it ends. Then
- each result that a callback heard of is in result.json of its trial,
- each trial has ended, and the best result is the best line of all files,
- no process is left over.
"""

import argparse
import collections
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

VICTIM = Path(__file__).with_name("victim.py")
MARK = "CTUNE_CHAOS"
SCHEDULERS = ("fifo", "asha", "hyperband", "bohb", "median", "pbt")
PATIENCE_S = 300


@dataclass
class Count:
    runs: int = 0
    kills: int = 0
    told: int = 0
    lost: int = 0
    orphans: int = 0
    broken: int = 0

    def line(self) -> str:
        return (
            f"{self.runs} experiments, {self.kills} kills, {self.told} results, "
            f"lost = {self.lost}, orphans = {self.orphans}, broken = {self.broken}"
        )


def marked(mark: str) -> list[int]:
    """Processes that were started with a mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def gone(mark: str, limit_s: float = 10.0) -> int:
    """Waits for the processes of a run to be gone; how many are not."""
    end = time.monotonic() + limit_s
    while (left := len(marked(mark))) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def strike(child: "subprocess.Popen[bytes]", mark: str, rng: random.Random) -> int:
    """Kills the driver, or one of its workers and a little later the driver; how many."""
    kills = 0
    others = [pid for pid in marked(mark) if pid != child.pid]
    if others and rng.random() < 0.4:
        try:
            os.kill(rng.choice(others), signal.SIGKILL)
            kills += 1
        except ProcessLookupError:
            pass
        try:
            child.wait(rng.random() * 2)
            return kills
        except subprocess.TimeoutExpired:
            pass
    child.kill()
    child.wait()
    return kills + 1


def round_(directory: Path, arguments: list[str], rng: random.Random, most: int, c: Count) -> None:
    """One experiment, with at most so many kills."""
    mark = str(directory)
    kills = 0
    while True:
        log = (directory / "log.txt").open("ab")
        child = subprocess.Popen(
            [sys.executable, str(VICTIM), str(directory), *arguments],
            env={**os.environ, MARK: mark, "TUNE_WARN_THRESHOLD_S": "60"},
            stdout=log,
            stderr=log,
        )
        log.close()
        try:
            # Early kills hit the beginning of a run, and its going on.
            soon = 0.4 + rng.choice((0.6, 0.9, 1.3, 2.0)) * rng.random()
            child.wait(PATIENCE_S if kills >= most else soon)
        except subprocess.TimeoutExpired:
            if kills >= most:
                child.kill()
                raise RuntimeError(f"{arguments} does not end; see {directory}") from None
            struck = strike(child, mark, rng)
            kills += struck
            c.kills += struck
        left = gone(mark)
        c.orphans += left
        for pid in marked(mark) if left else ():
            os.kill(pid, signal.SIGKILL)
        if (directory / "done.json").exists():
            return
        if child.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"{arguments} failed by itself; see {directory / 'log.txt'}")


def check(directory: Path, trials: int, c: Count) -> None:
    """Compares what was told with what is in the files."""
    written: collections.Counter[tuple[str, int]] = collections.Counter()
    best = float("inf")
    for path in (directory / "run").glob("*/result.json"):
        for line in path.read_text().splitlines():
            result = json.loads(line)
            written[result["trial_id"], result["training_iteration"]] += 1
            best = min(best, result["loss"])
    told: collections.Counter[tuple[str, int]] = collections.Counter()
    for line in (directory / "told.txt").read_text().splitlines():
        trial, iteration, _ = json.loads(line)
        told[trial, iteration] += 1
    c.told += sum(told.values())
    lost = told - written
    c.lost += sum(lost.values())
    done = json.loads((directory / "done.json").read_text())
    sound = done["statuses"] == ["TERMINATED"] and done["trials"] == trials
    sound = sound and abs(done["best"][1] - best) < 1e-12
    c.broken += not sound
    if lost or not sound:
        print(f"{directory}: lost {dict(lost)}, {done}, best in the files {best}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--minutes", type=float, default=20.0, help="ends after so long")
    args = parser.parse_args()
    seed = random.randrange(2**32) if args.seed is None else args.seed
    rng = random.Random(seed)
    print(f"seed {seed}", flush=True)
    end = time.monotonic() + 60 * args.minutes
    c = Count()
    kinds = list(itertools.product(SCHEDULERS, ("process", "inline"), ("class", "function")))
    kinds = [k for k in kinds if not (k[0] == "pbt" and k[2] == "function")]
    rng.shuffle(kinds)
    for scheduler, executor, kind in itertools.cycle(kinds):
        if c.kills >= args.kills or time.monotonic() > end:
            break
        directory = Path(tempfile.mkdtemp(prefix="ctune-chaos-"))
        arguments = [scheduler, executor, kind, str(args.trials)]
        most = min(10, args.kills - c.kills)
        round_(directory, arguments, rng, most, c)
        c.runs += 1
        before = (c.lost, c.orphans, c.broken)
        check(directory, args.trials, c)
        print(f"{scheduler:9} {executor:7} {kind:8} {c.line()}", flush=True)
        if before == (c.lost, c.orphans, c.broken):
            shutil.rmtree(directory)
    print(f"chaos: {c.line()}")
    return 1 if c.lost or c.orphans or c.broken else 0


if __name__ == "__main__":
    sys.exit(main())
