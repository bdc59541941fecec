"""Grid and random search."""

from __future__ import annotations

import numbers
import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ctune import _ctune
from ctune.error import TuneError
from ctune.experiment.trial import Trial
from ctune.search.search_algorithm import SearchAlgorithm

__all__ = ["SERIALIZATION_THRESHOLD", "BasicVariantGenerator"]

# With more grid points than this, the variants of a sample are drawn one by one.
SERIALIZATION_THRESHOLD = 1e6


class BasicVariantGenerator(SearchAlgorithm):
    """Tries every point of a grid, and draws the other parameters at random.

    The same `random_state` gives the same configurations, and those that users of Ray Tune
    know. In a run the engine makes the trials; `next_trial` does the same for a generator
    that is used alone.

    Args:
        points_to_evaluate: Configurations to try first; each may leave parameters out, which
            are then drawn. They count among `num_samples`, but all of them are tried.
        max_concurrent: How many trials may be live at once; 0: no limit.
        constant_grid_search: Draw once for all points of the grid.
        random_state: A seed, a `numpy.random.Generator` or `RandomState`. Default: the
            global stream of NumPy, `numpy.random.seed`.

    Raises:
        ValueError: `max_concurrent` or the seed is negative.
        TypeError: An argument has the wrong type.
    """

    def __init__(
        self,
        points_to_evaluate: Sequence[dict[str, Any]] | None = None,
        max_concurrent: int = 0,
        constant_grid_search: bool = False,
        random_state: Any = None,
    ) -> None:
        if not isinstance(points_to_evaluate, (list, tuple, type(None))):
            raise TypeError(
                f"points_to_evaluate: must be a list of dicts, got {points_to_evaluate!r:.80}."
            )
        if not isinstance(max_concurrent, numbers.Integral):
            raise TypeError(f"max_concurrent: must be an integer, got {max_concurrent!r}.")
        if isinstance(random_state, numbers.Integral) and random_state < 0:
            raise ValueError(f"random_state: a seed must be 0 or more, got {random_state!r}.")
        points = list(points_to_evaluate or [])
        for point in points:
            if not isinstance(point, dict):
                raise TypeError(
                    f"points_to_evaluate: must be a list of dicts, got {point!r:.80} in it."
                )
        prefix = os.environ.get("_TEST_TUNE_TRIAL_UUID") or uuid.uuid1().hex[:5]
        self.max_concurrent = max_concurrent
        self._runs: list[str] = []  # what each experiment trains
        self._live: set[str] = set()
        self._search: _ctune.BasicSearch = _ctune.BasicSearch(
            points, max_concurrent, constant_grid_search, random_state, f"{prefix}_"
        )

    @property
    def total_samples(self) -> int:
        """How many trials it will make; `sys.maxsize` if endless.

        Grids inside options of a choice do not count.
        """
        return int(self._search.total)

    def add_configurations(self, experiments: Any) -> None:
        """Tells it what to make trials of. The search space is checked at once.

        Args:
            experiments: An Experiment, a list, or a dict name -> spec.

        Raises:
            TuneError: A spec does not say what to run.
            ValueError: A bound is out of range, a grid is empty, or a point gives an index
                that the space does not have. The message names the parameter.
            KeyError: A point gives a parameter that the space does not have.
        """
        if isinstance(experiments, Mapping):
            found = list(experiments.values())
        elif isinstance(experiments, (list, tuple)):
            found = list(experiments)
        else:
            found = [experiments]
        for experiment in found:
            spec = getattr(experiment, "spec", experiment)
            if not isinstance(spec, Mapping) or "run" not in spec:
                raise TuneError(
                    "experiments: each needs a spec with `run`, what to train, got "
                    f"{experiment!r:.80}."
                )
            run = spec["run"]
            self._search.add(spec.get("config") or {}, spec.get("num_samples", 1))
            self._runs.append(run if isinstance(run, str) else getattr(run, "__name__", str(run)))

    def next_trial(self) -> Trial | None:
        """Returns the next trial; None if there is none now, or none at all any more.

        Raises:
            RecursiveDependencyError: Parameters depend on each other in a circle.
            ValueError: A function of the search space failed.
        """
        if self.is_finished():
            return None
        made = self._search.next()
        if made is False:
            self.set_finished()
            return None
        if made is None:
            return None
        trial_id, tag, config, evaluated, number = made
        self._live.add(trial_id)
        return Trial(
            self._runs[number],
            config=config,
            trial_id=trial_id,
            evaluated_params=evaluated,
            experiment_tag=tag,
        )

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Frees the place of a trial that ended, in whatever way."""
        if trial_id in self._live:
            self._live.remove(trial_id)
            self._search.complete()
