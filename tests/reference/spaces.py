"""Search spaces whose configurations are recorded from the reference and compared with ours.

`domains` and `spaces` take the module that defines the constructors: Ray's or ours. A case
of era 60 shows behaviour that release 2.60 corrected; all others are those of 2.24.
"""

from collections.abc import Callable
from typing import Any

SEEDS = (7, 12345)
DRAWS = 12


def domains(tune: Any) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Name -> (era, maker of the domain)."""
    return {
        "uniform": (24, lambda: tune.uniform(-3.5, 12.25)),
        "uniform_wide": (24, lambda: tune.uniform(-1e300, 1e10)),
        "quniform": (24, lambda: tune.quniform(0, 1, 0.25)),
        "quniform_tenths": (60, lambda: tune.quniform(-0.5, 1.2, 0.1)),
        "quniform_ones": (60, lambda: tune.quniform(1, 5, 1)),
        "loguniform": (24, lambda: tune.loguniform(1e-5, 1e-1)),
        "loguniform_base_2": (24, lambda: tune.loguniform(0.01, 1000, base=2)),
        "qloguniform": (24, lambda: tune.qloguniform(0.1, 1, 0.1)),
        "randn": (24, lambda: tune.randn(1, 2)),
        "qrandn": (24, lambda: tune.qrandn(10, 3, 0.5)),
        "randint": (24, lambda: tune.randint(-5, 6)),
        "randint_one": (24, lambda: tune.randint(4, 5)),
        "randint_power": (24, lambda: tune.randint(0, 256)),
        "randint_32_bits": (24, lambda: tune.randint(-(2**31), 2**31)),
        "randint_40_bits": (24, lambda: tune.randint(0, 2**40 + 3)),
        "randint_63_bits": (24, lambda: tune.randint(-(2**63), 2**63 - 1)),
        "lograndint": (24, lambda: tune.lograndint(1, 1000)),
        "lograndint_base_3": (24, lambda: tune.lograndint(2, 50, base=3)),
        "qrandint_ones": (24, lambda: tune.qrandint(0, 8, 1)),
        "qrandint": (60, lambda: tune.qrandint(1, 17, 3)),
        "qrandint_halves": (60, lambda: tune.qrandint(0, 10, 2.5)),
        "qlograndint": (60, lambda: tune.qlograndint(2, 64, 2)),
        "choice": (24, lambda: tune.choice(["a", 1, 2.5, None, True, [1, "x"]])),
        "choice_one": (24, lambda: tune.choice(["only"])),
        "choice_of_none_and_zero": (24, lambda: tune.choice([None, 0])),
    }


def spaces(tune: Any) -> dict[str, tuple[int, Callable[[], Any], dict[str, Any]]]:
    """Name -> (era, maker of the config, settings).

    Settings: num_samples, points, constant_grid.
    """
    grid = tune.grid_search

    def deep() -> Any:
        return {
            "b": {"y": tune.randint(0, 1000), "x": tune.uniform(0, 1)},
            "a": [tune.uniform(0, 1), ({"k": tune.choice([1, 2, 3])}, tune.randn())],
            "k": "constant",
        }

    def conditional() -> Any:
        return {
            "net": tune.choice(
                [
                    {"kind": "mlp", "width": tune.randint(8, 64)},
                    {"kind": "cnn", "filters": tune.choice([tune.randint(1, 9), 32])},
                    "linear",
                ]
            ),
            "lr": tune.loguniform(1e-4, 1),
        }

    return {
        "flat": (
            24,
            lambda: {
                "lr": tune.loguniform(1e-5, 1e-1),
                "momentum": tune.uniform(0.5, 1),
                "layers": tune.randint(1, 9),
                "act": tune.choice(["relu", "tanh", "a b/c"]),
                "noise": tune.randn(0, 0.1),
            },
            {"num_samples": 8},
        ),
        "deep": (24, deep, {"num_samples": 6}),
        "constants": (24, lambda: {"a": 1, "b": [2, {"c": 3}]}, {"num_samples": 3}),
        "grid_and_random": (
            24,
            lambda: {
                "z": grid([1, 2]),
                "u": tune.uniform(0, 1),
                "a": grid(["p", "q", "r"]),
                "n": {"g": grid([0.5, None]), "v": tune.randint(0, 100)},
            },
            {"num_samples": 3},
        ),
        "constant_grid": (
            60,
            lambda: {
                "z": grid([1, 2]),
                "u": tune.uniform(0, 1),
                "a": grid(["p", "q", "r"]),
                "n": tune.randn(),
            },
            {"num_samples": 4, "constant_grid": True},
        ),
        "grid_of_domains": (
            24,
            lambda: {
                "x": grid([1, tune.uniform(0, 1), [tune.randint(0, 9), 3]]),
                "y": tune.uniform(0, 1),
            },
            {"num_samples": 3},
        ),
        "constant_grid_of_domains": (
            60,
            lambda: {
                "x": grid([1, tune.uniform(0, 1), [tune.randint(0, 9), 3]]),
                "y": tune.uniform(0, 1),
            },
            {"num_samples": 3, "constant_grid": True},
        ),
        "grids_in_lists": (
            24,
            lambda: {"l": [grid([1, 2]), 5, (tune.uniform(0, 1), grid([3, 4]))]},
            {"num_samples": 2},
        ),
        "long_lists": (
            24,
            lambda: {
                "l": [grid([i, -i]) if i in (2, 10) else tune.uniform(0, i + 1) for i in range(12)]
            },
            {"num_samples": 2},
        ),
        "conditional": (24, conditional, {"num_samples": 12}),
        "grids_in_options": (
            60,
            lambda: {
                "x": grid([{"a": grid([1, 2]), "u": tune.uniform(0, 1)}, 5]),
                "c": tune.choice([{"g": grid([7, 8, 9])}, {"d": tune.randint(0, 99)}]),
                "y": tune.uniform(0, 1),
            },
            {"num_samples": 5},
        ),
        "functions": (
            24,
            lambda: {
                "double": tune.sample_from(lambda config: config["x"] * 2),
                "x": tune.randint(0, 100),
                "g": grid([1, 2]),
                "sum": tune.sample_from(lambda spec: spec.config.x + spec.config.g),
                "again": {"deep": tune.sample_from(lambda c: c["double"] + c["g"])},
                "none": tune.sample_from(lambda: "nothing"),
            },
            {"num_samples": 3},
        ),
        "evaluated": (
            24,
            lambda: {
                "e": {"eval": "spec.config.x * 3"},
                "x": tune.randint(0, 100),
                "g": grid([1, 2]),
            },
            {"num_samples": 3},
        ),
        "points": (
            24,
            lambda: {
                "g": grid([1, 2, 3]),
                "n": {"u": tune.uniform(0, 1), "c": tune.choice(["a", "b"])},
                "k": [tune.randint(0, 50), 4],
            },
            {
                "num_samples": 5,
                "points": [
                    {"g": 2, "n": {"u": 0.25, "c": "b"}, "k": [9]},
                    {"n": {"u": 0.5}},
                    {"g": 3},
                    {"k": [7, 4], "n": 5},
                ],
            },
        ),
        "more_points_than_samples": (
            24,
            lambda: {"a": grid([1, 2]), "b": tune.randint(0, 3)},
            {"num_samples": 1, "points": [{"a": 1, "b": 2}, {"a": 2}, {"b": 2}]},
        ),
        "objects": (
            24,
            lambda: {
                "o": tune.choice([Thing("a"), Thing("b"), Thing("c")]),
                "p": Thing("p"),
                "q": tune.choice([[1, Thing("d")]]),
            },
            {"num_samples": 6},
        ),
    }


class Thing:
    """An object that is neither a number nor text."""

    def __init__(self, name: str) -> None:
        self.name = name


def plain(value: Any) -> Any:
    """The value in terms of JSON: tuples are lists, things are their names."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return f"<{value.name}>" if isinstance(value, Thing) else value


def scalars(evaluated: dict[str, Any]) -> dict[str, Any]:
    """The entries that are numbers, texts, booleans or None."""
    known = (bool, int, float, str, type(None))
    return {k: v for k, v in evaluated.items() if isinstance(v, known)}
