"""Resources of live trials that change while they train."""

import copy
import json
import logging
import pickle
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import ctune
from ctune.execution.placement_groups import PlacementGroupFactory
from ctune.experiment.trial import Trial
from ctune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    PopulationBasedTraining,
    ResourceChangingScheduler,
    create_scheduler,
)
from ctune.schedulers.resource_changing_scheduler import (
    DistributeResources,
    DistributeResourcesToTopJob,
)

REFERENCE = Path(__file__).parent.parent / "reference"
sys.path.insert(0, str(REFERENCE))
import sharing  # noqa: E402

API = SimpleNamespace(
    PlacementGroupFactory=PlacementGroupFactory,
    DistributeResources=DistributeResources,
    DistributeResourcesToTopJob=DistributeResourcesToTopJob,
    ResourceChangingScheduler=ResourceChangingScheduler,
    ASHAScheduler=ASHAScheduler,
)
RECORDED = sharing.load(REFERENCE / "distribute.json.gz")
BOTH = [DistributeResources, DistributeResourcesToTopJob]


# --- recorded answers ---


@pytest.mark.parametrize("part", range(10))
def test_calls_answer_as_recorded(part):
    numbers = range(part, len(RECORDED["calls"]), 10)
    wrong = [n for n in numbers if sharing.call(n, API) != RECORDED["calls"][n]]
    assert wrong == []


@pytest.mark.parametrize("part", range(10))
def test_streams_are_decided_as_recorded(part):
    for n in range(part, len(RECORDED["streams"]), 10):
        assert sharing.Stream(n, API).record() == RECORDED["streams"][n], n


# --- alone ---


def machine(function, count=4, cpus=8, gpus=0, base=None):
    """A scheduler, its controller and `count` running trials."""
    scheduler = ResourceChangingScheduler(FIFOScheduler(), function)
    controller = sharing.Controller(cpus, gpus)
    for n in range(count):
        resources = PlacementGroupFactory(base or [{"CPU": 1}])
        controller.trials.append(sharing.Trial(n, resources))
        scheduler.on_trial_add(controller, controller.trials[n])
        controller.trials[n].status = "RUNNING"
    return scheduler, controller


def report(scheduler, controller, trial, **result):
    result = {"training_iteration": 4, **result}
    trial.last_result = result
    said = scheduler.on_trial_result(controller, trial, result)
    if said == "PAUSE":
        trial.status = "PAUSED"
        assert scheduler.choose_trial_to_run(controller) is trial
        trial.status = "RUNNING"
    return said


def test_trials_share_what_becomes_free():
    scheduler, controller = machine(DistributeResources())
    first, second, *others = controller.trials
    for trial in controller.trials:
        assert report(scheduler, controller, trial) == "PAUSE"
        assert trial.placement_group_factory == PlacementGroupFactory([{"CPU": 2}])
        assert report(scheduler, controller, trial) == "CONTINUE"
    for trial in others:
        trial.status = "TERMINATED"
    report(scheduler, controller, first)
    assert first.placement_group_factory == PlacementGroupFactory([{"CPU": 4}])


def test_trials_outside_of_a_run_are_known_by_their_results():
    scheduler = ResourceChangingScheduler(None, DistributeResourcesToTopJob())
    assert scheduler.set_search_properties("m", "max")
    controller = sharing.Controller(8, 0)
    for n in range(2):
        trial = Trial(
            "mock", stub=True, placement_group_factory=PlacementGroupFactory([{"CPU": 1}])
        )
        trial.run_metadata.last_result = {"m": n}
        controller.trials.append(trial)
        scheduler.on_trial_add(controller, trial)
        trial.status = "RUNNING"
    worse, better = controller.trials
    assert scheduler.on_trial_result(controller, worse, {"training_iteration": 1}) == "CONTINUE"
    assert scheduler.on_trial_result(controller, better, {"training_iteration": 1}) == "PAUSE"
    better.status = "PAUSED"
    scheduler.choose_trial_to_run(controller)
    assert better.placement_group_factory == PlacementGroupFactory([{"CPU": 7}])


