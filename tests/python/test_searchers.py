"""Searcher, ConcurrencyLimiter, SearchGenerator, create_searcher; alone and in runs."""

import copy
import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ctune as tune
from ctune.search import (
    BasicVariantGenerator,
    ConcurrencyLimiter,
    SearchAlgorithm,
    Searcher,
    SearchGenerator,
    create_searcher,
)

REFERENCE = Path(__file__).parents[1] / "reference" / "limiter.json"


class Scripted(Searcher):
    """Answers from a list, and writes down what it hears."""

    def __init__(self, answers=None, metric="m", mode="min"):
        super().__init__(metric=metric, mode=mode)
        self.answers = answers
        self.heard = []

    def suggest(self, trial_id):
        self.heard.append(("suggest", trial_id))
        return {"x": len(self.heard)} if self.answers is None else self.answers.pop(0)

    def on_trial_result(self, trial_id, result):
        self.heard.append(("result", trial_id, result))

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.heard.append(("complete", trial_id, result, error))


# --- Searcher ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metric, mode",
    [("a", ["min"]), (["a"], "min"), ("a", "best"), (["a", "b"], ["min"]), (["a"], ["best"])],
)
def test_metric_and_mode_that_do_not_go_together_are_refused(metric, mode):
    with pytest.raises(AssertionError, match="mode"):
        Searcher(metric=metric, mode=mode)


def test_a_mode_that_is_no_text_is_refused():
    with pytest.raises(ValueError, match="mode.*7"):
        Searcher(metric=7, mode=7)
    with pytest.raises(AssertionError, match="both be a str or both a list"):
        Searcher(metric="a", mode=7)


@pytest.mark.parametrize(
    "metric, mode",
    [(None, None), ("a", None), (None, "max"), ("a", "min"), (["a", "b"], ["min", "obs"])],
)
def test_metric_and_mode_can_be_read_back(metric, mode):
    searcher = Searcher(metric=metric, mode=mode)
    assert (searcher.metric, searcher.mode) == (metric, mode)


def test_what_a_subclass_must_write_is_named():
    class Empty(Searcher):
        pass

    searcher = Empty()
    for call in (
        lambda: searcher.suggest("a"),
        lambda: searcher.on_trial_complete("a"),
        lambda: searcher.save("p"),
        lambda: searcher.restore("p"),
        lambda: searcher.get_state(),
        lambda: searcher.set_state({}),
        lambda: searcher.add_evaluated_point({}, 1.0),
        lambda: searcher.add_evaluated_trials([], "m"),
    ):
        with pytest.raises(NotImplementedError, match="Empty"):
            call()
    assert searcher.on_trial_result("a", {}) is None
    assert searcher.set_search_properties("m", "min", {}) is False
    assert searcher.set_max_concurrency(3) is False


def test_a_subclass_need_not_call_init():
    class Bare(Searcher):
        def __init__(self, whatever):
            self.whatever = whatever

    assert Bare(3).metric is None
    assert Bare(3).mode is None


class Saving(Scripted):
    def save(self, checkpoint_path):
        with open(checkpoint_path, "wb") as file:
            pickle.dump(self.__dict__, file)

    def restore(self, checkpoint_path):
        with open(checkpoint_path, "rb") as file:
            self.__dict__.update(pickle.load(file))


def test_the_newest_state_of_a_directory_is_restored(tmp_path):
    searcher = Saving([])
    searcher.mark = "old"
    searcher.save_to_dir(str(tmp_path), "1")
    searcher.mark = "new"
    searcher.save_to_dir(str(tmp_path), "2")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "searcher-state-1.pkl",
        "searcher-state-2.pkl",
    ]
    fresh = Saving([])
    fresh.restore_from_dir(str(tmp_path))
    assert fresh.mark == "new"


def test_a_directory_without_a_state_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="searcher-state"):
        Saving([]).restore_from_dir(str(tmp_path))


