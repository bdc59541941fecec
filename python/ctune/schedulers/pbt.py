"""Population-based training, and the replay of what it found."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ctune import _ctune
from ctune._checkpoint import Checkpoint
from ctune._encode import json_text
from ctune.error import TuneError
from ctune.result import TRAINING_ITERATION
from ctune.schedulers._native import NativeScheduler
from ctune.search.sample import Domain, Function

if TYPE_CHECKING:
    from ctune.experiment.trial import Trial

__all__ = ["PopulationBasedTraining", "PopulationBasedTrainingReplay"]

logger = logging.getLogger("ctune")

# Directory, ids of the trial and of the one it goes on from, line: of an exploit.
_Told = tuple[str, str, str, str]
# Where a replay keeps what it tells of exploits, in this thread; None: there is none.
REPLAYED: ContextVar[list[_Told] | None] = ContextVar("REPLAYED", default=None)

GLOBAL_LOG = "pbt_global.txt"
_POLICY_LOG = "pbt_policy_{}.txt"

# Options that a state on disk does not hold: they may be code.
_NOT_SAVED = ("hyperparam_mutations", "custom_explore_fn")
_OPTIONS = (
    "time_attr",
    "metric",
    "mode",
    "perturbation_interval",
    "burn_in_period",
    "hyperparam_mutations",
    "quantile_fraction",
    "resample_probability",
    "perturbation_factors",
    "custom_explore_fn",
    "log_config",
    "require_attrs",
    "synch",
)


class PopulationBasedTraining(_ctune.PopulationBasedTraining, NativeScheduler):
    """Let bad trials go on from good ones, with hyperparameters that are a little different.

    Each `perturbation_interval` of training a trial takes its turn. If it is among the best
    `quantile_fraction` of the trials, it saves a checkpoint. If it is among the worst, it
    pauses, and goes on from the checkpoint of one of the best, drawn at random (exploit),
    with that one's config, each mutated hyperparameter of which is drawn anew or changed a
    little (explore). Trials that are more than the machine can run take turns: a trial
    pauses at its turn while others wait, and the one that has trained least goes on.

    A trial whose score is NaN is neither among the best nor among the worst. A checkpoint
    that may still be exploited is kept, whatever `num_to_keep` says.

    A decision costs O(log n) in the number n of trials; with `synch`, O(n log n) once per
    round.

    Args:
        time_attr: Result key that measures progress and only grows.
        metric, mode: Result key to compare, and "min" or "max". Default: those given to
            `run()`.
        perturbation_interval: Progress, in units of `time_attr`, between two turns of a
            trial. Above 0.
        burn_in_period: Progress before which a trial takes no turn.
        hyperparam_mutations: Key of the config -> what it may become: a list or tuple (a
            neighbour, or any), a domain such as `tune.uniform(0, 1)` or a function without
            arguments (scaled by a factor, or drawn anew), or a dict of these for a nested
            config. A key that a trial's config lacks is drawn when the trial is added.
            `tune.choice` counts as a domain of numbers; give a list for categories.
        quantile_fraction: Share of the trials that are best, and that are worst: 0 to 0.5.
            At 0 all trials save, and none exploits.
        resample_probability: Of drawing a hyperparameter anew.
        perturbation_factors: Otherwise one of these factors is drawn to multiply with.
        custom_explore_fn: Called with the new config after that; returns the config to use.
        log_config: Whether each exploit is written to `pbt_global.txt` and
            `pbt_policy_<trial id>.txt` in the experiment's directory, as JSON: tags of the
            trial and of the one it goes on from, their iterations, the latter's config and
            the new one. `PopulationBasedTrainingReplay` reads them.
        require_attrs: Whether a result without `time_attr` or `metric` is an error;
            otherwise it decides nothing.
        synch: Whether all trials wait for each other and take their turns together.

    Raises:
        ValueError: A parameter is out of range. The message names it, its value and the
            remedy. `on_trial_add` raises it while metric or mode are unknown, or with a
            search algorithm that makes configs itself.
        TypeError: A parameter has the wrong type.
        TuneError: Neither `hyperparam_mutations` nor `custom_explore_fn` is given.
        RuntimeError: From `on_trial_result`, see `require_attrs`.

    Source: Jaderberg et al., "Population Based Training of Neural Networks", 2017
    (arXiv:1711.09846); `synch` is its appendix A.1.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        burn_in_period: float = 0.0,
        hyperparam_mutations: dict[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: Sequence[float] = (1.2, 0.8),
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
    ) -> None:
        mutations = hyperparam_mutations or {}
        if isinstance(mutations, dict):
            _check_mutations(mutations, "hyperparam_mutations")
        if not mutations and not custom_explore_fn:
            raise TuneError(
                "hyperparam_mutations and custom_explore_fn: give at least one of them, else no "
                f"hyperparameter ever changes; got {hyperparam_mutations!r} and None."
            )
        super().__init__(
            time_attr,
            metric,
            mode,
            perturbation_interval,
            burn_in_period,
            mutations,
            quantile_fraction,
            resample_probability,
            perturbation_factors,
            custom_explore_fn,
            log_config,
            require_attrs,
            synch,
        )

    # What the engine has said and done.

    def _describe_exploit(
        self,
        trial: Trial,
        trial_to_clone: Trial,
        score: float,
        clone_score: float,
        new_config: dict[str, Any],
        operations: dict[str, Any],
        tag: str,
        clone_tag: str,
    ) -> tuple[str, str | None]:
        """Logs an exploit; returns the trial's new tag, and the line for the policy files."""
        mutations = self._hyperparam_mutations
        if logger.isEnabledFor(logging.INFO):
            changes = _changes(
                _mutated(trial_to_clone.config, mutations),
                _mutated(new_config, mutations),
                operations,
            )
            logger.info(
                "%s: trial %s (score %f) goes on from trial %s (score %f).\n%s",
                type(self).__name__,
                trial.trial_id,
                score,
                trial_to_clone.trial_id,
                clone_score,
                changes or "No hyperparameters mutated.",
            )
        line = None
        if self._log_config:
            line = json_text(
                [
                    tag,
                    clone_tag,
                    trial.last_result.get(TRAINING_ITERATION, 0),
                    trial_to_clone.last_result.get(TRAINING_ITERATION, 0),
                    trial_to_clone.config,
                    new_config,
                ]
            )
        return _ctune.perturbed_tag(tag, new_config, mutations), line

    def _log_exploit(self, trial: Trial, trial_to_clone: Trial, line: str) -> None:
        """Writes the policy files; the trial's own begins with that of the other."""
        folder = trial.local_experiment_path
        if folder is None or not os.path.isdir(folder):
            return  # a simulation keeps no files
        told = REPLAYED.get()
        if told is not None:
            told.append((folder, trial.trial_id, trial_to_clone.trial_id, line))
            return
        text = f"{line}\n".encode()
        with open(os.path.join(folder, GLOBAL_LOG), "ab") as file:
            log = self._log_of(folder, file.tell())
            file.write(text)
        _add_line(log, trial.trial_id, trial_to_clone.trial_id, len(text))
        own = os.path.join(folder, _POLICY_LOG.format(trial.trial_id))
        other = os.path.join(folder, _POLICY_LOG.format(trial_to_clone.trial_id))
        if os.path.exists(other):
            shutil.copyfile(other, own)
        with open(own, "ab") as file:
            file.write(text)

    def _forget_logs(self) -> None:
        """Before a run: those of an earlier one do not matter."""
        self.__dict__.pop("_logs", None)

    def _log_of(self, folder: str, before: int) -> dict[str, Any]:
        """Returns what the run has logged in an experiment's directory.

        A snapshot of the run has it, too, so that the policy files can be made again.

        Args:
            folder: The directory, which may have moved since.
            before: Size of `pbt_global.txt` when the run began, in bytes.

        Returns:
            "size" of `pbt_global.txt`; "lines": trial id -> where in it the lines of the trial's
            policy file begin and end.
        """
        logs: dict[str, dict[str, Any]] = self.__dict__.setdefault("_logs", {})
        return logs.setdefault(os.path.basename(folder), {"size": before, "lines": {}})

    def _replayed(self, folders: Mapping[str, int], told: Iterable[_Told], ids: list[str]) -> None:
        """Makes the policy files what the journal says, after a replay.

        A line is written before its turn is in the journal, and a machine that lost power may
        have kept the one without the other.

        Args:
            folders: Directory of each experiment -> size of its `pbt_global.txt` when the run
                began.
            told: The exploits that the replay told of.
            ids: Of all trials.
        """
        for folder, before in folders.items() if self._log_config else ():
            log = self._log_of(folder, before)
            path = os.path.join(folder, GLOBAL_LOG)
            text = b""
            if os.path.exists(path):
                with open(path, "rb") as file:
                    text = file.read(log["size"])
            if len(text) < log["size"]:  # someone else has changed it
                continue
            for where, own, other, line in told:
                if where == folder:
                    text += f"{line}\n".encode()
                    _add_line(log, own, other, len(text) - log["size"])
            _rewrite(path, text)
            for trial_id in ids:
                lines = (text[start:end] for start, end in log["lines"].get(trial_id, ()))
                _rewrite(os.path.join(folder, _POLICY_LOG.format(trial_id)), b"".join(lines))

    def _skip_exploit(self, trial: Trial, trial_to_clone: Trial) -> None:
        logger.info(
            "%s: trial %s has no checkpoint, so trial %s goes on as it was.",
            type(self).__name__,
            trial_to_clone.trial_id,
            trial.trial_id,
        )

    def _warn_missing(self, parameter: str, key: str) -> None:
        logger.warning(
            "%s: a result lacks %r, which is %s; such results decide nothing.",
            type(self).__name__,
            key,
            parameter,
        )

    # State.

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return state | {"tags": self._tags, "saved": self._saved, "results": self._results}

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        self._tags, self._saved, self._results = (
            state.get(key, []) for key in ("tags", "saved", "results")
        )

    def _state_for_file(self) -> dict[str, Any]:
        state = super()._state_for_file()
        state["options"] = [
            None if name in _NOT_SAVED else value
            for name, value in zip(_OPTIONS, state["options"], strict=True)
        ]
        state["saved"] = [_path_of(saved) for saved in state["saved"]]
        return state

    def _state_from_file(self, state: Any) -> Any:
        options = state.get("options") if isinstance(state, dict) else None
        if isinstance(options, list) and len(options) == len(_OPTIONS):
            state["options"] = [
                getattr(self, f"_{name}") if name in _NOT_SAVED else value
                for name, value in zip(_OPTIONS, options, strict=True)
            ]
        if isinstance(state, dict) and isinstance(state.get("saved"), list):
            state["saved"] = [
                Checkpoint(saved["path"]) if isinstance(saved, dict) else saved
                for saved in state["saved"]
            ]
        return state