def test_trials_that_pause_together_all_get_their_resources():
    scheduler, controller = machine(DistributeResources())
    for trial in controller.trials:
        assert scheduler.on_trial_result(controller, trial, {"training_iteration": 1}) == "PAUSE"
        trial.status = "PAUSED"
    scheduler.choose_trial_to_run(controller)
    assert all(t.placement_group_factory.required_resources["CPU"] == 2 for t in controller.trials)


def test_a_trial_that_is_still_saved_gets_its_resources_later():
    scheduler, controller = machine(DistributeResources(), count=1)
    [trial] = controller.trials
    assert scheduler.on_trial_result(controller, trial, {"training_iteration": 1}) == "PAUSE"
    scheduler.choose_trial_to_run(controller)
    assert trial.placement_group_factory == PlacementGroupFactory([{"CPU": 1}])
    trial.status = "PAUSED"
    scheduler.choose_trial_to_run(controller)
    assert trial.placement_group_factory == PlacementGroupFactory([{"CPU": 8}])


@pytest.mark.parametrize("add_bundles", [False, True])
def test_other_resources_stay_with_the_trial(add_bundles):
    base = [{"CPU": 1, "disk": 3}]
    function = DistributeResources(add_bundles, increase_by={"CPU": 1})
    scheduler, controller = machine(function, count=2, base=base)
    [trial, _] = controller.trials
    report(scheduler, controller, trial)
    assert trial.placement_group_factory.required_resources == {"CPU": 4, "disk": 3}


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("value", [None, float("nan")])
def test_the_top_job_has_a_result(mode, value):
    scheduler, controller = machine(DistributeResourcesToTopJob(metric="m", mode=mode), count=2)
    without, other = controller.trials
    without.last_result = {} if value is None else {"m": value}
    assert report(scheduler, controller, other, m=1) == "PAUSE"
    assert other.placement_group_factory.required_resources == {"CPU": 7}


@pytest.mark.parametrize("last", [{"a": {"b": 1}}, {"a/b": 1}])
def test_the_metric_may_lie_in_a_nested_dict(last):
    scheduler, controller = machine(DistributeResourcesToTopJob(metric="a/b", mode="max"), count=2)
    trial = controller.trials[1]
    controller.trials[0].last_result = {"a": 3}
    assert report(scheduler, controller, trial, **last) == "PAUSE"


@pytest.mark.parametrize("made", [None, "fifo", "asha", "function"])
def test_metric_and_mode_come_from_where_they_are_known(made):
    base = ASHAScheduler(metric="m", mode="max") if made == "asha" else None
    function = DistributeResourcesToTopJob(metric="m", mode="max") if made == "function" else None
    scheduler = ResourceChangingScheduler(base, function or DistributeResourcesToTopJob())
    if made == "fifo":
        scheduler.set_search_properties("m", "max")
    controller = sharing.Controller(8, 0)
    trial = sharing.Trial(0, PlacementGroupFactory([{"CPU": 1}]))
    controller.trials.append(trial)
    scheduler.on_trial_add(controller, trial)
    result = trial.last_result = {"training_iteration": 1, "m": 3}
    if made is None:
        with pytest.raises(ValueError, match=r"metric.*run\(\)"):
            scheduler.on_trial_result(controller, trial, result)
    else:
        assert scheduler.on_trial_result(controller, trial, result) == "PAUSE"
    if made in ("fifo", "asha"):
        assert scheduler.metric == "m"


def test_the_default_function_is_of_one_scheduler():
    first, second = ResourceChangingScheduler(), ResourceChangingScheduler()
    assert first._resources_allocation_function is not second._resources_allocation_function


