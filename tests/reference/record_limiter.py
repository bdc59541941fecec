"""Records what the reference's ConcurrencyLimiter does, for tests/python/test_searchers.py.

Run with a Python that has ray[tune]==2.24.0:

    python tests/reference/record_limiter.py > tests/reference/limiter.json

Each case is a list of calls to a limiter and what came of them: the answer to the caller,
the calls that reached the searcher inside, and the ids that were live afterwards.
"""

import json
import random
import sys


def calls(seed: int, n_ids: int, length: int) -> list[list]:
    """A random but legal sequence: no id asks while live, none completes twice in a batch."""
    rng = random.Random(seed)
    sequence = []
    for _ in range(length):
        trial = f"t{rng.randrange(n_ids)}"
        kind = rng.choice(["suggest", "suggest", "complete", "result"])
        if kind == "suggest":
            sequence.append(["suggest", trial, rng.choice(["config"] * 6 + ["none", "finished"])])
        elif kind == "complete":
            sequence.append(["complete", trial, rng.choice([True, False])])
        else:
            sequence.append(["result", trial])
    return sequence


def play(searcher_class, limiter_class, case: dict) -> list[list]:
    """Makes the calls that are legal at their moment.

    Returns [number of the call, call, answer, what the searcher heard, live ids] of each.
    """

    class Heard(searcher_class):
        def __init__(self):
            super().__init__(metric="m", mode="min")
            self.answer = None
            self.heard = []

        def suggest(self, trial_id):
            self.heard.append(["suggest", trial_id])
            return self.answer

        def on_trial_result(self, trial_id, result):
            self.heard.append(["result", trial_id, result])

        def on_trial_complete(self, trial_id, result=None, error=False):
            self.heard.append(["complete", trial_id, result, error])

    searcher = Heard()
    limiter = limiter_class(searcher, case["max_concurrent"], batch=case["batch"])
    answers = {"config": {"x": 1}, "none": None, "finished": "FINISHED"}
    record = []
    waiting = set()
    for number, call in enumerate(case["calls"]):
        kind, trial = call[:2]
        searcher.heard = []
        answer = None
        if kind == "suggest":
            if trial in limiter.live_trials:
                continue
            searcher.answer = answers[call[2]]
            answer = limiter.suggest(trial)
        elif kind == "complete":
            if trial in waiting:
                continue
            live = trial in limiter.live_trials
            limiter.on_trial_complete(trial, result={"m": number}, error=call[2])
            if case["batch"] and live:
                waiting = waiting | {trial} if trial in limiter.live_trials else set()
        else:
            limiter.on_trial_result(trial, {"m": number})
        record.append([number, call, answer, searcher.heard, sorted(limiter.live_trials)])
    return record


def cases() -> list[dict]:
    return [
        {
            "max_concurrent": max_concurrent,
            "batch": batch,
            "calls": calls(seed, n_ids=8, length=120),
        }
        for seed, max_concurrent in enumerate([1, 2, 3, 5])
        for batch in (False, True)
    ]


if __name__ == "__main__":
    from ray.tune.search import ConcurrencyLimiter, Searcher

    recorded = [{**case, "record": play(Searcher, ConcurrencyLimiter, case)} for case in cases()]
    for case in recorded:
        del case["calls"]
    json.dump(recorded, sys.stdout, separators=(",", ":"))
    print()
