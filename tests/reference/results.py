"""Questions about results and settings, answered alike by the reference and by ctune.

    python tests/reference/results.py tests/reference/results.json

records the reference's answers, with a Python that has ray[tune]==2.24.0;
tests/python/test_results.py asks ctune. An answer is a value as JSON has it, or the type of an
error; of values that depend on the machine only their form is kept.
"""

import json
import math
import os
import pickle
import re
import sys
import tempfile
from types import SimpleNamespace


def train(config):
    import tempfile

    from ray import train as t

    for step in range(4):
        if config["x"] == 3 and step == 2:
            raise ValueError("three")
        value = math.nan if config["x"] == 4 else config["x"] * (step + 1)
        metrics = {"loss": value, "deep": {"er": -step}, "name": "n"}
        if config["x"] == 5:
            metrics["loss"] = math.inf
        if config["x"] in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                with open(os.path.join(folder, "step"), "w") as file:
                    file.write(str(step))
                t.report(metrics, checkpoint=t.Checkpoint.from_directory(folder))
        else:
            t.report(metrics)


def one(config):
    from ray import train as t

    t.report({"loss": 1})


def make():
    """Returns what the questions are asked about."""
    from ray import train as t
    from ray import tune

    folder = tempfile.mkdtemp(prefix="results_")

    def tuner(function, values, **config):
        return tune.Tuner(
            function,
            param_space={"x": tune.grid_search(values), "nested": {"y": 2}},
            tune_config=tune.TuneConfig(max_concurrent_trials=1, **config),
            run_config=t.RunConfig(
                name=f"{function.__name__}{len(values)}{len(config)}",
                storage_path=folder,
                verbose=0,
            ),
        )

    several = tuner(train, [1, 2, 3, 4, 5])
    known = tuner(train, [1, 2, 3], metric="loss", mode="min")
    single = tuner(one, [1])
    grids = [each.fit() for each in (several, known, single)]
    return SimpleNamespace(
        folder=folder,
        tune=tune,
        train=t,
        tuner=several,
        several=grids[0],
        known=grids[1],
        single=grids[2],
        analysis=grids[0]._experiment_analysis,
        best=grids[1]._experiment_analysis,
        ones=grids[2]._experiment_analysis,
    )


def x(thing):
    """Names a trial or result by its parameter."""
    return None if thing is None else thing.config["x"]


def step_of(checkpoint):
    if checkpoint is None:
        return None
    with open(os.path.join(checkpoint.path, "step")) as file:
        return int(file.read())


def rows(frame, *columns):
    return sorted(
        [[plain(v) for v in row] for row in frame[list(columns)].values.tolist()], key=str
    )


def columns(frame):
    return sorted(map(str, frame.columns))


def picked(a, thing):
    return pickle.loads(pickle.dumps(thing))


