"""MLflow: a logger, and a function that starts a run in a trial."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ctune.air.integrations._trial import current_trial
from ctune.logger._background import Background, Target, settled
from ctune.logger.logger import LoggerCallback
from ctune.result import TIMESTEPS_TOTAL, TRAINING_ITERATION
from ctune.utils.util import flatten_dict

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial

__all__ = ["MLflowLoggerCallback", "setup_mlflow"]

logger = logging.getLogger("ctune")

_INSTALL = 'MLflow is needed: pip install "ctune[mlflow]"'
# The most that a server takes at once.
_METRICS = 1000
_PARAMS = 100


class MLflowLoggerCallback(LoggerCallback):
    """Logs each trial as a run of MLflow: config as parameters, numbers as metrics.

    A thread of its own talks to MLflow; the end of the run waits for it. What MLflow refuses
    is logged as an error; the run goes on.

    Args:
        tracking_uri: Where MLflow keeps its runs, such as "sqlite:///mlflow.db" or the
            address of a server; None: what MLflow itself would take. It becomes MLflow's own
            for this process, so that it finds the runs afterwards.
        registry_uri: The same for its model registry.
        experiment_name: The experiment, which is made if it is missing. None: the
            environment's, MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME.
        tags: Text -> text, for every run. `trial_name` is added.
        tracking_token: Sets MLFLOW_TRACKING_TOKEN.
        save_artifact: Whether the files of a trial's directory are stored when it ends.

    Raises:
        ImportError: MLflow is missing.
        ValueError: There is no experiment; when the run begins.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        registry_uri: str | None = None,
        experiment_name: str | None = None,
        tags: dict[str, Any] | None = None,
        tracking_token: str | None = None,
        save_artifact: bool = False,
    ) -> None:
        if importlib.util.find_spec("mlflow") is None:
            raise ImportError(_INSTALL)
        self.tracking_uri = tracking_uri
        self.registry_uri = registry_uri
        self.experiment_name = experiment_name
        self.tags = tags
        self.tracking_token = tracking_token
        self.should_save_artifact = save_artifact
        self._runs: Background | None = None

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Finds the experiment, or makes it.

        Raises:
            ValueError: It is not said which.
        """
        experiment = _experiment(
            self.tracking_uri,
            self.registry_uri,
            None,
            self.experiment_name,
            self.tracking_token,
            None,
            create=True,
        )
        self.tags = dict(self.tags or {})
        runs = _Runs(experiment)
        self._runs = Background("MLflow's runs", lambda: runs)

    def log_trial_start(self, trial: Trial) -> None:
        """Starts the trial's run, unless it has one, and logs its config."""
        tags = {**(self.tags or {}), "trial_name": str(trial)}
        self._send("start", trial.trial_id, str(trial), tags, settled(trial.config))

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Logs the numbers of a result, and texts that spell one."""
        self._send("result", trial.trial_id, time.time(), settled(result))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Ends the trial's run as FINISHED or FAILED."""
        folder = trial.local_path if self.should_save_artifact else None
        self._send("end", trial.trial_id, "FAILED" if failed else "FINISHED", folder)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Waits until everything is logged."""
        if self._runs is not None:
            self._runs.end()

    def _send(self, method: str, *arguments: Any) -> None:
        if self._runs is None:
            raise RuntimeError("MLflowLoggerCallback: setup() must be called before.")
        self._runs.send(method, *arguments)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_runs": None}


class _Runs(Target):
    """The runs of trials. Metrics are gathered and sent many at once."""

    def __init__(self, experiment_id: str) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        self._experiment_id = experiment_id
        self._ids: dict[str, str] = {}
        self._logged: dict[str, dict[str, str]] = {}  # parameters, which cannot be changed
        self._metrics: dict[str, list[Any]] = {}

    def start(self, trial: str, name: str, tags: dict[str, Any], config: dict[str, Any]) -> None:
        from mlflow.entities import Param

        if trial not in self._ids:
            run = self._client.create_run(self._experiment_id, run_name=name, tags=tags)
            self._ids[trial] = run.info.run_id
            self._logged[trial] = {}
            self._metrics[trial] = []
        logged = self._logged[trial]
        params = {k: str(v) for k, v in flatten_dict(config).items() if k not in logged}
        logged.update(params)
        every = [Param(key, value) for key, value in params.items()]
        for part in _parts(every, _PARAMS):
            self._client.log_batch(self._ids[trial], params=part)

    def result(self, trial: str, at: float, result: dict[str, Any]) -> None:
        from mlflow.entities import Metric

        step = int(result.get(TIMESTEPS_TOTAL) or result[TRAINING_ITERATION])
        metrics = self._metrics[trial]
        for key, value in flatten_dict(result).items():
            try:
                metrics.append(Metric(key, float(value), int(at * 1000), step))
            except (TypeError, ValueError):
                continue

    def flush(self) -> None:
        for trial in self._metrics:
            self._flush(trial)

    def _flush(self, trial: str) -> None:
        metrics = self._metrics[trial]
        if not metrics:
            return
        self._metrics[trial] = []
        for part in _parts(metrics, _METRICS):
            self._log(self._ids[trial], part)

    def _log(self, run_id: str, metrics: Sequence[Any]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_batch(run_id, metrics=metrics)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE" or len(metrics) == 1:
                raise
            # One bad name refuses them all: find it.
            half = len(metrics) // 2
            try:
                self._log(run_id, metrics[:half])
            finally:
                self._log(run_id, metrics[half:])

    def end(self, trial: str, status: str, folder: str | None) -> None:
        try:
            self._flush(trial)
            if folder is not None:
                self._client.log_artifacts(self._ids[trial], folder)
        finally:
            self._client.set_terminated(self._ids[trial], status=status)
            del self._ids[trial], self._metrics[trial], self._logged[trial]

    def close(self) -> None:
        for trial in list(self._ids):  # of an experiment that was interrupted
            self.end(trial, "KILLED", None)


def _parts(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]


def _experiment(
    tracking_uri: str | None,
    registry_uri: str | None,
    experiment_id: str | None,
    experiment_name: str | None,
    tracking_token: str | None,
    artifact_location: str | None,
    create: bool,
) -> str:
    """The id of the experiment, by id or else by name.

    Raises:
        ValueError: There is none.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    if tracking_token:
        os.environ["MLFLOW_TRACKING_TOKEN"] = tracking_token
    if tracking_uri is not None:
        mlflow.set_tracking_uri(tracking_uri)
    if registry_uri is not None:
        mlflow.set_registry_uri(registry_uri)
    client = MlflowClient()
    experiment_id = experiment_id or os.environ.get("MLFLOW_EXPERIMENT_ID")
    if experiment_id is not None:
        try:
            return str(client.get_experiment(experiment_id).experiment_id)
        except MlflowException:
            logger.debug("MLflow has no experiment of the id %s.", experiment_id)
    name = experiment_name or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    found = client.get_experiment_by_name(name) if name else None
    if found is not None:
        return str(found.experiment_id)
    if name and create:
        return str(client.create_experiment(name, artifact_location=artifact_location))
    raise ValueError(
        f"experiment_name: MLflow has no experiment of the id {experiment_id!r} or the name "
        f"{name!r}. "
        + (
            "Give an experiment_name, to make one."
            if create
            else "Make it before, or give create_experiment_if_not_exists=True."
        )
    )


