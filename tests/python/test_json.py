"""The engine's JSON text of objects is that of the json module."""

import json
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctune._ctune import json_text

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text()
TREES = st.recursive(
    SCALARS,
    lambda t: st.lists(t) | st.tuples(t, t) | st.dictionaries(st.text(), t),
    max_leaves=12,
)


@given(TREES)
@settings(max_examples=100, deadline=None)
def test_it_writes_what_json_dumps_writes(value):
    assert json_text(value, repr) == json.dumps(value)


@pytest.mark.parametrize(
    "value",
    [2**63, "\ud800", {"\udfff": 1}, {1: 2}, OrderedDict(a=1)],
    ids=["long", "surrogate", "surrogate key", "int key", "order"],
)
def test_what_only_the_json_module_can_tell_is_left_to_it(value):
    assert json_text([1, value], repr) is None


def test_nesting_without_end_is_left_to_the_json_module():
    loop: list[object] = []
    loop.append(loop)
    assert json_text(loop, repr) is None
    assert json_text(object(), lambda o: [o]) is None


def test_other_objects_are_what_the_function_makes_of_them():
    value = {"a": {1, 2}, "b": np.float64(0.1)}
    assert json_text(value, sorted) == '{"a": [1, 2], "b": 0.1}'
    with pytest.raises(ZeroDivisionError):
        json_text({"a": {1}}, lambda o: 1 / 0)


def test_a_dict_that_changes_meanwhile_is_left_to_the_json_module():
    value = {"a": {1}, "b": 2}
    assert json_text(value, lambda o: value.update(c=3)) is None
