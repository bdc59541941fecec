"""The results of all trials of an experiment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

from ctune._result import Result
from ctune.analysis.experiment_analysis import ExperimentAnalysis
from ctune.experiment.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ResultGrid"]


class ResultGrid:
    """The results of an experiment: a sequence of `Result`, one for each trial.

    A trial that did not end has its latest result and checkpoint. Results are made, and files
    read, when they are first asked for.

    Args:
        experiment_analysis: The experiment.
    """

    def __init__(self, experiment_analysis: ExperimentAnalysis) -> None:
        self._experiment_analysis = experiment_analysis
        self._results: dict[int, Result] = {}

    def _result(self, place: int) -> Result:
        if place not in self._results:
            analysis = self._experiment_analysis
            trial = analysis.trials[place]
            self._results[place] = Result.of_trial(
                trial, lambda: analysis.trial_dataframes[trial.trial_id]
            )
        return self._results[place]

    @property
    def experiment_path(self) -> str:
        """Directory of the experiment."""
        return self._experiment_analysis.experiment_path

    @property
    def filesystem(self) -> Any:
        """The file system of `experiment_path` as pyarrow knows it. Needs pyarrow."""
        return self._experiment_analysis.filesystem

    @property
    def errors(self) -> list[BaseException]:
        """The exceptions of trials that have one."""
        return [result.error for result in self if result.error is not None]

    @property
    def num_errors(self) -> int:
        """How many trials failed."""
        return self._count(Trial.ERROR)

    @property
    def num_terminated(self) -> int:
        """How many trials ended well."""
        return self._count(Trial.TERMINATED)

    def _count(self, status: str) -> int:
        return sum(trial.status == status for trial in self._experiment_analysis.trials)

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Result:
        """Returns the result of the best trial; a single trial is the best one.

        Args:
            metric, mode, scope, filter_nan_and_inf: See
                `ExperimentAnalysis.get_best_trial()`.

        Raises:
            ValueError: Metric or mode is missing, or one of these is unknown.
            RuntimeError: No trial has a value of the metric that counts.
        """
        analysis = self._experiment_analysis
        best = analysis.get_best_trial(metric, mode, scope, filter_nan_and_inf)
        if best is None:
            filtered = " that is a finite number" if filter_nan_and_inf else ""
            remedy = "; filter_nan_and_inf=False lets others count" if filter_nan_and_inf else ""
            raise RuntimeError(
                f"metric: no trial has a value of {metric or analysis.default_metric!r}"
                f"{filtered}. Check its spelling{remedy}."
            )
        return self._result(analysis.trials.index(best))

    def get_dataframe(
        self, filter_metric: str | None = None, filter_mode: str | None = None
    ) -> pd.DataFrame:
        """Returns one row per trial; see `ExperimentAnalysis.dataframe()`.

        Args:
            filter_metric, filter_mode: Of each trial the best row by them; default: its last.
        """
        return self._experiment_analysis.dataframe(metric=filter_metric, mode=filter_mode)

    def __len__(self) -> int:
        return len(self._experiment_analysis.trials)

    @overload
    def __getitem__(self, i: int) -> Result: ...
    @overload
    def __getitem__(self, i: slice) -> list[Result]: ...
    def __getitem__(self, i: int | slice) -> Result | list[Result]:
        places = range(len(self))[i]
        return self._result(places) if isinstance(places, int) else list(map(self._result, places))

    def __iter__(self) -> Iterator[Result]:
        return map(self._result, range(len(self)))

    def __repr__(self) -> str:
        inner = ",\n".join(result._repr(indent=2) for result in self)
        return f"ResultGrid<[\n{inner}\n]>"