# Name -> question about what make() returned.
QUESTIONS = {
    # ExperimentAnalysis
    "mode unknown": lambda a: a.tune.ExperimentAnalysis(
        a.analysis.experiment_path, default_metric="loss", default_mode="most"
    ),
    "mode alone": lambda a: (
        a.tune.ExperimentAnalysis(a.analysis.experiment_path, default_mode="max").default_metric
    ),
    "no experiment": lambda a: a.tune.ExperimentAnalysis(os.path.join(a.folder, "nothing")),
    "empty folder": lambda a: a.tune.ExperimentAnalysis(tempfile.mkdtemp()),
    "a state file": lambda a: len(
        a.tune.ExperimentAnalysis(
            os.path.join(
                a.analysis.experiment_path,
                max(
                    name
                    for name in os.listdir(a.analysis.experiment_path)
                    if name.startswith("experiment_state-") and name.endswith(".json")
                ),
            )
        ).trials
    ),
    "defaults": lambda a: [a.best.default_metric, a.best.default_mode],
    "no defaults": lambda a: [a.analysis.default_metric, a.analysis.default_mode],
    **{
        f"{name} without defaults": lambda a, name=name: getattr(a.analysis, name)
        for name in (
            "best_trial",
            "best_config",
            "best_checkpoint",
            "best_dataframe",
            "best_result",
            "best_result_df",
        )
    },
    "best_trial": lambda a: x(a.best.best_trial),
    "best_config": lambda a: a.best.best_config,
    "best_checkpoint": lambda a: step_of(a.best.best_checkpoint),
    "best_dataframe": lambda a: rows(a.best.best_dataframe, "loss", "deep/er"),
    "best_dataframe columns": lambda a: columns(a.best.best_dataframe),
    "best_result": lambda a: [a.best.best_result[k] for k in ("loss", "deep", "done")],
    "best_result keys": lambda a: sorted(a.best.best_result),
    "best_result_df": lambda a: rows(a.best.best_result_df, "loss", "config/x", "deep/er"),
    "best_result_df columns": lambda a: columns(a.best.best_result_df),
    "best_result_df index": lambda a: a.best.best_result_df.index.name,
    "results": lambda a: sorted(
        (r["config"]["x"], r["deep"]["er"]) for r in a.best.results.values()
    ),
    "results keys": lambda a: sorted(a.best.results) == sorted(t.trial_id for t in a.best.trials),
    "results_df": lambda a: rows(a.best.results_df, "loss", "config/x", "config/nested/y"),
    "results_df columns": lambda a: columns(a.best.results_df),
    "results_df index": lambda a: a.best.results_df.index.name,
    "trial_dataframes": lambda a: sorted(len(f) for f in a.best.trial_dataframes.values()),
    "trial_dataframes columns": lambda a: columns(next(iter(a.best.trial_dataframes.values()))),
    "dataframe": lambda a: rows(a.analysis.dataframe(), "config/x", "loss"),
    "dataframe columns": lambda a: columns(a.analysis.dataframe()),
    "dataframe index": lambda a: list(a.analysis.dataframe().index),
    "dataframe max": lambda a: rows(a.analysis.dataframe("loss", "max"), "config/x", "loss"),
    "dataframe min": lambda a: rows(a.analysis.dataframe("loss", "min"), "config/x", "loss"),
    "dataframe nested": lambda a: rows(
        a.analysis.dataframe("deep/er", "max"), "config/x", "deep/er"
    ),
    "dataframe mode unknown": lambda a: a.analysis.dataframe("loss", "most"),
    "dataframe mode alone": lambda a: a.analysis.dataframe(mode="max"),
    "dataframe metric alone": lambda a: rows(a.analysis.dataframe("loss"), "config/x", "loss"),
    "dataframe metric unknown": lambda a: len(a.analysis.dataframe("nothing", "max")),
    "get_all_configs": lambda a: sorted(a.best.get_all_configs().values(), key=str),
    "get_all_configs prefix": lambda a: sorted(
        a.best.get_all_configs(prefix=True).values(), key=str
    ),
    **{
        f"best {metric} {mode} {scope} {filtered}": (
            lambda a, metric=metric, mode=mode, scope=scope, filtered=filtered: x(
                a.analysis.get_best_trial(metric, mode, scope, filtered)
            )
        )
        for metric in ("loss", "deep/er", "nothing", "name")
        for mode in ("min", "max")
        for scope in ("last", "all", "avg", "last-5-avg", "last-10-avg")
        for filtered in (True, False)
        # The reference's answers depend on the order of comparisons with NaN.
        if not (metric == "loss" and not filtered and mode == "min") and metric != "name"
    },
    "best scope unknown": lambda a: a.analysis.get_best_trial("loss", "min", "first"),
    "best mode unknown": lambda a: a.analysis.get_best_trial("loss", "most"),
    "best metric missing": lambda a: a.analysis.get_best_trial(mode="max"),
    "best mode missing": lambda a: a.analysis.get_best_trial("loss"),
    "best of one": lambda a: x(a.ones.get_best_trial()),
    "best of one, scope unknown": lambda a: x(a.ones.get_best_trial("loss", "max", "first")),
    "best config": lambda a: a.analysis.get_best_config("loss", "max"),
    "best config of nothing": lambda a: a.analysis.get_best_config("nothing", "max"),
    **{
        f"get_best_checkpoint {value} {metric} {mode}": (
            lambda a, value=value, metric=metric, mode=mode: step_of(
                a.analysis.get_best_checkpoint(
                    next(t for t in a.analysis.trials if x(t) == value), metric, mode
                )
            )
        )
        for value in (1, 3)
        for metric in (None, "loss", "deep/er", "nothing")
        for mode in (None, "min", "max")
    },
    "get_last_checkpoint": lambda a: step_of(a.analysis.get_last_checkpoint(a.analysis.trials[0])),
    "get_last_checkpoint of the best": lambda a: step_of(a.best.get_last_checkpoint()),
    "get_last_checkpoint without": lambda a: step_of(a.analysis.get_last_checkpoint()),
    "get_last_checkpoint of a failed": lambda a: step_of(
        a.analysis.get_last_checkpoint(a.analysis.trials[2])
    ),
    "pickled analysis": lambda a: sorted(map(x, picked(a, a.best).trials)),
    # ResultGrid
    "len": lambda a: [len(a.several), len(a.single)],
    "index": lambda a: [x(a.several[0]), x(a.several[-1])],
    "index too high": lambda a: a.several[5],
    "slice": lambda a: [x(r) for r in a.several[1:3]],
    "iteration": lambda a: [x(r) for r in a.several],
    "errors": lambda a: [told(e) for e in a.several.errors],
    "counts": lambda a: [a.several.num_errors, a.several.num_terminated],
    "experiment_path": lambda a: os.path.relpath(a.several.experiment_path, a.folder),
    "filesystem": lambda a: type(a.several.filesystem).__name__,
    "grid best missing": lambda a: a.several.get_best_result(),
    "grid best mode missing": lambda a: a.several.get_best_result("loss"),
    "grid best": lambda a: x(a.several.get_best_result("loss", "max")),
    "grid best all": lambda a: x(a.several.get_best_result("loss", "max", "all")),
    "grid best unfiltered": lambda a: x(
        a.several.get_best_result("loss", "max", filter_nan_and_inf=False)
    ),
    "grid best of defaults": lambda a: x(a.known.get_best_result()),
    "grid best of one": lambda a: x(a.single.get_best_result()),
    "grid best of nothing": lambda a: a.several.get_best_result("nothing", "max"),
    "get_dataframe": lambda a: rows(a.several.get_dataframe(), "config/x", "loss"),
    "get_dataframe filtered": lambda a: rows(
        a.several.get_dataframe("loss", "max"), "config/x", "loss"
    ),
    "get_dataframe mode alone": lambda a: a.several.get_dataframe(filter_mode="max"),
    "grid repr": lambda a: shape(a, repr(a.known)),
    "grid of an analysis": lambda a: len(a.tune.ResultGrid(a.best)),
    # Result
    "metrics": lambda a: sorted(a.several[0].metrics),
    "checkpoint": lambda a: step_of(a.several[0].checkpoint),
    "no checkpoint": lambda a: step_of(a.several[2].checkpoint),
    "error": lambda a: [kind(a.several[2].error), told(a.several[2].error)],
    "no error": lambda a: a.several[0].error,
    "result path": lambda a: os.path.dirname(os.path.relpath(a.several[0].path, a.folder)),
    "metrics_dataframe": lambda a: rows(a.several[0].metrics_dataframe, "loss", "deep/er"),
    "metrics_dataframe columns": lambda a: columns(a.several[0].metrics_dataframe),
    "best_checkpoints": lambda a: [
        [step_of(c), m["loss"]] for c, m in a.several[0].best_checkpoints
    ],
    "no best_checkpoints": lambda a: a.several[2].best_checkpoints,
    "result config": lambda a: a.several[0].config,
    "result filesystem": lambda a: type(a.several[0].filesystem).__name__,
    "result best max": lambda a: step_of(a.several[0].get_best_checkpoint("loss", "max")),
    "result best min": lambda a: step_of(a.several[0].get_best_checkpoint("deep/er", "min")),
    "result best mode unknown": lambda a: a.several[0].get_best_checkpoint("loss", "most"),
    "result best metric unknown": lambda a: a.several[0].get_best_checkpoint("nothing", "max"),
    "result best of none": lambda a: a.several[2].get_best_checkpoint("loss", "max"),
    "from_path": lambda a: [x(r) for r in [a.train.Result.from_path(a.several[0].path)]],
    "from_path of a failed": lambda a: told(a.train.Result.from_path(a.several[2].path).error),
    "from_path checkpoints": lambda a: [
        step_of(c) for c, _ in a.train.Result.from_path(a.several[0].path).best_checkpoints
    ],
    "from_path metrics": lambda a: a.train.Result.from_path(a.several[0].path).metrics["loss"],
    "from_path of nothing": lambda a: a.train.Result.from_path(os.path.join(a.folder, "nothing")),
    "from_path of a folder": lambda a: a.train.Result.from_path(tempfile.mkdtemp()),
    "result repr": lambda a: shape(a, repr(a.several[0])),
    "failed repr": lambda a: shape(a, repr(a.several[2])),
    "empty result": lambda a: (
        a.train.Result(metrics=None, checkpoint=None, error=None, path="p").config
    ),
    # Tuner
    "trainable missing": lambda a: a.tune.Tuner(),
    "space of a wrong type": lambda a: a.tune.Tuner(one, param_space=[1]),
    "not to be pickled": lambda a: a.tune.Tuner(unpicklable()),
    "get_results early": lambda a: a.tune.Tuner(one).get_results(),
    "get_results": lambda a: len(a.tuner.get_results()),
    "can_restore": lambda a: [
        a.tune.Tuner.can_restore(a.several.experiment_path),
        a.tune.Tuner.can_restore(a.folder),
        a.tune.Tuner.can_restore(os.path.join(a.folder, "nothing")),
    ],
    "tuner.pkl": lambda a: written_early(a),
    "restore of nothing": lambda a: a.tune.Tuner.restore(os.path.join(a.folder, "nothing"), one),
    "trainable of a wrong type": lambda a: a.tune.Tuner(3),
    "name not registered": lambda a: type(a.tune.Tuner("not registered")).__name__,
    "tune_config of a wrong type": lambda a: a.tune.Tuner(one, tune_config=3),
    # Settings
    "TuneConfig": lambda a: repr(a.tune.TuneConfig(num_samples=3)),
    "RunConfig": lambda a: home(repr(a.train.RunConfig(name="n"))),
    "RunConfig full": lambda a: home(
        repr(
            a.train.RunConfig(
                name="n",
                storage_path="/tmp/x",
                verbose=0,
                stop={"a": 1},
                failure_config=a.train.FailureConfig(max_failures=1),
                log_to_file=True,
            )
        )
    ),
    "FailureConfig": lambda a: repr(a.train.FailureConfig(max_failures=2)),
    "CheckpointConfig": lambda a: repr(a.train.CheckpointConfig(num_to_keep=2)),
    "CheckpointConfig plain": lambda a: repr(a.train.CheckpointConfig()),
    "SyncConfig": lambda a: repr(a.train.SyncConfig()),
    "ResumeConfig": lambda a: str(a.tune.ResumeConfig()),
    "RunConfig verbose": lambda a: a.train.RunConfig().verbose,
    "RunConfig parts": lambda a: [
        type(getattr(a.train.RunConfig(), name)).__name__
        for name in ("failure_config", "checkpoint_config", "sync_config", "stop", "callbacks")
    ],
    "RunConfig local_dir": lambda a: type(a.train.RunConfig(local_dir="/tmp")).__name__,
    "RunConfig of a Path": lambda a: (
        a.train.RunConfig(storage_path=__import__("pathlib").Path("/tmp/x")).storage_path
    ),
    "equality": lambda a: [
        a.train.RunConfig(name="a") == a.train.RunConfig(name="a"),
        a.train.RunConfig(name="a") == a.train.RunConfig(name="b"),
        a.tune.TuneConfig() == a.tune.TuneConfig(num_samples=1),
        a.train.FailureConfig() == a.train.FailureConfig(max_failures=1),
    ],
    "fail_fast": lambda a: a.train.FailureConfig(fail_fast="raise").fail_fast,
    "fail_fast unknown": lambda a: a.train.FailureConfig(fail_fast="now"),
    "fail_fast and retries": lambda a: a.train.FailureConfig(fail_fast=True, max_failures=1),
    "num_to_keep 0": lambda a: a.train.CheckpointConfig(num_to_keep=0),
    "num_to_keep negative": lambda a: a.train.CheckpointConfig(num_to_keep=-1),
    "order unknown": lambda a: a.train.CheckpointConfig(checkpoint_score_order="most"),
    "frequency negative": lambda a: a.train.CheckpointConfig(checkpoint_frequency=-1),
    "upload_dir": lambda a: a.train.SyncConfig(upload_dir="s3://x"),
    "syncer": lambda a: a.train.SyncConfig(syncer=None),
    # Trials
    "trial names": lambda a: [re.sub("[0-9a-f]{5}_", "ID_", str(t)) for t in a.analysis.trials],
    "tags": lambda a: [t.experiment_tag for t in a.analysis.trials],
    "status": lambda a: [t.status for t in a.analysis.trials],
    "evaluated_params": lambda a: [t.evaluated_params for t in a.analysis.trials],
    "trainable_name": lambda a: a.analysis.trials[0].trainable_name,
    "failures": lambda a: [
        [t.num_failures, t.num_failures_after_restore] for t in a.analysis.trials
    ],
    "is_finished": lambda a: [t.is_finished() for t in a.analysis.trials],
    "has_checkpoint": lambda a: [t.has_checkpoint() for t in a.analysis.trials],
    "has_reported": lambda a: [t.has_reported_at_least_once for t in a.analysis.trials],
    "flags": lambda a: [
        [t.is_restoring, t.is_saving, t.checkpoint_freq, t.checkpoint_at_end]
        for t in a.analysis.trials[:1]
    ],
    "log_to_file": lambda a: list(a.analysis.trials[0].log_to_file),
    "error_file": lambda a: [
        t.error_file and os.path.basename(t.error_file) for t in a.analysis.trials
    ],
    "pickled_error_file": lambda a: [
        t.pickled_error_file and os.path.basename(t.pickled_error_file) for t in a.analysis.trials
    ],
    "get_error": lambda a: [type(t.get_error()).__name__ for t in a.analysis.trials],
    "get_pickled_error": lambda a: [kind(t.get_pickled_error()) for t in a.analysis.trials],
    "trial checkpoint": lambda a: [step_of(t.checkpoint) for t in a.analysis.trials],
    "last_result": lambda a: sorted(a.analysis.trials[0].last_result),
    "metric_analysis": lambda a: a.analysis.trials[1].metric_analysis["loss"],
    "metric_analysis keys": lambda a: sorted(a.analysis.trials[1].metric_analysis),
    "metric_n_steps": lambda a: {
        k: list(v) for k, v in a.analysis.trials[1].metric_n_steps["loss"].items()
    },
    "paths": lambda a: [t.experiment_dir_name for t in a.analysis.trials[:1]],
    "path": lambda a: os.path.dirname(os.path.relpath(a.analysis.trials[0].path, a.folder)),
    "remote_experiment_path": lambda a: os.path.relpath(
        a.analysis.trials[0].remote_experiment_path, a.folder
    ),
    "relative_logdir": lambda a: bool(a.analysis.trials[0].relative_logdir),
    "logdir": lambda a: a.analysis.trials[0].logdir,
    "init_logdir": lambda a: a.analysis.trials[0].init_logdir(),
    "should_stop": lambda a: a.analysis.trials[0].should_stop({"loss": 1}),
    "should_stop done": lambda a: a.analysis.trials[0].should_stop({"done": True}),
    "hashable": lambda a: len(set(a.analysis.trials)),
    "generate_id": lambda a: len(type(a.analysis.trials[0]).generate_id()),
    "json state": lambda a: len(a.analysis.trials[0].get_json_state()),
    "from json state": lambda a: x(
        type(a.analysis.trials[0]).from_json_state(
            a.analysis.trials[0].get_json_state()[0], stub=True
        )
    ),
    "restore_path": lambda a: a.analysis.trials[0].restore_path,
    "required": lambda a: a.analysis.trials[0].placement_group_factory.required_resources,
    "custom names": lambda a: [
        a.analysis.trials[0].custom_trial_name,
        a.analysis.trials[0].custom_dirname,
    ],
    "max_failures": lambda a: a.analysis.trials[0].max_failures,
    "stopping_criterion": lambda a: a.analysis.trials[0].stopping_criterion,
    "export_formats": lambda a: a.analysis.trials[0].export_formats,
}


