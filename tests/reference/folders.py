"""Experiments whose folders are compared: run by record_folders.py with the reference and by
tests/python/test_folders.py with ctune.

`lib` has run, Tuner, Trainable, RunConfig, TuneConfig, CheckpointConfig, Checkpoint, report,
get_checkpoint and the functions of search spaces, of either library.
"""

import base64
import csv
import glob
import json
import os
import re
import tempfile

import numpy as np

# Names that only one of the two writes, as docs/differences.md says.
STATE = ("basic-variant-state-", "callback-states-", "search_gen_state-", "searcher-state-")
OWN = ("journal-", "snapshot-", "param_space.pkl", ".ctune")


def double(x):
    return 2 * x


def plain_function(lib, storage):
    def train(config):
        for step in range(3):
            lib.report(
                {
                    "loss": 1 / (step + 1 + config["x"]),
                    "nested": {"acc": step, "deep": {"er": 0.5, "word": "a"}},
                    "word": 'käse, "quoted"',
                    "flag": step > 1,
                    "none": None,
                    "nan": float("nan"),
                    "big": 2**40,
                    "half": np.float32(0.5),
                    "int64": np.int64(7),
                    "array": np.arange(4.0),
                    "list": [1, 2, step],
                    "texts": ["a", "b"],
                    "empty": {},
                }
            )

    lib.run(
        train,
        storage_path=storage,
        name="exp",
        verbose=0,
        config={
            "x": lib.grid_search([0, 1]),
            "lr": lib.choice([0.125]),
            "nested": {"pair": (1, 2), "text": "a/b", "none": None},
            "function": double,
            "array": np.arange(3),
        },
    )


def checkpoints_of_a_function(lib, storage):
    def train(config):
        for step in range(4):
            with tempfile.TemporaryDirectory() as folder:
                with open(os.path.join(folder, "model.txt"), "w") as file:
                    file.write(str(step))
                checkpoint = lib.Checkpoint.from_directory(folder) if step % 2 else None
                lib.report({"loss": -step}, checkpoint=checkpoint)

    config = lib.CheckpointConfig(num_to_keep=1)
    lib.run(train, storage_path=storage, name="exp", verbose=0, checkpoint_config=config)


def checkpoints_of_a_class(lib, storage):
    class Steps(lib.Trainable):
        def setup(self, config):
            self.n = 0

        def step(self):
            self.n += 1
            return {"value": self.n, "timesteps_this_iter": 10, "episodes_this_iter": 2}

        def save_checkpoint(self, folder):
            if self.config["kind"] == "dict":
                return {"n": self.n}
            with open(os.path.join(folder, "n"), "w") as file:
                file.write(str(self.n))
            return None

        def load_checkpoint(self, checkpoint):
            pass

    lib.run(
        Steps,
        storage_path=storage,
        name="exp",
        verbose=0,
        stop={"training_iteration": 3},
        config={"kind": lib.grid_search(["dict", "files"])},
        checkpoint_config=lib.CheckpointConfig(checkpoint_frequency=2, checkpoint_at_end=True),
    )


def failures(lib, storage):
    def train(config):
        for step in range(2):
            lib.report({"loss": step})
            if config["fail"]:
                raise ValueError("on purpose")

    lib.run(
        train,
        storage_path=storage,
        name="exp",
        verbose=0,
        max_failures=1,
        raise_on_failed_trial=False,
        config={"fail": lib.grid_search([False, True])},
    )


def keys_that_change(lib, storage):
    def train(config):
        lib.report({"a": 1, "b": {"c": 2}})
        lib.report({"a": 2, "new": 3})
        lib.report({"b": {"c": 4, "d": 5}, "a": 6})

    lib.run(train, storage_path=storage, name="exp", verbose=0)


def returned_values(lib, storage):
    def train(config):
        if config["how"] == "number":
            return 0.25
        return {"loss": 1.0}

    lib.run(
        train,
        storage_path=storage,
        name="exp",
        verbose=0,
        config={"how": lib.grid_search(["number", "dict"])},
    )


def a_tuner(lib, storage):
    def train(config):
        lib.report({"loss": config["x"]})

    lib.Tuner(
        train,
        param_space={"x": lib.grid_search([1, 2])},
        tune_config=lib.TuneConfig(metric="loss", mode="min"),
        run_config=lib.RunConfig(name="exp", storage_path=storage, verbose=0),
    ).fit()


CASES = {
    case.__name__: case
    for case in (
        plain_function,
        checkpoints_of_a_function,
        checkpoints_of_a_class,
        failures,
        keys_that_change,
        returned_values,
        a_tuner,
    )
}


def general(name):
    """A path without what differs from run to run: ids, dates, times, hosts."""
    name = re.sub(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", "DATE", name)
    name = re.sub(r"_[0-9a-f]{5}_(\d{5})", r"_ID_\1", name)
    return re.sub(r"(events\.out\.tfevents)\..*", r"\1", name)


def no_addresses(text):
    return re.sub(r"0x[0-9a-f]+", "0x", text)


def tree(folder):
    """The paths of an experiment, sorted, without the files that hold its state."""
    found = set()
    for root, _, files in os.walk(folder):
        place = os.path.relpath(root, folder)
        for file in files:
            if not file.startswith(STATE + OWN):
                found.add(general(os.path.normpath(os.path.join(place, file))))
        if not files:
            found.add(general(place) + "/")
    return sorted(found)


def read(folder):
    """What is compared of an experiment's folder, for JSON."""
    trials = {}
    for path in sorted(glob.glob(f"{glob.escape(folder)}/*/params.json")):
        directory = os.path.dirname(path)
        with open(path) as file:
            one = {"params": no_addresses(file.read())}
        with open(f"{directory}/result.json") as file:
            lines = [json.loads(no_addresses(line)) for line in file]
        one["keys"] = [list(line) for line in lines]
        one["values"] = [{k: v for k, v in line.items() if k in OWN_KEYS} for line in lines]
        one["columns"], one["cells"] = columns(f"{directory}/progress.csv")
        one["events"] = []
        for events in sorted(glob.glob(f"{glob.escape(directory)}/events.out.tfevents.*")):
            with open(events, "rb") as file:
                one["events"].append(base64.b64encode(file.read()).decode())
        trials[general(os.path.basename(directory))] = one
    return {"tree": tree(folder), "trials": trials}


# Keys of users whose values are the same in both.
OWN_KEYS = (
    "loss", "nested", "word", "flag", "none", "nan", "big", "half", "int64", "array", "list",
    "texts", "empty", "value", "a", "b", "new", "_metric", "done", "training_iteration",
    "timesteps_total", "episodes_total", "config", "iterations_since_restore",
)  # fmt: skip


def columns(path):
    """The header, and the cells of the columns above."""
    if not os.path.getsize(path):
        return [], []
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    same = [i for i, key in enumerate(header) if key.split("/")[0] in OWN_KEYS]
    return header, [[row[i] for i in same] for row in rows]
