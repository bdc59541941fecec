"""Every method of every C type, thousands of times: no block and no byte is left behind.

The table below names each method that the extension has; a new one without a line fails the
test. Each line is code that calls the method, rightly and where that is possible wrongly. A
child process runs the lines of one type and compares Python's blocks and malloc's bytes.
"""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from ctune import _ctune

# Under ASan, whose own memory moves, only the calls count.
UNDER_ASAN = "CTUNE_UNDER_ASAN" in os.environ
CALLS, WARM = (20, 10) if UNDER_ASAN else (4_000, 300)

PRELUDE = """
import copy, ctypes, gc, json, logging, os, pickle, sys, tempfile
import numpy as np
import ctune
from ctune import _ctune
logging.disable(logging.CRITICAL)
class Info(ctypes.Structure):
    _fields_ = [(n, ctypes.c_size_t) for n in (
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split())]
try:
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Info
except AttributeError:
    mallinfo2 = None
def memory():
    gc.collect()
    used = mallinfo2() if mallinfo2 is not None else None
    return sys.getallocatedblocks(), used.uordblks + used.hblkhd if used is not None else 0
def fails(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception:
        return
    raise AssertionError(f"{call} accepted {args} {kwargs}")
def measure(name, call, calls):
    def rounds(n):
        for _ in range(n):
            call()
    rounds(WARM)
    for _ in range(3):  # a leak grows each time, an arena of the allocator once
        before = memory()
        rounds(calls)
        after = memory()
        grown[name] = [calls, after[0] - before[0], after[1] - before[1]]
        if not leaks(grown[name]):
            break
def leaks(case):
    # One lost object per ten calls would be a tenth of the calls; lists that keep what is
    # free move by a few hundred.
    return case[1] >= case[0] / 10 or case[2] >= case[0]
grown = {}
"""

RUN = """
class T(ctune.Trainable):
    def step(self):
        return {"loss": self.config["x"], "text": "a", "done": self.iteration >= 2}
    def save_checkpoint(self, folder):
        return {"a": 1}
    def load_checkpoint(self, checkpoint):
        pass
ctune.init(executor="inline")
folder = tempfile.TemporaryDirectory()
def run(**more):
    return ctune.run(T, config={"x": ctune.uniform(0, 1), "o": object}, num_samples=2,
                     metric="loss", mode="min", verbose=0, storage_path=folder.name,
                     checkpoint_config=ctune.CheckpointConfig(checkpoint_frequency=1), **more)
"""

TRIAL = """
class Trial:
    trial_id = "a"
    status = "RUNNING"
t = Trial()
class Controller:
    def get_trials(self):
        return [t]
c = Controller()
r = dict(training_iteration=0.5, m=1.0)
"""
NATIVE = (
    TRIAL
    + """
from types import SimpleNamespace
class Searcher:
    def on_pause(self, trial_id):
        pass
    on_unpause = on_pause
c.search_alg = SimpleNamespace(searcher=Searcher())
args = ("training_iteration", "m", "max", ARGS)
bad = (*args[:3], -1.0, *args[4:])
def new():
    return _ctune.CLASS(*args)
def run_through(scheduler):
    trials = [Trial() for _ in range(3)]
    c.get_trials = c.get_live_trials = lambda: trials
    c.stop_trial = lambda trial: scheduler.on_trial_remove(c, trial)
    after = {"CONTINUE": "RUNNING", "PAUSE": "PAUSED", "STOP": "TERMINATED"}
    for i, trial in enumerate(trials):
        trial.trial_id = str(i)
        trial.status = "RUNNING"
        scheduler.on_trial_add(c, trial)
    for i in (1, 2, 3):
        for trial in trials:
            result = {"training_iteration": i, "m": float(trial.trial_id)}
            if trial.status == "RUNNING":
                trial.status = after[scheduler.on_trial_result(c, trial, result)]
        chosen = scheduler.choose_trial_to_run(c)
        if chosen is not None:
            chosen.status = "RUNNING"
    return scheduler
o = new()
o.on_trial_add(c, t)
o.on_trial_result(c, t, {"training_iteration": 0.75, "m": 1.0})
b = Trial()
b.trial_id = "b"
"""
)


def native(cls, args):
    return NATIVE.replace("CLASS", cls).replace("ARGS", args)


