"""What a Tuner found: one Result per trial."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ctune._result import Result, local_filesystem
from ctune.experiment.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

    from ctune.analysis.experiment_analysis import ExperimentAnalysis

__all__ = ["ResultGrid"]


class ResultGrid:
    """The results of a Tuner's trials, a sequence of Result.

    Args:
        experiment_analysis: The trials.
    """

    def __init__(self, experiment_analysis: ExperimentAnalysis) -> None:
        self._analysis = experiment_analysis
        self._results: dict[int, Result] = {}

    @property
    def experiment_path(self) -> str:
        """Directory of the experiment."""
        return self._analysis.experiment_path

    @property
    def filesystem(self) -> Any:
        """The file system of `experiment_path`. Needs pyarrow."""
        return local_filesystem()

    @property
    def errors(self) -> list[BaseException]:
        """What the failed trials raised."""
        return [result.error for result in self if result.error is not None]

    @property
    def num_errors(self) -> int:
        """How many trials failed."""
        return sum(trial.status == Trial.ERROR for trial in self._analysis.trials)

    @property
    def num_terminated(self) -> int:
        """How many trials ended well."""
        return sum(trial.status == Trial.TERMINATED for trial in self._analysis.trials)

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Result:
        """Returns the result of the best trial.

        With a single trial it is that one, without further questions.

        Args:
            metric: Result key, nested ones as "a/b"; default: that of TuneConfig.
            mode: "max" or "min"; default: that of TuneConfig.
            scope: Which value of a trial counts: "last", "all" (its best), "avg",
                "last-5-avg" or "last-10-avg".
            filter_nan_and_inf: Whether trials with such values are left out.

        Raises:
            ValueError: One of these is missing or unknown.
            RuntimeError: No trial has a value of the metric.
        """
        trials = self._analysis.trials
        if len(trials) == 1:
            return self[0]
        for name, given, known in (
            ("metric", metric, self._analysis.default_metric),
            ("mode", mode, self._analysis.default_mode),
        ):
            if not given and not known:
                raise ValueError(
                    f"{name}: get_best_result() needs it, as TuneConfig({name}=...) was not given."
                )
        best = self._analysis.get_best_trial(metric, mode, scope, filter_nan_and_inf)
        if best is None:
            raise RuntimeError(
                f"metric: no trial has a value of {metric or self._analysis.default_metric!r}"
                + (
                    " that is a finite number; filter_nan_and_inf=False takes others too."
                    if filter_nan_and_inf
                    else "."
                )
            )
        return self[trials.index(best)]

    def get_dataframe(
        self, filter_metric: str | None = None, filter_mode: str | None = None
    ) -> pd.DataFrame:
        """Returns one row per trial, with its configuration. Needs pandas.

        Args:
            filter_metric: With `filter_mode`: each trial's row is its best one by this
                metric. Otherwise its last one.
            filter_mode: "max" or "min".

        Raises:
            ValueError: `filter_mode` is something else, or is given alone.
        """
        return self._analysis.dataframe(filter_metric, filter_mode)

    def __len__(self) -> int:
        return len(self._analysis.trials)

    def __getitem__(self, i: int) -> Result:
        trial = self._analysis.trials[i]
        place = range(len(self))[i]
        if place not in self._results:
            self._results[place] = Result._of_trial(
                trial, lambda: self._analysis.trial_dataframes[trial.trial_id]
            )
        return self._results[place]

    def __iter__(self) -> Iterator[Result]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        results = ",\n".join(textwrap.indent(repr(result), "  ") for result in self)
        return f"ResultGrid<[\n{results}\n]>"
