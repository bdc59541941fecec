"""Stop the experiment when its best results do not move any more."""

from __future__ import annotations

from ctune import _ctune
from ctune.stopper.stopper import Stopper

__all__ = ["ExperimentPlateauStopper"]


class ExperimentPlateauStopper(_ctune.ExperimentPlateauStopper, Stopper):
    """Stop everything when the best values of a metric lie close together.

    The best `top` values of all results of all trials are kept. They are a plateau when
    there are `top` of them and their standard deviation (of the population) is at most
    `std`; after `patience` results in a row that find a plateau (the first one when it is
    0), everything stops. A NaN is never one of the best.

    Args:
        metric: Name of the metric; `"a/b"` during a run is key b of the nested dict a.
        std: Standard deviation up to which the best values are a plateau. A float above 0.
        top: How many of the best values are kept. An int above 1.
        mode: "min" or "max": which values are the best.
        patience: How many results in a row must find the plateau. An int from 0.

    Raises:
        ValueError: An argument is of another type or out of range.
        KeyError: (when called) the result lacks the metric. In a run: TuneError.
    """

    def __init__(
        self,
        metric: str,
        std: float = 0.001,
        top: int = 10,
        mode: str = "min",
        patience: int = 0,
    ) -> None:
        if not isinstance(std, float):
            raise ValueError(f"std must be a float above 0, got {std!r}")
        super().__init__(metric, std, top, mode, patience)
