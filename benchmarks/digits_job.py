"""The digits job: one list of configurations, tuned by each tool.

Every side trains the same 64 configurations on the same data for at most 27 epochs, with
successive halving by 3 from the first epoch on, two at a time.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

SAMPLES = 64
EPOCHS = 27
CHOICES = {
    "loss": ["hinge", "log_loss", "modified_huber", "perceptron"],
    "penalty": ["l1", "l2", "elasticnet"],
    "learning_rate": ["optimal", "constant", "invscaling"],
    "average": [False, True],
    "batch_size": list(range(16, 257, 16)),
}
LOG_FLOATS = {"alpha": (1e-6, 1e-1), "eta0": (1e-3, 1.0)}


def configurations() -> list[dict[str, Any]]:
    import numpy as np

    rng = np.random.default_rng(0)
    made = []
    for _ in range(SAMPLES):
        config: dict[str, Any] = {
            name: options[int(rng.integers(len(options)))] for name, options in CHOICES.items()
        }
        for name, (low, high) in LOG_FLOATS.items():
            config[name] = math.exp(rng.uniform(math.log(low), math.log(high)))
        made.append(config)
    return made


def load() -> dict[str, Any]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    parts = train_test_split(x / 16.0, y, test_size=0.25, stratify=y, random_state=0)
    return dict(zip(("x_train", "x_valid", "y_train", "y_valid"), parts, strict=True))


def accuracies(config: dict[str, Any], data: dict[str, Any]) -> Iterator[float]:
    """Validation accuracy after each epoch."""
    import numpy as np
    from sklearn.linear_model import SGDClassifier

    batch_size = config["batch_size"]
    model = SGDClassifier(random_state=0, **{k: v for k, v in config.items() if k != "batch_size"})
    rng = np.random.default_rng(0)
    x, y = data["x_train"], data["y_train"]
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            batch = order[start : start + batch_size]
            model.partial_fit(x[batch], y[batch], classes=np.arange(10))
        yield float(model.score(data["x_valid"], data["y_valid"]))


def with_tune(tune: Any, report: Any, search: Any, scheduler: Any) -> dict[str, float]:
    """The job through an API of Ray Tune's shape."""

    def train(config: dict[str, Any], data: dict[str, Any]) -> None:
        for accuracy in accuracies(config, data):
            report({"accuracy": accuracy})

    space: dict[str, Any] = {k: tune.choice(v) for k, v in CHOICES.items()}
    space.update({k: tune.loguniform(low, high) for k, (low, high) in LOG_FLOATS.items()})
    data = load()
    start = time.perf_counter()
    analysis = tune.run(
        tune.with_parameters(train, data=data),
        metric="accuracy",
        mode="max",
        config=space,
        num_samples=SAMPLES,
        search_alg=search(points_to_evaluate=configurations()),
        scheduler=scheduler(max_t=EPOCHS, grace_period=1, reduction_factor=3),
        storage_path=tempfile.mkdtemp(),
        reuse_actors=True,
        verbose=0,
    )
    seconds = time.perf_counter() - start
    results = [t.last_result for t in analysis.trials]
    return {
        "seconds": seconds,
        "accuracy": max(r["accuracy"] for r in results),
        "epochs": sum(r["training_iteration"] for r in results),
    }


def with_optuna() -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    data = load()
    epochs = 0

    def objective(trial: Any) -> float:
        nonlocal epochs
        config = {k: trial.suggest_categorical(k, v) for k, v in CHOICES.items()}
        for name, (low, high) in LOG_FLOATS.items():
            config[name] = trial.suggest_float(name, low, high, log=True)
        accuracy = 0.0
        for epoch, value in enumerate(accuracies(config, data), start=1):
            accuracy = value
            epochs += 1
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return accuracy

    start = time.perf_counter()
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    )
    for config in configurations():
        study.enqueue_trial(config)
    study.optimize(objective, n_trials=SAMPLES, n_jobs=min(2, os.cpu_count() or 1))
    return {
        "seconds": time.perf_counter() - start,
        "accuracy": study.best_value,
        "epochs": epochs,
    }
