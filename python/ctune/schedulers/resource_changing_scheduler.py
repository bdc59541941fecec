"""Resources of live trials that change while they train."""

from __future__ import annotations

import json
import logging
import math
import operator
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ctune import _ctune
from ctune.execution.placement_groups import PlacementGroupFactory, resource_dict_to_pg_factory
from ctune.schedulers._native import write_state
from ctune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial

__all__ = [
    "DistributeResources",
    "DistributeResourcesToTopJob",
    "ResourceChangingScheduler",
]

logger = logging.getLogger(__name__)

Bundle = dict[str, float]


class DistributeResources:
    """Share what the machine has equally among the live trials.

    A function for `ResourceChangingScheduler`. Free CPUs and GPUs are dealt in units: the
    trial that asks grows by as many as are free, up to its equal share, or shrinks when more
    is held than there is. It never gets less than it started with. Live trials are those
    that have not ended: pending and paused ones count with what they ask for.

    For rules of your own derive from it and override `__call__`, or write a function. The
    cost is O(n) in the number n of live trials.

    Args:
        add_bundles: Whether growing means one more bundle per unit. Otherwise the only
            bundle of the trial grows.
        increase_by: The unit, such as `{"CPU": 1, "GPU": 1}`; CPU or GPU above 0. Default:
            the last bundle of the base resources with `add_bundles`, else one GPU if a trial
            asks for GPUs, else one CPU.
        increase_by_times: So many units a trial grows by at most; below 1 there is no limit.
        reserve_resources: CPUs and GPUs that are not given to trials, such as `{"CPU": 1}`.

    Raises:
        TypeError: A parameter has the wrong type.
        ValueError: A parameter is out of range. The message names it, its value and the
            remedy. Calling it raises ValueError when the base resources have several bundles
            and `add_bundles` is False.
    """

    metric: str | None = None
    mode: str | None = None

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: dict[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: dict[str, float] | None = None,
    ) -> None:
        if not isinstance(add_bundles, bool):
            raise TypeError(f"add_bundles must be True or False, got {add_bundles!r}")
        self.add_bundles = add_bundles
        self.increase_by = _amounts("increase_by", increase_by)
        if self.increase_by and not any(self.increase_by.get(k) for k in ("CPU", "GPU")):
            raise ValueError(
                "increase_by must hold a CPU or GPU amount above 0, such as "
                f'{{"CPU": 1}}, got {increase_by!r}'
            )
        try:
            self.increase_by_times = operator.index(increase_by_times)
        except TypeError:
            raise TypeError(
                f"increase_by_times must be an int; -1 means no limit, got {increase_by_times!r}"
            ) from None
        self.reserve_resources = _amounts("reserve_resources", reserve_resources)

    def __call__(
        self,
        tune_controller: Any,
        trial: Trial,
        result: Mapping[str, Any],
        scheduler: ResourceChangingScheduler,
    ) -> PlacementGroupFactory | None:
        """Returns what the trial should hold, or None before its first iteration.

        Args:
            tune_controller: Offers `get_live_trials()` and `_resource_updater`, which has
                `get_num_cpus()` and `get_num_gpus()`.
            trial: The trial that reported; `placement_group_factory` is what it holds.
            result: What it reported.
            scheduler: Offers `base_trial_resources`.

        Raises:
            ValueError: The base resources are no PlacementGroupFactory, or the arguments do
                not go with them.
        """
        base = scheduler.base_trial_resources
        if not isinstance(base, PlacementGroupFactory):
            raise ValueError(
                f"{type(self).__name__} works on resources given as a dict or a "
                f"PlacementGroupFactory; trials have {base!r:.80}."
            )
        if not self.add_bundles and len(base.bundles) > 1:
            raise ValueError(
                "add_bundles is False, which goes with one bundle per trial, but "
                f"resources_per_trial has {len(base.bundles)}. Pass add_bundles=True."
            )
        if result["training_iteration"] < 1:
            return None
        live = tune_controller.get_live_trials()
        updater = tune_controller._resource_updater
        # In a run results may come while others are being saved for their change; not to
        # count it would hand out the same resources twice, and take them back the next time.
        in_run = isinstance(tune_controller, _ctune.Controller)
        changes = scheduler._trials_to_reallocate if in_run else {}
        bundles = self._distribute(
            trial,
            live,
            (
                self._unit(base),
                self.increase_by,
                self.increase_by_times,
                self.add_bundles,
                {"CPU": updater.get_num_cpus(), "GPU": updater.get_num_gpus()},
                self.reserve_resources,
                base.bundles,
                _bundles_of(trial),
                [_bundles_of(t, changes) for t in live],
            ),
        )
        if base.head_bundle_is_empty:
            bundles.insert(0, {})
        return PlacementGroupFactory(bundles, base.strategy, *base._args, **base._kwargs)

    def _unit(self, base: PlacementGroupFactory) -> Bundle:
        if self.increase_by:
            return self.increase_by
        if self.add_bundles:
            return base.bundles[-1]
        return {"GPU": 1.0} if base.bundles[0].get("GPU") else {"CPU": 1.0}

    def _distribute(self, trial: Trial, live: list[Trial], facts: tuple[Any, ...]) -> list[Bundle]:
        return _ctune.distribute_evenly(*facts)


