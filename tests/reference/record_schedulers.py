"""Records what Ray Tune's HyperBand schedulers, median rule and ASHA decide.

Run it with a Python that has ray[tune]==2.24.0 (any NumPy that this one accepts):

    python tests/reference/record_schedulers.py

It writes hyperband.json.gz, hb_bohb.json.gz, median.json.gz, async_hyperband.json.gz,
pbt.json.gz and pbt_replay.json.gz (or only those that are named as arguments):
lists of cases with the constructor's options, the tokens of the stream (see streams.py) and
the final `debug_string()`. test_scheduler_streams.py plays them against ctune.

Three things that the reference does are not recorded, since ctune differs on purpose: it
leaves trials waiting for ever when the last one that their bracket waits for ends after the
bracket's first halving, or when all of them are past the next milestone already, and where a
NaN lies among sorted scores is left to chance. Streams avoid these, or end there.
"""

import random
import sys
import tempfile
import warnings
from pathlib import Path

import streams
from ray import tune
from ray.train._internal.session import _FutureTrainingResult

HERE = Path(__file__).parent
CASES = 500
DECISIONS = 205  # of a stream at most
TOTAL = 100_000


def options(name, rng, number):
    common = {
        "time_attr": rng.choice(streams.TIMES),
        "metric": rng.choice(["score", "a/b"]),
        "mode": rng.choice(["min", "max"]),
    }
    if name == "median":
        return common | {
            "grace_period": rng.choice([0, 1, 2, 3, 2.5, 5]),
            "min_samples_required": rng.choice([0, 1, 1, 2, 3, 5]),
            "min_time_slice": rng.choice([0, 0, 1, 3, 2.5]),
            "hard_stop": number % 4 != 0,
        }
    if name == "pbt":
        return common | {
            "perturbation_interval": rng.choice([1, 1, 2, 3, 4, 2.5]),
            "burn_in_period": rng.choice([0, 0, 0, 2, 5.5]),
            "quantile_fraction": rng.choice([0, 0.1, 0.25, 0.25, 0.3, 0.5]),
            "resample_probability": rng.choice([0, 0.25, 0.25, 0.5, 1]),
            "perturbation_factors": rng.choice([[1.2, 0.8], [1.2, 0.8], [2, 0.5], [1.5]]),
            "require_attrs": number % 3 != 0,
            "synch": number % 2 == 0,
            "log_config": False,
            "mutations": rng.randrange(1000),
        }
    if name == "async_hyperband":
        max_t = rng.choice([1, 3, 9, 9, 16, 27, 50, 81, 100.5])
        return common | {
            "max_t": max_t,
            "grace_period": min(rng.choice([1, 1, 1, 2, 0.5, 3]), max_t),
            "reduction_factor": rng.choice([2, 3, 3, 4, 4, 2.5, 10]),
            "brackets": rng.choice([1, 1, 2, 3, 5]),
            "stop_last_trials": number % 3 != 0,
        }
    return common | {
        "max_t": rng.choice([1, 2, 4, 9, 9, 16, 20, 27, 27, 50, 81, 81, 82.5, 100]),
        "reduction_factor": rng.choice([2, 3, 3, 3, 4, 2.5, 5]),
        "stop_last_trials": number % 3 != 0,
    }


def strands_others(scheduler, trial):
    """Whether trials would wait for ever if this one ended now."""
    bracket = scheduler._trial_info[trial][0]
    others = [t for t in bracket._live_trials if t is not trial]
    late = [
        t for t in others if bracket._get_result_time(bracket._live_trials[t]) < bracket._cumul_r
    ]
    over = bracket._halves == 0 and bracket.stop_last_trials
    return bool(others) and not late and (bracket.is_being_processed or over)


