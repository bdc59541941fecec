"""Search with Optuna."""

from __future__ import annotations

import logging
import random
import time
import warnings
from collections.abc import Callable
from typing import Any

from ctune.result import DEFAULT_METRIC, TRAINING_ITERATION
from ctune.search._convert import (
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
from ctune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Uniform
from ctune.search.variant_generator import parse_spec_vars
from ctune.utils.util import flatten_dict, unflatten_dict, validate_warmstart

__all__ = ["OptunaSearch"]

logger = logging.getLogger("ctune")

_SLOW_S = 1.0


class OptunaSearch(Searcher):
    """Suggests configurations with Optuna (https://optuna.org).

    Args:
        space: Optuna distributions by name, or a function of an Optuna trial that defines the
            space by asking for values; it may return a dict of constants. Default: the
            domains of the run's config.
        metric: Result key, or a list of keys for several objectives.
        mode: "min" or "max", or a list of these for a list of metrics.
        points_to_evaluate: Configurations to try first, in this order; each has all
            parameters that are searched.
        sampler: An Optuna sampler; default: TPE.
        seed: For the default sampler.
        evaluated_rewards: Known results of `points_to_evaluate`, which are then learnt from
            and not run.
        study_name, storage: Of the Optuna study; default: in memory. A study that exists goes
            on.

    Raises:
        AssertionError: Optuna is missing, or `sampler` is none.
        TypeError, ValueError: `points_to_evaluate` or `evaluated_rewards` do not fit.
    """

    def __init__(
        self,
        space: dict[str, Any] | Callable[[Any], dict[str, Any] | None] | None = None,
        metric: str | list[str] | None = None,
        mode: str | list[str] | None = None,
        points_to_evaluate: list[dict[str, Any]] | None = None,
        sampler: Any = None,
        seed: int | None = None,
        evaluated_rewards: list[Any] | None = None,
        study_name: str | None = None,
        storage: Any = None,
    ) -> None:
        optuna = library("optuna", "OptunaSearch")
        super().__init__(metric=metric, mode=mode)
        if isinstance(space, dict) and space:
            _, domains, grids = parse_spec_vars(space)
            if domains or grids:
                logger.warning(UNRESOLVED_SEARCH_SPACE.format(par="space", cls=type(self).__name__))
                space = self.convert_search_space(space)
            else:
                space = flatten_dict(space)
        if sampler is not None and not isinstance(sampler, optuna.samplers.BaseSampler):
            raise AssertionError(
                f"sampler: must be a sampler of Optuna, an object, got {sampler!r:.80}."
            )
        if sampler is not None and seed is not None:
            logger.warning("seed is ignored: the sampler that was given has its own.")
        self._space: Any = space or None
        self._points = points_to_evaluate or []
        self._rewards = evaluated_rewards
        if sampler is None:
            # Optuna's streams without a seed begin when first used, after the run has kept the
            # searcher's state to resume with.
            seed = random.SystemRandom().randrange(2**32) if seed is None else seed
            sampler = optuna.samplers.TPESampler(seed=seed)
        self._sampler = sampler
        self._study_name = study_name
        self._storage = storage
        self._trials: dict[str, Any] = {}
        self._completed: set[str] = set()
        self._study: Any = None
        validate_warmstart([], self._points, evaluated_rewards, validate_point_name_lengths=False)
        if self._space:
            self._set_up(mode)

    def _set_up(self, mode: str | list[str] | None) -> None:
        optuna = library("optuna", "OptunaSearch")
        if self._metric is None and mode:
            if isinstance(mode, list):
                raise ValueError(f"metric: must be a list of keys for mode={mode!r}, got None.")
            self._metric = DEFAULT_METRIC
        modes = mode if isinstance(mode, list) else [mode or "min"]
        self._study = optuna.create_study(
            storage=self._storage or optuna.storages.InMemoryStorage(),
            sampler=self._sampler,
            pruner=optuna.pruners.NopPruner(),
            study_name=self._study_name,
            directions=["minimize" if one == "min" else "maximize" for one in modes],
            load_if_exists=True,
        )
        points = [flatten_dict(point) for point in self._points]
        validate_warmstart(
            list(self._space) if isinstance(self._space, dict) else [],
            points,
            self._rewards,
            validate_point_name_lengths=isinstance(self._space, dict),
        )
        if self._rewards:
            for point, reward in zip(self._points, self._rewards, strict=True):
                self.add_evaluated_point(point, reward)
        else:
            for point in points:
                self._study.enqueue_trial(point)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Takes over the search space of the run; False if there is one already."""
        if self._space:
            return False
        self._space = self.convert_search_space(config)
        self._metric = metric or self._metric
        self._mode = mode or self._mode
        self._set_up(self._mode)
        return True

    def _check_ready(self) -> None:
        if not self._space:
            raise RuntimeError(
                UNDEFINED_SEARCH_SPACE.format(cls=type(self).__name__, space="space")
            )
        if not self._metric or not self._mode:
            raise RuntimeError(
                UNDEFINED_METRIC_MODE.format(
                    cls=type(self).__name__, metric=self._metric, mode=self._mode
                )
            )

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Returns a new configuration; for a trial that has one already, that one.

        Raises:
            RuntimeError: There is no search space, no metric or no mode.
            TypeError: The function that defines the space returned something else than a dict
                with names, or None.
        """
        self._check_ready()
        by_name = not callable(self._space)
        trial = self._trials.get(trial_id)
        if trial is None:
            trial = self._study.ask(fixed_distributions=self._space if by_name else None)
            self._trials[trial_id] = trial
        return unflatten_dict(trial.params if by_name else self._defined(trial))

    def _defined(self, trial: Any) -> dict[str, Any]:
        start = time.monotonic()
        constants = self._space(trial)
        took = time.monotonic() - start
        if took > _SLOW_S:
            warnings.warn(
                f"The function that defines the search space took {took:.1f} s. It should only "
                "ask for values; train in the trainable.",
                stacklevel=3,
            )
        if constants is not None:
            if not isinstance(constants, dict) or not all(isinstance(k, str) for k in constants):
                raise TypeError(
                    "space: the function must return None or a dict of constants by name, got "
                    f"{constants!r:.80}."
                )
        return {**trial.params, **(constants or {})}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tells Optuna an intermediate value, unless there are several objectives."""
        if not isinstance(self._metric, str):
            return
        if trial_id in self._completed:
            logger.warning(
                "A result of trial %s came after its end and is not told to Optuna.", trial_id
            )
            return
        self._trials[trial_id].report(result[self._metric], result[TRAINING_ITERATION])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells Optuna the final value; without one that the trial failed or was pruned."""
        states = library("optuna", "OptunaSearch").trial.TrialState
        value: Any = None
        if result:
            if isinstance(self._metric, list):
                value = [result.get(metric) for metric in self._metric]
            elif self._metric is not None:
                value = result.get(self._metric)
        state = states.COMPLETE
        if value is None:
            state = states.FAIL if error else states.PRUNED
        try:
            self._study.tell(self._trials[trial_id], value, state=state)
        except Exception as problem:
            # Such as NaN. To Optuna the trial goes on for ever, and so counts as a bad one.
            logger.warning("Optuna did not take the result of trial %s: %s", trial_id, problem)
        self._completed.add(trial_id)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learns from a configuration that was evaluated elsewhere.

        Raises:
            RuntimeError: There is no search space, no metric or no mode.
            TypeError: The space is defined by a function, so its distributions are not known.
        """
        self._check_ready()
        if callable(self._space):
            raise TypeError(
                "space: evaluated points need distributions by name, and this space is defined "
                "by a function."
            )
        optuna = library("optuna", "OptunaSearch")
        states = optuna.trial.TrialState
        if error:
            values = {}  # a failed trial has none
        elif isinstance(value, (list, tuple)):
            values = {"values": value}
        else:
            values = {"value": value}
        state = states.FAIL if error else states.PRUNED if pruned else states.COMPLETE
        given = flatten_dict(parameters)
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state,
                params={name: given[name] for name in self._space},
                distributions=self._space,
                intermediate_values=dict(enumerate(intermediate_values or ())),
                **values,
            )
        )

    def save(self, checkpoint_path: str) -> None:
        """Saves everything, the study too, to a file."""
        save_attributes(self, checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Takes back what `save` wrote. The file is a pickle: only load your own."""
        restore_attributes(self, checkpoint_path)

    @staticmethod
    def convert_search_space(spec: dict[str, Any]) -> dict[str, Any]:
        """Returns Optuna distributions for the domains of a search space, by their path.

        Raises:
            ValueError: There is a grid, a key with "/", or a domain that Optuna lacks.
        """
        return {
            path: _distribution(path, domain, sampler, q)
            for path, domain, sampler, q in domains_of(spec)
        }


def _distribution(path: str, domain: Domain, sampler: Any, q: float | None) -> Any:
    made = library("optuna", "OptunaSearch").distributions
    log = isinstance(sampler, LogUniform)
    if isinstance(domain, Float) and (log or isinstance(sampler, Uniform)):
        if log and q:
            logger.warning("%s: Optuna does not quantise logarithmic scales; q is dropped.", path)
            q = None
        return made.FloatDistribution(domain.lower, domain.upper, step=q, log=log)
    if isinstance(domain, Integer) and (log or isinstance(sampler, Uniform)):
        # Upper bounds are exclusive here and inclusive there, as quantised ones are.
        upper = domain.upper if q and not log else domain.upper - 1
        step = 1 if log else int(q or 1)
        return made.IntDistribution(domain.lower, upper, step=step, log=log)
    if isinstance(domain, Categorical) and isinstance(sampler, Uniform):
        return made.CategoricalDistribution(domain.categories)
    raise unsupported("OptunaSearch", path, domain, sampler)