def _add_line(log: dict[str, Any], own: str, other: str, size: int) -> None:
    lines, at = log["lines"], log["size"]
    log["size"] = at + size
    lines[own] = [*(lines.get(other) or lines.get(own, [])), [at, at + size]]


def _rewrite(path: str, content: bytes) -> None:
    """Gives a file another content, whole or not at all; no file where there is none."""
    if not content:
        if os.path.exists(path):
            os.remove(path)
        return
    if os.path.exists(path):
        with open(path, "rb") as file:
            if file.read() == content:
                return
    aside = os.path.join(os.path.dirname(path), f".tmp-{os.path.basename(path)}")
    with open(aside, "wb") as file:
        file.write(content)
    os.replace(aside, path)


def _path_of(saved: Any) -> Any:
    """Returns a saved checkpoint in a form for JSON; waits for one that is being saved."""
    if hasattr(saved, "resolve"):
        result = saved.resolve()
        saved = result.checkpoint if result else None
    return {"path": saved.path} if isinstance(saved, Checkpoint) else saved


def _check_mutations(mutations: Mapping[str, Any], path: str) -> None:
    for key, value in mutations.items():
        place = f"{path}[{key!r}]"
        if isinstance(value, Function):
            raise ValueError(
                f"{place}: sample_from() cannot be used here; give the function itself, or a "
                "domain such as tune.uniform()."
            )
        if isinstance(value, dict):
            _check_mutations(value, place)
        elif isinstance(value, (list, tuple)):
            if not value:
                raise ValueError(f"{place}: must not be empty; list the values to choose from.")
        elif not isinstance(value, Domain) and not callable(value):
            raise TypeError(
                f"{place}: must be a list, tuple, dict, domain such as tune.uniform() or "
                f"callable, got {value!r}."
            )


