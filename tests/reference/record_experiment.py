"""Records an experiment of the reference and what the reference says of it.

Run with a Python that has ray[tune]==2.24.0:

    python tests/reference/record_experiment.py tests/reference/experiment.tar.gz

The archive holds two folders, `functions` and `classes`, as ray.tune.run() left them, without
the files of TensorBoard, and `answers.json`: what ray's own ExperimentAnalysis and ResultGrid
tell of each. tests/python/test_open.py opens the same folders.
"""

import io
import json
import math
import os
import shutil
import sys
import tarfile
import tempfile

METRIC, MODE = "loss", "min"


class TooLarge(Exception):
    """An error of the user's own; pickled by value, as the script is __main__."""


def double(x):
    return 2 * x


def train_function(config):
    import numpy as np
    from ray import train

    start = 0
    checkpoint = train.get_checkpoint()
    if checkpoint is not None:
        with open(os.path.join(checkpoint.path, "step")) as file:
            start = int(file.read())
    for step in range(start, 4):
        if config["x"] == 3 and step == 2:
            raise TooLarge("x is too large")
        if config["x"] == 2 and step == 2 and start == 0:
            raise RuntimeError("once is no matter")
        loss = (config["x"] - 1) ** 2 + 1 / (step + 1)
        metrics = {
            "loss": math.nan if config["x"] == 4 else loss,
            "deep": {"er": {"step": step}, "flag": step > 1},
            "array": np.arange(3),
            "word": "käse",
        }
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "step"), "w") as file:
                file.write(str(step + 1))
            train.report(metrics, checkpoint=train.Checkpoint.from_directory(folder))


def make_class():
    from ray.tune import Trainable

    class Steps(Trainable):
        def setup(self, config):
            self.n = 0

        def step(self):
            self.n += 1
            return {"loss": self.config["lr"] * self.n, "done": self.n == 3}

        def save_checkpoint(self, folder):
            return {"n": self.n}

        def load_checkpoint(self, state):
            self.n = state["n"]

    return Steps


def run_functions(storage):
    from ray import train, tune

    return tune.run(
        train_function,
        name="functions",
        storage_path=storage,
        config={
            "x": tune.grid_search([0, 1, 2, 3, 4]),
            "function": double,
            "nested": {"pair": (1, 2), "text": "a/b", "none": None},
            "env": "Maze",
        },
        metric=METRIC,
        mode=MODE,
        stop={"training_iteration": 4},
        max_failures=1,
        checkpoint_config=train.CheckpointConfig(
            num_to_keep=2, checkpoint_score_attribute="loss", checkpoint_score_order="min"
        ),
        resources_per_trial={"cpu": 0.5},
        raise_on_failed_trial=False,
        verbose=0,
    )


def run_classes(storage):
    from ray import train, tune

    return tune.run(
        make_class(),
        name="classes",
        storage_path=storage,
        config={"lr": tune.grid_search([0.5, 0.25])},
        checkpoint_config=train.CheckpointConfig(checkpoint_frequency=2, checkpoint_at_end=True),
        verbose=0,
    )


def plain(value):
    """What JSON can hold of a value: NaN as text, functions by what they do to 21."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if callable(value):
        return ["function", value(21)]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


def place(checkpoint, path):
    return None if checkpoint is None else os.path.relpath(checkpoint.path, path)


def table(frame):
    return {
        "columns": list(map(str, frame.columns)),
        "rows": [
            {str(k): plain(v) for k, v in sorted(row.items()) if str(k) in COMPARED}
            for row in frame.to_dict("records")
        ],
    }


COMPARED = (
    "loss", "deep/er/step", "deep/flag", "word", "training_iteration", "config/x",
    "config/nested/text", "done", "trial_id", "checkpoint_dir_name", "config/lr",
)  # fmt: skip


def tell(analysis, grid, error_name):
    """Everything that an analysis and a grid say, as JSON."""
    path = analysis.experiment_path
    best = analysis.get_best_trial(METRIC, MODE)
    trials = []
    for trial, result in zip(analysis.trials, grid, strict=True):
        latest = trial.latest_checkpoint_result
        trials.append(
            {
                "id": trial.trial_id,
                "name": str(trial),
                "status": trial.status,
                "tag": trial.experiment_tag,
                "config": plain(trial.config),
                "evaluated": plain(trial.evaluated_params),
                "folder": os.path.relpath(trial.path, path),
                "resources": trial.placement_group_factory.required_resources,
                "stop": trial.stopping_criterion,
                "max_failures": trial.max_failures,
                "failures": trial.num_failures,
                "last": plain(trial.last_result),
                "analysis": plain(trial.metric_analysis),
                "steps": {
                    k: {n: plain(list(v)) for n, v in d.items()}
                    for k, d in trial.metric_n_steps.items()
                },
                "latest": place(latest and latest.checkpoint, path),
                "latest_metrics": plain(latest.metrics) if latest else None,
                "best_checkpoints": [
                    [place(c, path), plain(m["training_iteration"])]
                    for c, m in result.best_checkpoints
                ],
                "best_checkpoint": place(analysis.get_best_checkpoint(trial, METRIC, MODE), path),
                "last_checkpoint": place(analysis.get_last_checkpoint(trial), path),
                "error": error_name(result.error),
                "repr": repr(result).replace(path, "PATH"),
                "frame": table(analysis.trial_dataframes[trial.trial_id]),
            }
        )
    return {
        "trials": trials,
        "best": best.trial_id,
        "best_all": analysis.get_best_trial(METRIC, "max", "all").trial_id,
        "best_avg": analysis.get_best_trial(METRIC, "max", "avg").trial_id,
        "results_df": table(analysis.results_df.reset_index()),
        "dataframe": table(analysis.dataframe()),
        "dataframe_min": table(analysis.dataframe(METRIC, MODE)),
        "errors": sorted(filter(None, map(error_name, grid.errors))),
        "num_errors": grid.num_errors,
        "num_terminated": grid.num_terminated,
    }


def error_name(error):
    return None if error is None else str(error).strip().splitlines()[-1].split(": ")[-1]


def keep(path):
    name = os.path.basename(path)
    return not name.startswith("events.out") and not name.endswith("_state-tmp")


def main(target):
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    import ray
    from ray.tune import ExperimentAnalysis, ResultGrid

    storage = tempfile.mkdtemp(prefix="recorded_")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    run_functions(storage)
    run_classes(storage)
    answers = {}
    for name in ("functions", "classes"):
        analysis = ExperimentAnalysis(os.path.join(storage, name))
        answers[name] = tell(analysis, ResultGrid(analysis), error_name)
    ray.shutdown()
    with tarfile.open(target, "w:gz", compresslevel=9) as archive:
        for name in answers:
            for folder, _, files in sorted(os.walk(os.path.join(storage, name))):
                for file in sorted(filter(keep, files)):
                    path = os.path.join(folder, file)
                    archive.add(path, os.path.relpath(path, storage))
        data = json.dumps(answers).encode()
        info = tarfile.TarInfo("answers.json")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    shutil.rmtree(storage)


if __name__ == "__main__":
    main(sys.argv[1])
