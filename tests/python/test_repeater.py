"""Repeater: each suggestion is tried several times, the searcher gets the mean."""

import math

import pytest
import searcher_streams

import ctune as tune
from ctune.search import ConcurrencyLimiter, Repeater, Searcher, SearchGenerator
from ctune.search.repeater import TRIAL_INDEX


class Counting(Searcher):
    def __init__(self, **arguments):
        super().__init__(**{"metric": "m", "mode": "min", **arguments})
        self.made, self.heard = 0, []

    def suggest(self, trial_id):
        self.made += 1
        return {"x": self.made}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.heard.append((trial_id, result, error))


@pytest.mark.parametrize("recorded", searcher_streams.cases("counting"))
def test_suggestions_and_what_the_searcher_hears_are_the_references(recorded):
    searcher_streams.check(recorded)


def test_a_suggestion_is_handed_out_so_often_with_its_number():
    repeater = Repeater(Counting(), repeat=3)
    got = [repeater.suggest(str(i)) for i in range(5)]
    assert got == [{"x": 1 + i // 3, TRIAL_INDEX: i % 3} for i in range(5)]
    plain = Repeater(Counting(), repeat=2, set_index=False)
    assert [plain.suggest(str(i)) for i in range(3)] == [{"x": 1}, {"x": 1}, {"x": 2}]


def test_the_searcher_hears_of_the_first_trial_with_the_mean_of_all():
    searcher = Counting()
    repeater = Repeater(searcher, repeat=3)
    for i in range(6):
        repeater.suggest(str(i))
    for trial, value in (("1", 4.0), ("3", 1.0), ("0", 2.0)):
        repeater.on_trial_complete(trial, {"m": value})
    assert searcher.heard == []
    repeater.on_trial_complete("2", {"m": 3.0})
    assert searcher.heard == [("0", {"m": 3.0}, False)]


def test_results_without_the_metric_do_not_count():
    searcher = Counting()
    repeater = Repeater(searcher, repeat=3)
    for i in range(6):
        repeater.suggest(str(i))
    for trial, result in (("0", None), ("1", {"m": math.nan}), ("2", {"m": 5.0})):
        repeater.on_trial_complete(trial, result, error=result is None)
    assert searcher.heard == [("0", {"m": 5.0}, False)]
    for trial in "345":
        repeater.on_trial_complete(trial, {"other": 1})
    assert math.isnan(searcher.heard[1][1]["m"])


def test_none_and_finished_are_passed_on():
    class Ends(Counting):
        def suggest(self, trial_id):
            return [None, Searcher.FINISHED][int(trial_id)]

    repeater = Repeater(Ends(), repeat=2)
    assert repeater.suggest("0") is None
    assert repeater.suggest("1") == Searcher.FINISHED


def test_metric_and_mode_of_the_run_are_seen_through_a_limiter():
    class Takes(Counting):
        def set_search_properties(self, metric, mode, config, **spec):
            self._metric, self._mode = metric, mode
            return True

    repeater = Repeater(ConcurrencyLimiter(Takes(metric=None, mode=None), 1))
    assert repeater.set_search_properties("m", "max", {})
    assert (repeater.metric, repeater.mode) == ("m", "max")


def test_an_unknown_trial_is_an_error(caplog):
    with pytest.raises(KeyError):
        Repeater(Counting()).on_trial_complete("who", {})
    assert "who" in caplog.text


def test_its_state_and_the_searchers_are_apart():
    repeater = Repeater(Counting(), repeat=2)
    repeater.suggest("0")
    other = Repeater(Counting(), repeat=2)
    other.set_state(repeater.get_state())
    assert "searcher" not in repeater.get_state()
    assert other.suggest("1") == {"x": 1, TRIAL_INDEX: 1}


@pytest.mark.parametrize(("samples", "warns"), [(6, False), (7, True), (-1, False)])
def test_samples_that_are_no_multiple_are_warned_of(caplog, samples, warns):
    repeater = Repeater(Counting(), repeat=3)
    SearchGenerator(ConcurrencyLimiter(repeater, 1)).add_configurations(
        tune.Experiment("e", lambda config: None, num_samples=samples)
    )
    assert ("no multiple of repeat=3" in caplog.text) == warns


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_in_a_run(tmp_path, executor):
    def train(config):
        tune.report({"m": config["x"] * 10 + config[TRIAL_INDEX]})

    tune.shutdown()
    tune.init(executor=executor, num_cpus=2)
    searcher = Counting()
    try:
        analysis = tune.run(
            train,
            search_alg=Repeater(ConcurrencyLimiter(searcher, 1), repeat=2),
            num_samples=6,
            storage_path=tmp_path,
            verbose=0,
        )
    finally:
        tune.shutdown()
    assert sorted(t.last_result["m"] for t in analysis.trials) == [10, 11, 20, 21, 30, 31]
    assert [result["m"] for _, result, _ in searcher.heard] == [10.5, 20.5, 30.5]