def _mutated(config: Mapping[str, Any], mutations: Mapping[str, Any]) -> dict[str, Any]:
    """Returns that part of a config that mutates."""
    out = {}
    for key, value in config.items():
        if key in mutations:
            inner = mutations[key]
            out[key] = (
                _mutated(value, inner)
                if isinstance(value, dict) and isinstance(inner, dict)
                else value
            )
    return out


def _changes(
    old: Mapping[str, Any], new: Mapping[str, Any], operations: Mapping[str, Any], indent: str = ""
) -> str:
    """Returns a line for each hyperparameter: what it was, what was done, what it is."""
    lines = []
    for key, value in old.items():
        operation = operations.get(key)
        if isinstance(value, dict):
            inner = operation if isinstance(operation, dict) else {}
            lines.append(f"{indent}{key} :")
            lines.append(_changes(value, new.get(key, {}), inner, indent + " " * 4))
        else:
            arrow = f"--- ({operation}) -->" if operation else "----->"
            lines.append(f"{indent}{key} : {value} {arrow} {new.get(key)}")
    return "\n".join(lines)


class PopulationBasedTrainingReplay(_ctune.PopulationBasedTrainingReplay, NativeScheduler):
    """Train one trial with the schedule of configs that population-based training found.

    The trial starts with the schedule's first config. When it comes to an iteration at which
    the schedule changes, it saves, and goes on from there with the next config.

    Args:
        policy_file: Path of the `pbt_policy_<trial id>.txt` of the trial to repeat, as
            `PopulationBasedTraining` or Ray Tune wrote it. `~` stands for the home directory.

    Attributes:
        policy_file: That path.
        config: The config that the trial starts with.
        current_config: The config of now.

    Raises:
        ValueError: There is no such file, or it is not a policy file: the message names the
            line. `on_trial_add` raises it for a second trial, and when there is no config,
            neither in the file nor in the trial.
    """

    def __init__(self, policy_file: str | os.PathLike[str]) -> None:
        path = os.path.expanduser(policy_file)
        if not os.path.exists(path):
            raise ValueError(f"policy_file: {path} does not exist.")
        self.policy_file = path
        self.config, policy = _read_policy(path)
        self.experiment_tag = f"replay_{os.path.basename(path)}"
        self.current_config = self.config
        super().__init__(TRAINING_ITERATION, None, None, policy)

    def _first_config(self, trial: Trial) -> dict[str, Any] | None:
        if self._policy and trial.config:
            logger.warning(
                "%s: the config of trial %s is replaced by that of %s.",
                type(self).__name__,
                trial.trial_id,
                self.policy_file,
            )
        elif not self._policy and not trial.config:
            raise ValueError(
                f"policy_file: {self.policy_file} holds no exploit, and the trial has no config; "
                "give run() a config."
            )
        elif not self._policy:
            self.config = self.current_config = trial.config
        return self.config

    def _describe_change(self, trial: Trial, config: dict[str, Any]) -> str:
        logger.info("%s: from here on the config is %s.", type(self).__name__, config)
        self.current_config = config
        return _ctune.perturbed_tag(self.experiment_tag, config, config)


def _read_policy(path: str) -> tuple[dict[str, Any] | None, list[tuple[float, dict[str, Any]]]]:
    """Returns the first config, and (iteration, config) of each change.

    A file may begin with what other trials did: only the end of it, in which each line begins
    with the trial that the line before came to, is the schedule.
    """
    with open(path) as f:
        rows = [_read_row(path, number, line) for number, line in enumerate(f, 1)]
    changes: list[tuple[float, dict[str, Any]]] = []
    first = source = None
    for target, clone, _, step, old, new in reversed(rows):
        if source and target != source:
            break
        source, first = clone, old
        changes.append((step, new))
    return first, changes[::-1]


def _read_row(path: str, number: int, line: str) -> list[Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(
            f"policy_file: line {number} of {path} is not JSON ({error}); is the file cut, or "
            "another one?"
        ) from None
    if (
        not isinstance(row, list)
        or len(row) != 6
        or not isinstance(row[3], (int, float))
        or not isinstance(row[4], dict)
        or not isinstance(row[5], dict)
    ):
        raise ValueError(
            f"policy_file: line {number} of {path} is not a line of a policy file: two tags, two "
            "iterations and two configs."
        )
    return row
