"""No call of a C type leaves blocks behind: each runs thousands of times in a child."""

import subprocess
import sys
import textwrap

import pytest

CALLS = 10_000

CASES = {
    "trainable_train": """
        from ctune import Trainable
        class T(Trainable):
            def step(self):
                return {"loss": 1.0, "nested": {"a": 1}, "text": "x", "many": [1, 2]}
        t = T(config={"a": 1})
        call = t.train
    """,
    "trainable_raises": """
        from ctune import Trainable
        class T(Trainable):
            def step(self):
                raise ValueError("no")
        t = T()
        def call():
            try:
                t.train()
            except ValueError:
                pass
    """,
    "event": """
        from ctune import _ctune
        def call():
            _ctune.Event("RESULT", trial=1, serial=2, result={"a": 1}, text="x", blob=b"y")
            try:
                _ctune.Event("NOTHING")
            except ValueError:
                pass
    """,
    "asha": """
        from ctune.schedulers import ASHAScheduler
        class Trial:
            trial_id = "a"
            status = "RUNNING"
        t = Trial()
        s = ASHAScheduler(metric="m", mode="max", max_t=9)
        def call():
            s.on_trial_add(None, t)
            s.on_trial_result(None, t, {"training_iteration": 0.5, "m": 1.0})
            s.on_trial_remove(None, t)
            s.debug_string()
    """,
    "asha_bad_arguments": """
        from ctune.schedulers import ASHAScheduler
        def call():
            try:
                ASHAScheduler(metric="m", mode="max", max_t=-1)
            except ValueError:
                pass
    """,
    "limiter": """
        from ctune.search import ConcurrencyLimiter, Searcher
        class Free(Searcher):
            def suggest(self, trial_id):
                return {"x": 1}
            def on_trial_complete(self, trial_id, result=None, error=False):
                pass
        l = ConcurrencyLimiter(Free(metric="m", mode="min"), max_concurrent=2)
        def call():
            l.suggest("a")
            l.suggest("b")
            l.suggest("c")
            l.on_trial_complete("a", result={"m": 1})
            l.on_trial_complete("b", error=True)
    """,
    "domains": """
        import numpy as np
        from ctune import choice, loguniform, qrandint, randn, uniform
        rng = np.random.default_rng(1)
        space = [uniform(0, 1), loguniform(1e-4, 1), qrandint(2, 20, 2), randn(), choice("abc")]
        def call():
            for domain in space:
                domain.sample(random_state=rng)
    """,
    "variants": """
        from ctune import choice, grid_search, uniform
        from ctune.search.variant_generator import generate_variants
        spec = {"a": uniform(0, 1), "b": grid_search([1, 2]), "c": choice(["x", {"d": 1}])}
        def call():
            for resolved, config in generate_variants({"config": spec}, random_state=1):
                pass
    """,
    "stopper": """
        from ctune.stopper import MaximumIterationStopper
        s = MaximumIterationStopper(10**9)
        def call():
            s("a", {"training_iteration": 1})
            s.stop_all()
    """,
}

PROGRAM = """
import gc, sys
{setup}
def rounds(n):
    for _ in range(n):
        call()
rounds({warm})
gc.collect()
before = sys.getallocatedblocks()
rounds({calls})
gc.collect()
print(sys.getallocatedblocks() - before)
"""


def _growth(setup: str, calls: int, warm: int) -> int:
    program = PROGRAM.format(setup=textwrap.dedent(setup), calls=calls, warm=warm)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize("name", CASES)
def test_calls_leave_no_blocks_behind(name):
    # A leak of one object per call would be CALLS blocks; free lists move a few hundred.
    assert _growth(CASES[name], CALLS, 500) < CALLS / 10


RUN = """
    import logging, tempfile
    import ctune
    logging.disable(logging.CRITICAL)
    ctune.init(executor="inline")
    folder = tempfile.TemporaryDirectory()
    class T(ctune.Trainable):
        def step(self):
            return {"loss": self.config["x"], "done": self.iteration >= 2}
    class Heard(ctune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            assert result["loss"] == trial.config["x"]
    def call():
        a = ctune.run(T, config={"x": ctune.uniform(0, 1)}, num_samples=2, metric="loss",
                      mode="min", verbose=0, storage_path=folder.name, name="n",
                      callbacks=[Heard()])
        a.best_trial.metric_analysis
        a.trials[0]._view.metric("loss")
"""


def test_whole_runs_leave_no_blocks_behind():
    assert _growth(RUN, 40, 10) < 40 * 20
