import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.core.errors import UsageError
from edgeml.core.tensor_spec import TensorSpec

SPECS = st.builds(
    TensorSpec,
    st.text(),
    st.lists(st.integers(0, 1 << 40) | st.text(), max_size=6).map(tuple),
    st.sampled_from(["float32", "float16", "uint8", "int64", "bool", "str", "bfloat16"]),
)


@given(SPECS)
def test_json_gives_the_spec_back(spec: TensorSpec) -> None:
    assert TensorSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_the_batch_fills_a_dynamic_first_axis_only() -> None:
    assert TensorSpec("x", ("batch", 3, 28, 28), "float32").with_batch(8) == (8, 3, 28, 28)
    assert TensorSpec("x", (1, 3), "float32").with_batch(1) == (1, 3)
    assert TensorSpec("x", (), "float32").with_batch(4) == ()


def test_a_fixed_batch_takes_no_other() -> None:
    with pytest.raises(UsageError, match="fixed batch 1; batch 2"):
        TensorSpec("x", (1, 3), "float32").with_batch(2)


def test_another_dynamic_axis_is_told_by_its_name() -> None:
    with pytest.raises(UsageError, match="dynamic axis 'height'"):
        TensorSpec("x", ("batch", 3, "height", 28), "float32").with_batch(1)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"name": "x", "shape": [1], "dtype": "float32", "more": 1},
        {"name": 1, "shape": [1], "dtype": "float32"},
        {"name": "x", "shape": {"0": 1}, "dtype": "float32"},
        {"name": "x", "shape": "123", "dtype": "float32"},
        {"name": "x", "shape": [{}], "dtype": "float32"},
        {"name": "x", "shape": [-1], "dtype": "float32"},
        {"name": "x", "shape": [True], "dtype": "float32"},
        {"name": "x", "shape": [1.5], "dtype": "float32"},
        {"name": "x", "shape": [1 << 70], "dtype": "float32"},
        {"name": "x", "shape": [1] * 1000, "dtype": "float32"},
        {"name": "x", "shape": [1], "dtype": "float32; reboot"},
        {"name": "x", "shape": [1], "dtype": None},
        {"name": "\ud800", "shape": [1], "dtype": "float32"},
    ],
)
def test_json_of_another_form_is_a_usage_error(value: Any) -> None:
    with pytest.raises(UsageError):
        TensorSpec.from_json(value)