def test_a_function_may_be_a_method_and_say_a_dict():
    class Mine:
        def double(self, controller, trial, result, scheduler):
            return {"cpu": 2}

    scheduler, controller = machine(Mine().double, count=1)
    [trial] = controller.trials
    assert report(scheduler, controller, trial) == "PAUSE"
    assert trial.placement_group_factory == PlacementGroupFactory([{"CPU": 2}])
    assert report(scheduler, controller, trial) == "CONTINUE"


def test_the_base_scheduler_is_asked_first_and_told_everything():
    class Base(FIFOScheduler):
        def __init__(self):
            super().__init__()
            self.heard = []

        def on_trial_result(self, controller, trial, result):
            return result["said"]

        def on_trial_complete(self, controller, trial, result):
            self.heard.append("complete")

        def on_trial_remove(self, controller, trial):
            self.heard.append("remove")

        def on_trial_error(self, controller, trial):
            self.heard.append("error")

    base = Base()
    scheduler = ResourceChangingScheduler(base)
    controller = sharing.Controller(8, 0)
    trial = sharing.Trial(0, PlacementGroupFactory([{"CPU": 1}]))
    controller.trials.append(trial)
    scheduler.on_trial_add(controller, trial)
    for said in ("STOP", "PAUSE", "NOOP"):
        result = {"said": said, "training_iteration": 1}
        assert scheduler.on_trial_result(controller, trial, result) == said
    scheduler.choose_trial_to_run(controller)
    assert trial.placement_group_factory == PlacementGroupFactory([{"CPU": 1}])
    scheduler.on_trial_complete(controller, trial, {})
    scheduler.on_trial_remove(controller, trial)
    scheduler.on_trial_error(controller, trial)
    assert base.heard == ["complete", "remove", "error"]
    assert scheduler.debug_string() == "(ResourceChangingScheduler) " + base.debug_string()


def test_results_are_buffered_as_the_base_scheduler_likes():
    assert ResourceChangingScheduler().supports_buffered_results
    assert not ResourceChangingScheduler(HyperBandScheduler()).supports_buffered_results


# --- errors ---


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"add_bundles": "no"}, TypeError, "add_bundles must be True or False, got 'no'"),
        ({"increase_by": 3}, TypeError, "increase_by must be a dict such as .* got 3"),
        ({"increase_by": {"CPU": "2"}}, TypeError, "increase_by must hold .* 'CPU': '2'"),
        ({"increase_by": {1: 2}}, TypeError, "increase_by must hold .* 1: 2"),
        ({"increase_by": {"CPU": -1}}, ValueError, "increase_by must hold .* got -1 for 'CPU'"),
        ({"increase_by": {"CPU": float("nan")}}, ValueError, "increase_by .* got nan"),
        ({"increase_by": {"disk": 1}}, ValueError, "increase_by must hold a CPU or GPU .*disk"),
        ({"increase_by_times": 1.5}, TypeError, "increase_by_times must be an int.* got 1.5"),
        ({"reserve_resources": [1]}, TypeError, r"reserve_resources must be a dict.* got \[1\]"),
        ({"reserve_resources": {"GPU": -2}}, ValueError, "reserve_resources must .* got -2"),
    ],
)
def test_a_bad_argument_is_named_with_its_value(cls, arguments, error, text):
    with pytest.raises(error, match=text):
        cls(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"metric": 3}, TypeError, "metric must be .* got 3"),
        ({"mode": "best"}, ValueError, "mode must be .* got 'best'"),
    ],
)
def test_a_bad_argument_of_the_top_job_is_named_with_its_value(arguments, error, text):
    with pytest.raises(error, match=text):
        DistributeResourcesToTopJob(**arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"base_scheduler": "fifo"}, "base_scheduler must be an object .* got 'fifo'"),
        ({"base_scheduler": FIFOScheduler}, "base_scheduler must be an object .* got <class"),
        ({"resources_allocation_function": 3}, "resources_allocation_function must be .* got 3"),
        (
            {"resources_allocation_function": DistributeResources},
            r"resources_allocation_function must be .* such as DistributeResources\(\)",
        ),
    ],
)
def test_a_bad_argument_of_the_scheduler_is_named_with_its_value(arguments, text):
    with pytest.raises(TypeError, match=text):
        ResourceChangingScheduler(**arguments)


