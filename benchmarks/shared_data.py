"""The memory of one large array that with_parameters() gives to trials side by side.

`python shared_data.py SIDE MIB` is the program that is watched: eight trials, each of which
reads all of the array and waits until the others have done so. watch() starts it and sums
up, every few milliseconds, what it and all its descendants hold: the proportional share of
each process, so that what they share counts once, and shared memory that nobody has mapped
yet.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TRIALS = 8
PERIOD_S = 0.005


def family(root: int) -> set[int]:
    """The process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry))
    found, new = set(), {root}
    while new:
        found |= new
        new = {child for pid in new for child in children.get(pid, ())} - found
    return found


def shares(pid: int) -> dict[str, int]:
    """Proportional shares in bytes, by kind."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return {}
    found = (line.split() for line in lines if line.startswith("Pss"))
    return {fields[0]: int(fields[1]) << 10 for fields in found}


def nameless(pid: int) -> dict[int, int]:
    """Inode -> bytes of the nameless shared memory that a process has open."""
    found = {}
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            if "/memfd:" in os.readlink(entry.path):
                info = os.stat(entry.path)
                found[info.st_ino] = 512 * info.st_blocks
    except OSError:
        pass
    return found


def held(root: int) -> int:
    """Bytes that a process and its descendants hold at this moment."""
    every = family(root)
    parts = [shares(pid) for pid in every]
    mapped = sum(part.get("Pss_Shmem:", 0) for part in parts)
    known: dict[int, int] = {}
    for pid in every:
        known |= nameless(pid)
    total = sum(part.get("Pss:", 0) for part in parts)
    return total + max(0, sum(known.values()) - mapped)


def watch(side: str, mib: int) -> int:
    """Runs the program and returns the most that it held, in bytes."""
    with tempfile.TemporaryDirectory() as where:
        child = subprocess.Popen(
            [sys.executable, __file__, side, str(mib), where], stdout=subprocess.DEVNULL
        )
        most = 0
        try:
            while child.poll() is None:
                most = max(most, held(child.pid))
                time.sleep(PERIOD_S)
        finally:
            child.kill()
            child.wait()
        if child.returncode != 0:
            raise RuntimeError(f"the watched program ended with {child.returncode}")
        return most


def peak(side: str, mib: int = 1024) -> dict[str, float]:
    """Bytes that the array costs, and bytes in all beyond a bare interpreter with NumPy."""
    bare = watch("bare", 0)
    little, much = watch(side, 1), watch(side, mib)
    return {"bytes": float(much - little), "over_interpreter": float(much - bare)}


def reads(config: dict[str, Any], data: Any) -> dict[str, float]:
    """The trial: reads everything, says so, and waits for the others."""
    total = float(data.sum())
    Path(config["where"], f"read-{os.getpid()}").touch()
    while len(list(Path(config["where"]).glob("read-*"))) < TRIALS:
        time.sleep(0.02)
    time.sleep(4 * PERIOD_S)
    return {"total": total}


def main() -> None:
    side, mib, where = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    import numpy as np

    if side == "bare":
        return
    if side == "ray":
        import ray
        from ray import tune

        ray.init(
            num_cpus=TRIALS,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=2 << 30,
        )
    else:
        import ctune as tune

        tune.init(executor="process", num_cpus=TRIALS)
    data = np.ones(mib << 17)
    trainable = tune.with_parameters(reads, data=data)
    found = tune.run(
        trainable,
        num_samples=TRIALS,
        config={"where": where},
        storage_path=os.path.join(where, "results"),
        verbose=0,
    )
    assert all(trial.last_result["total"] == data.size for trial in found.trials)


if __name__ == "__main__":
    main()
