"""Records the reference's configurations of the search spaces in spaces.py.

Run it once in an environment with ray[tune] 2.24, and once in one with 2.60; each run
replaces its own era's cases in spaces.json.gz:

    python record_spaces.py

What is recorded, for each seed and each kind of random state (a seed, a Generator, a
RandomState, the global stream):

    domains   the first values
    spaces    each trial's id, tag, evaluated parameters and config, functions called
"""

import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import ray
import spaces
from ray import tune
from ray.tune.impl.placeholder import create_resolvers_map, inject_placeholders
from ray.tune.registry import register_trainable
from ray.tune.search.basic_variant import BasicVariantGenerator

FILE = Path(__file__).parent / "spaces.json.gz"
ERA = 24 if ray.__version__.startswith("2.24") else 60
KINDS = ("seed", "generator", "legacy", "global")


def state(kind: str, seed: int) -> Any:
    if kind == "seed":
        return seed
    if kind == "generator":
        return np.random.default_rng(seed)
    if kind == "legacy":
        return np.random.RandomState(seed)
    np.random.seed(seed)
    return None


def draw(domain: Any, kind: str, seed: int) -> list[Any]:
    source = state("generator" if kind == "seed" else kind, seed)
    return [
        spaces.plain(domain.sample(config={}, random_state=source)) for _ in range(spaces.DRAWS)
    ]


def tag_of(trial: Any) -> str | None:
    """The tag, unless it shows a domain or a grid instead of its value."""
    tag = trial.experiment_tag
    return None if "object_at" in tag or "grid_search" in tag else tag


def trials(config: Any, settings: dict[str, Any], kind: str, seed: int) -> list[Any]:
    resolvers = create_resolvers_map()
    generator = BasicVariantGenerator(
        points_to_evaluate=settings.get("points"),
        constant_grid_search=settings.get("constant_grid", False),
        random_state=state(kind, seed),
    )
    generator.add_configurations(
        {
            "recorded": {
                "run": "nothing",
                "config": inject_placeholders(config, resolvers),
                "num_samples": settings["num_samples"],
            }
        }
    )
    found = []
    while (trial := generator.next_trial()) is not None:
        trial.resolve_config_placeholders(resolvers)
        found.append(
            [
                trial.trial_id,
                tag_of(trial),
                spaces.scalars(trial.evaluated_params),
                len(trial.evaluated_params),
                spaces.plain(trial.config),
            ]
        )
    return [generator.total_samples, found]


def main() -> None:
    os.environ["_TEST_TUNE_TRIAL_UUID"] = "abcde"
    register_trainable("nothing", lambda config: None)
    recorded: dict[str, Any] = {"domains": {}, "spaces": {}}
    if FILE.exists():
        recorded = json.loads(gzip.decompress(FILE.read_bytes()))
    for name, (era, make) in spaces.domains(tune).items():
        if era == ERA:
            recorded["domains"][name] = {
                f"{kind}-{seed}": draw(make(), kind, seed)
                for kind in KINDS
                for seed in spaces.SEEDS
            }
    for name, (era, make, settings) in spaces.spaces(tune).items():
        if era == ERA:
            recorded["spaces"][name] = {
                f"{kind}-{seed}": trials(make(), settings, kind, seed)
                for kind in KINDS
                for seed in spaces.SEEDS
            }
    recorded[f"era-{ERA}"] = {"ray": ray.__version__, "numpy": np.__version__}
    text = json.dumps(recorded, separators=(",", ":"), sort_keys=False)
    FILE.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{FILE.name}: {len(text)} bytes of text, era {ERA}", file=sys.stderr)


if __name__ == "__main__":
    main()
