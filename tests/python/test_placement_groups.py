"""What a trial asks for."""

import pickle

import pytest

from ctune.execution import PlacementGroupFactory, resource_dict_to_pg_factory


def test_bundles_add_up_and_zeros_are_dropped():
    factory = PlacementGroupFactory([{"CPU": 1, "GPU": 0}, {"CPU": 2, "disk": 0.5}])
    assert factory.bundles == [{"CPU": 1.0}, {"CPU": 2.0, "disk": 0.5}]
    assert factory.required_resources == {"CPU": 3.0, "disk": 0.5}
    assert factory.head_cpus == 1.0 and not factory.head_bundle_is_empty
    assert factory.strategy == "PACK"


def test_an_empty_first_bundle_means_that_the_trial_itself_needs_nothing():
    factory = PlacementGroupFactory([{}, {"CPU": 2}], strategy="SPREAD")
    assert factory.head_bundle_is_empty and factory.head_cpus == 0.0
    assert factory.bundles == [{"CPU": 2.0}]
    assert factory != PlacementGroupFactory([{"CPU": 2}], strategy="SPREAD")


def test_bundles_handed_out_are_copies():
    factory = PlacementGroupFactory([{"CPU": 1}])
    factory.bundles[0]["CPU"] = 9
    assert factory.bundles == [{"CPU": 1.0}]


def test_equality_and_hash_go_by_content():
    one = PlacementGroupFactory([{"CPU": 1, "GPU": 2}])
    same = PlacementGroupFactory([{"GPU": 2.0, "CPU": 1.0, "x": 0}])
    assert one == same and hash(one) == hash(same)
    assert one != PlacementGroupFactory([{"CPU": 1, "GPU": 2}], strategy="SPREAD")
    assert one != PlacementGroupFactory([{"CPU": 1}, {"GPU": 2}])
    assert one != {"CPU": 1}
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(
    "bundles, message",
    [
        ([], "at least one bundle"),
        ({"CPU": 1}, "at least one bundle"),
        ([{}], "asks for nothing"),
        ([{"CPU": 0}], "asks for nothing"),
        ([{"CPU": -1}], "amount of 'CPU' must be a number, 0 or more, got -1"),
        ([{"CPU": "two"}], "got 'two'"),
        ([{"CPU": float("nan")}], "got nan"),
        ([3], "each must be a dict"),
    ],
)
def test_impossible_bundles_are_refused_with_the_value(bundles, message):
    with pytest.raises(ValueError, match=message):
        PlacementGroupFactory(bundles)


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ValueError, match="strategy: must be one of PACK, .* got 'FAR'"):
        PlacementGroupFactory([{"CPU": 1}], strategy="FAR")


@pytest.mark.parametrize(
    "spec, bundle",
    [
        (None, {"CPU": 1}),
        ({}, {"CPU": 1}),
        ({"cpu": 1, "gpu": 0.5, "memory": 100}, {"CPU": 1, "GPU": 0.5, "memory": 100}),
        ({"CPU": 2, "GPU": 1}, {"CPU": 2, "GPU": 1}),
        ({"CPU": 1, "cpu": 2}, {"CPU": 2}),
        ({"gpu": 1}, {"GPU": 1}),
        ({"cpu": 1, "licence": 2}, {"CPU": 1, "licence": 2}),
        ({"cpu": 1, "custom_resources": {"licence": 2}}, {"CPU": 1, "licence": 2}),
        ({"custom_resources": {"a": 1}, "b": 2}, {"a": 1, "b": 2}),
    ],
)
def test_dicts_as_users_write_them_become_one_bundle(spec, bundle):
    assert resource_dict_to_pg_factory(spec) == PlacementGroupFactory([bundle])


def test_there_are_no_placement_groups_on_one_machine():
    factory = PlacementGroupFactory([{"CPU": 1}])
    with pytest.raises(NotImplementedError, match="required_resources"):
        factory.to_placement_group()
    with pytest.warns(DeprecationWarning), pytest.raises(NotImplementedError):
        factory()
