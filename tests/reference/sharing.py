"""Random cases for what shares resources out among trials; played on the reference and here.

Everything but the answers follows from the number of the case. The classes to play on come as
a namespace: PlacementGroupFactory, DistributeResources, DistributeResourcesToTopJob,
ResourceChangingScheduler and ASHAScheduler.
"""

import gzip
import json
import random
from types import SimpleNamespace

import numpy as np


class Trial:
    def __init__(self, n, resources):
        self.n = n
        self.trial_id = f"t{n}"
        self.status = "PENDING"
        self.placement_group_factory = resources
        self.last_result = {}

    def update_resources(self, resources):
        self.placement_group_factory = resources


class Controller:
    def __init__(self, cpus, gpus):
        self.trials = []
        self._resource_updater = SimpleNamespace(
            get_num_cpus=lambda: cpus, get_num_gpus=lambda: gpus
        )

    def get_trials(self):
        return self.trials

    def get_live_trials(self):
        return [t for t in self.trials if t.status not in ("TERMINATED", "ERROR")]


def shown(resources):
    """A request as JSON has it."""
    if resources is None:
        return None
    return [[dict(sorted(b.items())) for b in resources.bundles], resources.head_bundle_is_empty]


def amounts(rng, fine, most, gpus):
    bundle = {"CPU": fine * rng.randint(1, most)}
    if gpus:
        gpu = fine * rng.randint(0, most)
        if rng.random() < 0.2:
            bundle = {}
        if gpu or not bundle:
            bundle["GPU"] = gpu or fine
    return bundle


def options(rng, fine, gpus):
    made = {
        "add_bundles": rng.random() < 0.5,
        "increase_by_times": rng.choice([-1, -1, 0, 1, 2, 3, 5]),
    }
    if rng.random() < 0.6:
        made["increase_by"] = amounts(rng, fine, 2, gpus)
    if rng.random() < 0.3:
        made["reserve_resources"] = {k: rng.randint(0, 2) for k in ("CPU", "GPU")}
    return made


def base_bundles(rng, opts, fine, gpus):
    count = rng.choice([1, 1, 2, 3]) if opts["add_bundles"] else 1
    bundles = [amounts(rng, fine, 2, gpus) for _ in range(count)]
    if opts["add_bundles"] and rng.random() < 0.2:
        bundles[-1]["disk"] = 2
    return [{}, *bundles] if rng.random() < 0.1 else bundles


def held(rng, base, opts, fine, gpus):
    """What a live trial may hold by now."""
    bundles = [dict(b) for b in base]
    if opts["add_bundles"]:
        unit = opts.get("increase_by") or base[-1]
        some = [dict(unit), amounts(rng, fine, 2, gpus)]
        more = min(rng.choice([0, 0, 1, 2, 5]), 5)
        return bundles + [dict(some[rng.random() < 0.1]) for _ in range(more)]
    for name in ("CPU", "GPU"):
        more = fine * rng.choice([0, 0, 1, 2, 3, 6])
        if more and (name == "CPU" or gpus):
            bundles[-1][name] = bundles[-1].get(name, 0) + more
    return bundles


def machine(rng, trials):
    cpus, gpus = rng.choice([0.5, 1, 2, 3, 8]), rng.choice([0, 0.5, 1, 2])
    return int(cpus * trials), int(gpus * trials)


def fineness(rng):
    return rng.choice([1, 1, 1, 0.5, 0.25, 0.1, 0.3])


def call(number, api):
    """One call of a function: what it answers."""
    rng = random.Random(number)
    fine, gpus = fineness(rng), rng.random() < 0.4
    opts = options(rng, fine, gpus)
    if opts.get("increase_by") and not any(opts["increase_by"].values()):
        del opts["increase_by"]
    if rng.random() < 0.5:
        function = api.DistributeResources(**opts)
        mode = "max"
    else:
        mode = rng.choice(["min", "max"])
        function = api.DistributeResourcesToTopJob(**opts, metric="m", mode=mode)
    base = base_bundles(rng, opts, fine, gpus)
    controller = Controller(*machine(rng, count := rng.randint(1, 8)))
    for n in range(count):
        trial = Trial(n, api.PlacementGroupFactory(held(rng, base, opts, fine, gpus)))
        trial.last_result = {"m": rng.choice([0, 1, 2, 2, 3.5, -1])}
        if mode == "min" and rng.random() < 0.2:
            trial.last_result = {}
        if n and rng.random() < 0.1:
            trial.status = "TERMINATED"
        controller.trials.append(trial)
    strategy = rng.choice(["PACK", "SPREAD"])
    scheduler = SimpleNamespace(
        base_trial_resources=api.PlacementGroupFactory(base, strategy=strategy)
    )
    trial = rng.choice(controller.get_live_trials())
    result = {"training_iteration": rng.choice([0, 1, 5, 5, 5]), "m": trial.last_result.get("m")}
    answer = function(controller, trial, result, scheduler)
    assert answer is None or answer.strategy == strategy
    return shown(answer)


