"""Streams of calls to searchers, recorded from the reference and replayed on ours.

`cases()` are plain data; `play` makes the searcher of one of them from the classes in `api`
(Ray's or ours) and returns what it suggested. Which trial ends, and how, is drawn from the
case's seed, so both sides hear the same as long as they suggest the same.
"""

import copy
import math
import random
import tempfile
from pathlib import Path
from typing import Any

# Name of a searcher in cases -> the package that it wraps, and how far numbers may be apart:
# processors and releases of NumPy differ in the last digits, of which an optimiser makes more.
LIBRARIES = {
    "optuna": ("optuna", 1e-9),
    "hyperopt": ("hyperopt", 1e-9),
    "bayesopt": ("bayesian-optimization", 1e-3),
}

SPACES: dict[str, Any] = {
    "flat": lambda tune: {
        "lr": tune.loguniform(1e-4, 1e-1),
        "width": tune.randint(1, 64),
        "act": tune.choice(["relu", "tanh", "gelu"]),
    },
    "nested": lambda tune: {
        "z": tune.uniform(-1, 1),
        "net": {
            "width": tune.qrandint(4, 64, 4),
            "act": tune.choice(["relu", 2, None]),
            "deep": {"rate": tune.quniform(0, 1, 0.1), "n": tune.lograndint(1, 100)},
        },
        "a": tune.loguniform(1e-3, 10),
        "constant": {"list": [1, 2], "text": "x"},
    },
    "normal": lambda tune: {
        "r": tune.randn(1, 2),
        "qr": tune.qrandn(0, 1, 0.25),
        "n": {"ql": tune.qloguniform(2, 64, 2), "qi": tune.qlograndint(5, 100, 5)},
    },
    "floats": lambda tune: {
        "x": tune.uniform(0, 1),
        "n": {"y": tune.uniform(-3, 3), "log": tune.loguniform(1, 10)},
        "constant": "c",
    },
    "conditional": lambda tune: {
        "model": tune.choice(
            [
                {"kind": "mlp", "width": tune.randint(8, 64)},
                {"kind": "cnn", "filters": tune.choice([tune.randint(1, 9), 32])},
                {"pair": [tune.uniform(1, 2), "x"]},
                tune.uniform(5, 6),
                "linear",
            ]
        ),
        "lr": tune.loguniform(1e-4, 1),
    },
}


def define(trial: Any) -> dict[str, Any]:
    """A search space as Optuna's users write it."""
    kind = trial.suggest_categorical("kind", ["mlp", "cnn"])
    if kind == "mlp":
        trial.suggest_int("width", 1, 64, log=True)
    else:
        trial.suggest_float("rate/first", 0, 1, step=0.25)
    trial.suggest_float("lr", 1e-4, 1, log=True)
    return {"constant": 7}


FLAT_POINTS = [
    {"lr": 0.01, "width": 8, "act": "tanh"},
    {"lr": 0.002, "width": 63, "act": "relu"},
    {"lr": 0.03, "width": 1, "act": "gelu"},
]