def test_no_function_warns_and_changes_nothing():
    with pytest.warns(UserWarning, match="resources_allocation_function is None"):
        scheduler = ResourceChangingScheduler(resources_allocation_function=None)
    trial = sharing.Trial(0, PlacementGroupFactory([{"CPU": 1}]))
    assert scheduler.on_trial_result(None, trial, {"training_iteration": 1}) == "CONTINUE"


def test_a_function_that_says_nonsense_is_told_so():
    scheduler, controller = machine(lambda *args: 7, count=1)
    with pytest.raises(TypeError, match="must return a PlacementGroupFactory.* got 7"):
        report(scheduler, controller, controller.trials[0])


def test_a_metric_that_is_no_number_is_told_so():
    scheduler, controller = machine(DistributeResourcesToTopJob(metric="m", mode="min"), count=1)
    with pytest.raises(TypeError, match="'m' of trial .* must be a number, got 'low'"):
        report(scheduler, controller, controller.trials[0], m="low")


@pytest.mark.parametrize("cls", BOTH)
def test_several_bundles_need_add_bundles(cls):
    scheduler, controller = machine(cls(), base=[{"CPU": 1}, {"CPU": 1}])
    with pytest.raises(ValueError, match="add_bundles is False.*has 2.*add_bundles=True"):
        report(scheduler, controller, controller.trials[0])


@pytest.mark.parametrize("cls", BOTH)
def test_the_base_resources_must_be_known(cls):
    with pytest.raises(ValueError, match=f"{cls.__name__} works on resources .* None"):
        cls()(sharing.Controller(1, 0), None, {}, SimpleNamespace(base_trial_resources=None))


def test_a_base_bundle_without_cpus_and_gpus_is_no_unit():
    function = DistributeResources(add_bundles=True)
    scheduler, controller = machine(function, base=[{"CPU": 1}, {"disk": 1}])
    with pytest.raises(ValueError, match="increase_by.*CPU or GPU amount above 0"):
        report(scheduler, controller, controller.trials[0])


def test_trials_start_with_the_same_resources():
    scheduler, controller = machine(DistributeResources(), count=1)
    other = sharing.Trial(1, PlacementGroupFactory([{"CPU": 3}]))
    with pytest.raises(RuntimeError, match="same resources.*'CPU': 3.*'CPU': 1"):
        scheduler.on_trial_add(controller, other)
    [trial] = controller.trials
    report(scheduler, controller, trial)
    scheduler.on_trial_add(controller, trial)  # again, after a failure: with what it got


def test_workers_that_serve_several_trials_are_refused(tmp_path):
    scheduler, controller = machine(DistributeResources())
    controller._reuse_actors = True
    with pytest.raises(ValueError, match="reuse_actors=False"):
        scheduler.choose_trial_to_run(controller)
    with pytest.raises(ValueError, match="reuse_actors: ResourceChangingScheduler needs False"):
        ctune.run(
            lambda config: {"a": 1},
            scheduler=ResourceChangingScheduler(),
            reuse_actors=True,
            storage_path=str(tmp_path),
            verbose=0,
        )
    assert list(tmp_path.iterdir()) == []


def test_the_scheduler_has_a_name():
    scheduler = create_scheduler("Resource_Changing", base_scheduler=ASHAScheduler(), max_t=3)
    assert isinstance(scheduler, ResourceChangingScheduler)


# --- save and restore ---


