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
from ctune.search._files import newest, read_newest, write
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

    CKPT_FILE_TMPL = "basic-variant-state-{}.json"

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
        # (what to train, config, number of samples) of each experiment.
        self._added: list[tuple[str, dict[str, Any], int]] = []
        self._live: set[str] = set()
        self._options: tuple[Any, int, bool, Any, str] = (
            points,
            max_concurrent,
            constant_grid_search,
            random_state,
            f"{prefix}_",
        )
        self._search: _ctune.BasicSearch = _ctune.BasicSearch(*self._options)

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
            config, samples = spec.get("config") or {}, spec.get("num_samples", 1)
            self._search.add(config, samples)
            name = run if isinstance(run, str) else getattr(run, "__name__", str(run))
            self._added.append((name, config, samples))

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
            self._added[number][0],
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

    def get_state(self) -> dict[str, Any]:
        """Returns everything, with the place in the search space and in the random stream."""
        state = {key: value for key, value in vars(self).items() if key != "_search"}
        return {**state, "position": self._search.save()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` returned, experiments included.

        The random stream goes on from where it was; without a `random_state` of its own that
        is the global stream of NumPy.
        """
        vars(self).update((key, value) for key, value in state.items() if key != "position")
        self._search = _ctune.BasicSearch(*self._options)
        for _, config, samples in self._added:
            self._search.add(config, samples)
        self._search.restore(state["position"])

    __getstate__ = get_state
    __setstate__ = set_state

    def has_checkpoint(self, dirpath: str) -> bool:
        """Returns whether the directory holds a state to restore."""
        return newest(dirpath, self.CKPT_FILE_TMPL) is not None

    def save_to_dir(self, dirpath: str, session_str: str = "default", **kwargs: Any) -> None:
        """Saves the state as `basic-variant-state-<session_str>.json`, a pickle, whole or not
        at all."""
        write(dirpath, self.CKPT_FILE_TMPL.format(session_str), self.get_state())

    def restore_from_dir(self, dirpath: str) -> None:
        """Restores what `save_to_dir` saved last, by name. Unpickles: only your own files.

        Raises:
            RuntimeError: The directory holds no state.
        """
        self.set_state(read_newest(dirpath, self.CKPT_FILE_TMPL)[1])