def cases() -> list[dict[str, Any]]:
    """All cases: a searcher, a space or a function as one, wrappers from inside to outside,
    arguments, the length of the stream, where it is cut and goes on with another object, how
    often trials end oddly, and up to where they do not.
    """

    def case(searcher: str, space: str, **settings: Any) -> dict[str, Any]:
        return {
            "searcher": searcher,
            "space": space,
            "wrap": [],
            "arguments": {},
            "mode": "min",
            "workers": 4,
            "cuts": [],
            "evaluated": [],
            "odd": 0.3,
            "calm": 0,
            **settings,
        }

    limiter = ["ConcurrencyLimiter", {"max_concurrent": 2}]
    batch = ["ConcurrencyLimiter", {"max_concurrent": 3, "batch": True}]
    repeat = ["Repeater", {"repeat": 3}]
    known = [
        [{"lr": 0.05, "width": 20, "act": "gelu"}, 2.5, {}],
        [{"lr": 0.02, "width": 10, "act": "relu"}, 1.5, {"pruned": True}],
        [{"lr": 0.09, "width": 60, "act": "relu"}, 0.5, {}],
        [{"lr": 0.04, "width": 5, "act": "tanh"}, 0.25, {"intermediate_values": [3.0, 1.0]}],
    ]
    optuna = [
        case("optuna", "flat"),
        case("optuna", "flat", mode="max", cuts=[40]),
        case("optuna", "nested", cuts=[25, 90]),
        case("optuna", "nested", mode="max", wrap=[limiter]),
        case("optuna", "flat", wrap=[batch], cuts=[30, 31, 80]),
        case("optuna", "flat", wrap=[repeat], workers=7, cuts=[50]),
        case("optuna", "flat", wrap=[limiter, ["Repeater", {"repeat": 2, "set_index": False}]]),
        case("optuna", "flat", arguments={"points_to_evaluate": FLAT_POINTS}, cuts=[2]),
        case(
            "optuna",
            "flat",
            arguments={"points_to_evaluate": FLAT_POINTS, "evaluated_rewards": [3.0, 2.0, 1.0]},
        ),
        case("optuna", "flat", evaluated=[[10, *known[0]], [11, *known[1]], [50, *known[2]]]),
        case("optuna", "flat", mode="max", evaluated=[[5, *known[3]]], cuts=[20]),
        case("optuna", "define", cuts=[60]),
        case("optuna", "flat", mode=["min", "max"], odd=0, cuts=[45]),
        case("optuna", "nested", sampler="RandomSampler"),
    ]
    hyperopt = [
        case("hyperopt", "flat"),
        case("hyperopt", "flat", mode="max", cuts=[25]),
        case("hyperopt", "nested", cuts=[12, 40]),
        case("hyperopt", "normal", mode="max", wrap=[limiter]),
        case("hyperopt", "conditional", workers=6, cuts=[30]),
        case("hyperopt", "conditional", mode="max", wrap=[batch], cuts=[21]),
        case("hyperopt", "flat", wrap=[repeat], workers=7, cuts=[22]),
        case("hyperopt", "flat", arguments={"points_to_evaluate": FLAT_POINTS}, cuts=[2]),
        case("hyperopt", "flat", arguments={"gamma": 0.5, "n_initial_points": 3}),
    ]
    for one in hyperopt:
        one["arguments"] = {"n_initial_points": 6, **one["arguments"]}
    repeater = [
        case("counting", "flat", wrap=[["Repeater", {"repeat": n, "set_index": n % 2 == 0}]])
        for n in (1, 2, 3, 5)
    ]
    repeater += [case("counting", "flat", wrap=[limiter, repeat], workers=9)]
    repeater += [case("counting", "flat", wrap=[["Repeater", {"repeat": 4}]], workers=9, odd=0.9)]
    bayesopt = [
        case("bayesopt", "floats", arguments={"random_search_steps": 4}, cuts=[3, 12]),
        case(
            "bayesopt",
            "floats",
            mode="max",
            arguments={
                "random_search_steps": 3,
                "points_to_evaluate": [{"x": 0.5, "n/y": 1.5, "n/log": 2.0}],
                "utility_kwargs": {"kind": "ei", "kappa": 1.0, "xi": 0.1},
            },
        ),
        case(
            "bayesopt",
            "floats",
            wrap=[limiter],
            arguments={"random_search_steps": 2, "patience": 2},
            cuts=[9],
        ),
    ]
    for one in bayesopt:
        one["calm"] = 9
        one["length"] = 20
    bayesopt[0]["length"] = 13  # each suggestion takes a tenth of a second or more
    groups = ((optuna, 120), (hyperopt, 60), (repeater, 150), (bayesopt, None))
    for group, length in groups:
        for number, one in enumerate(group):
            one.update(length=one.get("length", length), seed=number)
    return [one for group, _ in groups for one in group]


def loss(config: Any) -> float:
    """A number that depends on all of a configuration."""
    if isinstance(config, dict):
        return sum((i + 1) * loss(config[k]) for i, k in enumerate(sorted(config, key=str)))
    if isinstance(config, (list, tuple)):
        return sum((i + 1) * loss(value) for i, value in enumerate(config))
    if isinstance(config, (int, float)):
        return round(float(config), 5)
    return float(len(str(config)))


