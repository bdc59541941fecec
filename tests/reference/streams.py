"""Streams of events for schedulers, made once with the reference and played against ctune.

A stream is a list of short tokens. The numbers in a result are not in it: they follow from
the number of the stream and of the token, so that files stay small.

    a3   trial 3 is added              e3   trial 3 failed
    r3C  its result; the answer, here  f3   trial 3 ends by itself (on_trial_complete)
         CONTINUE ("!": KeyError)      x3   trial 3, which waits, is stopped (on_trial_remove)
    c3   choose_trial_to_run said 3;   s3   the scheduler stopped trial 3, which waited
         "c-": None                    p3 u3  it told the searcher of a pause, of its end
"""

import gzip
import json
import math
import random
from types import SimpleNamespace

import numpy as np

LETTERS = {"CONTINUE": "C", "PAUSE": "P", "STOP": "S", "NOOP": "N"}
TIMES = ("training_iteration", "time_total_s")


class Trial:
    def __init__(self, n):
        self.n = n
        self.trial_id = f"t{n}"
        self.status = "PENDING"
        self.is_saving = False

    def is_finished(self):
        return self.status in ("TERMINATED", "ERROR")


class Controller:
    """What a scheduler sees. Stopping a trial that waits is reported to the scheduler."""

    def __init__(self, scheduler):
        self.scheduler, self.trials, self.tokens = scheduler, [], []
        self.search_alg = SimpleNamespace(searcher=self)

    def on_pause(self, trial_id):
        self.tokens.append(f"p{trial_id[1:]}")

    def on_unpause(self, trial_id):
        self.tokens.append(f"u{trial_id[1:]}")

    def get_trials(self):
        return self.trials

    def get_live_trials(self):
        return [t for t in self.trials if not t.is_finished()]

    def stop_trial(self, trial):
        self.tokens.append(f"s{trial.n}")
        if trial.status in ("PENDING", "PAUSED"):
            self.scheduler.on_trial_remove(self, trial)
        trial.status = "TERMINATED"


class Stream:
    """Carries out events on a scheduler and notes what it answers."""

    def __init__(self, scheduler, number, options, style):
        self.scheduler, self.number, self.options, self.style = scheduler, number, options, style
        self.controller = Controller(scheduler)
        np.random.seed(number % 2**32)  # ASHA draws brackets from the global stream
        self.tokens = self.controller.tokens
        self.time = {}

    def result(self, n):
        rng = random.Random(self.number * 1_000_003 + len(self.tokens))
        step = rng.choice(self.style["steps"])
        t = self.time[n] + (step if isinstance(step, int) else step * rng.random())
        if rng.random() < self.style["back"]:
            t = max(0, self.time[n] - 1)
        self.time[n] = t
        result = {self.options["time_attr"]: t, self.options["metric"]: self.value(rng)}
        if rng.random() < self.style["missing"]:
            del result[rng.choice(self.style["may_lack"])(self.options)]
        return result

    def value(self, rng):
        x = rng.random()
        if x < self.style["wild"]:
            return rng.choice(self.style["wild_values"])
        return rng.randrange(4) if self.style["ties"] else round(rng.gauss(0, 10), 3)

    def add(self, n):
        trial = Trial(n)
        self.time[n] = 0
        self.controller.trials.append(trial)
        self.tokens.append(f"a{n}")
        self.scheduler.on_trial_add(self.controller, trial)

    def report(self, n):
        trial = self.controller.trials[n]
        result = self.result(n)
        at = len(self.tokens)
        self.tokens.append("")
        try:
            answer = LETTERS[self.scheduler.on_trial_result(self.controller, trial, result)]
        except KeyError:
            answer = "!"
        self.tokens[at] = f"r{n}{answer}"
        if answer == "P":
            trial.status = "PAUSED"
        elif answer == "S":
            self.scheduler.on_trial_complete(self.controller, trial, result)
            trial.status = "TERMINATED"

    def choose(self):
        at = len(self.tokens)
        self.tokens.append("")
        trial = self.scheduler.choose_trial_to_run(self.controller)
        self.tokens[at] = "c-" if trial is None else f"c{trial.n}"
        if trial is not None:
            trial.status = "RUNNING"
        return trial

    def fail(self, n, again):
        trial = self.controller.trials[n]
        self.tokens.append(f"e{n}{'+' if again else ''}")
        self.scheduler.on_trial_error(self.controller, trial)
        trial.status = "ERROR"
        if again:
            self.time[n] = 0
            trial.status = "PENDING"
            self.scheduler.on_trial_add(self.controller, trial)

    def end(self, n):
        trial = self.controller.trials[n]
        self.tokens.append(f"f{n}")
        rng = random.Random(n)
        result = {self.options["time_attr"]: self.time[n], self.options["metric"]: rng.random()}
        self.scheduler.on_trial_complete(self.controller, trial, result)
        trial.status = "TERMINATED"

    def remove(self, n):
        trial = self.controller.trials[n]
        self.tokens.append(f"x{n}")
        self.scheduler.on_trial_remove(self.controller, trial)
        trial.status = "TERMINATED"

    def play(self, tokens):
        """Does what the tokens say, until an answer differs; what was said is in self.tokens.

        In which order an event stops, pauses and unpauses other trials does not matter.
        """
        while len(self.tokens) < len(tokens):
            start = len(self.tokens)
            token = tokens[start]
            kind, rest = token[0], token[1:]
            if kind == "a":
                self.add(int(rest))
            elif kind == "r":
                self.report(int(rest[:-1]))
            elif kind == "c":
                self.choose()
            elif kind == "e":
                self.fail(int(rest.rstrip("+")), rest.endswith("+"))
            elif kind == "f":
                self.end(int(rest))
            elif kind == "x":
                self.remove(int(rest))
            else:
                self.tokens.append("nothing")  # the reference did something here
            said, wanted = self.tokens[start:], tokens[start : len(self.tokens)]
            if said[0] != wanted[0] or sorted(said[1:]) != sorted(wanted[1:]):
                return
            self.tokens[start:] = wanted


def time_attr(options):
    return options["time_attr"]


def metric(options):
    return options["metric"]


def styles(name):
    """How a stream of a scheduler may look; the k-th stream takes the k-th, round and round."""
    plain = {
        "steps": [1],
        "back": 0.0,
        "missing": 0.0,
        "may_lack": [time_attr],
        "wild": 0.0,
        "wild_values": [math.inf, -math.inf],
        "ties": False,
    }
    if name in ("median", "async_hyperband"):
        return [
            plain,
            plain | {"ties": True},
            plain | {"wild": 0.2, "wild_values": [math.inf, -math.inf, math.nan]},
            plain | {"missing": 0.1, "may_lack": [time_attr, metric]},
            plain | {"steps": [1, 2, 3]},
            plain | {"steps": [1.5, 4.0]},
            plain | {"back": 0.05},
        ]
    return [
        plain,
        plain | {"ties": True},
        plain | {"wild": 0.2},
        plain | {"missing": 0.05},
        plain | {"steps": [1, 2, 7]},
        plain | {"steps": [1.5, 9.0]},
        plain | {"back": 0.05},
    ]


def load(path):
    with gzip.open(path, "rt") as f:
        return json.load(f)


def save(path, cases):
    text = json.dumps(cases, separators=(",", ":"))
    with open(path, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as g:
        g.write(text.encode())