def test_a_searcher_that_cannot_save_is_skipped_with_a_warning(tmp_path, caplog):
    class Forgetful(Scripted):
        pass

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            Forgetful([]).save_to_dir(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert [r.getMessage() for r in caplog.records] == [
        "Forgetful has no save(); its state is not kept."
    ]


def test_a_searcher_may_have_nothing_to_save(tmp_path):
    class Stateless(Scripted):
        def save(self, checkpoint_path):
            pass

    Stateless([]).save_to_dir(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


class FakeTrial:
    def __init__(self, status, last_result):
        self.status = status
        self.last_result = last_result
        self.config = {"x": 1}


def test_evaluated_trials_become_points():
    class Learns(Scripted):
        def add_evaluated_point(
            self, parameters, value, error=False, pruned=False, intermediate_values=None
        ):
            self.heard.append((parameters, value, error, pruned))

    searcher = Learns([])
    trials = [
        FakeTrial("TERMINATED", {"m": 1.0, "done": True}),
        FakeTrial("TERMINATED", {"m": 2.0}),
        FakeTrial("ERROR", {"m": 3.0}),
        FakeTrial("TERMINATED", {"other": 4.0, "done": True}),
    ]
    searcher.add_evaluated_trials(trials, "m")
    assert searcher.heard == [
        ({"x": 1}, 1.0, False, False),
        ({"x": 1}, 2.0, False, True),
        ({"x": 1}, 3.0, True, False),
    ]
    with pytest.warns(UserWarning, match="'m'"):
        searcher.add_evaluated_trials(trials[3], "m")
    with pytest.raises(NotImplementedError, match="int"):
        searcher.add_evaluated_trials(7, "m")


# --- ConcurrencyLimiter ------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, -1, True, 2.0, "2", None])
def test_a_limit_that_is_no_positive_int_is_refused(bad):
    with pytest.raises(AssertionError, match=f"max_concurrent.*{bad!r}"):
        ConcurrencyLimiter(Scripted(), bad)


@pytest.mark.parametrize("bad", [None, 3, Scripted, BasicVariantGenerator()])
def test_only_a_searcher_can_be_limited(bad):
    with pytest.raises(RuntimeError, match=f"Searcher.*{type(bad).__name__}"):
        ConcurrencyLimiter(bad, 2)


def test_a_limiter_is_a_searcher_with_the_metric_of_its_searcher():
    limiter = ConcurrencyLimiter(Scripted(metric="loss", mode="max"), max_concurrent=4)
    assert isinstance(limiter, Searcher)
    assert (limiter.metric, limiter.mode) == ("loss", "max")
    assert (limiter.max_concurrent, limiter.batch) == (4, False)
    assert isinstance(limiter.searcher, Scripted)


def test_a_failed_trial_frees_its_slot():
    limiter = ConcurrencyLimiter(Scripted(), 1)
    assert limiter.suggest("a") is not None
    assert limiter.suggest("b") is None
    limiter.on_trial_complete("a", error=True)
    assert limiter.searcher.heard[-1] == ("complete", "a", None, True)
    assert limiter.suggest("b") is not None


def test_none_and_finished_pass_through_without_a_slot():
    limiter = ConcurrencyLimiter(Scripted([None, "FINISHED", {"x": 1}]), 1)
    assert limiter.suggest("a") is None
    assert limiter.suggest("b") == Searcher.FINISHED
    assert limiter.live_trials == set()
    assert limiter.suggest("c") == {"x": 1}


def test_a_live_id_cannot_ask_again():
    limiter = ConcurrencyLimiter(Scripted(), 2)
    limiter.suggest("same")
    with pytest.raises(AssertionError, match="same"):
        limiter.suggest("same")
    assert limiter.live_trials == {"same"}


def test_an_unknown_id_is_ignored():
    limiter = ConcurrencyLimiter(Scripted(), 2)
    limiter.on_trial_complete("nobody", result={"m": 1})
    assert limiter.searcher.heard == []


def test_a_batch_is_handed_on_in_order_of_completion():
    limiter = ConcurrencyLimiter(Scripted(), 3, batch=True)
    for trial in "abc":
        limiter.suggest(trial)
    limiter.searcher.heard.clear()
    limiter.on_trial_complete("c", {"m": 1})
    limiter.on_trial_complete("a", error=True)
    assert limiter.searcher.heard == []
    assert limiter.suggest("d") is None
    assert limiter.cached_results == {"c": ({"m": 1}, False), "a": (None, True)}
    assert limiter.num_unfinished_live_trials == 1
    limiter.on_trial_complete("b", {"m": 2})
    assert limiter.searcher.heard == [
        ("complete", "c", {"m": 1}, False),
        ("complete", "a", None, True),
        ("complete", "b", {"m": 2}, False),
    ]
    assert limiter.live_trials == set()


def test_a_searcher_that_limits_itself_is_left_to_it():
    class Own(Scripted):
        def set_max_concurrency(self, max_concurrent):
            self.limit = max_concurrent
            return True

    limiter = ConcurrencyLimiter(Own(), 2)
    assert limiter.searcher.limit == 2
    assert all(limiter.suggest(str(i)) for i in range(5))
    limiter.on_trial_complete("not even known", error=True)
    assert limiter.searcher.heard[-1] == ("complete", "not even known", None, True)
    outer = ConcurrencyLimiter(ConcurrencyLimiter(Scripted(), 5), 2)
    assert outer.searcher.max_concurrent == 2
    assert [outer.suggest(str(i)) is None for i in range(3)] == [False, False, True]


def test_the_limit_can_change():
    limiter = ConcurrencyLimiter(Scripted(), 1)
    limiter.suggest("a")
    assert limiter.set_max_concurrency(2) is True
    assert limiter.suggest("b") is not None
    assert limiter.suggest("c") is None
    limiter.max_concurrent = 3
    assert limiter.suggest("c") is not None
    with pytest.raises(AssertionError, match="max_concurrent"):
        limiter.set_max_concurrency(0)


def test_exceptions_of_the_searcher_pass_through():
    class Breaks(Scripted):
        def suggest(self, trial_id):
            raise KeyError("deep inside")

        def on_trial_complete(self, trial_id, result=None, error=False):
            raise OSError("disk")

    limiter = ConcurrencyLimiter(Breaks(), 2)
    with pytest.raises(KeyError, match="deep inside"):
        limiter.suggest("a")
    assert limiter.live_trials == set()


def test_everything_else_is_forwarded():
    class Other(Scripted):
        def set_search_properties(self, metric, mode, config, **spec):
            self.heard.append(("properties", metric, mode, config, spec))
            return True

        def add_evaluated_point(self, *args):
            self.heard.append(("point", *args))

        def save(self, path):
            self.heard.append(("save", path))

        def restore(self, path):
            self.heard.append(("restore", path))

        def on_pause(self, trial_id):
            self.heard.append(("pause", trial_id))

        def on_unpause(self, trial_id):
            self.heard.append(("unpause", trial_id))

    limiter = ConcurrencyLimiter(Other(), 2)
    assert limiter.set_search_properties("l", "max", {"x": 1}, num_samples=3) is True
    limiter.add_evaluated_point({"x": 1}, 2.0, pruned=True)
    limiter.save("p")
    limiter.restore("q")
    limiter.on_trial_result("a", {"m": 1})
    limiter.on_pause("a")
    limiter.on_unpause("a")
    assert limiter.searcher.heard == [
        ("properties", "l", "max", {"x": 1}, {"num_samples": 3}),
        ("point", {"x": 1}, 2.0, False, True, None),
        ("save", "p"),
        ("restore", "q"),
        ("result", "a", {"m": 1}),
        ("pause", "a"),
        ("unpause", "a"),
    ]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_goes_on_where_the_original_stood(again):
    limiter = ConcurrencyLimiter(Scripted(), 3, batch=True)
    for trial in "abc":
        limiter.suggest(trial)
    limiter.on_trial_complete("b", {"m": 1})
    twin = again(limiter)
    assert twin.searcher is not limiter.searcher
    assert twin.get_state() == limiter.get_state()
    twin.on_trial_complete("a")
    twin.on_trial_complete("c")
    assert [h[1] for h in twin.searcher.heard[3:]] == ["b", "a", "c"]
    assert limiter.live_trials == {"a", "b", "c"}


def test_state_can_be_handed_to_another_limiter():
    limiter = ConcurrencyLimiter(Scripted(), 2)
    limiter.suggest("a")
    state = limiter.get_state()
    assert "searcher" not in state
    other = ConcurrencyLimiter(Scripted(), 7)
    searcher = other.searcher
    other.set_state(state)
    assert other.searcher is searcher
    assert (other.max_concurrent, other.live_trials) == (2, {"a"})
    with pytest.raises(ValueError, match="cached_results"):
        other.set_state({"cached_results": {"never seen": (None, False)}})


def test_a_subclass_that_forgets_init_is_told():
    class Forgets(ConcurrencyLimiter):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="__init__"):
        Forgets().suggest("a")


@pytest.mark.parametrize("args", [(), ("a", "b"), (7,)])
def test_suggest_takes_one_text(args):
    with pytest.raises(TypeError):
        ConcurrencyLimiter(Scripted(), 2).suggest(*args)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(["suggest", "complete", "error"]), st.integers(0, 9))),
)
def test_never_more_than_the_limit_are_live(limit, batch, calls):
    limiter = ConcurrencyLimiter(Scripted(), limit, batch)
    started, ended = set(), []
    for kind, number in calls:
        trial = str(number)
        if kind == "suggest":
            if trial not in limiter.live_trials and limiter.suggest(trial) is not None:
                started.add(trial)
        elif trial in limiter.live_trials:
            limiter.on_trial_complete(trial, error=kind == "error")
            if trial not in ended or not batch:  # an id may come again
                ended.append(trial)
        assert len(limiter.live_trials) <= limit
        heard = [h[1] for h in limiter.searcher.heard if h[0] == "complete"]
        if not limiter.live_trials:  # all that ended were handed on, in order
            assert heard[len(heard) - len(ended) :] == ended
            ended.clear()
        elif batch:
            assert set(ended) <= limiter.live_trials


