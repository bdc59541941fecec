"""Search with hyperopt."""

from __future__ import annotations

import copy
import functools
import logging
from typing import Any

from ctune.result import DEFAULT_METRIC
from ctune.search._convert import (
    check_mode,
    library,
    parsed,
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
from ctune.search.sample import (
    Categorical,
    Domain,
    Float,
    Integer,
    LogUniform,
    Normal,
    Quantized,
    Uniform,
)
from ctune.search.variant_generator import parse_spec_vars
from ctune.utils.util import flatten_dict, validate_warmstart

__all__ = ["HyperOptSearch"]

logger = logging.getLogger("ctune")

_SEEDS = 2**31 - 1
_MISSING = object()


class HyperOptSearch(Searcher):
    """Suggests configurations with the tree of Parzen estimators of hyperopt.

    Args:
        space: A dict with hyperopt's parameters (`hp.uniform`, ...). Default: the run's config.
        metric: Result key to optimise.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first, in this order. Each gives every
            parameter that takes effect, by its place in the configuration or its label, and
            a choice by the value of the option.
        n_initial_points: Completed trials before the estimators take over from random search.
        random_state_seed: Makes suggestions repeatable.
        gamma: Share of the best trials, which one of the two estimators fits.

    Raises:
        AssertionError: hyperopt is missing, or `mode` is neither "min" nor "max".
        ValueError: A point lacks a parameter, or has a value that is no option of a choice.
        TypeError: `points_to_evaluate` is no list of dicts.

    Source: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NIPS 2011.
    """

    def __init__(
        self,
        space: dict[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: list[dict[str, Any]] | None = None,
        n_initial_points: int = 20,
        random_state_seed: int | None = None,
        gamma: float = 0.25,
    ) -> None:
        hyperopt = library("hyperopt", "HyperOptSearch")
        import numpy as np

        check_mode(mode)
        log = logging.getLogger("hyperopt")
        if log.level == logging.NOTSET:
            log.setLevel(logging.WARNING)  # it tells of every suggestion
        super().__init__(metric=metric, mode=mode)
        given = {"n_startup_jobs": n_initial_points, "gamma": gamma}
        self._algorithm = functools.partial(
            hyperopt.tpe.suggest, **{k: v for k, v in given.items() if v is not None}
        )
        validate_warmstart([], points_to_evaluate or [], None, validate_point_name_lengths=False)
        self._points = points_to_evaluate or []
        self._waiting: list[int] = []  # trials of hyperopt, of points not handed out yet
        self._live: dict[str, int] = {}  # trial id -> trial of hyperopt
        self._rng = np.random.RandomState(random_state_seed)
        self._trials: Any = None
        self._domain: Any = None
        self._space: Any = None
        if isinstance(space, dict) and space:
            _, domains, grids = parse_spec_vars(space)
            if domains or grids:
                logger.warning(UNRESOLVED_SEARCH_SPACE.format(par="space", cls=type(self).__name__))
                space = self.convert_search_space(space)
            self._set_up(space)

    def _set_up(self, space: dict[str, Any]) -> None:
        hyperopt = library("hyperopt", "HyperOptSearch")
        if not space:
            raise self._undefined()
        if self._metric is None and self._mode:
            self._metric = DEFAULT_METRIC
        self._space = space
        self._domain = hyperopt.Domain(_itself, space)
        self._trials = hyperopt.Trials()
        for point in self._points:
            chosen: dict[str, Any] = {}
            _read_point(self._domain.expr, point, flatten_dict(point), "", chosen)
            self._waiting.append(self._add(chosen))

    def _add(self, chosen: dict[str, Any]) -> int:
        """Adds a trial with values by label to those of hyperopt."""
        (tid,) = self._trials.new_trial_ids(1)
        misc = {"tid": tid, "cmd": self._domain.cmd, "workdir": None}
        # Parameters of options that were not chosen have no value, but must be there.
        labels = list(self._domain.params)
        misc["idxs"] = {label: [tid] if label in chosen else [] for label in labels}
        misc["vals"] = {label: [chosen[label]] if label in chosen else [] for label in labels}
        documents = self._trials.new_trial_docs([tid], [None], [{"status": "new"}], [misc])
        self._trials.insert_trial_docs(documents)
        self._trials.refresh()
        return int(tid)

    def _undefined(self) -> RuntimeError:
        return RuntimeError(
            UNDEFINED_SEARCH_SPACE.format(cls=type(self).__name__, space="space")
            + " A space of constants only is none."
        )

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Takes over the search space of the run; False if there is one already.

        Raises:
            RuntimeError: There is nothing to search in it.
        """
        if self._domain is not None:
            return False
        space = self.convert_search_space(config)
        self._metric = metric or self._metric
        self._mode = mode or self._mode
        self._set_up(space)
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Returns a new configuration.

        Raises:
            RuntimeError: There is no search space, no metric or no mode.
        """
        if self._domain is None:
            raise self._undefined()
        if not self._metric or not self._mode:
            raise RuntimeError(
                UNDEFINED_METRIC_MODE.format(
                    cls=type(self).__name__, metric=self._metric, mode=self._mode
                )
            )
        hyperopt = library("hyperopt", "HyperOptSearch")
        if self._waiting:
            tid = self._waiting.pop(0)
        else:
            (tid,) = self._trials.new_trial_ids(1)
            self._trials.refresh()
            seed = self._rng.randint(_SEEDS)
            documents = self._algorithm([tid], self._domain, self._trials, seed)
            self._trials.insert_trial_docs(documents)
            self._trials.refresh()
        self._live[trial_id] = tid
        chosen = {k: v[0] for k, v in self._document(tid)["misc"]["vals"].items() if v}
        config: dict[str, Any] = copy.deepcopy(hyperopt.space_eval(self._space, chosen))
        return config

    def _document(self, tid: int) -> dict[str, Any]:
        found: dict[str, Any] = next(t for t in reversed(self._trials.trials) if t["tid"] == tid)
        return found

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells hyperopt the final value, or that the trial failed.

        Raises:
            RuntimeError: The result lacks the metric.
        """
        if trial_id not in self._live:
            return
        hyperopt = library("hyperopt", "HyperOptSearch")
        document = self._document(self._live[trial_id])
        if error:
            document["state"] = hyperopt.JOB_STATE_ERROR
            document["misc"]["error"] = ("TuneError", "the trial failed")
        elif result:
            if self._metric not in result:
                raise RuntimeError(
                    f"metric: {self._metric!r} is missing in the last result of trial {trial_id}; "
                    "report it, or name a key that is reported."
                )
            sign = -1.0 if self._mode == "max" else 1.0
            document["state"] = hyperopt.JOB_STATE_DONE
            document["result"] = {"loss": sign * result[self._metric], "status": "ok"}
        document["refresh_time"] = hyperopt.utils.coarse_utcnow()
        self._trials.refresh()
        del self._live[trial_id]

    def get_state(self) -> dict[str, Any]:
        """Returns the trials of hyperopt and the state of the random stream."""
        return {"hyperopt_trials": self._trials, "rstate": self._rng.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` returned."""
        self._trials = state["hyperopt_trials"]
        self._rng.set_state(state["rstate"])

    def save(self, checkpoint_path: str) -> None:
        """Saves everything, the random stream too, to a file."""
        save_attributes(self, checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Takes back what `save` wrote. The file is a pickle: only load your own."""
        restore_attributes(self, checkpoint_path)

    @staticmethod
    def convert_search_space(spec: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        """Returns a search space with hyperopt's parameters, constants included.

        Labels are the paths, joined with "/"; those inside an option of a choice begin with
        the choice's. Without domains the dict is empty.

        Args:
            spec: The search space.
            prefix: What labels begin with.

        Raises:
            ValueError: There is a grid, or a domain that hyperopt lacks.
        """
        if not parsed(spec, prefix):
            return {}
        return {key: _space(value, _join(prefix, key)) for key, value in spec.items()}


def _itself(config: Any) -> Any:
    return config


def _join(prefix: str, key: Any) -> str:
    return f"{prefix}/{key}" if prefix else str(key)


def _has_domain(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_domain, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_domain, value))
    return isinstance(value, Domain)


def _space(value: Any, label: str) -> Any:
    """The part of a space at a label, as hyperopt wants it."""
    if isinstance(value, Domain):
        return _parameter(value, label)
    if not _has_domain(value):
        # Otherwise hyperopt takes constants to pieces, and makes tuples of lists.
        return library("hyperopt", "HyperOptSearch").pyll.Literal(value)
    if isinstance(value, dict):
        return {key: _space(part, _join(label, key)) for key, part in value.items()}
    return [_space(part, _join(label, index)) for index, part in enumerate(value)]


def _parameter(domain: Domain, label: str) -> Any:
    hyperopt = library("hyperopt", "HyperOptSearch")
    import numpy as np

    hp, as_int = hyperopt.hp, hyperopt.pyll.scope.int
    sampler = domain.get_sampler()
    q = None
    if isinstance(sampler, Quantized):
        q, sampler = sampler.q, sampler.get_sampler()
    if isinstance(domain, Float) and isinstance(sampler, Normal):
        if q:
            return hp.qnormal(label, sampler.mean, sampler.sd, q)
        return hp.normal(label, sampler.mean, sampler.sd)
    if isinstance(domain, (Float, Integer)) and isinstance(sampler, (Uniform, LogUniform)):
        low, high = domain.lower, domain.upper
        log = isinstance(sampler, LogUniform)
        if isinstance(domain, Integer) and not (log and q):
            high = high - 1
        if log:
            low, high = np.log(low), np.log(high)
        if isinstance(domain, Integer):
            if not log and not q:
                return hp.uniformint(label, low, high)
            return as_int((hp.qloguniform if log else hp.quniform)(label, low, high, q or 1.0))
        if q:
            return (hp.qloguniform if log else hp.quniform)(label, low, high, q)
        return (hp.loguniform if log else hp.uniform)(label, low, high)
    if isinstance(domain, Categorical) and isinstance(sampler, Uniform):
        return hp.choice(label, _options(domain.categories, label))
    raise unsupported("HyperOptSearch", label, domain, sampler)


def _options(options: list[Any], label: str) -> list[Any]:
    """The options of a choice. Where two dicts have a parameter in common, the second one's
    labels get its number."""
    made = []
    taken: set[Any] = set()
    for index, option in enumerate(options):
        name = _join(label, index)
        if isinstance(option, dict):
            paths = {path for path, _ in parsed(option, name)}
            if not paths & taken:
                name = label
            taken |= paths
        made.append(_space(option, name))
    return made


def _read_point(
    node: Any, value: Any, labelled: dict[str, Any], path: str, chosen: dict[str, Any]
) -> None:
    """Collects the values of parameters, by label, that make a space give a configuration.

    Args:
        node: The space, or a part of it.
        value: The configuration, or its part at this place; _MISSING: has none.
        labelled: What the configuration gives by label.
        path: Where this is, for messages.
        chosen: Filled in.
    """
    if node.name == "hyperopt_param":
        label = _label(node)
        value = labelled.get(label, _MISSING) if value is _MISSING else value
        if value is _MISSING:
            raise ValueError(f"points_to_evaluate: lacks {path or label}, label {label!r}.")
        chosen[label] = value
    elif node.name == "switch":
        parameter, *options = node.pos_args
        label = _label(parameter)
        by_label = value is _MISSING
        value = labelled.get(label, _MISSING) if by_label else value
        if value is _MISSING:
            raise ValueError(f"points_to_evaluate: lacks {path or label}, label {label!r}.")
        fitting = [index for index, option in enumerate(options) if _fits(option, value)]
        if by_label and not fitting and value in range(len(options)):
            fitting = [value]
        if not fitting:
            raise ValueError(
                f"points_to_evaluate: {value!r:.80} is no option of the choice {path or label}."
            )
        chosen[label] = fitting[0]
        _read_point(options[fitting[0]], value, labelled, path, chosen)
    elif node.name == "dict":
        for key, part in node.named_args:
            inner = value.get(key, _MISSING) if isinstance(value, dict) else _MISSING
            _read_point(part, inner, labelled, _join(path, key), chosen)
    elif node.name == "pos_args":
        for index, part in enumerate(node.pos_args):
            known = isinstance(value, (list, tuple)) and index < len(value)
            _read_point(part, value[index] if known else _MISSING, labelled, path, chosen)
    else:  # a function of a parameter, such as int()
        for part in node.pos_args:
            _read_point(part, value, labelled, path, chosen)


def _label(parameter: Any) -> str:
    """The label of a parameter; the first operand of a switch may have an offset around it."""
    while parameter.name != "hyperopt_param":
        parameter = parameter.pos_args[0]
    return str(parameter.arg["label"].obj)


def _fits(node: Any, value: Any) -> bool:
    """Whether a part of a space can give the value."""
    if node.name == "literal":
        return node.obj is value or bool(type(node.obj) is type(value) and node.obj == value)
    if node.name == "dict":
        return isinstance(value, dict) and all(
            key in value and _fits(part, value[key]) for key, part in node.named_args
        )
    if node.name == "pos_args":
        return (
            isinstance(value, (list, tuple))
            and len(value) == len(node.pos_args)
            and all(map(_fits, node.pos_args, value))
        )
    if node.name == "switch":
        return any(_fits(option, value) for option in node.pos_args[1:])
    return isinstance(value, (int, float))
