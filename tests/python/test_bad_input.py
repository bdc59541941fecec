"""Wrong input: one clear error each, early, and nothing that was recorded is lost.

Each case expects its class and a message that names the parameter and the value. Cases that
depend on where trials run are tested with both executors.
"""

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

import ctune
from ctune import tune
from ctune.schedulers import ASHAScheduler, FIFOScheduler
from ctune.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher


class Job(ctune.Trainable):
    def step(self):
        return {"loss": 1.0}


def job(config):
    ctune.report({"loss": 1.0})


@pytest.fixture
def started(tmp_path):
    """Folders of experiments: what a refused call must not leave."""
    return lambda: (
        sorted(os.listdir(tmp_path / "results")) if (tmp_path / "results").exists() else []
    )


@pytest.fixture(params=["inline", "process"])
def executor(request):
    ctune.init(executor=request.param, num_cpus=2)
    yield request.param
    ctune.shutdown()


@pytest.fixture
def run(executor, tmp_path):
    def run(trainable=Job, **arguments):
        if isinstance(trainable, type):
            arguments.setdefault("stop", {"training_iteration": 2})
        arguments.setdefault("storage_path", str(tmp_path / "results"))
        arguments.setdefault("verbose", 0)
        return ctune.run(trainable, **arguments)

    return run


@pytest.fixture
def run_inline(tmp_path):
    ctune.init(executor="inline", num_cpus=2)
    yield lambda trainable=Job, **arguments: ctune.run(
        trainable, **{"storage_path": str(tmp_path / "results"), "verbose": 0, **arguments}
    )
    ctune.shutdown()


# --- refused before any trial starts -----------------------------------------------------------


def takes_nothing():
    pass


def takes_two(config, data):
    pass


def takes_no_config(*, config):
    pass


class NoTrainable:
    pass


class NoStep(ctune.Trainable):
    pass