def test_a_saved_scheduler_goes_on_where_it_was(tmp_path):
    path = str(tmp_path / "state")
    function = DistributeResources(increase_by={"CPU": 1}, increase_by_times=2)
    scheduler, controller = machine(function)
    first, second, *_ = controller.trials
    report(scheduler, controller, first)
    assert scheduler.on_trial_result(controller, second, {"training_iteration": 1}) == "PAUSE"
    scheduler.save(path)

    json.loads(Path(path).read_text())
    again, _ = machine(function)
    again.restore(path)
    assert again.base_trial_resources == PlacementGroupFactory([{"CPU": 1}])
    assert again.debug_string() == scheduler.debug_string()
    again.on_trial_add(controller, first)  # with other resources than the base's
    second.status = "PAUSED"
    assert again.choose_trial_to_run(controller) is second
    assert second.placement_group_factory == PlacementGroupFactory([{"CPU": 2}])
    second.status = "RUNNING"
    assert report(again, controller, controller.trials[2]) == "PAUSE"


@pytest.mark.parametrize("again", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_waits_for_the_same_trials(again):
    scheduler, controller = machine(DistributeResources())
    scheduler.set_search_properties("m", "max")
    [trial, *_] = controller.trials
    assert scheduler.on_trial_result(controller, trial, {"training_iteration": 1}) == "PAUSE"
    other = again(scheduler)
    assert other.metric == "m"
    trial.status = "PAUSED"
    assert other.choose_trial_to_run(controller) is trial
    assert trial.placement_group_factory == PlacementGroupFactory([{"CPU": 2}])


def test_the_state_is_that_of_a_base_scheduler_of_the_same_class(tmp_path):
    path = str(tmp_path / "state")
    scheduler = ResourceChangingScheduler(ASHAScheduler(metric="m", mode="min", max_t=7))
    scheduler.save(path)
    again = ResourceChangingScheduler(ASHAScheduler())
    again.restore(path)
    assert again.metric == "m"
    assert list(tmp_path.iterdir()) == [tmp_path / "state"]
    with pytest.raises(ValueError, match="over a FIFOScheduler"):
        ResourceChangingScheduler().restore(path)
    ResourceChangingScheduler().save(path)  # FIFO has no state
    ResourceChangingScheduler().restore(path)


def test_a_restored_scheduler_knows_who_paused_for_resources(tmp_path):
    path = str(tmp_path / "state")
    scheduler = ResourceChangingScheduler(HyperBandScheduler(metric="m", mode="max", max_t=9))
    controller = sharing.Controller(8, 0)
    trial = sharing.Trial(0, PlacementGroupFactory([{"CPU": 1}]))
    controller.trials.append(trial)
    scheduler.on_trial_add(controller, trial)
    assert scheduler.choose_trial_to_run(controller) is trial
    trial.status = "RUNNING"
    result = {"training_iteration": 1, "m": 1}
    assert scheduler.on_trial_result(controller, trial, result) == "PAUSE"
    scheduler.save(path)
    trial.status = "PAUSED"
    again = ResourceChangingScheduler(HyperBandScheduler())
    again.restore(path)
    for one in (scheduler, again):
        assert one.choose_trial_to_run(controller) is trial
    assert trial.placement_group_factory.required_resources == {"CPU": 8}


@pytest.mark.parametrize("content", [b"", b"nonsense", b'{"scheduler": "x"}', b"\x80\x04.", b"[]"])
def test_a_file_that_is_no_state_changes_nothing(content, tmp_path):
    path = tmp_path / "state"
    path.write_bytes(content)
    scheduler, controller = machine(DistributeResources())
    with pytest.raises(ValueError, match="state: this is not the saved state of a Resource"):
        scheduler.restore(str(path))
    assert report(scheduler, controller, controller.trials[0]) == "PAUSE"


# --- in a run ---


class Sees(ctune.Trainable):
    """Reports what it holds at each iteration, those before a pause included."""

    def setup(self, config):
        self.seen = []

    def step(self):
        self.seen.append(self.trial_resources.required_resources["CPU"])
        return {"seen": list(self.seen), "m": self.config["x"], "got": self.seen[-1]}

    def save_checkpoint(self, checkpoint_dir):
        return {"seen": self.seen}

    def load_checkpoint(self, checkpoint):
        self.seen = checkpoint["seen"]


@pytest.fixture(params=["inline", "process"])
def cpus8(request):
    ctune.shutdown()
    ctune.init(executor=request.param, num_cpus=8)
    yield
    ctune.shutdown()


def run(trainable, tmp_path, scheduler, **more):
    return ctune.run(
        trainable,
        config={"x": ctune.grid_search([1, 2, 3])},
        metric="m",
        mode="max",
        scheduler=scheduler,
        storage_path=str(tmp_path),
        verbose=0,
        **{"stop": {"training_iteration": 8}, **more},
    )


@pytest.mark.parametrize("add_bundles", [False, True])
def test_trials_of_a_run_grow_and_go_on_from_their_checkpoint(cpus8, add_bundles, tmp_path):
    function = DistributeResources(add_bundles)
    analysis = run(
        Sees,
        tmp_path,
        ResourceChangingScheduler(None, function),
        stop=lambda trial_id, result: result["training_iteration"] >= 4 * result["config"]["x"],
    )
    for trial, x in zip(analysis.trials, (1, 2, 3), strict=True):
        assert trial.status == "TERMINATED"
        seen = trial.last_result["seen"]
        assert len(seen) == 4 * x
        assert seen[0] == 1
        held = trial.placement_group_factory
        assert held.required_resources == {"CPU": seen[-1]}
        assert len(held.bundles) == (seen[-1] if add_bundles else 1)
    assert analysis.trials[2].last_result["got"] > 1
    assert max(max(t.last_result["seen"]) for t in analysis.trials) > 2


def test_shares_settle_and_trials_are_not_paused_for_ever(tmp_path):
    ctune.shutdown()
    ctune.init(executor="inline", num_cpus=8)
    try:
        analysis = run(Sees, tmp_path, ResourceChangingScheduler(), stop={"training_iteration": 20})
    finally:
        ctune.shutdown()
    seen = [t.last_result["seen"] for t in analysis.trials]
    assert [s[0] for s in seen] == [1, 1, 1]
    assert [set(s[1:15]) for s in seen] == [{3}, {3}, {2}]


def test_bundles_of_a_run_are_those_that_were_asked_for(cpus8, tmp_path):
    analysis = run(
        Sees,
        tmp_path,
        ResourceChangingScheduler(None, DistributeResources(add_bundles=True)),
        resources_per_trial=PlacementGroupFactory([{"CPU": 1}, {"CPU": 0.5}]),
        max_concurrent_trials=1,
    )
    for trial in analysis.trials:
        assert trial.last_result["seen"][0] == 1.5
        assert trial.last_result["got"] == 8
        assert trial.placement_group_factory.bundles == [{"CPU": 1}] + 14 * [{"CPU": 0.5}]


def test_several_bundles_of_a_run_need_add_bundles(cpus8, tmp_path):
    with pytest.raises((ctune.TuneError, ValueError), match="add_bundles=True"):
        run(
            ctune.with_resources(Sees, PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}])),
            tmp_path,
            ResourceChangingScheduler(),
        )


