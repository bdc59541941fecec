"""Experiments in virtual time: the real controller, workers that exist in numbers only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ctune import _ctune
from ctune._plan import Plan, make_simulation_plan
from ctune._run import execute_simulation
from ctune.analysis.experiment_analysis import ExperimentAnalysis
from ctune.experiment.experiment import at_least, integer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ctune.schedulers import TrialScheduler
    from ctune.search import SearchAlgorithm, Searcher

__all__ = ["Simulated", "simulate"]

_FOLDER = "/simulated"  # stands in names only: nothing is written


class Simulated(ExperimentAnalysis):
    """What a simulation found: an ExperimentAnalysis that also knows what happened when.

    Attributes:
        makespan: Virtual seconds from the start to the last event.
        trace: Structured array, one row per event in order of time, with the fields
            `time` (virtual seconds), `kind` (an index into `kinds`), `trial` (its number),
            `iteration` (of a result; else 0) and `value` (of the first metric, of a result;
            else NaN). None if it was not kept.
        kinds: Names of the kinds, "RESULT" and "TRIAL_STARTED" among them.
    """

    makespan: float
    trace: npt.NDArray[np.void] | None
    kinds: tuple[str, ...] = _ctune.NOTE_KINDS

    def events(self, kind: str) -> npt.NDArray[np.void]:
        """The rows of the trace of one kind.

        Raises:
            ValueError: There is no such kind, or no trace.
        """
        if kind not in self.kinds:
            raise ValueError(f"kind must be one of {', '.join(self.kinds)}, got {kind!r}")
        if self.trace is None:
            raise ValueError("there is no trace: simulate(..., trace=True) keeps one")
        found: npt.NDArray[np.void] = self.trace[self.trace["kind"] == self.kinds.index(kind)]
        return found


def simulate(
    objective: npt.ArrayLike | Callable[[dict[str, Any], int], Any],
    *,
    scheduler: TrialScheduler | str | None = None,
    searcher: Searcher | SearchAlgorithm | str | None = None,
    config: dict[str, Any] | None = None,
    num_samples: int = 1,
    metric: str = "loss",
    mode: str = "min",
    metrics: tuple[str, ...] | None = None,
    epochs: int | None = None,
    num_workers: int = 1,
    durations: float | npt.ArrayLike = 1.0,
    straggler_std: float = 0.0,
    failures: float = 0.0,
    max_failures: int = -1,
    start_s: float = 0.0,
    save_s: float = 0.0,
    stop: Any = None,
    reuse_workers: bool = False,
    seed: int = 0,
    trace: bool = True,
) -> Simulated:
    """Runs an experiment in virtual time and returns what happened.

    The controller, the scheduler and the searcher are those of `run()`; only the workers and
    the clock are not real. With a table of curves and native policies all of it happens in C
    without the GIL. The same arguments and seed give the same experiment.

    Args:
        objective: Learning curves, float[configurations, epochs] or float[configurations,
            epochs, metrics]; or a function of the config and the epoch (from 1) that returns
            a number, or a dict of metrics.
        scheduler: Stops and pauses trials early; default: lets all run to their end.
        searcher: Suggests configurations; default: grid and random search.
        config: The search space. With curves its `"index"` is the row that a trial follows;
            default: each row once. With a function it must be given.
        num_samples: How often the space is sampled.
        metric, mode: What is optimised, and "min" or "max".
        metrics: Names of the metrics in a three-dimensional table; default: `metric` alone.
        epochs: After so many a trial is done. Default: those of the table.
        num_workers: How many trials run at the same time.
        durations: Seconds of an epoch: a number, or with curves float[configurations] or
            float[configurations, epochs].
        straggler_std: Standard deviation s of the noise by which work takes longer: each
            time a trial starts or goes on after a pause, its epochs take 1 + |z| times as
            long, z normal with mean 0 and deviation s (Li et al., "A System for Massively
            Parallel Hyperparameter Tuning", appendix A.1).
        failures: Probability that a worker is lost in a second of virtual time. A lost trial
            starts again from its latest checkpoint.
        max_failures: How often a trial may be lost; -1: without limit.
        start_s, save_s: Seconds to start a worker, and to save before a pause.
        stop: Stop conditions as for `run()`.
        reuse_workers: Whether a worker serves one trial after the other.
        seed: Of stragglers and failures. Configurations are drawn by the searcher.
        trace: Whether to keep the trace.

    Raises:
        ValueError, TypeError: An argument is wrong; the message begins with its name.
        TuneError: The scheduler lets no trial run although some wait; or a scheduler,
            searcher or the function raised an error.

    Example:
        >>> import numpy as np
        >>> curves = 1 / np.arange(1, 28) + np.linspace(0, 1, 100)[:, None]
        >>> found = simulate(curves, scheduler="hyperband", num_workers=4)
        >>> found.best_config
        {'index': 0}
    """
    table = _Table(objective, metric, metrics, epochs, durations)
    simulation = table.simulation(
        spread=_number("straggler_std", straggler_std),
        loss=_number("failures", failures, below=1.0),
        start_s=_number("start_s", start_s),
        save_s=_number("save_s", save_s),
        seed=integer("seed", seed) % 2**64,
        trace=trace,
    )
    plan = _plan(
        simulation,
        scheduler=scheduler,
        searcher=searcher,
        config=table.config(config),
        num_samples=num_samples,
        metric=metric,
        mode=mode,
        num_workers=num_workers,
        max_failures=max_failures,
        stop=stop,
        reuse_workers=reuse_workers,
    )
    driver = execute_simulation(plan)
    found = Simulated(
        plan.experiment_dir, trials=driver.trials, default_metric=metric, default_mode=mode
    )
    found.trace = _trace(simulation) if trace else None
    found.makespan = driver.virtual_time
    return found


def _number(parameter: str, value: Any, below: float = float("inf")) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{parameter}: must be a number, got {value!r:.80}.")
    if not 0 <= value < below:
        least = "0 or more" if below == float("inf") else f"from 0 to below {below:g}"
        raise ValueError(f"{parameter}: must be {least}, got {value!r}.")
    return float(value)


class _Table:
    """What trials report and how long it takes, checked.

    Raises:
        ValueError, TypeError: An argument is wrong; the message begins with its name.
    """

    def __init__(
        self, objective: Any, metric: str, metrics: Any, epochs: int | None, durations: Any
    ) -> None:
        self.curves: Any = None
        self.function: Any = None
        if not isinstance(metric, str) or not metric:
            raise TypeError(f"metric: must be a result key, got {metric!r:.80}.")
        names = (metric,) if metrics is None else tuple(metrics)
        if callable(objective):
            if epochs is None:
                raise ValueError("epochs: a function needs a number of epochs, got None.")
            self.function = _of_dicts(objective, metric)
            self.rows, self.epochs = 1, at_least("epochs", epochs, 1)
        else:
            self._take_curves(objective, names, epochs)
        if self.curves is not None and metric not in names:
            raise ValueError(f"metric: {metric!r} is none of the metrics {names}.")
        self.names = names
        self._take_durations(durations)

    def _take_curves(self, objective: Any, names: tuple[str, ...], epochs: int | None) -> None:
        import numpy as np

        try:
            curves = np.ascontiguousarray(objective, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                f"objective: must be a function or an array of numbers, got {objective!r:.80}."
            ) from None
        if curves.ndim == 2 and len(names) == 1:
            curves = curves[:, :, None]
        if curves.ndim != 3 or curves.size == 0 or curves.shape[2] != len(names):
            raise ValueError(
                "objective: must have the shape (configurations, epochs) or (configurations, "
                f"epochs, {len(names)}), one plane for each of the metrics {names}, got "
                f"{curves.shape}."
            )
        if epochs is not None:
            at_least("epochs", epochs, 1)
            if epochs > curves.shape[1]:
                raise ValueError(
                    f"epochs: is {epochs}, but the curves have only {curves.shape[1]}."
                )
            curves = np.ascontiguousarray(curves[:, :epochs])
        self.curves = curves
        self.rows, self.epochs = int(curves.shape[0]), int(curves.shape[1])

    def _take_durations(self, durations: Any) -> None:
        self.seconds: Any = None
        self.second = 0.0
        if isinstance(durations, (int, float)) and not isinstance(durations, bool):
            self.second = _number("durations", durations)
            return
        import numpy as np

        if self.curves is None:
            raise TypeError(
                f"durations: with a function it must be a number, got {durations!r:.80}."
            )
        table = np.asarray(durations, dtype=np.float64)
        if table.ndim == 1:
            table = table[:, None]
        try:
            table = np.broadcast_to(table, (self.rows, self.epochs))
        except ValueError:
            raise ValueError(
                f"durations: must have the shape ({self.rows},) or ({self.rows}, "
                f"{self.epochs}), got {np.shape(durations)}."
            ) from None
        if not (table >= 0).all() or np.isinf(table).any():
            raise ValueError("durations: must be 0 or more and finite.")
        self.seconds = np.ascontiguousarray(table)

    def config(self, config: dict[str, Any] | None) -> dict[str, Any]:
        if config is not None:
            return config
        if self.curves is None:
            raise ValueError("config: with a function there must be a search space, got None.")
        return {"index": {"grid_search": list(range(self.rows))}}

    def simulation(self, **options: Any) -> _ctune.Simulation:
        return _ctune.Simulation(
            curves=self.curves,
            seconds=self.seconds,
            function=self.function,
            metrics=self.names,
            rows=self.rows,
            epochs=self.epochs,
            second=self.second,
            **options,
        )


def _of_dicts(function: Callable[[dict[str, Any], int], Any], metric: str) -> Any:
    """The same function, which returns a dict in any case."""

    def call(config: dict[str, Any], epoch: int) -> dict[str, Any]:
        said = function(config, epoch)
        if isinstance(said, dict):
            return said
        try:
            return {metric: float(said)}
        except (TypeError, ValueError):
            raise TypeError(
                f"objective: must return a number or a dict of metrics, got {said!r:.80}"
            ) from None

    return call


def _plan(
    simulation: _ctune.Simulation,
    *,
    scheduler: Any,
    searcher: Any,
    config: dict[str, Any],
    num_samples: int,
    metric: str,
    mode: str,
    num_workers: int,
    max_failures: int,
    stop: Any,
    reuse_workers: bool,
) -> Plan:
    return make_simulation_plan(
        simulation,
        name="simulation",
        directory=f"{_FOLDER}/simulation",
        scheduler=scheduler,
        search_alg=searcher,
        config=config,
        num_samples=num_samples,
        metric=metric,
        mode=mode,
        num_workers=at_least("num_workers", num_workers, 1),
        max_failures=integer("max_failures", max_failures),
        stop=stop,
        reuse_actors=bool(reuse_workers),
    )


def _trace(simulation: _ctune.Simulation) -> npt.NDArray[np.void]:
    import numpy as np

    row = np.dtype(
        [
            ("time", "f8"),
            ("value", "f8"),
            ("trial", "u4"),
            ("iteration", "u4"),
            ("kind", "u4"),
            ("unused", "u4"),
        ]
    )
    return np.frombuffer(simulation.trace(), row)[["time", "kind", "trial", "iteration", "value"]]