def shown(value):
    """What names a case: the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


BAD_ARGUMENTS = [
    # arguments, class of the error, pattern of its message
    ({"config": [1]}, ValueError, r"config.*\[1\]"),
    ({"config": "lr"}, ValueError, r"config.*'lr'"),
    ({"config": {"lock": threading.Lock()}}, TypeError, r"config.*'lock'"),
    ({"mode": "minimum"}, ValueError, r"mode.*'minimum'"),
    ({"mode": 1}, ValueError, r"mode.*1"),
    ({"metric": 3, "mode": "min"}, ValueError, r"metric.*3"),
    ({"stop": {"loss": "low"}}, ValueError, r"stop.*'loss'.*'low'"),
    ({"stop": {"loss": None}}, ValueError, r"stop.*'loss'.*None"),
    ({"stop": {"a": {"b": 1}}}, ValueError, r"stop.*'a'.*path"),
    ({"stop": {3: 1}}, ValueError, r"stop.*3"),
    ({"stop": 3}, ValueError, r"stop.*3"),
    ({"stop": [3]}, ValueError, r"stop.*Stopper"),
    ({"stop": lambda trial_id: True}, ValueError, r"stop.*trial_id, result"),
    ({"resources_per_trial": {"cpu": 1000}}, ValueError, r"1000 CPU.*only 2"),
    ({"resources_per_trial": {"gpu": 1}}, ValueError, r"1 GPU.*only 0"),
    ({"resources_per_trial": {"tpu": 2}}, ValueError, r"2 tpu.*only 0"),
    ({"resources_per_trial": {"cpu": -1}}, ValueError, r"resources_per_trial.*-1"),
    ({"resources_per_trial": {"cpu": "two"}}, ValueError, r"resources_per_trial.*'two'"),
    ({"resources_per_trial": [1]}, ValueError, r"resources_per_trial.*\[1\]"),
    ({"num_samples": "3"}, ValueError, r"num_samples.*'3'"),
    ({"num_samples": 2.5}, ValueError, r"num_samples.*2\.5"),
    ({"num_samples": -2}, ValueError, r"num_samples.*-2"),
    ({"time_budget_s": "10"}, ValueError, r"time_budget_s.*'10'"),
    ({"time_budget_s": -1}, ValueError, r"time_budget_s.*-1"),
    ({"time_budget_s": math.nan}, ValueError, r"time_budget_s.*nan"),
    ({"max_failures": "1"}, ValueError, r"max_failures.*'1'"),
    ({"fail_fast": "yes"}, ValueError, r"fail_fast.*'yes'"),
    ({"fail_fast": True, "max_failures": 2}, ValueError, r"max_failures.*2"),
    ({"max_concurrent_trials": -1}, ValueError, r"max_concurrent.*-1"),
    ({"max_concurrent_trials": "2"}, ValueError, r"max_concurrent_trials.*'2'"),
    ({"scheduler": "assha"}, ValueError, r"(?s)scheduler.*async_hyperband.*'assha'"),
    ({"scheduler": 3}, ValueError, r"scheduler.*3"),
    ({"scheduler": ASHAScheduler()}, ValueError, r"metric.*None"),
    ({"search_alg": "optunna"}, ValueError, r"search_alg.*'optunna'.*'optuna'"),
    ({"search_alg": 3}, ValueError, r"search_alg.*3"),
    ({"callbacks": 3}, ValueError, r"callbacks.*3"),
    ({"callbacks": [3]}, ValueError, r"callbacks.*3"),
    ({"checkpoint_config": 3}, ValueError, r"checkpoint_config.*3"),
    ({"trial_name_creator": 3}, ValueError, r"trial_name_creator.*3"),
    ({"trial_dirname_creator": 3}, ValueError, r"trial_dirname_creator.*3"),
    ({"verbose": "high"}, ValueError, r"verbose.*'high'"),
    ({"name": 3}, ValueError, r"name.*3"),
    ({"storage_path": 3}, ValueError, r"storage_path.*3"),
    ({"resume": "AUTO+NEVER"}, ValueError, r"resume.*NEVER"),
    ({"restore": "/x"}, ValueError, r"restore.*'/x' is not a directory"),
    ({"restore": 3}, ValueError, r"restore.*3"),
    ({"log_to_file": 3}, ValueError, r"log_to_file.*3"),  # R92k
    ({"log_to_file": ("a", "b", "c")}, ValueError, r"log_to_file.*3"),
    ({"log_to_file": ("a", 3)}, ValueError, r"log_to_file.*3"),
    ({"export_formats": [3]}, ValueError, r"export_formats.*3"),
    ({"storage_path": "foo://bucket/x"}, ValueError, r"storage_path.*foo://bucket/x"),
    ({"nonsense": 1}, TypeError, r"nonsense"),
]


@pytest.mark.parametrize(("arguments", "error", "pattern"), BAD_ARGUMENTS, ids=shown)
def test_a_bad_argument_is_named_before_any_trial_starts(
    run_inline, started, arguments, error, pattern
):
    ran = []

    class Noted(Job):
        def setup(self, config):
            ran.append(1)

    arguments = {"stop": {"training_iteration": 1}, **arguments}
    with pytest.raises(error, match=pattern):
        run_inline(Noted, **arguments)
    assert not ran and not [name for name in started() if "result.json" in name]


@pytest.mark.parametrize(
    ("trainable", "error", "pattern"),
    [
        (None, ctune.TuneError, r"None"),
        (3, ctune.TuneError, r"3"),
        ("unheard-of", ctune.TuneError, r"'unheard-of'.*register_trainable"),
        (NoTrainable, TypeError, r"NoTrainable.*Trainable"),
        (takes_nothing, ValueError, r"takes_nothing.*config"),
        (takes_two, ValueError, r"takes_two.*with_parameters"),
        (takes_no_config, ValueError, r"takes_no_config.*config"),
        (NoStep, ValueError, r"NoStep.*step"),
    ],
    ids=shown,
)
def test_what_cannot_be_trained_is_refused(run_inline, trainable, error, pattern):
    with pytest.raises(error, match=pattern):
        run_inline(trainable)


def test_a_circle_among_parameters_names_them(run):
    space = {
        "a": tune.sample_from(lambda spec: spec.config.b),
        "b": tune.sample_from(lambda spec: spec.config.a),
    }
    with pytest.raises(Exception, match="circle among `a`, `b`"):
        run(config=space)


@pytest.mark.parametrize(
    ("make", "error", "pattern"),
    [
        (lambda: tune.uniform(0, math.nan), ValueError, "upper"),
        (lambda: tune.uniform(0, math.inf), ValueError, "upper"),
        (lambda: tune.loguniform(0, 1), ValueError, "lower.*0"),
        (lambda: tune.loguniform(-1, 1), ValueError, "lower.*-1"),
        (lambda: tune.loguniform(1, 10, base=1), ValueError, "base.*1"),
        (lambda: tune.quniform(0, 1, 0), ValueError, "q.*0"),
        (lambda: tune.quniform(0.05, 1, 0.1), ValueError, "lower.*0.05"),
        (lambda: tune.qloguniform(1, 10, 0), ValueError, "q.*0"),
        (lambda: tune.randint(1.5, 3), ValueError, "lower.*1.5"),
        (lambda: tune.lograndint(0, 3), ValueError, "lower.*0"),
        (lambda: tune.qrandint(1, 10, 0), ValueError, "q.*0"),
        (lambda: tune.randn(0, -1), ValueError, "sd.*-1"),
        (lambda: tune.qrandn(0, 1, 0), ValueError, "q.*0"),
        (lambda: tune.sample_from(3), TypeError, "func.*3"),
        (lambda: tune.with_resources(job, 3), ValueError, "resources.*3"),
        (lambda: tune.with_resources(job, {"cpu": -1}), ValueError, "-1"),
        (lambda: tune.with_parameters(3, a=1), ValueError, "3"),
        (lambda: tune.with_parameters(job, unknown=1), ValueError, "unknown"),
        (lambda: tune.register_trainable("x", 3), TypeError, "3"),
        (lambda: ASHAScheduler(max_t=0), ValueError, "max_t.*0"),
        (lambda: ASHAScheduler(max_t="a"), TypeError, "max_t.*'a'"),
        (lambda: ASHAScheduler(grace_period=200), ValueError, "grace_period.*200"),
        (lambda: ASHAScheduler(reduction_factor=1), ValueError, "reduction_factor.*1"),
        (lambda: ASHAScheduler(brackets=0), ValueError, "brackets.*0"),
        (lambda: ASHAScheduler(mode="x"), ValueError, "mode.*'x'"),
        (lambda: ConcurrencyLimiter(None, max_concurrent=2), RuntimeError, "Searcher.*None"),
        (lambda: ConcurrencyLimiter(Three(), max_concurrent=0), AssertionError, "max_conc.*0"),
        (lambda: BasicVariantGenerator(max_concurrent=-1), ValueError, "max_concurrent.*-1"),
        (lambda: BasicVariantGenerator(random_state="a"), TypeError, "random_state"),
        (lambda: ctune.CheckpointConfig(num_to_keep=0), ValueError, "num_to_keep.*0"),
        (lambda: ctune.CheckpointConfig(checkpoint_score_order="up"), ValueError, "'up'"),
        (lambda: ctune.init(executor="threads"), ValueError, "executor.*'threads'"),
        (lambda: ctune.init(num_cpus=-1), ValueError, "num_cpus.*-1"),
        (lambda: ctune.init(num_cpus="a"), (TypeError, ValueError), "num_cpus.*'a'"),
    ],
)
def test_a_bad_argument_of_other_calls_is_named(make, error, pattern):
    with pytest.raises(error, match=pattern):
        make()


class Three(Searcher):
    """Three configurations, or what it is told to answer."""

    def __init__(self, answer=None):
        super().__init__(metric="loss", mode="min")
        self.answer = answer
        self.given = 0

    def suggest(self, trial_id):
        if self.answer is not None:
            return self.answer()
        self.given += 1
        return {"x": self.given} if self.given <= 3 else Searcher.FINISHED

    def on_trial_complete(self, trial_id, result=None, error=False):
        pass


def test_a_searcher_with_its_own_space_takes_functions_of_parameters_only(run_inline):
    stop = {"training_iteration": 1}
    space = {"y": tune.sample_from(lambda spec: 3)}
    analysis = run_inline(search_alg=Three(), num_samples=3, config=space, stop=stop)
    assert len(analysis.trials) == 3
    with pytest.raises(ValueError, match="config.*Three"):
        run_inline(search_alg=Three(), config={"y": tune.uniform(0, 1)}, stop=stop)


# --- trainables that cannot travel -------------------------------------------------------------


def needs_lock():
    lock = threading.Lock()

    def train(config):
        with lock:
            ctune.report({"loss": 1.0})

    return train


def test_what_cannot_be_sent_to_workers_is_named(run, executor):
    if executor == "inline":
        assert run(needs_lock()).trials[0].status == "TERMINATED"
        return
    with pytest.raises(TypeError, match="closed-over variable 'lock'"):
        run(needs_lock())

    class Holds(Job):
        held = {"inner": threading.Lock()}

    with pytest.raises(TypeError, match=r"(?s)'held'"):
        run(Holds)

    def train(config, data):
        pass

    with pytest.raises(TypeError, match="'data'"):
        run(tune.with_parameters(train, data=threading.Lock()))


class NoPickle:
    def __reduce__(self):
        raise TypeError("no way")


class Holder:
    def __init__(self):
        self.inner = NoPickle()

    def __deepcopy__(self, memo):
        return self


class HolderSearch(Searcher):
    def suggest(self, trial_id):
        return {"a": {"b": Holder()}}

    def on_trial_complete(self, *args, **kwargs):
        pass


@pytest.mark.parametrize(
    "arguments",
    [
        {"config": {"a": {"b": Holder()}}},
        {"config": {"a": {"b": tune.sample_from(lambda _: Holder())}}},
        {"search_alg": HolderSearch("loss", "min")},
    ],
)
def test_a_config_that_cannot_be_pickled_is_named(run, arguments):
    with pytest.raises(ctune.TuneError) as caught:
        run(**arguments)
    text = str(caught.value)
    assert text.startswith("config: ") and "Traceback" not in text
    assert "'a/b'" in text or "the key 'b' in the key 'a'" in text
    assert "the attribute 'inner' of a Holder (a NoPickle): no way" in text.replace(
        " in the key 'b' in the key 'a'", ""
    )
    assert "inside the trainable" in text


def test_a_value_that_a_trial_cannot_copy_is_named(run_inline):
    analysis = run_inline(
        config={"a": tune.sample_from(lambda _: NoPickle())}, raise_on_failed_trial=False
    )
    (trial,) = analysis.trials
    with open(trial.error_file) as file:
        assert "TypeError: config: the value of 'a' cannot be copied (no way)." in file.read()


# --- results ---------------------------------------------------------------------------------


def steps(answer):
    return type("Steps", (Job,), {"step": lambda self: answer})


def reports(answer):
    def train(config):
        ctune.report(answer)

    return train


def returns(answer):
    def train(config):
        return answer

    return train


def yields(answer):
    def train(config):
        yield answer

    return train


@pytest.mark.parametrize("make", [steps, reports, returns, yields])
@pytest.mark.parametrize("answer", ["text", [1]], ids=repr)
def test_a_result_that_is_not_a_dict_is_the_trials_error(run, make, answer):
    analysis = run(make(answer), raise_on_failed_trial=False)
    [trial] = analysis.trials
    assert trial.status == "ERROR"
    with open(trial.error_file) as f:
        text = f.read()
    assert "dict" in text and (repr(answer) in text or type(answer).__name__ in text)


@pytest.mark.parametrize("how", ["metric", "stop"])
def test_a_metric_that_is_not_reported_is_named(run, how):
    arguments = (
        {"metric": "accuracy", "mode": "max"} if how == "metric" else {"stop": {"accuracy": 1}}
    )
    with pytest.raises(ctune.TuneError, match=r"(?s)accuracy.*loss"):
        run(Job, **{"stop": {"training_iteration": 2}, **arguments})


def test_nan_is_never_best(run):
    def train(config):
        ctune.report({"loss": config["x"]})

    space = {"x": tune.grid_search([math.nan, 2.0, 1.0, math.nan])}
    for mode, best in (("min", 1.0), ("max", 2.0)):
        analysis = run(train, metric="loss", mode=mode, config=space)
        assert analysis.best_config == {"x": best}
        assert analysis.best_result["loss"] == best


# --- policies and callbacks in Python that misbehave -------------------------------------------


def fifo(method, answer):
    return type("Odd", (FIFOScheduler,), {method: lambda self, *args: answer()})()


def fails():
    raise ValueError("on purpose")


def callback():
    return type("Odd", (ctune.Callback,), {"on_trial_result": lambda self, *a, **k: fails()})()


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (lambda: {"scheduler": fifo("on_trial_result", fails)}, "on purpose"),
        (lambda: {"scheduler": fifo("on_trial_result", lambda: "MAYBE")}, "'MAYBE'"),
        (lambda: {"scheduler": fifo("choose_trial_to_run", fails)}, "on purpose"),
        (lambda: {"scheduler": fifo("choose_trial_to_run", lambda: 3)}, "int"),
        (lambda: {"search_alg": Three(fails)}, "on purpose"),
        (lambda: {"search_alg": Three(lambda: [1])}, r"suggest.*\[1\]"),
        (lambda: {"stop": lambda trial_id, result: fails()}, "on purpose"),
        (lambda: {"callbacks": [callback()]}, "on purpose"),
        (lambda: {"trial_name_creator": lambda trial: 3}, "trial_name_creator"),
        (lambda: {"trial_dirname_creator": lambda trial: 3}, "trial_dirname_creator"),
        (lambda: {"trial_dirname_creator": lambda trial: "a/b"}, "trial_dirname_creator.*'a/b'"),
        (lambda: {"trial_dirname_creator": lambda trial: "../b"}, "trial_dirname_creator"),
    ],
)
def test_odd_answers_end_the_run_and_say_so(run, arguments, pattern):
    with pytest.raises((ctune.TuneError, ValueError), match=rf"(?s){pattern}"):
        run(Job, **{"stop": {"training_iteration": 3}, **arguments()})


@pytest.mark.parametrize("name", ["same", "a/b", "x" * 300, "ü\n\t", "."])
def test_names_of_any_kind_make_folders_of_their_own(run, name):
    analysis = run(num_samples=2, trial_name_creator=lambda trial: name)
    paths = {trial.path for trial in analysis.trials}
    assert len(paths) == 2 and len({os.path.dirname(path) for path in paths}) == 1
    for path in paths:
        assert os.path.exists(os.path.join(path, "result.json"))


def test_r20_names_that_no_file_can_have_are_refused(run):
    for name in ("a\0b", "a\udc80"):
        with pytest.raises(ValueError, match="trial_name_creator returned 'a"):
            run(trial_name_creator=lambda trial, name=name: name)


@pytest.mark.parametrize("name", ["x" * 300, "..", "", "a\0b", "a\udc80"])
def test_r21_directory_names_that_cannot_be_are_refused(run, name):
    with pytest.raises(ctune.TuneError, match="trial_dirname_creator"):
        run(trial_dirname_creator=lambda trial: name)


def test_r21_the_same_directory_name_twice_makes_two(run):
    analysis = run(num_samples=2, trial_dirname_creator=lambda trial: "same")
    assert sorted(os.path.basename(t.path) for t in analysis.trials) == ["same", "same_0001"]


HOOKS = [
    "setup", "on_step_begin", "on_step_end", "on_trial_start",
    "on_trial_save", "on_trial_result", "on_trial_complete", "on_trial_recover",
    "on_trial_error", "on_experiment_end",
]  # fmt: skip


class Stumbles(ctune.Trainable):
    """Saves, fails once and is restored; one sample of it fails for good."""

    def setup(self, config):
        self.once = os.path.join(config["where"], "once")

    def step(self):
        if self.config["sample"] == 1:
            raise ValueError("for good")
        if self.iteration == 1 and not os.path.exists(self.once):
            open(self.once, "w").close()
            raise ValueError("once")
        return {"loss": 1.0}

    def save_checkpoint(self, checkpoint_dir):
        return {}

    def load_checkpoint(self, checkpoint):
        pass


@pytest.mark.parametrize("hook", HOOKS)
def test_a_callback_that_raises_ends_the_run_and_is_named(run_inline, tmp_path, hook):
    ended = []

    class Raises(ctune.Callback):
        pass

    class Hears(ctune.Callback):
        def on_experiment_end(self, trials, **info):
            ended.append(len(trials))

    def raises(self, *args, **kwargs):
        raise ValueError("on purpose")

    setattr(Raises, hook, raises)
    with pytest.raises((ctune.TuneError, ValueError), match="on purpose"):
        run_inline(
            Stumbles,
            config={"where": str(tmp_path), "sample": tune.grid_search([0, 1])},
            stop={"training_iteration": 3},
            checkpoint_config=ctune.CheckpointConfig(checkpoint_frequency=1),
            max_failures=1,
            raise_on_failed_trial=False,
            callbacks=[Raises(), Hears()],
        )
    assert hook == "setup" or len(ended) == 1


# --- sizes -----------------------------------------------------------------------------------


def test_a_config_with_ten_thousand_keys(run):
    space = {f"k{i}": i for i in range(5_000)}
    space |= {f"u{i}": tune.uniform(0, 1) for i in range(5_000)}

    def train(config):
        return {"n": len(config), "last": config["k4999"]}

    analysis = run(train, config=space, num_samples=2)
    assert [t.last_result["n"] for t in analysis.trials] == [10_000, 10_000]
    assert all(len(t.config) == 10_000 for t in analysis.trials)
    assert all(len(os.path.basename(t.path)) <= 255 for t in analysis.trials)


def test_values_of_a_megabyte(run):
    text, raw = "ü" * 500_000, b"x" * 10**6

    def train(config):
        assert config["text"] == text and config["raw"] == raw
        return {"n": len(config["choice"]), "text": config["text"]}

    space = {"text": text, "raw": raw, "choice": tune.grid_search(["a" * 10**6, "b" * 10**6])}
    analysis = run(train, config=space)
    for trial in analysis.trials:
        assert trial.last_result["n"] == 10**6 and trial.last_result["text"] == text
        with open(os.path.join(trial.path, "result.json")) as f:
            assert json.loads(f.readline())["text"] == text
        assert len(os.path.basename(trial.path)) <= 255


def test_a_key_of_a_megabyte(run):
    analysis = run(lambda config: {"n": len(config)}, config={"x" * 10**6: 1})
    assert analysis.trials[0].last_result["n"] == 1


# --- what cannot be printed ------------------------------------------------------------------


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no text")

    def __deepcopy__(self, memo):
        return self


ARGUMENTS = [
    "name", "metric", "mode", "stop", "time_budget_s", "config", "resources_per_trial",
    "num_samples", "storage_path", "storage_filesystem", "search_alg", "scheduler",
    "checkpoint_config", "verbose", "log_to_file", "trial_name_creator",
    "trial_dirname_creator", "sync_config", "export_formats", "max_failures", "fail_fast",
    "restore", "resume_config", "callbacks", "max_concurrent_trials", "keep_checkpoints_num",
    "checkpoint_score_attr", "checkpoint_freq", "_entrypoint",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_a_bad_argument_that_cannot_be_printed_is_named(run_inline, argument):
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}.*Unprintable object"):
        run_inline(**{argument: Unprintable()})


def test_bad_parts_that_cannot_be_printed_are_named(run_inline):
    for arguments, pattern in (
        ({"stop": {"a": Unprintable()}}, "stop.*'a'.*Unprintable"),
        ({"stop": [Unprintable()]}, "stop.*Unprintable"),
        ({"callbacks": [Unprintable()]}, "callbacks.*Unprintable"),
        ({"resources_per_trial": {"cpu": Unprintable()}}, "resources_per_trial.*Unprintable"),
    ):
        with pytest.raises(ValueError, match=pattern):
            run_inline(**arguments)
    with pytest.raises(ctune.TuneError, match="Unprintable object"):
        run_inline(Unprintable())
    with pytest.raises(ctune.TuneError, match="trial_name_creator.*Unprintable"):
        run_inline(trial_name_creator=lambda trial: Unprintable())


def test_parameters_and_results_that_cannot_be_printed_are_kept(run):
    def train(config):
        return {"thing": config["one"], "loss": 1.0}

    space = {"one": Unprintable(), "two": tune.grid_search([Unprintable(), Unprintable()])}
    analysis = run(train, config=space)
    assert len(analysis.trials) == 2
    for trial in analysis.trials:
        assert trial.status == "TERMINATED"
        with open(os.path.join(trial.path, "params.json")) as f:
            assert "Unprintable object" in json.load(f)["one"]


def test_an_error_that_cannot_be_printed_is_the_trials(run):
    class Silent(Exception):
        def __str__(self):
            raise RuntimeError("no text")

        __repr__ = __str__

    def train(config):
        raise Silent

    analysis = run(train, raise_on_failed_trial=False)
    with open(analysis.trials[0].error_file) as f:
        assert "Silent" in f.read()


# --- text that is no UTF-8 -------------------------------------------------------------------


def test_surrogates_in_names_are_named(run_inline, tmp_path):
    """Bytes of a file name that are no text, as os.fsdecode() gives them."""

    def odd(config):
        return {"loss": 1.0}

    odd.__name__ = "odd\udc80"
    for arguments in (
        {"name": "a\udc80"},
        {"metric": "a\udc80", "mode": "min"},
        {"stop": {"a\udc80": 1}},
        {"config": {"a\udc80": 1}},
        {"config": {"a": [{"b\udc80": tune.uniform(0, 1)}]}},
        {"config": {"a\udc80": tune.grid_search([1, 2])}},
        {"storage_path": str(tmp_path / "a\udc80")},
        {"resources_per_trial": {"a\udc80": 1}},
        {"run_or_experiment": odd},
    ):
        where = {"run_or_experiment": "trainable"}.get(list(arguments)[0], list(arguments)[0])
        with pytest.raises(ValueError, match=rf"^{where}.*udc80'.*surrogate"):
            run_inline(arguments.pop("run_or_experiment", Job), **arguments)
    with pytest.raises(ValueError, match="name.*surrogate"):
        tune.register_trainable("a\udc80", odd)


def test_surrogates_in_values_results_and_errors_are_kept_or_the_trials(run):
    def value(config):
        return {"text": config["a"], "loss": 1.0}

    (trial,) = run(value, config={"a": tune.choice(["\udc80"])}).trials
    assert trial.last_result["text"] == "\udc80"

    def key(config):
        return {"a\udc80": 1.0}

    def error(config):
        raise ValueError("a\udc80")

    for train, words in ((key, "surrogate"), (error, "udc80")):
        (trial,) = run(train, raise_on_failed_trial=False).trials
        assert trial.status == "ERROR"
        with open(trial.error_file) as f:
            assert words in f.read()


# --- numbers in the environment --------------------------------------------------------------


@pytest.mark.parametrize(
    "variable",
    [
        "TUNE_MAX_LEN_IDENTIFIER", "TUNE_FORCE_TRIAL_CLEANUP_S", "TUNE_DISABLE_DATED_SUBDIR",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING", "TUNE_DISABLE_SIGINT_HANDLER",
        "TUNE_MAX_PENDING_TRIALS_PG",
    ],
)  # fmt: skip
def test_variables_that_hold_no_number_are_named(run_inline, monkeypatch, variable):
    monkeypatch.setenv(variable, "many")
    with pytest.raises(ValueError, match=rf"^{variable}.*'many'"):
        run_inline(stop={"training_iteration": 1}, metric="loss", mode="min")


# --- storage ---------------------------------------------------------------------------------


def test_storage_that_is_a_file_is_refused(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        run(storage_path=str(tmp_path / "file"))


def test_storage_that_cannot_be_made_is_refused(run):
    with pytest.raises(OSError, match="/proc/nowhere"):
        run(storage_path="/proc/nowhere")


def test_a_read_only_storage_is_refused(run, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match=r"(?i)disk.*read-only"):
        run(storage_path=str(small_disk))


def fills(config):
    n = 0
    while True:
        n += 1
        ctune.report({"n": n, "text": "x" * 500})


def test_a_disk_that_fills_up_ends_the_run_and_keeps_what_was_written(run, small_disk):
    with pytest.raises(OSError, match=r"(?i)no space left"):
        run(fills, num_samples=2, storage_path=str(small_disk))
    lines = 0
    for folder, _, names in os.walk(small_disk):
        if "result.json" in names:
            with open(os.path.join(folder, "result.json")) as f:
                found = [json.loads(line) for line in f.read().splitlines()]
            assert [line["n"] for line in found] == list(range(1, len(found) + 1))
            lines += len(found)
    assert lines > 0


# --- interrupts ------------------------------------------------------------------------------

INTERRUPTED = """
import sys, time
import ctune