class Recorder(streams.Stream):
    def __init__(self, name, number, scheduler, options, style):
        super().__init__(scheduler, number, options, style)
        self.rng = random.Random(-number - 1)
        self.brackets = name in ("hyperband", "hb_bohb")
        self.total = self.rng.choice([5, 12, 30, 60])
        self.workers = self.rng.choice([1, 2, 4, 10])

    def step(self):
        x = self.rng.random()
        running = [t for t in self.controller.trials if t.status == "RUNNING"]
        waiting = [t for t in self.controller.trials if t.status in ("PENDING", "PAUSED")]
        if len(self.controller.trials) < self.total and (x < 0.15 or not running + waiting):
            return self.add(len(self.controller.trials))
        if len(running) < self.workers and waiting and (x < 0.6 or not running):
            if running or self.tokens[-1] != "c-":  # else it was asked just now
                return self.choose()
        if not running:
            return self.add(len(self.controller.trials))
        trial = self.rng.choice(running)
        y = self.rng.random()
        if y < 0.03 and not (self.brackets and strands_others(self.scheduler, trial)):
            if self.rng.random() < 0.5:
                return self.end(trial.n)
            return self.fail(trial.n, self.rng.random() < 0.5)
        if y < 0.045 and waiting:
            other = self.rng.choice(waiting)
            if not (self.brackets and strands_others(self.scheduler, other)):
                return self.remove(other.n)
        return self.report(trial.n)

    def halvings(self):
        if not self.brackets:
            return {}
        return {b: b._halves for band in self.scheduler._hyperbands for b in band if b}

    def is_stuck(self, before):
        """Whether a bracket was halved of which no trial can report any more."""
        return any(
            left < before.get(b, left)
            and b._live_trials
            and b.cur_iter_done()
            and not b.finished()
            and (left > 0 or b.stop_last_trials)
            for b, left in self.halvings().items()
        )

    def record(self):
        """Returns the number of decisions, the tokens and the last words."""
        decisions, debug = 0, self.scheduler.debug_string()
        while decisions < DECISIONS:
            start, before = len(self.tokens), self.halvings()
            self.step()
            if self.is_stuck(before):
                return decisions, self.tokens[:start], debug
            debug = self.scheduler.debug_string()
            decisions += sum(t[0] in "rc" for t in self.tokens[start:])
        return decisions, self.tokens, debug


class Saving(streams.Future, _FutureTrainingResult):
    """The reference knows futures by their class."""


def record(name, cls):
    cases, decisions, number = [], 0, -1
    styles = streams.styles(name)
    while len(cases) < CASES or decisions < TOTAL:
        number += 1
        opts = options(name, random.Random(number), number)
        style = number % len(styles)
        recorder = Recorder(
            name, number, streams.construct(name, cls, opts, tune), opts, styles[style]
        )
        recorder.controller.future = Saving
        count, tokens, debug = recorder.record()
        if count < 20:
            continue
        decisions += count
        cases.append(
            {
                "number": number,
                "options": opts,
                "style": style,
                "tokens": " ".join(tokens),
                "debug": debug,
            }
        )
    streams.save(HERE / f"{name}.json.gz", cases)
    tokens = [t for c in cases for t in c["tokens"].split()]
    answers = "".join(sorted({t[-1] for t in tokens if t[0] == "r"}))
    counts = {a: sum(t[0] == "r" and t[-1] == a for t in tokens) for a in answers}
    print(name, len(cases), "cases", counts, sum(t[0] == "c" for t in tokens), "choices")


def main():
    from ray.tune.schedulers import (
        ASHAScheduler,
        HyperBandForBOHB,
        HyperBandScheduler,
        MedianStoppingRule,
        PopulationBasedTraining,
        PopulationBasedTrainingReplay,
    )

    warnings.simplefilter("ignore")  # means of nothing and of infinities
    classes = {
        "hyperband": HyperBandScheduler,
        "hb_bohb": HyperBandForBOHB,
        "median": MedianStoppingRule,
        "async_hyperband": ASHAScheduler,
        "pbt": PopulationBasedTraining,
    }
    for name in sys.argv[1:] or [*classes, "pbt_replay"]:
        if name == "pbt_replay":
            with tempfile.TemporaryDirectory() as folder:
                cases = [
                    streams.replay(PopulationBasedTrainingReplay, Saving, n, Path(folder))
                    for n in range(CASES)
                ]
            streams.save(HERE / "pbt_replay.json.gz", cases)
        else:
            record(name, classes[name])


if __name__ == "__main__":
    main()