def test_it_does_what_the_reference_does():
    answers = {"config": {"x": 1}, "none": None, "finished": "FINISHED"}
    for case in json.loads(REFERENCE.read_text()):
        searcher = Scripted()
        limiter = ConcurrencyLimiter(searcher, case["max_concurrent"], batch=case["batch"])
        for number, call, answer, heard, live in case["record"]:
            kind, trial = call[:2]
            searcher.heard.clear()
            got = None
            if kind == "suggest":
                searcher.answers = [answers[call[2]]]
                got = limiter.suggest(trial)
            elif kind == "complete":
                limiter.on_trial_complete(trial, result={"m": number}, error=call[2])
            else:
                limiter.on_trial_result(trial, {"m": number})
            assert got == answer
            assert [list(h) for h in searcher.heard] == heard
            assert sorted(limiter.live_trials) == live


# --- SearchAlgorithm and SearchGenerator, alone ------------------------------------------


def test_a_search_algorithm_takes_a_metric_once():
    algorithm = SearchAlgorithm()
    assert algorithm.metric is None
    assert algorithm.set_search_properties("a", "min", {}, num_samples=2) is True
    assert algorithm.set_search_properties(None, None, {}) is True
    assert algorithm.set_search_properties("b", "min", {}) is False
    assert algorithm.metric == "a"
    assert not algorithm.is_finished()
    algorithm.set_finished()
    assert algorithm.is_finished()
    for call in (algorithm.next_trial, lambda: algorithm.add_configurations([])):
        with pytest.raises(NotImplementedError, match="SearchAlgorithm"):
            call()


