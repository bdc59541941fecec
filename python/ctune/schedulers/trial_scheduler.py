"""The interface of schedulers, and the one that lets every trial run to its end."""

from __future__ import annotations

from ctune import _ctune

__all__ = ["FIFOScheduler", "TrialScheduler"]


class TrialScheduler(_ctune.TrialScheduler):
    """Decides which trial runs next, and after each result whether a trial goes on.

    Derive from it, or from a scheduler that does most of what you want, and override
    methods. The base raises NotImplementedError in each of these:

    - `on_trial_add(controller, trial)`: a trial is new, or goes back to the queue.
    - `on_trial_result(controller, trial, result)`: returns `CONTINUE`, `PAUSE`, `STOP` or
      `NOOP`. `result` is flat: nested keys are joined as `"a/b"`.
    - `on_trial_complete(controller, trial, result)`: a running trial is being stopped.
    - `on_trial_remove(controller, trial)`: a pending or paused trial is being stopped.
    - `on_trial_error(controller, trial)`: a trial failed; also before it is tried again.
    - `choose_trial_to_run(controller)`: the pending or paused trial to start next, or None.
      It is asked often; asking must change nothing.
    - `debug_string()`: text on the scheduler's state.
    - `save(checkpoint_path)`, `restore(checkpoint_path)`: write and read that state.

    `set_search_properties(metric, mode, **spec)` is called once before the first trial with
    what was given to `run()`; it returns False when the metric was set before. The
    controller offers `get_trials()`, `get_live_trials()`, `stop_trial(trial)`,
    `pause_trial(trial, should_checkpoint=True)`, `unpause_trial(trial)`,
    `resize_trial(trial, resources)` for a trial that does not run, and `search_alg`. Orders
    are carried out when the scheduler has answered.

    Attributes:
        metric: Result key that decides, or None. Subclasses keep it in `_metric`.
        supports_buffered_results: Whether results may arrive several at once. Subclasses
            set `_supports_buffered_results`. Default: True.
    """


class FIFOScheduler(_ctune.FIFOScheduler, TrialScheduler):
    """Start trials in the order they came; never stop or pause one.

    `choose_trial_to_run` gives the first pending trial of `controller.get_trials()`, else
    the first paused one, else None.
    """

    def __init__(self) -> None:
        super().__init__()