STATE = (
    'o.__setstate__(o.__getstate__()); fails(o.__setstate__, {"no": 1}); fails(o.__setstate__, 3)'
)
STOP = {
    "__call__": 'o("a", {"m": 1.0, "training_iteration": 1}); fails(o)',
    "stop_all": "o.stop_all(); fails(o.stop_all, 1)",
}
NOT_IMPLEMENTED = (
    "on_trial_add on_trial_error on_trial_result on_trial_complete on_trial_remove "
    "choose_trial_to_run debug_string save restore"
).split()

# type -> (what is set up once, method -> code of one call). A property needs no line.
TABLE = {
    "TrainableBase": (
        """
class T(ctune.Trainable):
    def step(self):
        if self.bad:
            raise ValueError("no")
        return {"loss": 1.0, "nested": {"a": 1}, "text": "x", "many": [1, 2], "o": object()}
    bad = False
o = T(config={"a": 1})
bad = T()
bad.bad = True
""",
        {
            "__new__": "T(config={'a': 1})",
            "train": "o.train(); fails(bad.train)",
            "log_result": "o.log_result({'a': 1}); fails(o.log_result)",
            "_restore_counters": "o._restore_counters(3, 1.0, None, 2.0); "
            "fails(o._restore_counters, 'a')",
            "_mark_restored": "o._mark_restored(); fails(o._mark_restored, 1)",
            "_zero_counters": "o._zero_counters(); fails(o._zero_counters, 1)",
        },
    ),
    "Event": (
        'o = _ctune.Event("RESULT", trial=1, serial=2, result={"a": 1})',
        {
            "__new__": '_ctune.Event("RESULT", trial=1, serial=2, result={"a": 1}, text="x", '
            'blob=b"y", path="p"); fails(_ctune.Event, "NOTHING"); fails(_ctune.Event)',
            "__repr__": "repr(o)",
        },
    ),
    "Connection": (
        "import os",
        {
            "__new__": "fails(_ctune.Connection, -1); fails(_ctune.Connection, 'a')",
            "serve": "a, b = os.pipe(); o = _ctune.Connection(a); os.close(b); "
            "ended(o.serve, object())",
            "close": "a, b = os.pipe(); o = _ctune.Connection(a); os.close(b); o.close()",
        },
    ),
    "Helper": (
        """
import os
def new():
    global o
    o = None  # closes descriptor 3, where a helper's must be
    a, b = os.pipe()
    os.close(b)
    if a != 3:
        os.dup2(a, 3)
        os.close(a)
    o = _ctune.Helper(3)
    return o
""",
        {
            "__new__": "new(); fails(_ctune.Helper, 'a'); fails(_ctune.Helper, 77)",
            "payload": "ended(new().payload)",
            "loaded": "ended(new().loaded)",
            "unloadable": "ended(new().unloadable, 'why'); fails(o.unloadable, 3)",
            "next": "ended(new().next)",
            "forked": "ended(new().forked, 1, 2); fails(o.forked)",
            "become_worker": None,  # once per process: it is a fork's first act
        },
    ),
    "TrialScheduler": (
        "o = _ctune.TrialScheduler()",
        {
            "__new__": "_ctune.TrialScheduler(); fails(_ctune.TrialScheduler, 1)",
            "__init__": "o.__init__(); fails(o.__init__, 1)",
            "set_search_properties": "o._metric = None; o.set_search_properties('a', mode='max'); "
            "o.set_search_properties('b', 'min'); fails(o.set_search_properties)",
            **{name: f"fails(o.{name})" for name in NOT_IMPLEMENTED},
            "__getstate__": "pickle.dumps(o)",
            "__setstate__": STATE,
        },
    ),
    "FIFOScheduler": (
        TRIAL + "o = _ctune.FIFOScheduler()",
        {
            "on_trial_add": "o.on_trial_add(c, t); fails(o.on_trial_add)",
            "on_trial_error": "o.on_trial_error(c, t); fails(o.on_trial_error)",
            "on_trial_result": "o.on_trial_result(c, t, r); fails(o.on_trial_result)",
            "on_trial_complete": "o.on_trial_complete(c, t, r); fails(o.on_trial_complete)",
            "on_trial_remove": "o.on_trial_remove(c, t); fails(o.on_trial_remove)",
            "choose_trial_to_run": "o.choose_trial_to_run(c); fails(o.choose_trial_to_run, 3)",
            "debug_string": "o.debug_string()",
        },
    ),
    "NativeScheduler": (
        native("AsyncHyperBandScheduler", "9.0, 1.0, 3.0, 2, True, False"),
        {
            "__init__": "new(); o.__init__(*args); o.on_trial_add(c, t); "
            "fails(_ctune.NativeScheduler); fails(type(o), 1); fails(type(o), *bad)",
            "set_search_properties": "o.set_search_properties(None, None); "
            "o.set_search_properties('m', 'max'); fails(o.set_search_properties, 3, 4)",
            "on_trial_add": "o.on_trial_add(c, t); fails(o.on_trial_add, c, 3)",
            "on_trial_result": "o.on_trial_result(c, t, r); fails(o.on_trial_result, c, b, r); "
            "fails(o.on_trial_result, c, t, {'training_iteration': 'x', 'm': 1})",
            "on_trial_complete": "o.on_trial_complete(c, t, r); o.on_trial_add(c, t); "
            "fails(o.on_trial_complete, c, b, r)",
            "on_trial_remove": "o.on_trial_remove(c, t); o.on_trial_add(c, t); "
            "fails(o.on_trial_remove, c, b)",
            "debug_string": "o.debug_string()",
            "__getstate__": "pickle.dumps(o)",
            "__setstate__": STATE,
        },
    ),
    "AsyncHyperBandScheduler": (
        native("AsyncHyperBandScheduler", "9.0, 1.0, 3.0, 2, True, True"),
        {
            "__new__": "x = run_through(new()); x.__setstate__(x.__getstate__())",
            "choose_trial_to_run": "o.choose_trial_to_run(c); fails(o.choose_trial_to_run)",
        },
    ),
    "HyperBandScheduler": (
        native("HyperBandScheduler", "9, 3, True"),
        {
            "__new__": "new(); run_through(new()); fails(type(o), *bad)",
            "on_trial_error": "o = new(); o.on_trial_add(c, t); o.on_trial_error(c, t); "
            "fails(o.on_trial_error, c, b)",
            "choose_trial_to_run": "o.choose_trial_to_run(c); fails(o.choose_trial_to_run)",
            "state": "o.state(); o.debug_string(); pickle.dumps(o); "
            "o.__setstate__(o.__getstate__())",
        },
    ),
    "HyperBandForBOHB": (
        native("HyperBandForBOHB", "9, 3, True"),
        {"__new__": "run_through(new())"},
    ),
    "MedianStoppingRule": (
        native("MedianStoppingRule", "1.0, 1, 0, True"),
        {
            "__new__": "x = run_through(new()); x.__setstate__(x.__getstate__()); "
            "fails(type(o), *bad)"
        },
    ),
    "PopulationBasedTraining": (
        """
import copy
from types import SimpleNamespace as NS
from ctune.schedulers import PopulationBasedTraining
class T:
    def __init__(self, n):
        self.trial_id, self.status, self.experiment_tag = str(n), "RUNNING", "tag"
        self.config, self.evaluated_params, self.last_result = {"a": 1.0, "l": 2}, {}, {}
        self.checkpoint, self.temporary_state = "path", NS(saving_to=None)
        self.run_metadata = NS(checkpoint_manager=NS())
    def is_finished(self):
        return False
    def set_config(self, config):
        self.config = config
    def set_experiment_tag(self, tag):
        pass  # else it grows from turn to turn
class C:
    search_alg = None
    def get_trials(self):
        return [t, u]
    get_live_trials = get_trials
    def pause_trial(self, trial, should_checkpoint=True):
        pass
    def _schedule_trial_save(self, trial, result=None):
        return future
future = NS(resolve=lambda: NS(checkpoint="path", metrics={"loss": 1}))
t, u, c = T(1), T(2), C()
mutations = {"a": ctune.uniform(0, 1), "l": [1, 2, 3], "d": {"x": lambda: 3}}
def new(**options):
    o = PopulationBasedTraining("time", "loss", "max", 1, hyperparam_mutations=mutations,
                                log_config=False, **options)
    o.on_trial_add(c, t)
    o.on_trial_add(c, u)
    return o
def turns(o):
    for time in (1, 2):
        o.on_trial_result(c, t, {"time": time, "loss": 1})
        o.on_trial_result(c, u, {"time": time, "loss": 2})
        o.on_trial_result(c, t, {"time": time + 0.5, "loss": 1})
    return o
o = new()
""",
        {
            "__new__": "x = turns(new()); y = turns(new(synch=True, quantile_fraction=0.5)); "
            "x.__setstate__(x.__getstate__()); fails(_ctune.PopulationBasedTraining, 1); "
            "fails(new, custom_explore_fn=3); fails(new, perturbation_factors=())",
            "on_trial_result": "turns(new()); fails(new().on_trial_result, c, t, {}); "
            "fails(turns, new(custom_explore_fn=lambda config: None))",
            "on_trial_error": "x = new(); x.on_trial_error(c, t); fails(x.on_trial_error, c, 3)",
            "choose_trial_to_run": "o.choose_trial_to_run(c); fails(o.choose_trial_to_run)",
            "_get_new_config": "o._get_new_config(t, u); fails(o._get_new_config, t, 3)",
            "_fill_config": "o._fill_config({}, {}); fails(o._fill_config, 3, {})",
            "last_scores": "turns(new()).last_scores([t, u]); fails(o.last_scores, 3)",
            "reset_stats": "o.reset_stats()",
        },
    ),
    "PopulationBasedTrainingReplay": (
        """
from types import SimpleNamespace as NS
class R(_ctune.PopulationBasedTrainingReplay):
    def _first_config(self, trial):
        return {"a": 1}
    def _describe_change(self, trial, config):
        return "tag"
class C:
    def get_trials(self):
        return [t]
    def pause_trial(self, trial, should_checkpoint=True):
        pass
    def _schedule_trial_save(self, trial, result=None):
        return NS(resolve=lambda: None)
t, c = NS(trial_id="1", set_config=lambda c: None, set_experiment_tag=lambda t: None), C()
def new():
    o = R("it", None, None, [(1, {"a": 2}), (2, {"a": 3})])
    o.on_trial_add(c, t)
    return o
o = new()
""",
        {
            "__new__": "x = new(); x.__setstate__(x.__getstate__()); fails(R, 1); "
            "fails(R, 'it', None, None, [('x', {})])",
            "on_trial_result": "new().on_trial_result(c, t, {'it': 1}); "
            "o.on_trial_result(c, t, {}); fails(o.on_trial_result, c)",
        },
    ),
    "Stopper": (
        "o = _ctune.Stopper()",
        {
            "__new__": "_ctune.Stopper()",
            **{"__call__": "fails(o, 'a', {})", "stop_all": "fails(o.stop_all)"},
        },
    ),
    "NoopStopper": ("o = _ctune.NoopStopper()", STOP),
    "MaximumIterationStopper": (
        "o = _ctune.MaximumIterationStopper(3)",
        {
            **STOP,
            "__init__": "o.__init__(3); fails(o.__init__, 'x'); fails(o.__init__)",
            "__getstate__": "pickle.dumps(o)",
            "__setstate__": STATE,
        },
    ),
    "TimeoutStopper": (
        "o = _ctune.TimeoutStopper(300.0)",
        {
            **STOP,
            "__init__": "o.__init__(300); fails(o.__init__, 'x'); fails(o.__init__, -1)",
            "__getstate__": "pickle.dumps(o)",
            "__setstate__": STATE,
        },
    ),
    "FunctionStopper": (
        "def f(trial_id, result):\n    return False\no = _ctune.FunctionStopper(f)",
        {
            **STOP,
            "__init__": "o.__init__(f); fails(o.__init__, 3)",
            "__getstate__": "o.__getstate__()",
            "__setstate__": STATE,
        },
    ),
    "TrialPlateauStopper": (
        "o = _ctune.TrialPlateauStopper('m', 0.01, 4, 4)",
        {
            **STOP,
            "__init__": "o.__init__('m', 0.01, 4, 4); fails(o.__init__, 'm', 'x', 1, 2)",
            "__getstate__": "pickle.dumps(o)",
            "__setstate__": STATE,
        },
    ),
    "ExperimentPlateauStopper": (
        "o = _ctune.ExperimentPlateauStopper('m', 0.01, 4, 'min', 1)",
        {
            **STOP,
            "has_plateaued": "o.has_plateaued()",
            "__init__": "o.__init__('m', 0.01, 4, 'min', 1); fails(o.__init__, 'm', 0, 0, 'x', 0)",
            "__getstate__": "pickle.dumps(o)",
            "__setstate__": STATE,
        },
    ),
    "CombinedStopper": (
        "p = _ctune.NoopStopper()\nq = _ctune.MaximumIterationStopper(3)\n"
        "o = _ctune.CombinedStopper(p, q)",
        {
            **STOP,
            "__init__": "o.__init__(p, q); fails(o.__init__, 3)",
            "__getstate__": "pickle.dumps(o)",
            "__setstate__": STATE,
        },
    ),
    "Searcher": ("", {"__new__": "_ctune.Searcher(1, a=2)"}),
    "ConcurrencyLimiter": (
        """
class Free(ctune.search.Searcher):
    def suggest(self, trial_id):
        return {"x": 1}
    def on_trial_complete(self, trial_id, result=None, error=False):
        pass
f = Free(metric="m", mode="min")
o = _ctune.ConcurrencyLimiter(f, 2)
batch = _ctune.ConcurrencyLimiter(f, 2, True)
""",
        {
            "__init__": "o.__init__(f, 2); fails(o.__init__, f, 0); fails(o.__init__, f, 'a')",
            "suggest": "o.suggest('a'); o.suggest('b'); o.suggest('c'); o.on_trial_complete('a'); "
            "o.on_trial_complete('b'); fails(o.suggest)",
            "on_trial_result": "o.on_trial_result('a', {'m': 1}); fails(o.on_trial_result)",
            "on_trial_complete": "batch.suggest('a'); batch.suggest('b'); "
            "batch.on_trial_complete('a', result={'m': 1}); "
            "batch.on_trial_complete('b', error=True); fails(o.on_trial_complete)",
            "set_max_concurrency": "o.set_max_concurrency(2); fails(o.set_max_concurrency, 'a')",
            "_hand_over": "o._hand_over()",
            "_put_state": "o._put_state(f, 2, False, ['a'], {'a': ({'m': 1}, False)}, True); "
            "o._put_state(f, 2, False, [], {}, True); fails(o._put_state, 1)",
        },
    ),
    "Variants": (
        "spec = {'a': ctune.uniform(0, 1), 'b': ctune.grid_search([1, 2]), 'c': {'d': 1}}\n"
        "o = _ctune.Variants({'a': 1}, False, 1)",
        {
            "__new__": "_ctune.Variants(spec, False, 1); fails(_ctune.Variants, spec, False, 'x')",
            "__iter__": "iter(o)",
            "__next__": "list(_ctune.Variants(spec, False, 1))",
        },
    ),
    "BasicSearch": (
        "config = {'a': ctune.uniform(0, 1), 'b': ctune.grid_search([1, 2]), 'o': object()}\n"
        "def new():\n    return _ctune.BasicSearch([], 0, False, 1, 'x')\no = new()",
        {
            "__new__": "new(); fails(_ctune.BasicSearch, 1)",
            "add": "o = new(); o.add(config, 1); fails(o.add, 3, 1)",
            "next": "o = new(); o.add(config, 1); o.next(); o.next(); o.next()",
            "complete": "o = new(); o.add(config, 1); o.next(); o.complete()",
            "save": "o = new(); o.save(); o.add(config, 1); o.next(); o.save()",
            "restore": "o = new(); o.add(config, 1); o.next(); o.restore(o.save()); o.next(); "
            "o.restore((1, None)); fails(o.restore, 3); fails(o.restore, (2, None)); "
            "fails(o.restore, (0, {})); fails(o.restore, (0, {'sample': 1}))",
        },
    ),
    "Domain": ("", {}),
    "Simulation": (
        """
table = np.ones((3, 4, 1))
def new(table=table, function=None, **more):
    given = dict(curves=table, seconds=None, function=function, metrics=("m",), rows=3, epochs=4,
                 second=1.0, spread=0.0, loss=0.0, start_s=0.0, save_s=0.0, seed=1, trace=True)
    return _ctune.Simulation(**{**given, **more})
o = new()
""",
        {
            "__new__": "new(seconds=np.ones((3, 4))); fails(new, rows=4); fails(new, 'x'); "
            "fails(new, None); fails(new, seconds=np.ones(3, 'f4')); new(None, print)",
            "trace": "o.trace()",
        },
    ),
    "Command": (
        """
seen = []
class Mine(ctune.execution.Executor):
    def capacity(self):
        return {"CPU": 1}
    def prepare(self, trainable):
        self.host = ctune.execution.TrialHost(trainable)
        self.events = []
    def submit(self, command):
        seen.append(command)
        self.events.append(self.host.handle(command))
    def wait(self, timeout):
        out, self.events = self.events, []
        return out
    def interrupt(self):
        pass
    def close(self):
        pass
ctune.init(executor=Mine())
ctune.run(lambda config: {"a": 1}, config={"x": 1}, verbose=0,
          storage_path=tempfile.mkdtemp())
o = seen[0]
""",
        {"__repr__": "repr(o)"},
    ),
    "Segment": (
        "o = _ctune.Segment()\nclosed = _ctune.Segment()\nclosed.close()",
        {
            "__new__": "_ctune.Segment().write(b'abc'); fails(_ctune.Segment, 3)",
            "write": "_ctune.Segment().write(b'abc'); fails(o.write, 'text'); "
            "fails(closed.write, b'abc')",
            "place": "_ctune.Segment().place(b'abc', 0); fails(o.place, b'abc'); "
            "fails(o.place, b'abc', 'x'); fails(o.place, 'text', 0)",
            "fileno": "o.fileno(); fails(closed.fileno)",
            "close": "_ctune.Segment().close()",
        },
    ),
    "Lock": (
        "o = _ctune.Lock(os.path.join(tempfile.mkdtemp(), 'lock'))",
        {
            "__new__": "fails(_ctune.Lock, 3); fails(_ctune.Lock, '/nowhere/at/all')",
            "release": "o.release()",
            "forget": "o.forget()",
        },
    ),
    "TrialView": (
        RUN + "o = run().trials[0]._view",
        {
            "__repr__": "repr(o)",
            "metric": "o.metric('loss'); o.metric('nothing'); fails(o.metric, 3)",
            "metric_names": "o.metric_names()",
            "metric_analysis": "o.metric_analysis()",
            "newest": "o.newest()",
            "checkpoints": "o.checkpoints()",
            "resize": "fails(o.resize, {'CPU': 1.0})",
        },
    ),
    "Driver": (
        RUN + "view = run().trials[0]._view\n"
        "o = next(x for x in gc.get_referents(view) if isinstance(x, _ctune.Driver))\n"
        "d = folder.name",
        {
            "__new__": "fails(_ctune.Driver, {}); fails(_ctune.Driver, {'scheduler': 1})",
            "run": "fails(o.run)",
            "close": "o.close(0.0); fails(o.close, 'a')",
            "settings_in": "_ctune.Driver.settings_in(d); fails(_ctune.Driver.settings_in, 3)",
            "recover": "fails(o.recover, d); fails(o.recover, 3)",
            "snapshot": "o.snapshot()",
            "interrupt": "o.interrupt(1); fails(o.interrupt, 'a')",
            "counts": "o.counts()",
            "trial": "o.trial(0); fails(o.trial, 99); fails(o.trial, 'a')",
            "trials_with": "o.trials_with('TERMINATED', 5); fails(o.trials_with, 'X', 1)",
            "best": "o.best('loss', 'min'); o.best('loss', 'max', 'avg', False); "
            "fails(o.best, 'loss', 'min', 'x')",
            "used_resources": "o.used_resources()",
            "describe": "o.describe()",
            "stats": "o.stats()",
            "finished": "o.finished()",
            "interrupted": "o.interrupted()",
        },
    ),
    "Controller": (
        RUN
        + """
class Mine(ctune.schedulers.FIFOScheduler):
    def on_trial_result(self, controller, trial, result):
        self.controller = controller
        return "CONTINUE"
mine = Mine()
trial = run(scheduler=mine).trials[0]
o = mine.controller
""",
        {
            "get_num_cpus": "o.get_num_cpus(); o._resource_updater.get_num_cpus()",
            "get_num_gpus": "o.get_num_gpus()",
            "get_trials": "o.get_trials()",
            "get_live_trials": "o.get_live_trials()",
            "stop_trial": "fails(o.stop_trial, trial); fails(o.stop_trial, 3)",
            "pause_trial": "fails(o.pause_trial, trial, should_checkpoint=False)",
            "unpause_trial": "fails(o.unpause_trial, trial)",
            "resize_trial": "fails(o.resize_trial, trial, {'cpu': 1}); "
            "fails(o.resize_trial, trial)",
        },
    ),
    "": (
        "rng = np.random.default_rng(1)\nform = ctune.uniform(0, 1)._engine_form\n"
        "one = {'CPU': 1.0}\nmore = {'CPU': 1.0, 'a': 2.0}\n"
        "even = (one, one, 3, True, {'CPU': 8}, {}, [more], [more, one, {}, one], [[more, one]])\n"
        "single = (one, {}, -1, False, {'CPU': 8}, {}, [more], [more], [[more]])",
        {
            "current_trainable": "_ctune.current_trainable()",
            "host": "_ctune.host()",
            "crc32c": "_ctune.crc32c(b'abc'); fails(_ctune.crc32c, 3)",
            "json_text": "_ctune.json_text([{'a': (1, 0.5, None)}, 'b', {2}, {3: 4}], sorted); "
            "fails(_ctune.json_text, {1}, None)",
            "repair": "fails(_ctune.repair, tempfile.gettempdir(), True); "
            "fails(_ctune.repair, '/nowhere/at/all', True); fails(_ctune.repair, 3, True)",
            "map_segment": "s = _ctune.Segment(); s.write(b'abc'); "
            "bytes(_ctune.map_segment(s.fileno())); fails(_ctune.map_segment, -1); "
            "fails(_ctune.map_segment, 'x')",
            "perturbed_tag": "_ctune.perturbed_tag('a', {'b': 0.5, 'c': 'x y'}, ['c', 'b']); "
            "fails(_ctune.perturbed_tag, 'a', {}, ['b'])",
            "distribute_evenly": "_ctune.distribute_evenly(*even); "
            "_ctune.distribute_evenly(*single); "
            "fails(_ctune.distribute_evenly, *even[:-1], [[3]]); "
            "fails(_ctune.distribute_evenly, {}, *even[1:]); fails(_ctune.distribute_evenly)",
            "distribute_to_best": "_ctune.distribute_to_best(*even, [1.0], 0); "
            "fails(_ctune.distribute_to_best, *even, ['x'], 0); "
            "fails(_ctune.distribute_to_best, *even, [], 0); "
            "fails(_ctune.distribute_to_best, *even, [1.0], 'x')",
            "sample_domain": "_ctune.sample_domain(form() if callable(form) else form, rng, 3); "
            "fails(_ctune.sample_domain, 3, rng, 1)",
        },
    ),
}

