"""One measurement in a fresh process: `python measure.py CASE SIDE`.

Prints one JSON line: name -> number. run.py calls it with the interpreter of each side, so
nothing is imported here before it is measured.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import os
import random
import sys
import tempfile
import time
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CPUS = 2
WARM_UP = 100  # results before the clock starts
LONG = 10_000  # results of a trial whose results are timed
DECIDE_S = 1.0  # of decisions of one scheduler

# Each line changes: a compressing or deduplicating logger gains nothing.
METRICS = tuple(f"metric_{i}" for i in range(10))


def metrics(i: int) -> dict[str, float]:
    return {name: 1.0 / (i + k + 1) for k, name in enumerate(METRICS)}


def library(side: str) -> SimpleNamespace:
    """What both libraries offer, under the same names."""
    if side.startswith("ray"):
        import ray
        from ray import train, tune
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher
        from ray.tune.search.variant_generator import generate_variants

        def start() -> None:
            ray.init(
                num_cpus=CPUS,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )

        report = train.report
    else:
        import ctune as tune
        from ctune.schedulers import ASHAScheduler
        from ctune.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher
        from ctune.search.variant_generator import generate_variants

        def start() -> None:
            executor = "inline" if "inline" in side else "process"
            tune.init(executor=executor, num_cpus=CPUS)

        report = tune.report
    return SimpleNamespace(
        tune=tune,
        start=start,
        report=report,
        asha=ASHAScheduler,
        basic=BasicVariantGenerator,
        limiter=ConcurrencyLimiter,
        searcher=Searcher,
        variants=generate_variants,
    )


def quiet_run(lib: SimpleNamespace, trainable: Any, **arguments: Any) -> Any:
    return lib.tune.run(trainable, verbose=0, storage_path=tempfile.mkdtemp(), **arguments)


class Clock:
    """Seconds per result, from the WARM_UP-th to the last."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.i = 0
        self.start = 0.0

    def tick(self) -> dict[str, float]:
        self.i += 1
        if self.i == WARM_UP:
            self.start = time.perf_counter()
        out = metrics(self.i)
        if self.i == self.count:
            out["per_result"] = (time.perf_counter() - self.start) / (self.count - WARM_UP)
        else:
            out["per_result"] = 0.0
        return out


# --- cases ---------------------------------------------------------------------------------


def case_import(side: str) -> dict[str, float]:
    """Seconds of the import once NumPy, which all of them need, is there."""
    import numpy  # noqa: F401

    start = time.perf_counter()
    if side == "ctune":
        import ctune  # noqa: F401
    elif side == "ray":
        from ray import tune  # noqa: F401
    else:
        import optuna  # noqa: F401
    return {"seconds": time.perf_counter() - start}


def class_trainable(lib: SimpleNamespace, count: int) -> Any:
    class Job(lib.tune.Trainable):  # type: ignore[misc, name-defined]
        def setup(self, config: Any) -> None:
            self.clock = Clock(count)

        def step(self) -> dict[str, float]:
            return self.clock.tick()

        def reset_config(self, new_config: Any) -> bool:
            self.clock = Clock(count)
            return True

    return Job


def function_trainable(lib: SimpleNamespace, count: int) -> Any:
    report = lib.report

    def job(config: Any) -> None:
        clock = Clock(count)
        for _ in range(count):
            report(clock.tick())

    return job


def case_results(side: str) -> dict[str, float]:
    """Seconds per result of one trial, or of two at once for *-pair sides."""
    kind = "function" if "function" in side else "class"
    count = 400 if side.startswith("ray") else 20_000
    if side.startswith("bare"):
        clock = Clock(200_000)
        while clock.i < clock.count:
            last = clock.tick()
        return {"seconds": last["per_result"]}
    lib = library(side)
    lib.start()
    make = function_trainable if kind == "function" else class_trainable
    pair = "pair" in side
    callbacks, waited = chosen_loggers(lib)
    analysis = quiet_run(
        lib,
        make(lib, count),
        num_samples=CPUS if pair else 1,
        stop={"training_iteration": count} if kind == "class" else None,
        callbacks=callbacks,
    )
    rates = [1 / t.last_result["per_result"] for t in analysis.trials]
    return {"seconds": 1 / sum(rates) + sum(waited) / (count * len(analysis.trials))}


