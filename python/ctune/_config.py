"""Settings that are handed to run() as objects."""

from __future__ import annotations

import enum
import numbers
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from ctune._encode import brief

if TYPE_CHECKING:
    from ctune.callback import Callback
    from ctune.experiment.trial import Trial
    from ctune.schedulers import TrialScheduler
    from ctune.search import SearchAlgorithm, Searcher

__all__ = [
    "CheckpointConfig",
    "FailureConfig",
    "ResumeConfig",
    "RunConfig",
    "SyncConfig",
    "TuneConfig",
]

MAX = "max"
MIN = "min"


class _Config:
    """Base of configuration objects that run() accepts as `config`."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the configuration as a dict."""
        raise NotImplementedError(
            f"{type(self).__name__}.to_dict() is missing: it returns the configuration as a dict."
        )


class _NonDefaultRepr:
    """Shows only what differs from the defaults."""

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)  # type: ignore[arg-type]
            if f.repr and getattr(self, f.name) != _default_of(f)
        )
        return f"{type(self).__name__}({shown})"


def _default_of(f: Any) -> Any:
    return f.default if f.default_factory is MISSING else f.default_factory()


_GONE = "DEPRECATED"


@dataclass(repr=False)
class CheckpointConfig(_NonDefaultRepr):
    """When trials are saved and which checkpoints are kept.

    Attributes:
        num_to_keep: How many of a trial's checkpoints to keep; None: all. The newest
            is always kept.
        checkpoint_score_attribute: Result key by which they are ranked; None: by age.
        checkpoint_score_order: "max" keeps those with the highest values, "min" those
            with the lowest.
        checkpoint_frequency: Save every so many iterations; 0: never. Only for class
            trainables, as functions report theirs.
        checkpoint_at_end: Save when a trial ends. Only for class trainables.

    Raises:
        ValueError: A value is out of range.
    """

    num_to_keep: int | None = None
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: Literal["max", "min"] | None = "max"
    checkpoint_frequency: int = 0
    checkpoint_at_end: bool | None = None
    _checkpoint_keep_all_ranks: Any = _GONE
    _checkpoint_upload_from_workers: Any = _GONE

    def __post_init__(self) -> None:
        for name in ("_checkpoint_keep_all_ranks", "_checkpoint_upload_from_workers"):
            if getattr(self, name) != _GONE:
                raise DeprecationWarning(f"{name} is gone; leave it out.")
        if self.num_to_keep is not None and not _count(self.num_to_keep, 1):
            raise ValueError(
                f"num_to_keep: must be at least 1, or None for all, got {brief(self.num_to_keep)}."
            )
        if self.checkpoint_score_order not in (MAX, MIN):
            raise ValueError(
                'checkpoint_score_order: must be "max" or "min", got '
                f"{brief(self.checkpoint_score_order)}."
            )
        if not _count(self.checkpoint_frequency or 0, 0):
            raise ValueError(
                "checkpoint_frequency: must be 0 (never) or more iterations, got "
                f"{brief(self.checkpoint_frequency)}."
            )
        score = self.checkpoint_score_attribute
        if score is not None and not isinstance(score, str):
            raise ValueError(
                "checkpoint_score_attribute: must be the name of a key in the results, "
                f"got {brief(score)}."
            )


def _count(value: Any, least: int) -> bool:
    return isinstance(value, numbers.Integral) and int(value) >= least


@dataclass(repr=False)
class FailureConfig(_NonDefaultRepr):
    """What happens when trials fail.

    Attributes:
        max_failures: Retries per trial; -1: without limit, 0: none.
        fail_fast: True: the first failure stops all trials. "raise": it is raised.

    Raises:
        ValueError: `fail_fast` is something else, or goes with retries; or
            `max_failures` is no integer.
    """

    max_failures: int = 0
    fail_fast: bool | str = False

    def __post_init__(self) -> None:
        check_fail_fast(self.fail_fast)
        if not isinstance(self.max_failures, numbers.Integral):
            raise ValueError(f"max_failures: must be an integer, got {brief(self.max_failures)}.")
        check_failures(self.fail_fast, self.max_failures)


def check_fail_fast(fail_fast: Any) -> bool | Literal["raise"]:
    """Returns False, True or "raise".

    Raises:
        ValueError: It is something else.
    """
    if isinstance(fail_fast, str):
        if fail_fast.upper() == "RAISE":
            return "raise"
    elif isinstance(fail_fast, (bool, numbers.Integral)) or fail_fast is None:
        return bool(fail_fast)
    raise ValueError(f'fail_fast: must be True, False or "raise", got {brief(fail_fast)}.')


def check_failures(fail_fast: Any, max_failures: int) -> None:
    """Checks that the two do not contradict each other.

    Raises:
        ValueError: They do.
    """
    if fail_fast and max_failures != 0:
        raise ValueError(
            f"max_failures: must be 0 with fail_fast={brief(fail_fast)}, got "
            f"{brief(max_failures)}: a trial is either tried again or ends the experiment."
        )


