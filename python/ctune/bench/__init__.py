"""Measures schedulers, and gives data to study them on.

    python -m ctune.bench schedulers

prints how many decisions per second each scheduler makes at several numbers of trials.
`load_curves()` gives learning curves for `ctune.simulate()`.
"""

from ctune.bench._curves import Curves, load_curves

__all__ = ["Curves", "load_curves"]