def chosen_loggers(lib: SimpleNamespace) -> tuple[list[Any], list[float]]:
    """The loggers that BENCH_LOGGERS names, and a list for what the end of the run waited."""
    names = os.environ.get("BENCH_LOGGERS", "").split()
    waited: list[float] = []
    if not names:
        return [], waited
    import importlib

    module = importlib.import_module(lib.tune.__name__ + ".logger")

    class Timed(module.TBXLoggerCallback):  # type: ignore[misc, name-defined]
        """What is still to be written when the last result is in counts, too."""

        def on_experiment_end(self, trials: Any, **info: Any) -> None:
            start = time.perf_counter()
            super().on_experiment_end(trials, **info)
            waited.append(time.perf_counter() - start)

    known = {"csv": module.CSVLoggerCallback, "json": module.JsonLoggerCallback, "tbx": Timed}
    return [known[name]() for name in names], waited


def case_trials(side: str) -> dict[str, float]:
    """Seconds per trial of one result."""
    lib = library(side)
    lib.start()
    reuse = "reuse" in side
    count = {"ray": 100 if reuse else 20, "process": 1000, "inline": 2000}[
        "ray" if side.startswith("ray") else "inline" if "inline" in side else "process"
    ]

    class One(lib.tune.Trainable):  # type: ignore[misc, name-defined]
        def step(self) -> dict[str, float]:
            return metrics(0)

        def reset_config(self, new_config: Any) -> bool:
            return True

    start = time.perf_counter()
    quiet_run(
        lib,
        One,
        config={"x": lib.tune.uniform(0, 1)},
        num_samples=count,
        stop={"training_iteration": 1},
        reuse_actors=reuse,
    )
    return {"seconds": (time.perf_counter() - start) / count}


def case_first(side: str) -> dict[str, float]:
    """Seconds from calling run() to the first step, with nothing started before.

    NumPy is there, as in case_import; ctune would load it in run().
    """
    import numpy  # noqa: F401

    lib = library(side)
    if not side.startswith("ray"):
        lib.start()  # only chooses the executor

    class First(lib.tune.Trainable):  # type: ignore[misc, name-defined]
        def step(self) -> dict[str, float]:
            return {"at": time.monotonic()}

    start = time.monotonic()
    analysis = quiet_run(lib, First, stop={"training_iteration": 1})
    return {"seconds": analysis.trials[0].last_result["at"] - start}


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def case_memory(side: str) -> dict[str, float]:
    """Bytes of the driver per finished trial, and costs early and late in a run.

    With ctune, the 100th trial and the last one report LONG results and time them.
    """
    lib = library(side)
    lib.start()
    ray = side.startswith("ray")
    total = 200 if ray else 100_000
    times = array("d", bytes(8 * total))  # of each trial: at its end, or at its start
    memory = array("d", bytes(8 * total))
    long_ones = {} if ray else {100: 0.0, total - 1: 0.0}  # seconds per result
    started = itertools.count()

    def note(i: int) -> None:
        times[i] = time.perf_counter()
        if ray or i % 500 == 0:
            memory[i] = resident()

    if ray:
        from ray.tune import Callback

        class Counts(Callback):  # type: ignore[misc]
            def on_trial_complete(self, *args: Any, **kwargs: Any) -> None:
                note(next(started))

        extra = {"callbacks": [Counts()]}
    else:
        extra = {"max_concurrent_trials": 1}  # nothing between the results of a long one

    class One(lib.tune.Trainable):  # type: ignore[misc, name-defined]
        def setup(self, config: Any) -> None:
            self.reported = 0
            if not ray:  # in the driver's process
                self.number = next(started)
                self.count = LONG if self.number in long_ones else 1
                note(self.number)

        def step(self) -> dict[str, float]:
            self.reported += 1
            if not ray and self.count == LONG:
                if self.reported == WARM_UP:
                    self.since = time.perf_counter()
                elif self.reported == LONG:
                    took = time.perf_counter() - self.since
                    long_ones[self.number] = took / (LONG - WARM_UP)
            return {"loss": 1.0, "done": ray or self.reported == self.count}

        def reset_config(self, new_config: Any) -> bool:
            return True

    quiet_run(
        lib,
        One,
        config={"x": lib.tune.uniform(0, 1)},
        num_samples=total,
        reuse_actors=ray,
        **extra,
    )
    first, last = total // 10, total - 1 if ray else total // 500 * 500 - 500
    chunk = total // 10
    found = {
        "bytes": (memory[last] - memory[first]) / (last - first),
        "early": (times[2 * chunk] - times[chunk]) / chunk,
        "late": (times[total - 2] - times[total - 2 - chunk]) / chunk,
    }
    if not ray:
        found["result_early"], found["result_late"] = long_ones.values()
    return found


