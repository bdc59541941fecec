"""Records what Ray Tune's AsyncHyperBandScheduler decides, into asha.json.gz.

Run it with a Python that has ray[tune]==2.24.0 (any NumPy that this one accepts):

    python tests/reference/record_asha.py

The file holds a list of cases. A case has the constructor's arguments, the seed of
`numpy.random` set before the first trial is added, and a list of steps
`[method, trial, result, answer]`: `trial` is a number n that stands for a trial with
`trial_id == f"t{n}"`, `answer` what the method returned, or `"!KeyError"` for an exception.
The step `["debug", null, null, text]` records `debug_string()`. Streams of results are made
here with Python's `random`, seeded by the number of the case, so that a second run gives
the same file. test_schedulers.py plays the cases against ctune.
"""

import gzip
import json
import math
import random
import sys
import warnings
from pathlib import Path

CASES = 60
STEPS = 260
OUT = Path(__file__).with_name("asha.json.gz")


class Trial:
    def __init__(self, n):
        self.trial_id = f"t{n}"
        self.status = "PENDING"


def options(rng, number):
    max_t = rng.choice([1, 2, 9, 16, 81, 100, 100.5, 243, 1000, 0.75])
    grace = rng.choice([1, 1, 1, 2, 3, 0.5, max_t])
    return {
        "time_attr": rng.choice(["training_iteration", "time_total_s"]),
        "metric": rng.choice(["score", "a/b", "episode_reward_mean"]),
        "mode": rng.choice(["min", "max"]),
        "max_t": max_t,
        "grace_period": min(grace, max_t),
        "reduction_factor": rng.choice([2, 3, 4, 4, 10, 1.5, 2.5, math.e]),
        "brackets": rng.choice([1, 1, 1, 2, 3, 5, 9]),
        "stop_last_trials": number % 3 != 0,
    }


def value(rng, style):
    x = rng.random()
    if style == "ties":
        return rng.randrange(4)
    if style == "wild" and x < 0.25:
        return rng.choice([math.nan, math.inf, -math.inf])
    if style == "nan" and x < 0.4:
        return math.nan
    if style == "none of it is a number":
        return math.nan
    return round(rng.gauss(0, 10), 3)


class Stream:
    """Makes the steps of one case: many trials, each with its own growing time."""

    def __init__(self, rng, opts):
        self.rng, self.opts = rng, opts
        self.style = rng.choice(["plain", "plain", "ties", "wild", "nan", "none of it is a number"])
        self.jump = rng.choice([1, 1, 3, 20]) * max(1e-3, opts["max_t"] / 30)
        self.whole = isinstance(opts["max_t"], int) and rng.random() < 0.7
        self.time, self.live = {}, []

    def result(self, n):
        t = self.time[n] = self.time[n] + self.rng.random() * self.jump + 1e-3
        result = {
            self.opts["time_attr"]: math.ceil(t) if self.whole else round(t, 3),
            self.opts["metric"]: value(self.rng, self.style),
        }
        if self.rng.random() < 0.03:
            del result[self.rng.choice(list(result))]
        return result

    def step(self):
        x = self.rng.random()
        if x < 0.2 or not self.live:
            again = self.time and self.rng.random() < 0.15
            n = self.rng.choice(list(self.time)) if again else len(self.time)
            self.time.setdefault(n, 0.0)
            if n not in self.live:
                self.live.append(n)
            return "on_trial_add", n, None
        n = self.rng.choice(self.live)
        if x < 0.90:
            return "on_trial_result", n, self.result(n)
        if x < 0.92:
            return "on_trial_error", n, None
        if self.rng.random() < 0.7:  # else it reports on, although it is forgotten
            self.live.remove(n)
        if x < 0.97:
            return "on_trial_complete", n, self.result(n)
        return "on_trial_remove", n, None


def call(scheduler, method, trial, result):
    args = [None, trial] + ([] if result is None else [result])
    try:
        return getattr(scheduler, method)(*args)
    except KeyError:
        return "!KeyError"


def record(number):
    import numpy as np
    from ray.tune.schedulers import AsyncHyperBandScheduler

    rng = random.Random(number)
    opts = options(rng, number)
    scheduler = AsyncHyperBandScheduler(**opts)
    stream = Stream(rng, opts)
    trials, steps = {}, []
    np.random.seed(number)
    for i in range(STEPS):
        method, n, result = stream.step()
        answer = call(scheduler, method, trials.setdefault(n, Trial(n)), result)
        steps.append([method, n, result, answer])
        if answer == "STOP" and rng.random() < 0.8 and n in stream.live:
            stream.live.remove(n)
        if i % 65 == 64:
            steps.append(["debug", None, None, scheduler.debug_string()])
    return {"options": opts, "seed": number, "steps": steps}


def main():
    warnings.simplefilter("ignore")  # percentiles of infinities
    cases = [record(n) for n in range(CASES)]
    text = json.dumps(cases, separators=(",", ":"))
    with open(OUT, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as g:
        g.write(text.encode())
    answers = [s[3] for c in cases for s in c["steps"] if s[0] == "on_trial_result"]
    counts = {a: answers.count(a) for a in sorted(set(answers))}
    print(f"{OUT.name}: {OUT.stat().st_size} bytes, {counts}", file=sys.stderr)


if __name__ == "__main__":
    main()