class DistributeResourcesToTopJob(DistributeResources):
    """Give what is free to the best live trial, and when that is full to the next best.

    Others keep what they have, so that a trial that was the best once keeps its share; when
    more is held than there is, whoever asks gives back, down to what it started with. A
    trial without a value of the metric, or with NaN, is worse than any other.

    Args:
        add_bundles, increase_by, increase_by_times, reserve_resources: See
            `DistributeResources`.
        metric: Result key to compare. Default: the base scheduler's, or `run()`'s.
        mode: "min" or "max"; likewise.

    Raises:
        TypeError: A parameter has the wrong type.
        ValueError: A parameter is out of range. Calling it raises ValueError while metric or
            mode are unknown.
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: dict[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: dict[str, float] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(add_bundles, increase_by, increase_by_times, reserve_resources)
        if metric is not None and not isinstance(metric, str):
            raise TypeError(f"metric must be the key of a result, got {metric!r}")
        if mode is not None:
            _check_mode(mode)
        self.metric = metric
        self.mode = mode

    def _distribute(self, trial: Trial, live: list[Trial], facts: tuple[Any, ...]) -> list[Bundle]:
        if self.metric is None:
            raise ValueError(
                "metric: DistributeResourcesToTopJob does not know what to compare. Give it "
                "a metric, or the base scheduler, or run()."
            )
        _check_mode(self.mode)
        ids = [t.trial_id for t in live]
        index = ids.index(trial.trial_id) if trial.trial_id in ids else -1
        scores = [self._score(t) for t in live]
        return _ctune.distribute_to_best(*(*facts, scores, index))

    def _score(self, trial: Trial) -> float:
        """Smaller is better, NaN worst."""
        value: Any = trial.last_result or {}
        for key in [str(self.metric)] if self.metric in value else str(self.metric).split("/"):
            value = value.get(key) if isinstance(value, Mapping) else None
        try:
            score = math.nan if value is None else float(value)
        except (TypeError, ValueError):
            raise TypeError(
                f"metric: {self.metric!r} of trial {trial} must be a number, got {value!r:.80}"
            ) from None
        return -score if self.mode == "max" else score


def _check_mode(mode: Any) -> None:
    if mode not in ("min", "max"):
        raise ValueError(f'mode must be "min" or "max", got {mode!r}')


def _amounts(parameter: str, given: Any) -> Bundle:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f'{parameter} must be a dict such as {{"CPU": 1}}, got {given!r:.80}')
    for name, amount in given.items():
        number = isinstance(amount, (int, float)) or hasattr(amount, "__float__")
        if not (isinstance(name, str) and number):
            raise TypeError(
                f"{parameter} must hold names of resources and numbers, got {name!r}: "
                f"{amount!r:.80}"
            )
        if not 0 <= float(amount) < math.inf:
            raise ValueError(
                f"{parameter} must hold finite amounts of 0 or more, got {amount!r} for {name!r}"
            )
    return {name: float(amount) for name, amount in given.items()}


def _bundles_of(
    trial: Trial, changes: Mapping[Any, PlacementGroupFactory] | None = None
) -> list[Bundle]:
    held = changes.get(trial) if changes else None
    if held is None:
        held = trial.placement_group_factory
    if held is None:
        raise ValueError(
            f"placement_group_factory of trial {trial} is None; trials whose resources "
            "change must ask for some."
        )
    return held.bundles


_EVENLY = DistributeResources(add_bundles=False)


class ResourceChangingScheduler(TrialScheduler):
    """Let another scheduler decide about trials, and change their resources while they train.

    When the base scheduler lets a trial go on after a result, the function is asked for the
    resources that the trial should hold. If these are others than it holds, the trial is
    saved and paused, and goes on from its checkpoint with the new ones. Trainables therefore
    must save and load their state; functions should report a checkpoint with each result.
    They read what they hold from `Trainable.trial_resources`, or in a function from
    `ctune.get_context().get_trial_resources()`.

    All trials must ask for the same resources when they are added. It does not work with
    `reuse_actors=True`.

    Args:
        base_scheduler: Decides which trials run and stop. Default: `FIFOScheduler()`.
        resources_allocation_function: Called as `function(controller, trial, result,
            scheduler)`; returns a `PlacementGroupFactory`, a dict such as `{"cpu": 2}`, or
            None, which changes nothing. Its attributes `metric` and `mode` are set to those of
            the base scheduler, or of `run()`, where they are missing. What it asks for must
            fit the machine. None: no resources change, with a warning. Default:
            `DistributeResources(add_bundles=False)`.

    Attributes:
        base_trial_resources: What the first trial asked for; None before it was added.

    Raises:
        TypeError: `base_scheduler` is no scheduler, or the function cannot be called, or
            returned something else.
        ValueError: `choose_trial_to_run` raises it when workers serve several trials.
        RuntimeError: `on_trial_add` raises it for a trial that asks for other resources than
            the first.
    """

    def __init__(
        self,
        base_scheduler: TrialScheduler | None = None,
        resources_allocation_function: Callable[
            [Any, Trial, Mapping[str, Any], ResourceChangingScheduler],
            PlacementGroupFactory | dict[str, float] | None,
        ]
        | None = _EVENLY,
    ) -> None:
        super().__init__()
        function = resources_allocation_function
        if base_scheduler is not None and (
            isinstance(base_scheduler, type)
            or not all(
                callable(getattr(base_scheduler, method, None))
                for method in ("on_trial_result", "choose_trial_to_run")
            )
        ):
            raise TypeError(
                "base_scheduler must be an object of a TrialScheduler class, or None, got "
                f"{base_scheduler!r:.80}"
            )
        if function is None:
            warnings.warn(
                "resources_allocation_function is None: the resources of trials will not "
                "change. Leave it out to share what is free among them.",
                stacklevel=2,
            )
        elif isinstance(function, type) or not callable(function):
            raise TypeError(
                "resources_allocation_function must be callable with (controller, trial, "
                "result, scheduler), such as DistributeResources(), or None, got "
                f"{function!r:.80}"
            )
        # A function of its own: what it is told about the metric stays here.
        self._resources_allocation_function: Any = (
            DistributeResources(add_bundles=False) if function is _EVENLY else function
        )
        self._base_scheduler: Any = FIFOScheduler() if base_scheduler is None else base_scheduler
        self._base_trial_resources: PlacementGroupFactory | None = None
        self._trials_to_reallocate: dict[Any, PlacementGroupFactory] = {}
        # Of a restored scheduler: trials by their ids, until there are trials.
        self._ids_to_reallocate: dict[Any, PlacementGroupFactory] = {}
        self._reallocated_trial_ids: set[Any] = set()
        # Paused here, not by the base scheduler, which may not know that they wait.
        self._ids_to_resume: set[Any] = set()
        self._mode: str | None = None

    @property
    def metric(self) -> str | None:
        """The metric of the base scheduler."""
        metric: str | None = self._base_scheduler._metric
        return metric

    @property
    def supports_buffered_results(self) -> bool:
        """As the base scheduler."""
        return bool(getattr(self._base_scheduler, "supports_buffered_results", True))

    @property
    def base_trial_resources(self) -> PlacementGroupFactory | None:
        """What the first trial asked for."""
        return self._base_trial_resources

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Tells the base scheduler; returns whether it accepts them."""
        self._metric = metric
        self._mode = mode
        return bool(self._base_scheduler.set_search_properties(metric, mode, **spec))

    def on_trial_add(self, tune_controller: Any, trial: Trial, **kwargs: Any) -> None:
        """Notes what the first trial asks for, and tells the base scheduler.

        Raises:
            RuntimeError: The trial asks for other resources than the first one.
        """
        asked = trial.placement_group_factory
        if self._base_trial_resources is None:
            self._base_trial_resources = asked
        elif (
            asked != self._base_trial_resources
            and trial.trial_id not in self._reallocated_trial_ids
        ):
            raise RuntimeError(
                "ResourceChangingScheduler: all trials must start with the same resources, "
                f"but trial {trial} asks for {asked}, the first one asked for "
                f"{self._base_trial_resources}. Give all trials the same."
            )
        self._base_scheduler.on_trial_add(tune_controller, trial, **kwargs)

    def on_trial_error(self, tune_controller: Any, trial: Trial, **kwargs: Any) -> None:
        """Tells the base scheduler."""
        self._ids_to_resume.discard(trial.trial_id)
        self._base_scheduler.on_trial_error(tune_controller, trial, **kwargs)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Returns the base scheduler's decision, or PAUSE for a trial that gets other resources."""
        self._ids_to_resume.discard(trial.trial_id)
        decision: str = self._base_scheduler.on_trial_result(tune_controller, trial, result)
        if decision != TrialScheduler.CONTINUE:
            return decision
        wanted = self.reallocate_trial_resources_if_needed(tune_controller, trial, result)
        if wanted is None:
            return decision
        self._trials_to_reallocate[trial] = wanted
        self._ids_to_resume.add(trial.trial_id)
        return TrialScheduler.PAUSE

    def on_trial_complete(
        self, tune_controller: Any, trial: Trial, result: Mapping[str, Any], **kwargs: Any
    ) -> None:
        """Tells the base scheduler."""
        self._ids_to_resume.discard(trial.trial_id)
        self._base_scheduler.on_trial_complete(tune_controller, trial, result, **kwargs)

    def on_trial_remove(self, tune_controller: Any, trial: Trial, **kwargs: Any) -> None:
        """Tells the base scheduler."""
        self._ids_to_resume.discard(trial.trial_id)
        self._base_scheduler.on_trial_remove(tune_controller, trial, **kwargs)

    def choose_trial_to_run(self, tune_controller: Any, **kwargs: Any) -> Trial | None:
        """Gives trials that paused for it their new resources; the base scheduler chooses.

        If that has none, as HyperBand while its brackets are incomplete, one that paused here
        goes on.

        Raises:
            ValueError: Workers serve several trials, each with the resources of the first.
        """
        if getattr(tune_controller, "_reuse_actors", False):
            raise ValueError(
                "reuse_actors=True does not go with ResourceChangingScheduler: a worker keeps "
                "the resources that it started with. Pass reuse_actors=False."
            )
        if self._ids_to_reallocate:
            self._find_restored(tune_controller)
        if self._trials_to_reallocate:
            waiting = self._trials_to_reallocate
            self._trials_to_reallocate = {}
            for trial, resources in waiting.items():
                if trial.status == "RUNNING":  # it is still being saved
                    self._trials_to_reallocate[trial] = resources
                elif trial.status not in ("TERMINATED", "ERROR"):
                    self.set_trial_resources(trial, resources)
        chosen: Trial | None = self._base_scheduler.choose_trial_to_run(tune_controller, **kwargs)
        return self._paused_here(tune_controller) if chosen is None else chosen

    def _paused_here(self, tune_controller: Any) -> Trial | None:
        if not self._ids_to_resume:
            return None
        for trial in tune_controller.get_trials():
            if trial.trial_id in self._ids_to_resume and trial.status == "PAUSED":
                found: Trial = trial
                return found
        return None

    def _find_restored(self, tune_controller: Any) -> None:
        for trial in tune_controller.get_trials():
            resources = self._ids_to_reallocate.pop(trial.trial_id, None)
            if resources is not None:
                self._trials_to_reallocate.setdefault(trial, resources)

    def set_trial_resources(
        self, trial: Trial, new_resources: PlacementGroupFactory | dict[str, float] | None
    ) -> bool:
        """Gives a trial that does not run other resources; returns whether there were any."""
        if not new_resources:
            return False
        logger.info("Trial %s: resources change to %s.", trial, new_resources)
        trial.update_resources(new_resources)
        self._reallocated_trial_ids.add(trial.trial_id)
        return True

    def reallocate_trial_resources_if_needed(
        self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]
    ) -> PlacementGroupFactory | None:
        """Asks the function; returns what it said if that would change anything, else None.

        Raises:
            TypeError: It returned no resources.
        """
        function = self._resources_allocation_function
        if function is None:
            return None
        self._tell("metric", "_metric", self._metric)
        self._tell("mode", "_mode", self._mode)
        wanted = function(tune_controller, trial, result, self)
        if not wanted:
            return None
        if isinstance(wanted, dict):
            wanted = resource_dict_to_pg_factory(wanted)
        if not isinstance(wanted, PlacementGroupFactory):
            raise TypeError(
                "resources_allocation_function must return a PlacementGroupFactory, a dict "
                f'such as {{"cpu": 2}}, or None, got {wanted!r:.80}'
            )
        return None if trial.placement_group_factory == wanted else wanted

    def _tell(self, name: str, own: str, otherwise: Any) -> None:
        function = self._resources_allocation_function
        if getattr(function, name, None):
            return
        try:
            setattr(function, name, getattr(self._base_scheduler, own, otherwise))
        except AttributeError:  # of a bound method: it has no place for them
            pass

    def debug_string(self) -> str:
        """Text on the state of the base scheduler."""
        return f"(ResourceChangingScheduler) {self._base_scheduler.debug_string()}"

    def __getstate__(self) -> Any:
        waiting = {t.trial_id: wanted for t, wanted in self._trials_to_reallocate.items()}
        return self.__dict__ | {
            "_metric": self._metric,
            "_trials_to_reallocate": {},
            "_ids_to_reallocate": self._ids_to_reallocate | waiting,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def save(self, checkpoint_path: str) -> None:
        """Write the state to a file, replacing it in one step: JSON, what the base wrote included.

        The function is code and stays out of it.

        Raises:
            TypeError: A trial id, or an argument of a PlacementGroupFactory, has no JSON form.
        """
        waiting = {t.trial_id: wanted for t, wanted in self._trials_to_reallocate.items()}
        base = self._base_trial_resources
        text = json.dumps(
            {
                "scheduler": type(self).__name__,
                "base_scheduler": type(self._base_scheduler).__name__,
                "base": _saved_by(self._base_scheduler),
                "base_trial_resources": None if base is None else _as_json(base),
                "waiting": [
                    [trial, _as_json(wanted)]
                    for trial, wanted in (self._ids_to_reallocate | waiting).items()
                ],
                "reallocated": sorted(self._reallocated_trial_ids, key=str),
                "paused": sorted(self._ids_to_resume, key=str),
            }
        )
        write_state(checkpoint_path, text)

    def restore(self, checkpoint_path: str) -> None:
        """Take over the state that was saved; the base scheduler must be of the same class.

        Raises:
            ValueError: The file is not the saved state of a scheduler of this class over such
                a base scheduler. The scheduler is then as it was.
        """
        wrong = f"{checkpoint_path}: this is not the saved state of a {type(self).__name__}"
        try:
            with open(checkpoint_path, encoding="utf-8") as f:
                state = json.load(f)
            found = (state["scheduler"], state["base_scheduler"])
            base = state["base_trial_resources"]
            base = None if base is None else _from_json(base)
            waiting = {trial: _from_json(wanted) for trial, wanted in state["waiting"]}
            reallocated = set(state["reallocated"])
            paused = set(state["paused"])
            saved = state["base"]
        except (ValueError, TypeError, KeyError, IndexError) as e:
            raise ValueError(f"{wrong}: {e}") from None
        if found != (type(self).__name__, type(self._base_scheduler).__name__):
            raise ValueError(f"{wrong} over a {type(self._base_scheduler).__name__}: it is {found}")
        _restored(self._base_scheduler, saved)
        self._base_trial_resources = base
        self._trials_to_reallocate = {}
        self._ids_to_reallocate = waiting
        self._reallocated_trial_ids = reallocated
        self._ids_to_resume = paused


def _as_json(resources: PlacementGroupFactory) -> list[Any]:
    bundles: list[Bundle] = [{}] if resources.head_bundle_is_empty else []
    return [bundles + resources.bundles, resources.strategy, resources._args, resources._kwargs]


def _from_json(saved: Any) -> PlacementGroupFactory:
    bundles, strategy, args, kwargs = saved
    return PlacementGroupFactory(bundles, strategy, *args, **kwargs)


def _saved_by(scheduler: Any) -> str | None:
    """What a scheduler writes into a file; None for one that has no state to save."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "state")
        try:
            scheduler.save(path)
        except NotImplementedError:
            return None
        with open(path, encoding="utf-8") as f:
            return f.read()


def _restored(scheduler: Any, saved: str | None) -> None:
    if saved is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "state")
        with open(path, "w", encoding="utf-8") as f:
            f.write(saved)
        scheduler.restore(path)