def case_resume(side: str) -> dict[str, float]:
    """Seconds to go on with a run of which all trials have ended, and to open it.

    replay: the part that reads the journal. The run itself comes before in this process, so
    that all modules are loaded; the loggers are those of a run that names none.
    """
    name, count = side.rsplit("-", 1)
    lib = library(name)
    lib.start()
    where = tempfile.mkdtemp()

    class Five(lib.tune.Trainable):  # type: ignore[misc, name-defined]
        def step(self) -> dict[str, float]:
            return {"loss": 1.0 / self.iteration if self.iteration else 1.0}

        def reset_config(self, new_config: Any) -> bool:
            return True

    def go(resume: bool) -> Any:
        return lib.tune.run(
            Five,
            config={"x": lib.tune.uniform(0, 1)},
            num_samples=int(count),
            stop={"training_iteration": 5},
            storage_path=where,
            name="resumed",
            resume=resume,
            reuse_actors=True,
            verbose=0,
        )

    go(False)
    gc.collect()
    found = {}
    if not name.startswith("ray"):
        from ctune import _run

        recover = _run.recover

        def timed(*arguments: Any) -> None:
            start = time.perf_counter()
            recover(*arguments)
            found["replay"] = time.perf_counter() - start

        _run.recover = timed
    start = time.perf_counter()
    assert len(go(True).trials) == int(count)
    found["seconds"] = time.perf_counter() - start
    gc.collect()
    start = time.perf_counter()
    analysis = lib.tune.ExperimentAnalysis(os.path.join(where, "resumed"))
    assert len(analysis.trials) == int(count)
    found["open"] = time.perf_counter() - start
    return found