@dataclass
class SyncConfig:
    """How results reach remote storage.

    In local storage files are written where they stay, so nothing of this applies.
    Checkpoints are copied at once; everything else with the next sync, and at the end.

    Attributes:
        sync_period: Seconds between two syncs.
        sync_timeout: Seconds after which a sync is given up. The next one goes on.
        sync_artifacts: Copy files of the trials' working directories too.
        sync_artifacts_on_checkpoint: Do that with each checkpoint, too, not only with a sync.
        upload_dir, syncer, sync_on_checkpoint: Gone.

    Raises:
        DeprecationWarning: One of those that are gone is given.
        ValueError: A time is no number of seconds.
    """

    sync_period: int = 300
    sync_timeout: int = 1800
    sync_artifacts: bool = False
    sync_artifacts_on_checkpoint: bool = True
    upload_dir: Any = _GONE
    syncer: Any = _GONE
    sync_on_checkpoint: Any = _GONE

    def __post_init__(self) -> None:
        remedies = {
            "upload_dir": "give run(storage_path=...) instead",
            "syncer": "give run(storage_filesystem=...) instead",
            "sync_on_checkpoint": "checkpoints are always stored at once",
        }
        for name, remedy in remedies.items():
            if getattr(self, name) != _GONE:
                raise DeprecationWarning(f"{name} is gone: {remedy}.")
        for name in ("sync_period", "sync_timeout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not (isinstance(value, (int, float)) and value >= 0):
                raise ValueError(f"{name}: must be seconds, 0 or more, got {value!r}.")


@dataclass
class ResumeConfig:
    """What happens to stored trials when an experiment is resumed.

    Attributes:
        finished: For trials that ended well.
        unfinished: For trials that had not ended.
        errored: For trials that failed.
    """

    class ResumeType(enum.Enum):
        """RESUME: go on; RESTART: start anew; SKIP: leave as it is."""

        RESUME = "resume"
        RESTART = "restart"
        SKIP = "skip"

    finished: ResumeType = ResumeType.SKIP
    unfinished: ResumeType = ResumeType.RESUME
    errored: ResumeType = ResumeType.SKIP


def instead_of_local_dir(storage_path: Any, local_dir: Any) -> Any:
    """Returns the storage path where the deprecated `local_dir` may stand for it."""
    if local_dir is None:
        return storage_path
    warnings.warn("local_dir is deprecated: use storage_path.", DeprecationWarning, stacklevel=5)
    return storage_path or local_dir


@dataclass
class TuneConfig:
    """How a Tuner searches.

    Attributes:
        mode, metric, search_alg, scheduler, num_samples, max_concurrent_trials,
            time_budget_s, reuse_actors, trial_name_creator, trial_dirname_creator: As the
            arguments of run(), with the same defaults.
        chdir_to_trial_dir: Gone.
    """

    mode: str | None = None
    metric: str | None = None
    search_alg: Searcher | SearchAlgorithm | str | None = None
    scheduler: TrialScheduler | str | None = None
    num_samples: int = 1
    max_concurrent_trials: int | None = None
    time_budget_s: float | timedelta | None = None
    reuse_actors: bool = False
    trial_name_creator: Callable[[Trial], str] | None = None
    trial_dirname_creator: Callable[[Trial], str] | None = None
    chdir_to_trial_dir: bool | str = _GONE


@dataclass(repr=False)
class RunConfig(_NonDefaultRepr):
    """Where a Tuner writes to, and how it treats trials.

    Attributes:
        name: Name of the experiment's directory. Default: the trainable's name and the date.
        storage_path: Directory below which that is made. Default: ~/ray_results.
        storage_filesystem, stop, callbacks, progress_reporter, log_to_file: As the
            arguments of run().
        failure_config: Retries, and when to end everything.
        checkpoint_config: When trials are saved, and what is kept.
        sync_config: How results reach remote storage.
        verbose: As the argument of run(), with the same defaults.
        local_dir: Deprecated: use `storage_path`.

    Raises:
        ValueError: A configuration is of another type.
    """

    name: str | None = None
    storage_path: str | os.PathLike[str] | None = None
    storage_filesystem: Any = None
    failure_config: FailureConfig | None = field(default_factory=FailureConfig)
    checkpoint_config: CheckpointConfig | None = field(default_factory=CheckpointConfig)
    sync_config: SyncConfig | None = field(default_factory=SyncConfig)
    verbose: int | None = None
    stop: Any = None
    callbacks: Sequence[Callback] | None = None
    progress_reporter: Any = None
    log_to_file: bool | str | Sequence[str] = False
    local_dir: str | None = None

    def __post_init__(self) -> None:
        from ctune.utils.log import default_verbosity
        from ctune.utils.util import default_storage_path

        path = instead_of_local_dir(self.storage_path, self.local_dir)
        self.storage_path = default_storage_path() if path is None else os.fspath(path)
        for name, kind in (
            ("failure_config", FailureConfig),
            ("checkpoint_config", CheckpointConfig),
            ("sync_config", SyncConfig),
        ):
            given = getattr(self, name)
            if given is None:
                setattr(self, name, kind())
            elif not isinstance(given, kind):
                raise ValueError(f"{name}: must be a {kind.__name__}, got {brief(given)}.")
        if self.verbose is None:
            self.verbose = default_verbosity()