def generator(answers=None, num_samples=3, **config):
    made = SearchGenerator(Scripted(answers))
    made.add_configurations({"e": {"run": "f", "config": config, "num_samples": num_samples}})
    return made


def test_only_a_searcher_can_be_put_into_a_generator():
    with pytest.raises(AssertionError, match="int"):
        SearchGenerator(3)


def test_a_generator_takes_one_experiment_once():
    made = generator()
    with pytest.raises(AssertionError, match="experiment"):
        made.add_configurations({"f": {"run": "f"}})
    with pytest.raises(AssertionError, match="2"):
        SearchGenerator(Scripted()).add_configurations([{"run": "f"}, {"run": "g"}])
    with pytest.raises(tune.TuneError, match="run"):
        SearchGenerator(Scripted()).add_configurations({"e": {"config": {}}})


def test_a_generator_makes_trials_of_suggestions():
    made = generator(
        [{"x": 1.5, "nest": {"b": 2}}, None, {"x": 2}, {"x": 3}],
        nest={"a": "A", "b": 0},
        double=tune.sample_from(lambda config: 2 * config["x"]),
    )
    trial = made.next_trial()
    assert trial.config == {"nest": {"a": "A", "b": 2}, "double": 3.0, "x": 1.5}
    assert trial.evaluated_params == {"x": 1.5, "nest/b": 2}
    assert trial.experiment_tag == "1_a=A,b=2,x=1.5000"
    assert len(trial.trial_id) == 8
    assert made.next_trial() is None
    assert made.next_trial().experiment_tag == "2_a=A,b=0,x=2"
    assert not made.is_finished()
    made.next_trial()
    assert made.is_finished()
    assert made.next_trial() is None


