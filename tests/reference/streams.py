"""Streams of events for schedulers, made once with the reference and played against ctune.

A stream is a list of short tokens. The numbers in a result are not in it: they follow from
the number of the stream and of the token, so that files stay small.

    a3   trial 3 is added              e3   trial 3 failed
    r3C  its result; the answer, here  f3   trial 3 ends by itself (on_trial_complete)
         CONTINUE ("!": KeyError)      x3   trial 3, which waits, is stopped (on_trial_remove)
    c3   choose_trial_to_run said 3;   s3   the scheduler stopped trial 3, which waited
         "c-": None                    p3 u3  it told the searcher of a pause, of its end
    k3   trial 3 was told to save      z3   trial 3 was paused without saving
    g3:x trial 3 got a config and a tag, of which x is a checksum
"""

import gzip
import json
import math
import random
import zlib
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
        # For population-based training.
        self.config, self.evaluated_params, self.experiment_tag = {}, {}, f"{n}_x"
        self.last_result, self.checkpoint, self.tokens = {}, None, []
        self.temporary_state = SimpleNamespace(saving_to=None)
        self.run_metadata = SimpleNamespace(
            checkpoint_manager=SimpleNamespace(checkpoint_config=SimpleNamespace(num_to_keep=None))
        )

    def is_finished(self):
        return self.status in ("TERMINATED", "ERROR")

    def set_experiment_tag(self, tag):
        self.experiment_tag = tag

    def set_config(self, config):
        self.config = config
        text = json.dumps([self.experiment_tag, config], sort_keys=True)
        self.tokens.append(f"g{self.n}:{zlib.crc32(text.encode()) % 65536:x}")


class Future:
    """A checkpoint that is being saved; None if that failed."""

    def __init__(self, checkpoint, metrics):
        self.result = checkpoint and SimpleNamespace(checkpoint=checkpoint, metrics=metrics)

    def resolve(self, block=True):
        return self.result


class Controller:
    """What a scheduler sees. Stopping a trial that waits is reported to the scheduler."""

    def __init__(self, scheduler):
        self.scheduler, self.trials, self.tokens = scheduler, [], []
        self.search_alg = SimpleNamespace(searcher=self)
        self.future, self.always_later = Future, False

    def on_pause(self, trial_id):
        self.tokens.append(f"p{trial_id[1:]}")

    def on_unpause(self, trial_id):
        self.tokens.append(f"u{trial_id[1:]}")

    def get_trials(self):
        return self.trials

    def get_live_trials(self):
        return [t for t in self.trials if not t.is_finished()]

    def pause_trial(self, trial, should_checkpoint=True):
        assert not should_checkpoint
        self.tokens.append(f"z{trial.n}")
        trial.status = "PAUSED"

    def _schedule_trial_save(self, trial, result=None):
        """Sometimes at once, sometimes later, sometimes in vain."""
        self.tokens.append(f"k{trial.n}")
        at = len(self.tokens)
        trial.checkpoint = f"{trial.n}@{at}" if at % 7 else None
        later = self.always_later or at % 2
        return self.future(trial.checkpoint, result) if later else trial.checkpoint

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
        random.seed(number)  # and population-based training from this one
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
        trial.tokens = self.tokens
        if "mutations" in self.options:
            trial.config = first_config(self.options["mutations"], n)
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
        except (KeyError, RuntimeError):
            answer = "!"
        self.tokens[at] = f"r{n}{answer}"
        trial.last_result = result
        if answer == "P":
            trial.status = "PAUSED"
            trial.checkpoint = f"{n}@{at}"
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


def mutations(number, tune):
    """Hyperparameters to mutate, by number, and a function of one's own or None.

    tune: the module whose search spaces to use.
    """

    def capped(config):
        config["lr"] = min(config["lr"], 10)
        return config

    sets = [
        {"lr": tune.uniform(0, 1), "layers": [1, 2, 4, 8]},
        {"lr": tune.loguniform(1e-4, 1e-1), "units": tune.randint(8, 256), "act": ("a", "b")},
        {
            "lr": lambda: random.uniform(0, 20),
            "opt": {"m": [0.1, 0.9], "n": {"b": tune.uniform(2, 3)}},
        },
        {"lr": tune.choice([1, 10, 100]), "k": tune.quniform(1, 9, 0.5), "big": lambda: 7},
        {"lr": [0.1, 0.2, 0.3]},
        {"lr": tune.lograndint(2, 200), "x": tune.randn(5, 2), "y": [True, False, None, "z"]},
    ]
    return sets[number % len(sets)], capped if number % 5 == 4 else None


def first_config(number, n):
    """What a trial's config has already: some keys, all, or none."""
    config = {"fixed": [1, {"a": (2, 3)}]}
    if n % 3 == 1:
        config["lr"] = (0.1, 3, 0.2)[number % 3]
    return config


def construct(name, cls, options, tune):
    """A scheduler of recorded options, in which "mutations" stands for things not of JSON."""
    if "mutations" not in options:
        return cls(**options)
    own = {key: value for key, value in options.items() if key != "mutations"}
    own["hyperparam_mutations"], own["custom_explore_fn"] = mutations(options["mutations"], tune)
    return cls(**own)


def policy_rows(number):
    """Lines of a policy file: what was overwritten, then the schedule to replay."""
    rng = random.Random(number)
    rows, tags = [], [f"{n}_x" for n in range(4)]
    step, tag = 0, rng.choice(tags)
    for _ in range(rng.randrange(1, 9)):
        target = tag if rows and rng.random() < 0.8 else rng.choice(tags)
        source = rng.choice([t for t in tags if t != target])
        step += rng.randrange(0, 6)
        old, new = {"lr": rng.random(), "a": {"b": step}}, {"lr": rng.random(), "a": {"b": step}}
        rows.append([target, source, step, max(0, step - rng.randrange(3)), old, new])
        tag = source
    return rows


def replay(cls, future, number, folder):
    """What the replay of a policy says and does with some 200 results, as one string."""
    path = folder / f"policy_{number}.txt"
    path.write_text("".join(json.dumps(row) + "\n" for row in policy_rows(number)))
    scheduler = cls(str(path))
    trial, controller = Trial(0), Controller(scheduler)
    controller.trials.append(trial)
    controller.future, controller.always_later = future, True
    trial.tokens = said = controller.tokens
    said.append(f"c{json.dumps(scheduler.config, sort_keys=True)}")
    scheduler.on_trial_add(controller, trial)
    rng, iteration = random.Random(-number - 1), 0
    for _ in range(205):
        iteration += rng.choice([0, 1, 1, 1, 2, 7]) if rng.random() < 0.9 else -iteration
        result = {"training_iteration": iteration} if rng.random() < 0.95 else {"other": 1}
        trial.status = "RUNNING"
        said.append(LETTERS[scheduler.on_trial_result(controller, trial, result)])
    # The reference names its tag after the file.
    return "".join([*said, scheduler.debug_string()]).replace(path.name, "policy")


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
    if name == "pbt":
        return [
            plain,
            plain | {"ties": True},
            plain | {"wild": 0.2},
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
