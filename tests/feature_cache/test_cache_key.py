"""Keys: what makes two of them the same, and what no key may hold."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewdistill.feature_cache import CacheError, Key

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
fields = st.dictionaries(st.text(), trees, max_size=4)


def shuffled(value):
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(list(value))}
    return tuple(map(shuffled, value)) if isinstance(value, list) else value


@settings(derandomize=True, deadline=None, max_examples=60)
@given(fields)
def test_order_of_fields_and_a_trip_through_json_change_nothing(content):
    key = Key("tokens", content)
    assert Key("tokens", shuffled(content)) == key
    assert Key("tokens", json.loads(json.dumps(content))).digest == key.digest
    assert Key("clips", content) != key and Key("clips", content).digest != key.digest


@settings(derandomize=True, deadline=None, max_examples=60)
@given(fields, fields)
def test_different_json_different_digest(first, second):
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (Key("tokens", first).digest == Key("tokens", second).digest) == same


def test_a_known_digest_stays_across_versions():
    assert Key("tokens", {"frames": 8, "data": ["é", None, 0.5]}).digest == "436354d3e38abbef268fd329"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"a": {"b": [1, float("nan")]}}, r"fields\.a\.b\[1\]"),
        ({"lr": float("inf")}, r"fields\.lr"),
        ({"mean": np.float64(0.5)}, r"fields\.mean is a numpy\.float64"),
        ({"mean": np.zeros(3)}, r"fields\.mean is a numpy\.ndarray"),
        ({"model": object()}, r"fields\.model"),
        ({"a": {1: "x"}}, r"fields\.a"),
    ],
)
def test_what_is_not_plain_is_refused_by_name(content, named):
    with pytest.raises(CacheError, match=named):
        Key("tokens", content)


def test_a_key_is_not_moved_by_its_maker():
    content = {"layers": [1, 2]}
    key = Key("tokens", content)
    digest = key.digest
    content["layers"].append(3)
    assert key.digest == digest and key.fields == {"layers": [1, 2]}
    assert pickle.loads(pickle.dumps(key)) == key and hash(pickle.loads(pickle.dumps(key))) == hash(key)


def test_the_package_loads_no_model_library():
    names = "('torch', 'timm', 'pandas')"
    script = f"import sys, fewdistill.feature_cache; print([name for name in {names} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