_ours: tuple[str | None, str] | None = None  # trial and run that setup_mlflow() started here


def setup_mlflow(
    config: dict[str, Any] | None = None,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    tracking_token: str | None = None,
    artifact_location: str | None = None,
    run_name: str | None = None,
    create_experiment_if_not_exists: bool = False,
    tags: dict[str, Any] | None = None,
    rank_zero_only: bool = True,
) -> Any:
    """Starts a run of MLflow in the trial that calls this, and makes it the active one.

    MLflow has one active run in a process. Trials that run inline share the process, so use
    `MLflowLoggerCallback` with them. A class trainable that is reused calls
    `mlflow.end_run()` in its `reset_config()` before.

    Args:
        config: Logged as the run's parameters.
        tracking_uri: Where MLflow keeps its runs; None: what MLflow itself would take.
        registry_uri: The same for its model registry.
        experiment_id: The experiment. Default: MLFLOW_EXPERIMENT_ID.
        experiment_name: The experiment, if there is none of that id. Default:
            MLFLOW_EXPERIMENT_NAME, else the trial's name.
        tracking_token: Sets MLFLOW_TRACKING_TOKEN.
        artifact_location: Where a new experiment keeps its files.
        run_name: Default: the experiment's name.
        create_experiment_if_not_exists: Whether an experiment of that name is made.
        tags: Text -> text.
        rank_zero_only: No effect: a trial is one process.

    Returns:
        The module `mlflow`.

    Raises:
        RuntimeError: MLflow is missing.
        ValueError: There is no such experiment.
    """
    global _ours
    try:
        import mlflow
    except ImportError:
        raise RuntimeError(_INSTALL) from None
    trial = current_trial()
    trial_id = trial.trial_id if trial else None
    experiment_name = experiment_name or (
        None if trial is None else os.environ.get("MLFLOW_EXPERIMENT_NAME") or trial.trial_name
    )
    experiment = _experiment(
        tracking_uri,
        registry_uri,
        experiment_id,
        experiment_name,
        tracking_token,
        artifact_location,
        create_experiment_if_not_exists,
    )
    active = mlflow.active_run()
    if active is not None and _ours is not None and _ours == (_ours[0], active.info.run_id):
        if _ours[0] != trial_id:  # the worker served another trial before
            mlflow.end_run()
            active = None
    if active is None:
        active = mlflow.start_run(
            run_name=run_name or experiment_name, experiment_id=experiment, tags=tags
        )
        _ours = trial_id, active.info.run_id
    params = flatten_dict(config or {})
    if params:
        mlflow.log_params(params)
    return mlflow
