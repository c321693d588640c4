"""The native operators inside onnxruntime give numpy's results, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from edgeml.core.errors import EdgeMLError
from edgeml.ops import binary_conv, binary_dense
from edgeml.runtime.plugin.library import load_plugin

Model = Callable[..., onnx.ModelProto]
Open = Callable[..., onnxruntime.InferenceSession]
Weights = Callable[[int, int, int], dict[str, npt.NDArray[Any]]]

try:
    KERNELS = load_plugin().kernels
except EdgeMLError:  # the tests tell why
    KERNELS = ("scalar",)


CONV: dict[str, Any] = {"kernel_shape": (3, 2), "channels": 6, "group": 2, "strides": (2, 1), "pads": (1, 0, 2, 1)}
IMAGE = np.random.default_rng(0).standard_normal((2, 6, 9, 7)).astype(np.float32)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("computed", [(), ("W",), ("threshold", "scale", "bias")])
def test_a_convolution_is_numpys_to_the_last_bit(
    one_node_model: Model,
    monkeypatch: pytest.MonkeyPatch,
    kernel: str,
    threads: int,
    computed: tuple[str, ...],
    open_natively: Open,
    binary_weights: Weights,
) -> None:
    monkeypatch.setenv("EDGEML_KERNEL", kernel)
    values = binary_weights(10, 18, 6)
    fed = {"X": IMAGE} | {name: value for name, value in values.items() if name in computed}
    # The graph's inputs come in the operator's order, whichever of them the model holds.
    model = one_node_model(
        "BinaryConv",
        {name: value for name, value in values.items() if name not in computed},
        fed={name: value.dtype.type for name, value in fed.items()},
        **CONV,
    )
    model.graph.node[0].input[:] = ["X", *values]
    (found,) = open_natively(model, threads=threads).run(None, fed)
    np.testing.assert_array_equal(found, binary_conv.reference(IMAGE, *values.values(), **CONV))


def test_attributes_that_a_node_leaves_out_are_as_in_conv(
    one_node_model: Model, open_natively: Open, binary_weights: Weights
) -> None:
    values = binary_weights(4, 54, 6)
    asked: dict[str, Any] = {"kernel_shape": (3, 3), "channels": 6}
    (found,) = open_natively(one_node_model("BinaryConv", values, **asked)).run(None, {"X": IMAGE})
    np.testing.assert_array_equal(found, binary_conv.reference(IMAGE, *values.values(), **asked))


@pytest.mark.parametrize("shape", [(11,), (5, 11), (2, 3, 4, 11), (3, 0, 11)])
def test_a_dense_product_takes_any_axes_before_the_last(
    one_node_model: Model, shape: tuple[int, ...], open_natively: Open, binary_weights: Weights
) -> None:
    values = binary_weights(9, 11, 11)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    (found,) = open_natively(one_node_model("BinaryDense", values, features=11)).run(None, {"X": x})
    np.testing.assert_array_equal(found, binary_dense.reference(x, *values.values(), features=11))


def test_a_batch_of_none_gives_none(one_node_model: Model, open_natively: Open, binary_weights: Weights) -> None:
    session = open_natively(one_node_model("BinaryConv", binary_weights(10, 18, 6), **CONV))
    assert session.run(None, {"X": IMAGE[:0]})[0].shape == (0, 10, 5, 7)


def test_one_session_runs_from_many_threads_and_at_any_size(
    one_node_model: Model, open_natively: Open, binary_weights: Weights
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    values = binary_weights(10, 18, 6)
    session = open_natively(one_node_model("BinaryConv", values, **CONV), threads=2)

    def difference(size: int) -> float:
        x = np.random.default_rng(size).standard_normal((1, 6, size, 40 - size)).astype(np.float32)
        (found,) = session.run(None, {"X": x})
        return float(np.abs(found - binary_conv.reference(x, *values.values(), **CONV)).max())

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(difference, [*range(4, 36)] * 3)) == {0.0}
