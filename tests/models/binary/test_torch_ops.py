"""The custom operators against convolutions of signs and numpy's bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from edgeml.models.binary import torch_ops
from edgeml.ops import binary_conv, binary_dense

pytestmark = pytest.mark.torch

NAN, INF = float("nan"), float("inf")


def conv_arguments(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    filters = rng.choice([-1.0, 1.0], (6, 2, 3, 2)).astype(np.float32)
    arguments = {
        "x": torch.from_numpy(rng.normal(size=(2, 4, 7, 6)).astype(np.float32)),
        "weight": torch.from_numpy(np.packbits(filters.reshape(6, -1) < 0, axis=1, bitorder="little")),
        "threshold": torch.from_numpy(rng.normal(size=4).astype(np.float32)),
        "scale": torch.from_numpy(rng.normal(size=6).astype(np.float32)),
        "bias": torch.from_numpy(rng.normal(size=6).astype(np.float32)),
        "kernel_shape": [3, 2],
        "channels": 4,
        "strides": [2, 1],
        "pads": [1, 0, 2, 1],
        "dilations": [1, 2],
        "group": 2,
    }
    return arguments | {"filters": torch.from_numpy(filters)} | changes


def test_a_convolution_with_uneven_pads_strides_dilations_and_groups_is_exact() -> None:
    arguments = conv_arguments()
    filters = arguments.pop("filters")
    x, threshold = arguments["x"], arguments["threshold"][:, None, None]
    padded = F.pad(torch.where(x < threshold, -1.0, 1.0), (0, 1, 1, 2))
    count = F.conv2d(padded, filters, stride=(2, 1), dilation=(1, 2), groups=2)
    expected = count * arguments["scale"][:, None, None] + arguments["bias"][:, None, None]
    assert torch.equal(torch_ops.binary_conv(**arguments), expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_both_operators_compute_what_the_numpy_references_do(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def ints(low: int, high: int, count: int) -> list[int]:
        return [int(value) for value in rng.integers(low, high + 1, count)]

    def floats(*shape: int) -> npt.NDArray[np.float32]:
        return rng.normal(size=shape).astype(np.float32)

    (group,), (width, outputs) = ints(1, 3, 1), ints(1, 5, 2)
    channels, outputs = group * width, group * outputs
    attributes: dict[str, Any] = {
        "kernel_shape": ints(1, 3, 2),
        "channels": channels,
        "strides": ints(1, 3, 2),
        "pads": ints(0, 2, 4),
        "dilations": ints(1, 3, 2),
        "group": group,
    }
    filters = floats(outputs, width, *attributes["kernel_shape"]).reshape(outputs, -1)
    rest = (floats(channels), floats(outputs), floats(outputs))
    arrays = (floats(2, channels, 8, 9), np.packbits(filters < 0, axis=1, bitorder="little"), *rest)
    y = torch_ops.binary_conv(*map(torch.from_numpy, arrays), **attributes)
    np.testing.assert_array_equal(y.numpy(), binary_conv.reference(*arrays, **attributes))

    dense = (floats(2, 3, channels), np.packbits(floats(outputs, channels) < 0, axis=1, bitorder="little"), *rest)
    y = torch_ops.binary_dense(*map(torch.from_numpy, dense), features=channels)
    np.testing.assert_array_equal(y.numpy(), binary_dense.reference(*dense, features=channels))


def test_torch_finds_schema_shapes_and_registration_consistent() -> None:
    arguments = conv_arguments()
    del arguments["filters"]
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch_ops.binary_conv, tuple(arguments.values()), test_utils=checks)
    dense = (torch.randn(2, 3, 11), torch.zeros(5, 2, dtype=torch.uint8), torch.zeros(11), torch.ones(5), torch.ones(5))
    torch.library.opcheck(torch_ops.binary_dense, (*dense, 11), test_utils=checks)


def test_values_that_are_no_numbers_and_equal_to_the_threshold_are_positive() -> None:
    x = torch.tensor([[NAN, INF, -INF, 0.5, -0.0, 1.0]])
    threshold = torch.tensor([0.0, INF, -INF, 0.5, 0.0, NAN])
    weight = torch.zeros(1, 1, dtype=torch.uint8)
    for place in range(6):
        one = torch.zeros(1, 1)
        y = torch_ops.binary_dense(
            x[:, place : place + 1], weight, threshold[place : place + 1], torch.ones(1), one[0], 1
        )
        assert y.item() == 1.0


def test_inputs_of_another_form_are_refused() -> None:
    arguments = conv_arguments()
    del arguments["filters"]
    with pytest.raises(ValueError, match="axis 1 of the input is 3; allowed: 4"):
        torch_ops.binary_conv(**arguments | {"x": torch.zeros(1, 3, 7, 6)})
    with pytest.raises(TypeError, match=r"the input is torch.float64; allowed: torch.float32"):
        torch_ops.binary_conv(**arguments | {"x": arguments["x"].double()})
    with pytest.raises(ValueError, match="the input has 3 axes"):
        torch_ops.binary_conv(**arguments | {"x": arguments["x"][0]})