def test_finished_ends_a_generator():
    made = generator(["FINISHED"])
    assert made.next_trial() is None
    assert made.is_finished()


def test_a_generator_saves_and_restores_wrappers_and_searcher(tmp_path):
    made = SearchGenerator(ConcurrencyLimiter(Saving([{"x": 1}, {"x": 2}]), 2))
    made.add_configurations({"e": {"run": "f", "num_samples": 5}})
    trial = made.next_trial()
    assert not made.has_checkpoint(str(tmp_path))
    made.save_to_dir(str(tmp_path), "s")
    assert made.has_checkpoint(str(tmp_path))
    fresh = SearchGenerator(ConcurrencyLimiter(Saving([]), 9))
    fresh.restore_from_dir(str(tmp_path))
    assert fresh.searcher.live_trials == {trial.trial_id}
    assert fresh.searcher.max_concurrent == 2
    assert fresh.total_samples == 5
    assert fresh.next_trial().experiment_tag == "2_x=2"
    with pytest.raises(RuntimeError, match="search_gen_state"):
        fresh.restore_from_dir(str(tmp_path / "none"))


# --- create_searcher ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["random", "variant_generator", "Random"])
def test_names_make_search_algorithms(name):
    made = create_searcher(name, max_concurrent=2, unknown_argument=1)
    assert isinstance(made, BasicVariantGenerator)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="'randm'.*optuna.*random.*mean 'random'"):
        create_searcher("randm")