def test_the_top_job_of_a_run_gets_what_is_free(cpus8, tmp_path, caplog):
    function = DistributeResourcesToTopJob(increase_by={"CPU": 1}, increase_by_times=5)
    with caplog.at_level(logging.INFO, logger="ctune"):
        analysis = run(Sees, tmp_path, ResourceChangingScheduler(ASHAScheduler(), function))
    assert any(t.last_result["got"] == 6 for t in analysis.trials)
    assert "resources change to PlacementGroupFactory([{'CPU': 6.0}]" in caplog.text


def test_functions_see_their_resources_and_keep_their_checkpoint(cpus8, tmp_path):
    def train(config):
        seen = []
        checkpoint = ctune.get_checkpoint()
        if checkpoint is not None:
            with checkpoint.as_directory() as folder:
                seen = [float(t) for t in (Path(folder) / "seen").read_text().split()]
        while len(seen) < 8:
            held = ctune.get_context().get_trial_resources()
            seen.append(held.required_resources["CPU"])
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "seen").write_text(" ".join(map(str, seen)))
                ctune.report(
                    {"seen": list(seen), "m": config["x"]},
                    checkpoint=ctune.Checkpoint.from_directory(folder),
                )

    analysis = run(train, tmp_path, ResourceChangingScheduler(), stop=None)
    for trial in analysis.trials:
        assert trial.status == "TERMINATED"
        assert len(trial.last_result["seen"]) == 8
        assert trial.last_result["seen"][0] == 1
    assert max(max(t.last_result["seen"]) for t in analysis.trials) > 2