store = sys.argv[2]
ctune.init(executor=sys.argv[1], num_cpus=2)

def train(config):
    for n in range(1, 10**6):
        time.sleep(0.01)
        ctune.report({"n": n})

class Slow(ctune.Trainable):
    def step(self):
        open(store + "/stepping", "w").close()
        time.sleep(60)
        return {"n": 1}

trainable = {"quick": train, "slow": Slow}[sys.argv[3]]
analysis = ctune.run(trainable, num_samples=2, storage_path=store, verbose=0)
print("ended", [(t.status, (t.last_result or {}).get("n", 0)) for t in analysis.trials], flush=True)
"""


def interrupted(executor, store, kind):
    return subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, executor, str(store), kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def has_results(store):
    return any(
        name == "result.json" and os.path.getsize(os.path.join(folder, name)) > 0
        for folder, _, names in os.walk(store)
        for name in names
    )


@pytest.mark.parametrize("where", ["inline", "process"])
def test_one_interrupt_ends_a_run_and_keeps_everything(tmp_path, where):
    driver = interrupted(where, tmp_path, "quick")
    until = time.monotonic() + 30
    while time.monotonic() < until and not has_results(tmp_path):
        time.sleep(0.02)
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 0, err
    assert "ended" in out and has_results(tmp_path)


def test_a_second_interrupt_stops_at_once(tmp_path):
    driver = interrupted("process", tmp_path, "slow")
    until = time.monotonic() + 30
    while time.monotonic() < until and not (tmp_path / "stepping").exists():
        time.sleep(0.02)
    driver.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert driver.poll() is None  # it waits for steps of a minute
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=30)