def case_journal(side: str) -> dict[str, float]:
    """Seconds of CPU of a step and its result, and bytes of the journal per result.

    side is ctune-inline-SYNC-METRICS; SYNC is a sync policy, or off: no journal. The least of
    20 parts of the run: a microsecond is less than what a busy machine adds. What a sync waits
    for the disk is not in it.
    """
    _, _, sync, width = side.split("-")
    count, parts = 200_000, 20
    import ctune
    from ctune import _run

    ctune.init(executor="inline", num_cpus=CPUS, journal_sync="none" if sync == "off" else sync)
    if sync == "off":
        options = _run._options
        _run._options = lambda *given: {**options(*given), "journal": -1}
    names = METRICS[: int(width)]
    marks = []

    class Job(ctune.Trainable):  # type: ignore[misc]
        def step(self) -> dict[str, float]:
            i = self.iteration + 1
            if i % (count // parts) == 0:
                marks.append(time.process_time())
            return {name: 1.0 / (i + k) for k, name in enumerate(names)}

    where = tempfile.mkdtemp()
    ctune.run(Job, stop={"training_iteration": count}, storage_path=where, name="e", verbose=0)
    size = sum(f.stat().st_size for f in Path(where, "e").glob("journal-*.ctj"))
    least = min(b - a for a, b in itertools.pairwise(marks))
    return {"seconds": least / (count // parts), "bytes": size / count}


def case_states(side: str) -> dict[str, float]:
    """Seconds until one more change is saved, of a run with some trials; side ends in -TRIALS.

    ctune: a step and its result, with the journal; and a snapshot of all, per trial. The
    reference: writing its state once more, with one new trial.
    """
    name, count = side.rsplit("-", 1)
    total = int(count)
    lib = library(name)
    lib.start()
    if name == "ray":
        return {"seconds": reference_save(total)}
    from ctune import _run

    found: dict[str, float] = {}
    started = itertools.count(1)

    class One(lib.tune.Trainable):  # type: ignore[misc, name-defined]
        def setup(self, config: Any) -> None:
            self.last = next(started) == total

        def step(self) -> dict[str, float]:
            i = self.iteration + 1
            if self.last and i == WARM_UP:
                self.since = time.perf_counter()
            elif self.last and i == LONG:
                found["seconds"] = (time.perf_counter() - self.since) / (LONG - WARM_UP)
            return {"loss": 1.0, "done": not self.last or i == LONG}

    finish = _run._finish

    def with_snapshot(plan: Any, driver: Any, *rest: Any) -> None:
        start = time.perf_counter()
        driver.snapshot()
        found["snapshot"] = (time.perf_counter() - start) / total
        finish(plan, driver, *rest)

    _run._finish = with_snapshot
    quiet_run(
        lib,
        One,
        config={"x": lib.tune.uniform(0, 1)},
        num_samples=total,
        max_concurrent_trials=1,
    )
    return found


def reference_save(total: int) -> float:
    from ray.train._internal.storage import StorageContext
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    storage = StorageContext(storage_path=tempfile.mkdtemp(), experiment_dir_name="e")
    storage._create_validation_file()
    controller = TuneController(storage=storage)
    for i in range(total):
        controller.add_trial(Trial("bench", config={"x": float(i)}, storage=storage, stub=True))
    controller.checkpoint(force=True, wait=True)
    took = []
    for _ in range(3):
        controller.add_trial(Trial("bench", config={"x": -1.0}, storage=storage, stub=True))
        start = time.perf_counter()
        controller.checkpoint(force=True, wait=True)
        took.append(time.perf_counter() - start)
    return min(took)


def case_soak(side: str) -> dict[str, float]:
    """Bytes by which the driver grows per result, from 100,000 results to a million.

    side is ctune-inline-TRIALS. Prints the resident megabytes at each 100,000.
    """
    name, trials = side.rsplit("-", 1)
    each = 1_000_000 // int(trials)
    lib = library(name)
    lib.start()
    results = itertools.count(1)
    sizes = []

    class Soak(lib.tune.Trainable):  # type: ignore[misc, name-defined]
        def step(self) -> dict[str, float]:
            n = next(results)
            if n % 100_000 == 0:
                sizes.append(resident())
            return {"loss": 1.0 / n}

    quiet_run(
        lib,
        Soak,
        config={"x": lib.tune.uniform(0, 1)},
        num_samples=int(trials),
        stop={"training_iteration": each},
    )
    print(*(f"{s / 1e6:.1f}" for s in sizes), "MB", file=sys.stderr)
    return {"growth": (sizes[-1] - sizes[0]) / 900_000}


def case_shared(side: str) -> dict[str, float]:
    import shared_data

    return shared_data.peak(side)


class FakeTrial:
    """What ASHA reads of a trial."""

    status = "RUNNING"

    def __init__(self, number: int) -> None:
        self.trial_id = f"t{number:06d}"


def case_asha(side: str) -> dict[str, float]:
    """Seconds per decision; side is LIBRARY-TRIALS. Stops after 2 s of decisions."""
    name, count = side.split("-")
    lib = library(name)
    scheduler = lib.asha(time_attr="training_iteration", metric="loss", mode="min", max_t=1000)
    trials = [FakeTrial(i) for i in range(int(count))]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    spent, made, iteration = 0.0, 0, 0
    while spent < 2.0 and iteration < 1000:
        iteration += 1
        for begin in range(0, len(trials), 1000):
            work = [
                (t, {"training_iteration": iteration, "loss": (hash(t) % 9973) / iteration})
                for t in trials[begin : begin + 1000]
            ]
            start = time.perf_counter()
            for trial, result in work:
                scheduler.on_trial_result(None, trial, result)
            spent += time.perf_counter() - start
            made += len(work)
            if spent > 2.0:
                break
    return {"seconds": spent / made}


def drive_module() -> Any:
    """ctune/bench/_drive.py, which knows nothing of ctune."""
    import importlib.util

    path = Path(__file__).resolve().parent.parent / "python" / "ctune" / "bench" / "_drive.py"
    spec = importlib.util.spec_from_file_location("drive", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["drive"] = module  # dataclasses and the like look for it
    spec.loader.exec_module(module)
    return module


def with_tune_scheduler(name: str, size: int, create: Any) -> float:
    drive = drive_module()
    options = drive.OPTIONS[name] | {"metric": "loss", "mode": "min"}
    drive.drive(name, create(name, **options), min(size, 256))  # what is imported at first need
    count, took = 0, 0.0
    while took < 0.5:  # few trials are over too soon
        n, seconds, _ = drive.drive(name, create(name, **options), size, seconds=DECIDE_S)
        count, took = count + n, took + seconds
    return took / count


def with_optuna_pruner(name: str, size: int) -> float:
    """report() and should_prune(), epoch by epoch, as an Optuna objective calls them."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = {
        "async_hyperband": lambda: optuna.pruners.SuccessiveHalvingPruner(1, 3),
        "hyperband": lambda: optuna.pruners.HyperbandPruner(1, 27, 3),
        "median_stopping_rule": lambda: optuna.pruners.MedianPruner(4, 3),
    }[name]()
    draw = random.Random(0).random
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0), pruner=pruner)
    trials = [study.ask() for _ in range(size)]
    count, took = 0, 0.0
    for epoch in range(1, 28):
        left = []
        for trial in trials:
            loss = draw()
            start = time.perf_counter()
            trial.report(loss, epoch)
            pruned = trial.should_prune()
            took += time.perf_counter() - start
            count += 1
            if took > DECIDE_S:
                return took / count
            if pruned:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                left.append(trial)
        trials = left
    return took / count


def with_syne_tune(name: str, size: int) -> float:
    import datetime

    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import uniform
    from syne_tune.optimizer.schedulers.asha import AsynchronousSuccessiveHalving

    assert name == "async_hyperband"
    scheduler = AsynchronousSuccessiveHalving(
        {"lr": uniform(0, 1)},
        metric="loss",
        do_minimize=True,
        time_attr="epoch",
        max_t=27,
        grace_period=1,
        reduction_factor=3,
        random_seed=0,
    )
    draw = random.Random(0).random
    now = datetime.datetime.now()
    trials = [Trial(i, {"lr": 0.5}, now) for i in range(size)]
    for trial in trials:
        scheduler.on_trial_add(trial)
    count, took = 0, 0.0
    for epoch in range(1, 28):
        left = []
        for trial in trials:
            result = {"loss": draw(), "epoch": epoch}
            start = time.perf_counter()
            answer = scheduler.on_trial_result(trial, result)
            took += time.perf_counter() - start
            count += 1
            if took > DECIDE_S:
                return took / count
            if answer == "CONTINUE":
                left.append(trial)
        trials = left
    return took / count


def case_schedulers(side: str) -> dict[str, float]:
    """Seconds per decision; side is LIBRARY-SCHEDULER-TRIALS."""
    name, scheduler, size = side.split("-")
    if name == "optuna":
        return {"seconds": with_optuna_pruner(scheduler, int(size))}
    if name == "syne":
        return {"seconds": with_syne_tune(scheduler, int(size))}
    if name == "ray":
        from ray.tune.schedulers import create_scheduler
    else:
        from ctune.schedulers import create_scheduler
    return {"seconds": with_tune_scheduler(scheduler, int(size), create_scheduler)}


def case_configs(side: str) -> dict[str, float]:
    """Seconds per configuration of five mixed dimensions."""
    lib = library(side)
    tune = lib.tune
    space = {
        "lr": tune.loguniform(1e-5, 1e-1),
        "dropout": tune.uniform(0.0, 0.5),
        "layers": tune.randint(1, 10),
        "activation": tune.choice(["relu", "tanh", "gelu"]),
        "batch": tune.qrandint(16, 256, 16),
    }
    count = 2_000 if side == "ray" else 50_000
    search = lib.basic(random_state=1)
    if side == "ray":
        from ray.tune.experiment import Experiment

        name = "bench_configs"
        tune.register_trainable(name, lambda config: None)
        search.add_configurations(
            [
                Experiment(
                    name,
                    name,
                    config=space,
                    num_samples=count,
                    storage_path=tempfile.mkdtemp(),
                )
            ]
        )
    else:
        search.add_configurations(
            {"bench": {"run": "bench", "config": space, "num_samples": count}}
        )
    start = time.perf_counter()
    for _ in range(count):
        search.next_trial()
    return {"seconds": (time.perf_counter() - start) / count}


def case_variants(side: str) -> dict[str, float]:
    """The same through one pass of generate_variants: values only, no trials."""
    lib = library(side)
    tune = lib.tune
    count = 2_000 if side == "ray" else 200_000
    spec = {
        "config": {
            "lr": tune.loguniform(1e-5, 1e-1),
            "dropout": tune.uniform(0.0, 0.5),
            "layers": tune.randint(1, 10),
            "activation": tune.choice(["relu", "tanh", "gelu"]),
            "batch": tune.qrandint(16, 256, 16),
            "repeat": tune.grid_search(list(range(count))),
        }
    }
    import numpy as np

    rng = np.random.default_rng(1)
    start = time.perf_counter()
    for _resolved, _config in lib.variants(spec, random_state=rng):
        pass
    return {"seconds": (time.perf_counter() - start) / count}


def case_simulate(side: str) -> dict[str, float]:
    """Seconds per result of a simulated experiment: 20,000 trials of at most 50 epochs."""
    import numpy as np

    import ctune
    from ctune.schedulers import ASHAScheduler, HyperBandScheduler

    curves = np.random.default_rng(0).random((20_000, 50))
    make: dict[str, Any] = {
        "ctune-fifo": lambda: None,
        "ctune-asha": lambda: ASHAScheduler(max_t=50),
        "ctune-hyperband": lambda: HyperBandScheduler(max_t=50),
    }
    scheduler = make[side]()
    start = time.perf_counter()
    found = ctune.simulate(curves, scheduler=scheduler, num_workers=64)
    took = time.perf_counter() - start
    return {"seconds": took / len(found.events("RESULT"))}


def case_limiter(side: str) -> dict[str, float]:
    """Seconds per call of a limiter, without what the searcher inside costs."""
    lib = library(side)

    class Free(lib.searcher):  # type: ignore[misc, name-defined]
        config = {"x": 1}

        def suggest(self, trial_id: str) -> dict[str, int]:
            return self.config

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            pass

    count = 100_000
    ids = [f"{i:08x}" for i in range(count)]

    def loop(target: Any) -> float:
        start = time.perf_counter()
        for trial in ids:
            target.suggest(trial)
            target.on_trial_complete(trial, result=None, error=False)
        return (time.perf_counter() - start) / (2 * count)

    bare = loop(Free(metric="m", mode="min"))
    limited = loop(lib.limiter(Free(metric="m", mode="min"), max_concurrent=10))
    return {"seconds": limited - bare}


def case_digits(side: str) -> dict[str, float]:
    import digits_job

    if side == "optuna":
        return digits_job.with_optuna()
    lib = library(side)
    if side.startswith("ray"):
        lib.start()  # not counted
    return digits_job.with_tune(lib.tune, lib.report, lib.basic, lib.asha)


def case_snapshot(side: str) -> dict[str, float]:
    """Longest pause of a run whose journal grows to 80 MiB, with one snapshot and without.

    The side says how many results a trial has: "ctune-10000", or "ctune-100" for many trials.
    """
    import ctune

    results = int(side.partition("-")[2])
    total = 400_000
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    out: dict[str, float] = {}
    for name, limit in (("with", 64 << 20), ("without", 0)):
        os.environ["CTUNE_SNAPSHOT_BYTES"] = str(limit)
        times = array("d")

        class Job(ctune.Trainable):
            def setup(self, config: Any) -> None:
                self.i = 0

            def step(self, times: Any = times) -> dict[str, Any]:
                times.append(time.perf_counter())
                self.i += 1
                return {**metrics(self.i), "done": self.i == results}

            def reset_config(self, new_config: Any) -> bool:
                self.i = 0
                return True

        place = tempfile.mkdtemp()
        ctune.init(executor="inline", num_cpus=8)
        ctune.run(
            Job,
            name="e",
            verbose=0,
            storage_path=place,
            config={"x": ctune.uniform(0, 1)},
            num_samples=total // results,
            reuse_actors=True,
        )
        ctune.shutdown()
        out[f"pause_s_{name}"] = max(b - a for a, b in itertools.pairwise(times))
        folder = Path(place) / "e"
        out[f"journal_{name}"] = sum(f.stat().st_size for f in folder.glob("journal-*"))
        out[f"snapshot_{name}"] = sum(f.stat().st_size for f in folder.glob("snapshot-*"))
    return out


def main() -> None:
    case, side = sys.argv[1:]
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    logging.disable(logging.WARNING)
    print(json.dumps(globals()[f"case_{case}"](side)))


if __name__ == "__main__":
    main()
