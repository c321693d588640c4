from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeml.export.binarizations import Binarization, binarizations, held_feeds, held_name, hold, margins_of
from edgeml.export.run_onnx import run_onnx
from edgeml.ops.attach import attach_functions, inline_functions
from edgeml.ops.binary_conv import node
from edgeml.ops.bits import pack_signs

FLOATS = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)


def place(threshold: npt.NDArray[np.floating]) -> Binarization:
    return Binarization(0, "layer", "BinaryDense", "x", threshold.astype(np.float32))


@given(arrays.arrays(np.float32, (4, 3), elements=FLOATS), arrays.arrays(np.float32, 3, elements=FLOATS))
@settings(deadline=None)
def test_a_value_made_from_margins_has_exactly_their_signs(
    value: npt.NDArray[np.float32],
    threshold: npt.NDArray[np.float32],
) -> None:
    margins = place(threshold).margins(value)
    assert ((margins < 0) == (value < threshold)).all()
    other = place(threshold[::-1] * np.float32(3))  # a file may hold another threshold: signs stay the reference's
    assert ((other.value_of(margins) < other.threshold) == (margins < 0)).all()
    # Rounded as float64 is, so that a value next to 0 may lose its last digits beside a large threshold.
    np.testing.assert_allclose(place(threshold).value_of(margins), value, rtol=1e-7, atol=1e-9)


def test_no_number_counts_as_positive() -> None:
    held = place(np.zeros(1)).value_of(np.array([[np.nan], [-1.0]]))
    assert ((held < 0) == [[False], [True]]).all()


@pytest.fixture
def model() -> object:
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    constants = {
        "w": pack_signs(generator.standard_normal((4, 18)).astype(np.float32)),
        "threshold": np.array([0.5, -0.5], np.float32),
        "scale": np.ones(4, np.float32),
        "bias": np.zeros(4, np.float32),
    }
    layer = node(["x", *constants], "y", kernel_shape=[3, 3], channels=2, pads=[1, 1, 1, 1], name="layer")
    nodes = [helper.make_node("Relu", ["input"], ["x"], name="relu"), layer]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 2, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 5, 5])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    attach_functions(made)
    return made


@pytest.mark.parametrize("written_out", [False, True])
def test_held_signs_are_read_in_place_of_the_network_s(model: object, written_out: bool) -> None:
    import onnx

    assert isinstance(model, onnx.ModelProto)
    graph = inline_functions(model) if written_out else model
    (found,) = binarizations(graph)
    assert (found.op_type, found.value) == ("Less" if written_out else "BinaryConv", "x")
    assert found.threshold.ravel().tolist() == [0.5, -0.5]
    inputs = np.random.default_rng(1).standard_normal((3, 2, 5, 5)).astype(np.float32)
    held = hold(graph, [found])
    assert [value.name for value in held.graph.input] == ["input", held_name(0)]
    free = run_onnx(graph, {"input": inputs})
    (margins,) = margins_of(graph, [found], inputs)
    values = run_onnx(held, held_feeds(graph, [found], inputs, [margins]))
    np.testing.assert_array_equal(values["y"], free["y"])
    np.testing.assert_array_equal(values["x"], np.maximum(inputs, 0))
    turned = run_onnx(held, held_feeds(graph, [found], inputs, [-margins]))
    np.testing.assert_array_equal(turned["y"], -free["y"])
    np.testing.assert_array_equal(turned["x"], values["x"])


def test_a_float_network_takes_no_signs(model: object) -> None:
    import onnx

    assert isinstance(model, onnx.ModelProto)
    del model.graph.node[1:], model.functions[:]
    assert binarizations(model) == ()