class Stream:
    """Decisions of a ResourceChangingScheduler on a few trials that come and go."""

    def __init__(self, number, api):
        rng = self.rng = random.Random(-number - 1)
        np.random.seed(number)
        fine, gpus = rng.choice([1, 1, 1, 0.5]), rng.random() < 0.3
        opts = options(rng, fine, gpus)
        self.mode = rng.choice(["min", "max"])
        if rng.random() < 0.5:
            function = api.DistributeResources(**opts)
        else:
            function = api.DistributeResourcesToTopJob(**opts)
        base = None
        if rng.random() < 0.5:
            base = api.ASHAScheduler(max_t=20, grace_period=3, reduction_factor=2)
        self.scheduler = api.ResourceChangingScheduler(base, function)
        self.scheduler.set_search_properties("m", self.mode)
        self.total = rng.randint(1, 8)
        self.workers = rng.randint(1, 4)
        self.base = base_bundles(rng, opts, fine, gpus)
        self.api = api
        self.controller = Controller(*machine(rng, self.workers * rng.choice([1, 2])))
        self.time = {}
        self.saving = []  # trials that pause when they are saved
        self.log = []

    def start(self):
        trials = self.controller.trials
        if len(trials) < self.total:
            trial = Trial(len(trials), self.api.PlacementGroupFactory(self.base))
            trial.last_result = {"m": 0}  # before the first result, and never missing
            self.time[trial.n] = 0
            trials.append(trial)
            self.scheduler.on_trial_add(self.controller, trial)
            self.log.append(f"a{trial.n}")

    def choose(self):
        # One at a time is saved: the reference forgets the others' new resources.
        changed = None
        if self.saving and self.rng.random() < 0.8:
            changed = self.saving.pop(0)
            changed.status = "PAUSED"
        trial = self.scheduler.choose_trial_to_run(self.controller)
        self.log.append("c-" if trial is None else f"c{trial.n}")
        if changed is not None:
            self.log.append(shown(changed.placement_group_factory))
        if trial is not None:
            trial.status = "RUNNING"

    def report(self, trial):
        self.time[trial.n] += 1
        result = {
            "training_iteration": self.time[trial.n],
            "m": self.rng.choice([0, 1, 2, 2.5, 3, -1]),
        }
        trial.last_result = result
        said = self.scheduler.on_trial_result(self.controller, trial, result)
        self.log.append(f"r{trial.n}{said[0]}")
        if said == "PAUSE":
            self.saving.append(trial)
        elif said == "STOP":
            self.end(trial, result)

    def end(self, trial, result):
        self.scheduler.on_trial_complete(self.controller, trial, result)
        trial.status = "TERMINATED"
        self.log.append(f"e{trial.n}")

    def step(self):
        live = [t for t in self.controller.trials if t.status == "RUNNING"]
        running = [t for t in live if t not in self.saving]
        x = self.rng.random()
        if x < 0.15:
            self.start()
        elif x < 0.5 and len(live) < self.workers + len(self.saving):
            self.choose()
        elif running and x < 0.97:
            self.report(self.rng.choice(running))
        elif running:
            self.end(self.rng.choice(running), {"training_iteration": 99, "m": 1})
        elif self.saving:
            self.choose()

    def record(self, steps=120):
        for _ in range(steps):
            self.step()
        self.log.append(self.scheduler.debug_string())
        return self.log


def save(path, answers):
    text = json.dumps(answers, separators=(",", ":"))
    with open(path, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as g:
        g.write(text.encode())


def load(path):
    with gzip.open(path, "rt") as f:
        return json.load(f)
