"""Population-based bandits."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ctune.error import TuneError
from ctune.schedulers.pbt import PopulationBasedTraining
from ctune.utils.util import flatten_dict, unflatten_dict

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial
    from ctune.schedulers._pb2 import History

__all__ = ["PB2", "import_pb2_dependencies"]


def import_pb2_dependencies() -> bool:
    """Returns whether what PB2 needs is installed: SciPy."""
    return importlib.util.find_spec("scipy") is not None


class PB2(PopulationBasedTraining):
    """Population-based training that learns which hyperparameters pay off.

    Trials take turns, save and exploit as in `PopulationBasedTraining`. The new config is not
    drawn at random: a Gaussian process is fitted to how fast scores changed with which
    hyperparameters, at what time and score, and the point with the largest upper confidence
    bound is taken. So a few trials are enough where random changes need dozens.

    Fitting takes milliseconds for hundreds of results and about a second for the 1,000 latest
    ones, which are all that it looks at.

    Args:
        time_attr: Result key that measures progress and only grows.
        metric, mode: Result key to compare, and "min" or "max". Default: those given to
            `run()`.
        perturbation_interval: Progress, in units of `time_attr`, between two turns of a
            trial. Above 0.
        hyperparam_bounds: Key of the config -> [lowest, highest] value, or a dict of these for
            a nested config. Values keep the type that they have: ints stay ints. A key that a
            trial's config lacks is drawn uniformly when the trial is added.
        quantile_fraction: Share of the trials that are best, and that are worst: 0 to 0.5.
        log_config, require_attrs, synch, custom_explore_fn: As in `PopulationBasedTraining`.

    Raises:
        ValueError: A parameter is out of range. The message names it, its value and the
            remedy.
        TypeError: A parameter has the wrong type.
        TuneError: `hyperparam_bounds` is empty.
        RuntimeError: SciPy is not installed.

    Source: Parker-Holder et al., "Provably Efficient Online Hyperparameter Optimization with
    Population-Based Bandits", NeurIPS 2020.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        hyperparam_bounds: dict[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        if not import_pb2_dependencies():
            raise RuntimeError("PB2 needs SciPy: pip install scipy")
        if not hyperparam_bounds:
            raise TuneError(
                "hyperparam_bounds: give the lowest and highest value of each hyperparameter, "
                f"such as {{'lr': [1e-4, 1e-1]}}; got {hyperparam_bounds!r}."
            )
        self._bounds = _checked_bounds(hyperparam_bounds)
        self._last_exploration_time = 0.0
        self._running: list[list[float]] = []
        self._rows: list[Any] = []
        super().__init__(
            time_attr,
            metric,
            mode,
            perturbation_interval,
            0.0,
            hyperparam_bounds,
            quantile_fraction,
            0.0,
            (1.2, 0.8),
            custom_explore_fn,
            log_config,
            require_attrs,
            synch,
        )

    def _history(self) -> History:
        from ctune.schedulers._pb2 import History

        return History(self._rows)

    def _fill_config(self, config: dict[str, Any], evaluated: dict[str, Any]) -> bool:
        return _fill(config, self._hyperparam_mutations, evaluated, "")

    def _note_turn(self, trial: Trial, time: float, score: float) -> None:
        flat = flatten_dict(trial.config)
        values = [flat[key] for key in self._bounds]
        self._rows.append([str(trial), time, values, score])

    def _get_new_config(
        self, trial: Trial, trial_to_clone: Trial
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns a new config, and no operations: all values are chosen together."""
        from ctune.schedulers._pb2 import suggest

        history = self._history()
        now = history.last_time()
        if now > self._last_exploration_time:
            self._running = []  # a new round: what was chosen before has been reported on
            self._last_exploration_time = now
        flat = flatten_dict(trial_to_clone.config)
        chosen = suggest(history, self._running, self._bounds, str(trial_to_clone))
        if chosen is not None:
            for key, value in zip(self._bounds, chosen, strict=True):
                flat[key] = type(flat[key])(value)
            values = [flat[key] for key in self._bounds]
            time, score = next(
                row[1::2] for row in reversed(self._rows) if row[0] == str(trial_to_clone)
            )
            self._rows.append([str(trial), time, values, score])
        self._running.append([float(flat[key]) for key in self._bounds])
        config = unflatten_dict(flat)
        if self._custom_explore_fn is not None:
            config = self._custom_explore_fn(config)
            if config is None:
                raise AssertionError(
                    "custom_explore_fn returned None; it must return the new config"
                )
        return config, {}


def _checked_bounds(bounds: Any) -> dict[str, tuple[float, float]]:
    """Returns the bounds by "a/b"."""
    if not isinstance(bounds, dict):
        raise TypeError(f"hyperparam_bounds: must be a dict, got {bounds!r}.")
    out: dict[str, tuple[float, float]] = {}

    def walk(level: Mapping[str, Any], path: str) -> None:
        for key, value in level.items():
            if not isinstance(key, str) or "/" in key:
                raise ValueError(
                    f"hyperparam_bounds: keys must be text without '/', got {key!r}; nest dicts."
                )
            place = f"{path}{key}"
            if isinstance(value, dict):
                walk(value, f"{place}/")
                continue
            if not isinstance(value, (list, tuple)) or len(value) != 2:
                raise ValueError(
                    f"hyperparam_bounds[{place!r}]: must be [lowest, highest], got {value!r}."
                )
            low, high = value
            numbers = all(isinstance(v, (int, float)) and math.isfinite(v) for v in value)
            if not numbers or low > high:
                raise ValueError(
                    f"hyperparam_bounds[{place!r}]: must be two finite numbers, the lower one "
                    f"first, got {value!r}."
                )
            out[place] = (float(low), float(high))

    walk(bounds, "")
    return out


def _fill(
    config: dict[str, Any], bounds: Mapping[str, Any], evaluated: dict[str, Any], path: str
) -> bool:
    """Draws what the config lacks; returns whether it lacked something."""
    import numpy as np

    drawn = False
    for key, value in bounds.items():
        if isinstance(value, dict):
            if key not in config:
                config[key] = {}
            drawn = _fill(config[key], value, evaluated, f"{path}{key}/") or drawn
        elif key not in config:
            config[key] = evaluated[f"{path}{key}"] = float(np.random.uniform(*value))
            drawn = True
    return drawn
