"""Tunes a linear classifier on scikit-learn's handwritten digits.

64 configurations of `SGDClassifier` are trained in parallel processes, one epoch at a time.
ASHA stops those that fall behind. Configurations are compared on validation data; the best
one is then trained again on training and validation data together, for as many epochs, and
judged on test images that nothing before has seen.

    python examples/digits.py [--samples 64] [--epochs 27] [--cpus N] [--storage DIR]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import ctune as tune
from ctune.schedulers import ASHAScheduler
from ctune.search import BasicVariantGenerator

CLASSES = np.arange(10)

SPACE = {
    "loss": tune.choice(["hinge", "log_loss", "modified_huber", "perceptron"]),
    "penalty": tune.choice(["l1", "l2", "elasticnet"]),
    "alpha": tune.loguniform(1e-6, 1e-1),
    "l1_ratio": tune.uniform(0.0, 1.0),
    "learning_rate": tune.choice(["optimal", "constant", "invscaling"]),
    "eta0": tune.loguniform(1e-3, 1.0),
    "average": tune.choice([False, True]),
    "batch_size": tune.qrandint(16, 256, 16),
}


def load() -> dict[str, np.ndarray]:
    """The images in three parts: train (60 %), validation (20 %), test (20 %)."""
    x, y = load_digits(return_X_y=True)
    x = x / 16.0
    x_rest, x_test, y_rest, y_test = train_test_split(
        x, y, test_size=0.2, stratify=y, random_state=0
    )
    x_train, x_valid, y_train, y_valid = train_test_split(
        x_rest, y_rest, test_size=0.25, stratify=y_rest, random_state=0
    )
    return {
        "x_train": x_train,
        "y_train": y_train,
        "x_valid": x_valid,
        "y_valid": y_valid,
        "x_test": x_test,
        "y_test": y_test,
    }


def make_model(config: dict[str, Any]) -> SGDClassifier:
    return SGDClassifier(
        loss=config["loss"],
        penalty=config["penalty"],
        alpha=config["alpha"],
        l1_ratio=config["l1_ratio"],
        learning_rate=config["learning_rate"],
        eta0=config["eta0"],
        average=config["average"],
        random_state=0,
    )


def fit_epoch(
    model: SGDClassifier,
    x: np.ndarray,
    y: np.ndarray,
    batch_size: int,
    rng: np.random.Generator,
) -> None:
    """Shows the model every image once, in random order."""
    order = rng.permutation(len(x))
    for start in range(0, len(x), batch_size):
        batch = order[start : start + batch_size]
        model.partial_fit(x[batch], y[batch], classes=CLASSES)


def train(config: dict[str, Any], data: dict[str, np.ndarray], epochs: int) -> None:
    """What one trial does: an epoch, a report, and so on."""
    model = make_model(config)
    rng = np.random.default_rng(0)
    for _ in range(epochs):
        fit_epoch(model, data["x_train"], data["y_train"], config["batch_size"], rng)
        tune.report({"accuracy": model.score(data["x_valid"], data["y_valid"])})


def held_out_accuracy(config: dict[str, Any], data: dict[str, np.ndarray], epochs: int) -> float:
    """Accuracy on the test images, after training on all others."""
    x = np.concatenate([data["x_train"], data["x_valid"]])
    y = np.concatenate([data["y_train"], data["y_valid"]])
    model = make_model(config)
    rng = np.random.default_rng(0)
    for _ in range(epochs):
        fit_epoch(model, x, y, config["batch_size"], rng)
    return float(model.score(data["x_test"], data["y_test"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=64, help="configurations (64)")
    parser.add_argument("--epochs", type=int, default=27, help="at most, each (27)")
    parser.add_argument("--cpus", type=int, help="worker processes (all cores)")
    parser.add_argument("--storage", help="where results go (see the last line)")
    args = parser.parse_args()

    data = load()
    tune.init(executor="process", num_cpus=args.cpus)
    start = time.perf_counter()
    analysis = tune.run(
        tune.with_parameters(train, data=data, epochs=args.epochs),
        name=time.strftime("digits_%Y-%m-%d_%H-%M-%S"),
        metric="accuracy",
        mode="max",
        config=SPACE,
        num_samples=args.samples,
        scheduler=ASHAScheduler(max_t=args.epochs, grace_period=1, reduction_factor=3),
        search_alg=BasicVariantGenerator(random_state=0),
        storage_path=args.storage,
        reuse_actors=True,  # a worker imports scikit-learn once, not once per trial
    )
    seconds = time.perf_counter() - start

    best = analysis.best_trial
    used = best.last_result["training_iteration"]
    stopped = sum(t.last_result["training_iteration"] < args.epochs for t in analysis.trials)
    print()
    print("Best configuration:")
    for name, value in best.config.items():
        print(f"  {name:14} {value:.3g}" if isinstance(value, float) else f"  {name:14} {value}")
    print(f"Accuracy, validation: {best.last_result['accuracy']:.3f} after {used} epochs")
    print(f"Accuracy, test:       {held_out_accuracy(best.config, data, used):.3f} (held out)")
    print(f"Time:                 {seconds:.1f} s")
    print(f"Stopped early:        {stopped} of {len(analysis.trials)} trials")
    print(f"Results:              {analysis.experiment_path}")


if __name__ == "__main__":
    main()