def make(case: dict[str, Any], api: Any, seed: int) -> tuple[list[Any], list[Any]]:
    """The searcher and its wrappers, from inside to outside, and what the former heard."""
    arguments = copy.deepcopy(case["arguments"])  # the reference takes points out of the list
    several = isinstance(case["mode"], list)
    arguments |= {"metric": ["loss", "size"] if several else "loss", "mode": case["mode"]}
    heard: list[Any] = []
    space = SPACES[case["space"]](api.tune) if case["space"] in SPACES else None
    if case["searcher"] == "optuna":
        if case.get("sampler"):
            import optuna

            arguments["sampler"] = getattr(optuna.samplers, case["sampler"])(seed=seed)
        else:
            arguments["seed"] = seed
        if space is None:
            arguments["space"] = define
        chain = [api.OptunaSearch(**arguments)]
    elif case["searcher"] == "hyperopt":
        chain = [api.HyperOptSearch(random_state_seed=seed, **arguments)]
    elif case["searcher"] == "bayesopt":
        chain = [api.BayesOptSearch(random_state=seed, **arguments)]
    else:

        class Counting(api.Searcher):  # type: ignore[name-defined, misc]
            made = 0

            def set_search_properties(self, metric, mode, config, **spec):  # type: ignore
                return True

            def suggest(self, trial_id):  # type: ignore
                self.made += 1
                return None if self.made % 7 == 0 else {"x": self.made, "y": {"z": trial_id}}

            def on_trial_complete(self, trial_id, result=None, error=False):  # type: ignore
                heard.append([trial_id, result, error])

        chain = [Counting(metric="loss", mode=case["mode"])]
    for name, options in case["wrap"]:
        chain.append(getattr(api, name)(chain[-1], **options))
    if space is not None:
        assert chain[-1].set_search_properties(None, None, space)
    return chain, heard


def play(case: dict[str, Any], api: Any) -> list[Any]:
    """What was suggested, and the calls that reached a searcher that only counts."""
    rng = random.Random(case["seed"])
    chain, heard = make(case, api, case["seed"])
    record: list[Any] = []
    live: dict[str, Any] = {}
    for number in range(case["length"]):
        for at, parameters, value, more in case["evaluated"]:
            if at == number:
                chain[-1].add_evaluated_point(parameters, value, **more)
        if number in case["cuts"]:
            with tempfile.TemporaryDirectory() as directory:
                path = str(Path(directory) / "state")
                chain[0].save(path)
                states = [wrapper.get_state() for wrapper in chain[1:]]
                chain, _ = make(case, api, case["seed"] + 1000)
                chain[0].restore(path)
                for wrapper, state in zip(chain[1:], states, strict=True):
                    wrapper.set_state(state)
        x, y, z = rng.random(), rng.random(), rng.random()
        z = z if number >= case["calm"] else 1.0
        if not live or (x < 0.6 and len(live) < case["workers"]):
            trial = f"t{number}"
            config = chain[-1].suggest(trial)
            record.append(config)
            if isinstance(config, dict):
                live[trial] = config
            continue
        trial = list(live)[int(y * len(live))]
        result = {"loss": loss(live[trial]), "size": z, "training_iteration": number}
        if 0.4 < x < 0.5:
            chain[-1].on_trial_result(trial, result)
            continue
        del live[trial]
        if z < case["odd"] / 4:
            chain[-1].on_trial_complete(trial, result=None, error=True)
        elif z < case["odd"] / 2:
            chain[-1].on_trial_complete(trial, result=None)
        elif z < case["odd"] * 3 / 4:
            chain[-1].on_trial_complete(trial, result={**result, "loss": math.nan})
        elif z < case["odd"] * 7 / 8 and case["searcher"] not in ("hyperopt", "bayesopt"):
            chain[-1].on_trial_complete(trial, result={"other": 1})
        else:
            chain[-1].on_trial_complete(trial, result=result, error=z < case["odd"])
    return [plain(record), plain(heard)]


def plain(value: Any) -> Any:
    """The value as JSON would give it back; NaN is told by its name."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return "NaN" if value != value else value