def test_a_base_scheduler_of_a_run_still_stops_trials(cpus8, tmp_path):
    base = ASHAScheduler(max_t=8, grace_period=2, reduction_factor=2)
    analysis = run(Sees, tmp_path, ResourceChangingScheduler(base), stop=None)
    assert all(t.status == "TERMINATED" for t in analysis.trials)
    assert max(len(t.last_result["seen"]) for t in analysis.trials) == 8
    assert base.num_stopped == 3


def test_a_failed_trial_is_tried_again_with_what_it_had(cpus8, tmp_path):
    class Fails(Sees):
        def step(self):
            mark = Path(self.config["folder"]) / self.trial_id
            if self.iteration == 4 and not mark.exists():
                mark.touch()
                raise RuntimeError("once")
            return super().step()

    analysis = ctune.run(
        Fails,
        config={"x": ctune.grid_search([1, 2]), "folder": str(tmp_path)},
        scheduler=ResourceChangingScheduler(),
        stop={"training_iteration": 8},
        max_failures=1,
        checkpoint_config=ctune.CheckpointConfig(checkpoint_frequency=1),
        storage_path=str(tmp_path / "run"),
        verbose=0,
    )
    for trial in analysis.trials:
        assert trial.status == "TERMINATED"
        assert trial.num_failures == 1
        assert len(trial.last_result["seen"]) == 8
        assert trial.last_result["got"] >= 4


def test_resources_that_the_machine_lacks_end_the_run_with_their_name(cpus8, tmp_path):
    scheduler = ResourceChangingScheduler(
        None, lambda *args: PlacementGroupFactory([{"CPU": 1}, {"disk": 5}])
    )
    with pytest.raises((ctune.TuneError, ValueError), match="5 disk"):
        run(Sees, tmp_path, scheduler)


def test_hyperband_below_it_leaves_nobody_waiting(cpus8, tmp_path):
    """HyperBand knows nothing of trials that it let go on and that paused all the same."""
    scheduler = ResourceChangingScheduler(HyperBandScheduler(max_t=9))
    analysis = run(Sees, tmp_path, scheduler, stop=None)
    assert all(t.status == "TERMINATED" for t in analysis.trials)
    assert max(t.last_result["got"] for t in analysis.trials) > 1


@pytest.mark.parametrize("synch", [False, True])
def test_population_based_training_below_it_exploits(cpus8, tmp_path, synch):
    base = PopulationBasedTraining(
        "training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"x": [1, 2, 3]},
        synch=synch,
    )
    analysis = run(Sees, tmp_path, ResourceChangingScheduler(base))
    assert all(t.status == "TERMINATED" for t in analysis.trials)
    # Each by itself, trials may be over before the next one begins.
    assert base._num_perturbations > 0 or not synch
    assert max(t.last_result["got"] for t in analysis.trials) > 1


def test_the_controller_of_a_run_tells_what_there_is(tmp_path):
    class Asks(FIFOScheduler):
        def on_trial_result(self, controller, trial, result):
            updater = controller._resource_updater
            self.told = updater.get_num_cpus(), updater.get_num_gpus()
            return "CONTINUE"

    ctune.shutdown()
    ctune.init(executor="inline", num_cpus=3, num_gpus=0.5)
    scheduler = Asks()
    try:
        run(Sees, tmp_path, scheduler, stop={"training_iteration": 2})
    finally:
        ctune.shutdown()
    assert scheduler.told == (3.0, 0.5)