WRAPPERS = {
    "ax": "AxSearch",
    "bayesopt": "BayesOptSearch",
    "bohb": "TuneBOHB",
    "hebo": "HEBOSearch",
    "hyperopt": "HyperOptSearch",
    "nevergrad": "NevergradSearch",
    "optuna": "OptunaSearch",
    "zoopt": "ZOOptSearch",
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_are_imported_without_their_library(name):
    """In a process where no library of the kind can be imported; only making one fails."""
    code = f"""
import sys
for library in "ax bayes_opt hpbandster hebo hyperopt nevergrad optuna zoopt".split():
    sys.modules[library] = None
from ctune.search.{name} import {WRAPPERS[name]} as short
from ctune.search.{name}.{name}_search import {WRAPPERS[name]} as long
from ctune.search import SEARCH_ALG_IMPORT, Searcher, create_searcher
assert short is long is SEARCH_ALG_IMPORT["{name}"]() and issubclass(short, Searcher)
try:
    create_searcher("{name.upper()}", metric="m", unknown=1)
except (AssertionError, NotImplementedError) as error:
    assert "pip install" in str(error) or "Use OptunaSearch" in str(error), error
else:
    raise SystemExit("nothing was raised")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- in a run ----------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """tune.run() in this process, quiet, in a directory of its own."""
    tune.init(executor="inline", num_cpus=4)

    def call(trainable, **arguments):
        arguments = {"storage_path": str(tmp_path), "verbose": 0, **arguments}
        return tune.run(trainable, **arguments)

    yield call
    tune.shutdown()


def two_steps(config):
    for i in range(2):
        tune.report({"m": config["x"] + i, "nest": {"deep": i}})


def test_a_searcher_drives_a_run(run):
    searcher = Scripted()
    analysis = run(two_steps, search_alg=searcher, num_samples=3, metric="m", mode="min")
    ids = [t.trial_id for t in analysis.trials]
    assert len(ids) == len(set(ids)) == 3
    assert all(len(i) == 8 for i in ids)
    assert [h[1] for h in searcher.heard if h[0] == "suggest"][:3] == ids
    for trial in analysis.trials:
        heard = [h for h in searcher.heard if h[1] == trial.trial_id]
        assert [h[0] for h in heard] == ["suggest", "result", "result", "complete"] or [
            h[0] for h in heard
        ] == ["suggest", "result", "result", "result", "complete"]
        assert heard[1][2]["nest/deep"] == 0
        assert heard[1][2]["config/x"] == trial.config["x"]
        assert heard[-1][2]["m"] == trial.config["x"] + 1
        assert heard[-1][3] is False
    assert [t.experiment_tag for t in analysis.trials][0].startswith("1_x=")
    assert analysis.trials[0].evaluated_params == {"x": analysis.trials[0].config["x"]}


def test_suggestions_are_merged_into_the_config_of_the_run(run):
    class Takes(Scripted):
        def set_search_properties(self, metric, mode, config, **spec):
            self.heard.append((metric, mode, sorted(config), spec["num_samples"]))
            return True

    searcher = Takes([{"x": 5, "nest": {"b": 1}}])
    analysis = run(
        two_steps,
        search_alg=searcher,
        metric="m",
        mode="min",
        config={
            "x": tune.uniform(0, 1),
            "nest": {"a": "A", "b": tune.choice([1, 2])},
            "twice": tune.sample_from(lambda config: 2 * config["x"]),
        },
    )
    assert searcher.heard[0] == ("m", "min", ["nest", "twice", "x"], 1)
    trial = analysis.trials[0]
    assert trial.config == {"x": 5, "nest": {"a": "A", "b": 1}, "twice": 10}
    assert trial.experiment_tag == "1_a=A,b=1,x=5"
    assert trial.evaluated_params == {"x": 5, "nest/b": 1}


def test_a_domain_that_the_searcher_leaves_open_ends_the_run_by_name(run):
    class Takes(Scripted):
        def set_search_properties(self, metric, mode, config, **spec):
            return True

    with pytest.raises((tune.TuneError, ValueError), match="config/lr"):
        run(two_steps, search_alg=Takes([{"x": 1}]), config={"lr": tune.uniform(0, 1)})


def test_a_space_of_its_own_forbids_domains_in_the_config(run):
    with pytest.raises(ValueError, match="Scripted"):
        run(two_steps, search_alg=Scripted(), config={"lr": tune.uniform(0, 1)})


def test_finished_ends_the_run_early(run):
    analysis = run(two_steps, search_alg=Scripted([{"x": 1}, "FINISHED"]), num_samples=10)
    assert len(analysis.trials) == 1


def test_a_searcher_may_wait_for_results(run):
    class OneByOne(Scripted):
        live = 0

        def suggest(self, trial_id):
            if self.live:
                return None
            self.live = 1
            return {"x": 1}

        def on_trial_complete(self, trial_id, result=None, error=False):
            self.live = 0

    analysis = run(two_steps, search_alg=OneByOne(), num_samples=4)
    assert len(analysis.trials) == 4


@pytest.mark.parametrize("batch", [False, True])
def test_a_limiter_limits_a_run(run, batch):
    class Counts(Scripted):
        live = 0
        most = 0

        def suggest(self, trial_id):
            self.live += 1
            self.most = max(self.most, self.live)
            return {"x": self.live}

        def on_trial_complete(self, trial_id, result=None, error=False):
            self.live -= 1

    searcher = Counts()
    limiter = ConcurrencyLimiter(searcher, 2, batch=batch)
    analysis = run(two_steps, search_alg=limiter, num_samples=7)
    assert len(analysis.trials) == 7
    assert searcher.most == 2
    assert limiter.live_trials == set() or batch
    assert run(two_steps, search_alg=Counts(), num_samples=5, max_concurrent_trials=3)


def test_a_failed_trial_is_told_as_error(run):
    def fails(config):
        tune.report({"m": 1})
        raise ValueError("on purpose")

    searcher = Scripted([{"x": 1}])
    run(fails, search_alg=searcher, raise_on_failed_trial=False)
    kind, _, result, error = searcher.heard[-1]
    assert (kind, error) == ("complete", True)
    assert result is None or result["m"] == 1


@pytest.mark.parametrize(
    "answer, words",
    [([1, 2], "Scripted.*list"), ("whatever", "Scripted.*str"), ({1: 2}, "Scripted.*keys")],
)
def test_an_answer_that_is_no_config_ends_the_run(run, answer, words):
    with pytest.raises((tune.TuneError, TypeError), match=words):
        run(two_steps, search_alg=Scripted([answer]))


def test_an_exception_of_the_searcher_ends_the_run(run):
    class Breaks(Scripted):
        def suggest(self, trial_id):
            raise ZeroDivisionError("in the searcher")

    with pytest.raises((tune.TuneError, ZeroDivisionError), match="in the searcher"):
        run(two_steps, search_alg=Breaks())


def test_any_search_algorithm_can_make_trials(run):
    from ctune.experiment.trial import Trial

    class Three(SearchAlgorithm):
        def __init__(self):
            self.heard = []

        def add_configurations(self, experiments):
            (experiment,) = experiments
            self.spec = experiment.spec

        def next_trial(self):
            if len(self.heard) >= 3:
                self.set_finished()
                return None
            number = len(self.heard)
            self.heard.append(number)
            return Trial(
                self.spec["run"],
                trial_id=f"own_{number}",
                config={"x": number},
                evaluated_params={"x": number},
                experiment_tag=f"tag{number}",
            )

        def on_trial_complete(self, trial_id, result=None, error=False):
            self.heard.append((trial_id, result["m"], error))

    algorithm = Three()
    analysis = run(two_steps, search_alg=algorithm)
    assert [t.trial_id for t in analysis.trials] == ["own_0", "own_1", "own_2"]
    assert [t.config for t in analysis.trials] == [{"x": 0}, {"x": 1}, {"x": 2}]
    assert [t.experiment_tag for t in analysis.trials] == ["tag0", "tag1", "tag2"]
    assert sorted(algorithm.heard[3:]) == [
        ("own_0", 1, False),
        ("own_1", 2, False),
        ("own_2", 3, False),
    ]
