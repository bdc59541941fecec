"""Trains the table of learning curves that ctune ships: `ctune.bench.load_curves()`.

    python benchmarks/tables/make_curves.py [--out FILE] [--configs N] [--epochs N]

Three of scikit-learn's bundled data sets, 1,000 configurations each, 81 epochs, the
validation error after every epoch. A network with one hidden layer learns by mini-batches
(SGD with momentum, scikit-learn's MLPClassifier.partial_fit); its learning rate, batch
size, width, L2 penalty and momentum are drawn at random. What is stored:

    <name>_error    uint16[configs, epochs], the number of validation samples that are
                    classified wrongly
    <name>_samples  validation samples: error = number / samples
    <name>_seconds  float32[configs], median processor time of one epoch on the machine that made it
    <name>_<parameter>  float32[configs]

The errors follow from the seed (on one version of scikit-learn); the times do not.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np

SETS = ("digits", "breast_cancer", "wine")
PARAMETERS = ("learning_rate", "batch_size", "width", "alpha", "momentum")
SEED = 20240501


def load(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Standardised, split in halves by class: x_train, x_valid, y_train, y_valid."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x_train, x_valid, y_train, y_valid = train_test_split(
        x, y, test_size=0.5, stratify=y, random_state=0
    )
    scaler = StandardScaler().fit(x_train)
    return scaler.transform(x_train), scaler.transform(x_valid), y_train, y_valid


def draw(rng: np.random.Generator) -> dict[str, float]:
    """One configuration. Wide on purpose: many learn slowly, some not at all."""
    return {
        "learning_rate": float(10 ** rng.uniform(-5, 0.5)),
        "batch_size": float(2 ** rng.integers(4, 9)),
        "width": float(rng.integers(2, 33)),
        "alpha": float(10 ** rng.uniform(-6, 0)),
        "momentum": float(rng.choice([0.0, 0.5, 0.9, 0.99])),
    }


def train(
    config: dict[str, float], data: tuple[np.ndarray, ...], epochs: int, seed: int
) -> tuple[np.ndarray, float]:
    """Wrong validation samples after each epoch, and the median seconds of an epoch."""
    from sklearn.neural_network import MLPClassifier

    x_train, x_valid, y_train, y_valid = data
    model = MLPClassifier(
        hidden_layer_sizes=(int(config["width"]),),
        solver="sgd",
        learning_rate_init=config["learning_rate"],
        alpha=config["alpha"],
        momentum=config["momentum"],
        batch_size=min(int(config["batch_size"]), len(x_train)),
        random_state=seed,
    )
    classes = np.unique(y_train)
    wrong = np.full(epochs, len(y_valid), np.uint16)
    seconds = np.empty(epochs)
    for epoch in range(epochs):
        start = time.process_time()
        try:
            model.partial_fit(x_train, y_train, classes=classes)
            wrong[epoch] = np.count_nonzero(model.predict(x_valid) != y_valid)
        except ValueError:  # the weights overflowed: everything is wrong from here on
            seconds[epoch:] = time.process_time() - start
            break
        seconds[epoch] = time.process_time() - start
    return wrong, float(np.median(seconds))


def table(name: str, configs: int, epochs: int) -> dict[str, Any]:
    data = load(name)
    rng = np.random.default_rng([SEED, SETS.index(name)])
    drawn = [draw(rng) for _ in range(configs)]
    trained = [train(c, data, epochs, SEED + i) for i, c in enumerate(drawn)]
    arrays: dict[str, Any] = {
        "error": np.stack([wrong for wrong, _ in trained]),
        "samples": np.uint16(len(data[3])),
        "seconds": np.array([s for _, s in trained], np.float32),
    }
    for parameter in PARAMETERS:
        arrays[parameter] = np.array([c[parameter] for c in drawn], np.float32)
    return {f"{name}_{key}": value for key, value in arrays.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="python/ctune/bench/curves.npz")
    parser.add_argument("--configs", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=81)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    arrays: dict[str, Any] = {}
    for name in SETS:
        start = time.perf_counter()
        arrays.update(table(name, options.configs, options.epochs))
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    np.savez_compressed(options.out, **arrays)


if __name__ == "__main__":
    main()
