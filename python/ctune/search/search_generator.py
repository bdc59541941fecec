"""Makes trials of what a searcher suggests."""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from ctune.error import TuneError
from ctune.experiment.trial import Trial
from ctune.search._files import newest, read_newest, write
from ctune.search._searcher import Searcher
from ctune.search._texts import set_search_properties
from ctune.search.repeater import Repeater
from ctune.search.search_algorithm import SearchAlgorithm
from ctune.search.variant_generator import format_vars
from ctune.utils.util import flatten_dict, merge_dicts

__all__ = ["SearchGenerator"]

logger = logging.getLogger(__name__)


class SearchGenerator(SearchAlgorithm):
    """Makes one trial of each configuration that a searcher suggests.

    `run()` puts every `Searcher` into one of these. In a run the engine makes the trials;
    `next_trial` does the same for a generator that is used alone.

    Args:
        searcher: Where suggestions come from.

    Attributes:
        searcher: As given.

    Raises:
        AssertionError: `searcher` is not a `Searcher`.
    """

    CKPT_FILE_TMPL = "search_gen_state-{}.json"

    def __init__(self, searcher: Searcher) -> None:
        if not isinstance(searcher, Searcher):
            raise AssertionError(f"searcher: must be a Searcher, got {type(searcher).__name__}.")
        self.searcher = searcher
        self._experiment: Any = None
        self._counter = 0
        self._total_samples = 0
        self._finished = False

    @property
    def metric(self) -> Any:
        """The result key that the searcher optimises, or None."""
        return self.searcher.metric

    @property
    def total_samples(self) -> int:
        """`num_samples` of the experiment; -1: endless."""
        return self._total_samples

    @property
    def config(self) -> dict[str, Any]:
        """The experiment's config, into which suggestions are merged."""
        if self._experiment is None:
            return {}
        return _spec(self._experiment).get("config") or {}

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Hands the settings of the run to the searcher."""
        return set_search_properties(
            self.searcher.set_search_properties, metric, mode, config, **spec
        )

    def add_configurations(self, experiments: Any) -> None:
        """Tells it what to make trials of.

        Args:
            experiments: One Experiment, a list with one, or a dict name -> spec with one.

        Raises:
            AssertionError: There is another experiment already, or not exactly one.
            TuneError: It does not say what to run.
        """
        if self._experiment is not None:
            raise AssertionError(
                "experiments: the generator has one already; each run needs its own."
            )
        if isinstance(experiments, Mapping):
            found = list(experiments.values())
        elif isinstance(experiments, (list, tuple)):
            found = list(experiments)
        else:
            found = [experiments]
        if len(found) != 1:
            raise AssertionError(
                "experiments: a search algorithm works on exactly one experiment, got "
                f"{len(found)}."
            )
        spec = _spec(found[0])
        if "run" not in spec:
            raise TuneError(
                f"experiments: the spec needs `run`, what to train, got {sorted(spec)}."
            )
        self._experiment = found[0]
        self._total_samples = spec.get("num_samples", 1)
        total = self._total_samples
        for _, wrapper in _wrappers(self.searcher):
            if isinstance(wrapper, Repeater) and 0 < total < sys.maxsize and total % wrapper.repeat:
                logger.warning(
                    "num_samples: counts repetitions too, and %d is no multiple of repeat=%d; the "
                    "last trials are not told to the searcher.",
                    total,
                    wrapper.repeat,
                )

    def next_trial(self) -> Trial | None:
        """Returns the next trial, or None if there is none now."""
        if self._experiment is None:
            raise TuneError("next_trial: call add_configurations() first.")
        if self.is_finished():
            return None
        trial_id = uuid.uuid4().hex[:8]
        suggested = self.searcher.suggest(trial_id)
        if suggested is None:
            return None
        if isinstance(suggested, str):
            self._finished = True
            return None
        config = merge_dicts(self.config, suggested)
        self._counter += 1
        known = {path: value for path, value in _leaves(config, ()) if not _is_function(value)}
        for path, value in _leaves(config, ()):
            if _is_function(value):
                _put(config, path, value.sample(config))
        spec = _spec(self._experiment)
        run = spec["run"]
        return Trial(
            run if isinstance(run, str) else getattr(run, "__name__", str(run)),
            config=config,
            trial_id=trial_id,
            evaluated_params=flatten_dict(suggested),
            experiment_tag=f"{self._counter}_{format_vars(known)}",
        )

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Hands a result to the searcher."""
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the searcher that a trial ended."""
        self.searcher.on_trial_complete(trial_id=trial_id, result=result, error=error)

    def is_finished(self) -> bool:
        """Returns whether all samples are made, or the searcher has finished."""
        return self._finished or 0 <= self._total_samples <= self._counter

    def get_state(self) -> dict[str, Any]:
        """Returns the state without the searcher's."""
        return {
            "counter": self._counter,
            "total_samples": self._total_samples,
            "finished": self._finished,
            "experiment": self._experiment,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` returned."""
        self._counter = state["counter"]
        self._total_samples = state["total_samples"]
        self._finished = state["finished"]
        self._experiment = state["experiment"]

    def has_checkpoint(self, dirpath: str) -> bool:
        """Returns whether the directory holds a state to restore."""
        return newest(dirpath, self.CKPT_FILE_TMPL) is not None

    def save_to_dir(self, dirpath: str, session_str: str = "default", **kwargs: Any) -> None:
        """Saves the generator, what wraps the searcher, and the searcher itself.

        Each file is written whole or not at all.
        """
        state = self.get_state()
        for name, wrapper in _wrappers(self.searcher):
            state[name] = wrapper.get_state()
        _innermost(self.searcher).save_to_dir(dirpath, session_str)
        write(dirpath, self.CKPT_FILE_TMPL.format(session_str), state)

    def restore_from_dir(self, dirpath: str) -> None:
        """Restores what `save_to_dir` saved last, by name.

        Raises:
            RuntimeError: The directory holds no state.
        """
        path, state = read_newest(dirpath, self.CKPT_FILE_TMPL)
        for name, wrapper in _wrappers(self.searcher):
            if name in state:
                wrapper.set_state(state[name])
            else:
                logger.warning(
                    "%s holds no state of a %s; it starts anew.", path, type(wrapper).__name__
                )
        _innermost(self.searcher).restore_from_dir(dirpath)
        self.set_state(state)


def _spec(experiment: Any) -> dict[str, Any]:
    """What an Experiment, or a spec itself, says."""
    spec = getattr(experiment, "spec", experiment)
    if not isinstance(spec, Mapping):
        raise TuneError(
            f"experiments: must be Experiment objects, got {type(experiment).__name__}."
        )
    return dict(spec)


def _wrappers(searcher: Any) -> Iterator[tuple[str, Any]]:
    """What wraps the searcher, from outside to inside, and the name of its state."""
    seen: dict[str, int] = {}
    while hasattr(searcher, "searcher"):
        name = f"name:{type(searcher).__name__}"
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name} {seen[name]}", searcher
        searcher = searcher.searcher


def _innermost(searcher: Any) -> Any:
    while hasattr(searcher, "searcher"):
        searcher = searcher.searcher
    return searcher


def _is_function(value: Any) -> bool:
    return hasattr(value, "is_function") and value.is_function()


def _leaves(config: dict[str, Any], path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in config.items():
        if isinstance(value, dict):
            found.extend(_leaves(value, (*path, key)))
        else:
            found.append(((*path, key), value))
    return found


def _put(config: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        config = config[key]
    config[path[-1]] = value