HELPERS = """
def ended(call, *args):
    try:
        call(*args)
    except Exception:
        pass
"""


def attributes(name):
    """What the type itself adds: methods, and properties."""
    if name == "":
        names = {n for n in vars(_ctune) if callable(getattr(_ctune, n)) and n[0] != "_"}
        return {n for n in names if not isinstance(getattr(_ctune, n), type)}, set()
    methods, properties = set(), set()
    for key, value in vars(getattr(_ctune, name)).items():
        if type(value).__name__ in ("getset_descriptor", "member_descriptor"):
            properties.add(key)
        elif callable(value) or isinstance(value, staticmethod):
            methods.add(key)
    return methods, properties


TYPES = {n for n, t in vars(_ctune).items() if isinstance(t, type)}


def test_the_table_names_every_type_and_method():
    assert set(TABLE) - {""} == TYPES
    missing = {n: attributes(n)[0] ^ set(TABLE[n][1]) for n in TABLE}
    assert {n: m for n, m in missing.items() if m} == {}


@pytest.mark.parametrize("name", sorted(TABLE))
def test_no_call_leaves_memory_behind(name):
    setup, calls = TABLE[name]
    lines = [PRELUDE.replace("WARM", str(WARM)), HELPERS, textwrap.dedent(setup)]
    cases = {key: code for key, code in calls.items() if code is not None}
    cases |= {key: f"o.{key}" for key in attributes(name)[1]}
    for key, code in cases.items():
        lines.append(f"def call():\n    global o\n    {code}\nmeasure({key!r}, call, {CALLS})")
    lines.append('print("grown", json.dumps(grown))')
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout.split("grown", 1)[1])
    assert set(grown) == set(cases)
    leaks = {k: v for k, v in grown.items() if v[1] >= v[0] / 10 or v[2] >= v[0]}
    assert UNDER_ASAN or leaks == {}
