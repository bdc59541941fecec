"""HyperBand as BOHB needs it."""

from __future__ import annotations

from ctune import _ctune
from ctune.schedulers.hyperband import HyperBandScheduler

__all__ = ["HyperBandForBOHB"]


class HyperBandForBOHB(_ctune.HyperBandForBOHB, HyperBandScheduler):
    """HyperBand for a searcher that models the results, such as BOHB's.

    It takes the arguments of `HyperBandScheduler`, from which it differs in this:

    - The bracket with the most trials comes first.
    - Trials pause at the milestone while their bracket still fills, so that the searcher
      sees results before it suggests more. When nothing runs, brackets are halved as they
      are.
    - The searcher's `on_pause(trial_id)` and `on_unpause(trial_id)` are called.
    - `on_trial_result` puts `"hyperband_info"` into the result: an empty dict, or
      `{"budget": milestone}` at a milestone.

    Source: Falkner et al., "BOHB: Robust and Efficient Hyperparameter Optimization at Scale",
    ICML 2018.
    """
