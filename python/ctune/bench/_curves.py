"""The table of learning curves that comes with the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Curves", "load_curves"]

_SETS = ("digits", "breast_cancer", "wine")


@dataclass(frozen=True)
class Curves:
    """Learning curves of 1,000 configurations of a small neural network.

    Attributes:
        name: Of the data set.
        error: float64[1000, 81], the share of validation samples that are classified
            wrongly after each epoch.
        seconds: float64[1000], processor time of an epoch on the machine that made the
            table.
        config: Parameter -> float64[1000]: learning_rate, batch_size, width (of the hidden
            layer), alpha (L2 penalty) and momentum.
    """

    name: str
    error: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]
    config: dict[str, npt.NDArray[np.float64]]


def load_curves(name: str = "digits") -> Curves:
    """Loads learning curves for `ctune.simulate()`.

    They come from scikit-learn's MLPClassifier, trained with partial_fit on half of one of
    its data sets; `benchmarks/tables/make_curves.py` in the sources made them.

    Args:
        name: "digits", "breast_cancer" or "wine".

    Raises:
        ValueError: There is no such table.

    Example:
        >>> curves = load_curves("wine")
        >>> curves.error.shape
        (1000, 81)
    """
    import numpy as np

    if name not in _SETS:
        raise ValueError(f"name: must be one of {', '.join(map(repr, _SETS))}, got {name!r:.80}.")
    with files("ctune.bench").joinpath("curves.npz").open("rb") as f, np.load(f) as table:
        mine = {
            key[len(name) + 1 :]: table[key] for key in table.files if key.startswith(f"{name}_")
        }
    samples = float(mine.pop("samples"))
    error = mine.pop("error") / samples
    seconds = mine.pop("seconds").astype(np.float64)
    return Curves(
        name, error, seconds, {key: value.astype(np.float64) for key, value in mine.items()}
    )
