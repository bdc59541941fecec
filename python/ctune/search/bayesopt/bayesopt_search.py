"""Search with the library bayesian-optimization."""

from __future__ import annotations

import logging
import math
from typing import Any

from ctune.result import DEFAULT_METRIC
from ctune.search._convert import (
    check_mode,
    domains_of,
    library,
    restore_attributes,
    save_attributes,
    unsupported,
)
from ctune.search._searcher import Searcher
from ctune.search._texts import (
    UNDEFINED_METRIC_MODE,
    UNDEFINED_SEARCH_SPACE,
    UNRESOLVED_SEARCH_SPACE,
)
from ctune.search.sample import Float, Uniform
from ctune.search.variant_generator import parse_spec_vars
from ctune.utils.util import flatten_dict, unflatten_dict, validate_warmstart

__all__ = ["BayesOptSearch"]

logger = logging.getLogger("ctune")

_PACKAGE = "bayesian-optimization==1.4.3"


class BayesOptSearch(Searcher):
    """Suggests configurations with Gaussian processes of the library bayesian-optimization.

    All parameters are real numbers. The first ones are drawn at random; there is no further
    suggestion until so many trials have completed, and none that was made before.

    Args:
        space: Bounds by name, `{"x": (0.0, 1.0)}`. Default: the domains of the run's config.
        metric: Result key to optimise.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first, in this order.
        utility_kwargs: Of the library's `UtilityFunction`. Default:
            `{"kind": "ucb", "kappa": 2.576, "xi": 0.0}`.
        random_state: A seed, or a `numpy.random.RandomState`.
        random_search_steps: Trials before the Gaussian process is asked.
        verbose: Of the library: 0 to 2.
        patience: How often the same configuration may be suggested until the search ends. At
            least 1.
        skip_duplicate: Do not try a configuration again.
        analysis: An ExperimentAnalysis, whose trials are learnt from.
        repeat_float_precision: Decimals in which configurations must agree to be the same.

    Raises:
        AssertionError: The library is missing, or `mode` is neither "min" nor "max".
        ImportError: The library is of another release than 1.x.
        ValueError: `patience` or `repeat_float_precision` is out of range.
        TypeError: `repeat_float_precision` is no integer, `points_to_evaluate` no list of dicts.
    """

    def __init__(
        self,
        space: dict[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: list[dict[str, Any]] | None = None,
        utility_kwargs: dict[str, Any] | None = None,
        random_state: Any = 42,
        random_search_steps: int = 10,
        verbose: int = 0,
        patience: int = 5,
        skip_duplicate: bool = True,
        analysis: Any = None,
        repeat_float_precision: int = 5,
    ) -> None:
        bayes_opt = library("bayes_opt", "BayesOptSearch", _PACKAGE)
        if not hasattr(bayes_opt, "UtilityFunction"):
            raise ImportError(
                f"BayesOptSearch needs release 1 of bayesian-optimization: pip install {_PACKAGE}"
            )
        check_mode(mode)
        super().__init__(metric=metric, mode=mode)
        if patience <= 0:
            raise ValueError(f"patience: must be at least 1, got {patience!r}.")
        if isinstance(repeat_float_precision, bool) or not isinstance(repeat_float_precision, int):
            raise TypeError(
                f"repeat_float_precision: must be an integer, got {repeat_float_precision!r}."
            )
        if repeat_float_precision < 0:
            raise ValueError(
                f"repeat_float_precision: must be 0 or more, got {repeat_float_precision!r}."
            )
        points = points_to_evaluate or []
        validate_warmstart([], points, None, validate_point_name_lengths=False)
        self._points = [flatten_dict(point) for point in points]
        self._utility = bayes_opt.UtilityFunction(
            **({"kind": "ucb", "kappa": 2.576, "xi": 0.0} | (utility_kwargs or {}))
        )
        self._random_state = random_state
        self._steps = random_search_steps
        self._verbose = verbose
        self._patience = patience
        self._skip_duplicate = skip_duplicate
        self._analysis = analysis
        self._precision = repeat_float_precision
        self._live: dict[str, dict[str, float]] = {}
        self._seen: dict[Any, int] = {}  # how often a configuration was suggested
        self._started = 0  # random trials that are live or have a result
        self._buffered: list[tuple[dict[str, float], float]] = []  # their results
        self._told: set[str] = set()  # warnings given
        self._optimizer: Any = None
        if isinstance(space, dict) and space:
            _, domains, grids = parse_spec_vars(space)
            if domains or grids:
                logger.warning(UNRESOLVED_SEARCH_SPACE.format(par="space", cls=type(self).__name__))
                space = self.convert_search_space(space)
            self._set_up(space)

    def _set_up(self, bounds: dict[str, Any]) -> None:
        if self._metric is None and self._mode:
            self._metric = DEFAULT_METRIC
        self._optimizer = library("bayes_opt", "BayesOptSearch", _PACKAGE).BayesianOptimization(
            f=None, pbounds=bounds, verbose=self._verbose, random_state=self._random_state
        )
        analysis, self._analysis = self._analysis, None
        if analysis is not None:
            self.register_analysis(analysis)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Takes over the search space of the run; False if there is one already."""
        if self._optimizer is not None:
            return False
        bounds = self.convert_search_space(config)
        self._metric = metric or self._metric
        self._mode = mode or self._mode
        if bounds:
            self._set_up(bounds)
        return True

    def suggest(self, trial_id: str) -> Any:
        """Returns a new configuration; None if there is none now; FINISHED after too many that
        were suggested before.

        Raises:
            RuntimeError: There is no search space, no metric or no mode.
        """
        if self._optimizer is None:
            raise RuntimeError(
                UNDEFINED_SEARCH_SPACE.format(cls=type(self).__name__, space="space")
            )
        if not self._metric or not self._mode:
            raise RuntimeError(
                UNDEFINED_METRIC_MODE.format(
                    cls=type(self).__name__, metric=self._metric, mode=self._mode
                )
            )
        point = self._points.pop(0) if self._points else self._optimizer.suggest(self._utility)
        config = {name: float(value) for name, value in point.items()}
        key = tuple(f"{name}={config[name]:.{self._precision}f}" for name in sorted(config))
        self._seen[key] = self._seen.get(key, 0) + 1
        if max(self._seen.values()) > self._patience:
            self._warn_once(
                "The search ends: a configuration was suggested more than patience="
                f"{self._patience} times."
            )
            return Searcher.FINISHED
        if self._seen[key] > 1 and self._skip_duplicate:
            self._warn_once("A configuration was suggested again; it is not tried again.")
            return None
        if len(self._buffered) < self._steps:
            if self._started == self._steps:
                return None
            self._started += 1
        self._live[trial_id] = config
        return unflatten_dict(config)

    def _warn_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            logger.warning("%s: %s", type(self).__name__, text)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learns the final value. A trial without a result is forgotten.

        Raises:
            KeyError: The result lacks the metric.
        """
        config = self._live.pop(trial_id, None)
        if config is None:
            return
        at_random = len(self._buffered) < self._steps
        if result is None or error:
            if at_random:
                self._started -= 1  # another one takes its place
            return
        if self._metric not in result:
            raise KeyError(
                f"metric: {self._metric!r} is missing in the last result of trial {trial_id}."
            )
        if not at_random:
            self._register(config, result[self._metric])
            return
        self._buffered.append((config, result[self._metric]))
        if len(self._buffered) == self._steps:
            for config, value in self._buffered:
                self._register(config, value)

    def _register(self, config: dict[str, float], value: float) -> None:
        if not math.isfinite(value):
            return
        errors = library("bayes_opt.util", "BayesOptSearch", _PACKAGE)
        try:
            self._optimizer.register(config, value if self._mode == "max" else -value)
        except errors.NotUniqueError:
            logger.info("A second result of %s is not learnt from.", config)

    def register_analysis(self, analysis: Any) -> None:
        """Learns the best result of each trial of an ExperimentAnalysis that has the metric."""
        for trial in analysis.trials:
            best = trial.metric_analysis.get(self._metric, {}).get(self._mode)
            if best is not None:
                given = flatten_dict(trial.config)
                self._register({name: given[name] for name in self._optimizer.space.keys}, best)

    def get_state(self) -> dict[str, Any]:
        """Returns everything."""
        return dict(vars(self))

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` returned."""
        vars(self).update(state)

    def save(self, checkpoint_path: str) -> None:
        """Saves everything, the random stream too, to a file."""
        save_attributes(self, checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Takes back what `save` wrote. The file is a pickle: only load your own."""
        restore_attributes(self, checkpoint_path)

    @staticmethod
    def convert_search_space(spec: dict[str, Any], join: bool = False) -> dict[str, Any]:
        """Returns the bounds of the domains of a search space, by their path.

        Args:
            spec: The search space.
            join: Return constants too.

        Raises:
            ValueError: There is a grid, a key with "/", or a domain that is no Float with bounds.
        """
        bounds: dict[str, Any] = {}
        for path, domain, sampler, q in domains_of(spec):
            if not isinstance(domain, Float) or not (
                math.isfinite(domain.lower) and math.isfinite(domain.upper)
            ):
                raise unsupported("BayesOptSearch", path, domain, sampler)
            if q:
                logger.warning("%s: BayesOptSearch does not quantise; q is dropped.", path)
            if not isinstance(sampler, Uniform):
                logger.warning(
                    "%s: BayesOptSearch knows no %s; the domain is uniform to it.",
                    path,
                    type(sampler).__name__,
                )
            bounds[path] = (domain.lower, domain.upper)
        return {**flatten_dict(spec), **bounds} if join else bounds