def unpicklable():
    import threading

    lock = threading.Lock()

    def function(config):
        return lock

    return function


def written_early(a):
    """Whether a Tuner writes its file before fit()."""
    folder = tempfile.mkdtemp()
    a.tune.Tuner(
        one,
        param_space={"b": 1, "a": {"c": 2}},
        run_config=a.train.RunConfig(name="early", storage_path=folder),
    )
    return "tuner.pkl" in os.listdir(os.path.join(folder, "early"))


def told(error):
    """What an error says, without the traceback that the reference puts before."""
    return str(error).strip().splitlines()[-1].rpartition(": ")[2]


def kind(error):
    return re.sub(r"RayTaskError\((\w+)\)", r"\1", type(error).__name__)


def home(text):
    return text.replace(os.path.expanduser("~"), "HOME")


def shape(a, text):
    """A text without what depends on time and place."""
    text = text.replace(a.folder, "FOLDER").replace("RayTaskError(ValueError)", "ValueError")
    text = re.sub(r"[0-9a-f]{5}_0000", "ID_0000", text)
    return re.sub(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", "DATE", text)


def plain(value):
    """What JSON can hold of a value."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value


def ask(a):
    """Returns name -> answer."""
    answers = {}
    for name, question in QUESTIONS.items():
        try:
            answers[name] = plain(question(a))
            json.dumps(answers[name])
        except Exception as error:
            answers[name] = f"<{type(error).__name__}>"
    return answers


def main(target):
    """Writes the reference's answers."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with open(target, "w") as file:
        json.dump(ask(make()), file, indent=1, sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
