"""Random binary convolutions and dense layers, as models and as the same sums by operators of ONNX itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.ops import binary_conv, binary_dense
from edgeml.ops.attach import attach_functions
from edgeml.ops.bits import pack_signs

if TYPE_CHECKING:
    import onnx

Tensor = npt.NDArray[Any]


@dataclass(frozen=True)
class BinaryCase:
    """One layer.

    Attributes:
        x: the input, float32.
        signs: the weights, +1 and -1, as ONNX's Conv (filters, channels in a group, rows, columns) or a dense layer
            (outputs, features) takes them.
        threshold: for each channel or feature.
        scale: for each output channel.
        bias: for each output channel.
        attributes: of the operator.
    """

    x: Tensor
    signs: Tensor
    threshold: Tensor
    scale: Tensor
    bias: Tensor
    attributes: dict[str, Any]

    @property
    def packed(self) -> Tensor:
        return pack_signs(self.signs.reshape(len(self.signs), -1))

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """As the operators' references take them."""
        return self.x, self.packed, self.threshold, self.scale, self.bias


def random_conv(generator: np.random.Generator, *, integer: bool = False) -> BinaryCase:
    """A convolution of any geometry ONNX allows; `integer` leaves the scale at 1 and the bias at 0."""
    group = int(generator.choice([1, 1, 1, 2, 3, 5]))
    channels, filters = group * int(generator.integers(1, 12)), group * int(generator.integers(1, 9))
    kernel, strides, dilations = (tuple(int(n) for n in generator.integers(1, 4, 2)) for _ in range(3))
    pads = tuple(int(n) for n in generator.integers(0, 4, 4))
    least = [max(1, dilations[axis] * (kernel[axis] - 1) + 1 - pads[axis] - pads[axis + 2]) for axis in (0, 1)]
    size = [low + int(generator.integers(0, 7)) for low in least]
    x = generator.standard_normal((int(generator.integers(1, 4)), channels, *size)).astype(np.float32)
    return _case(
        generator,
        x,
        (filters, channels // group, *kernel),
        channels,
        integer,
        {
            "kernel_shape": kernel, "channels": channels, "group": group,
            "strides": strides, "pads": pads, "dilations": dilations,
        },
    )  # fmt: skip


def random_dense(generator: np.random.Generator, *, integer: bool = False) -> BinaryCase:
    """A dense layer; its input has one to four axes."""
    features, outputs = int(generator.integers(1, 70)), int(generator.integers(1, 20))
    leading = generator.integers(1, 4, int(generator.integers(0, 4)))
    x = generator.standard_normal((*leading, features)).astype(np.float32)
    return _case(generator, x, (outputs, features), features, integer, {"features": features})


def _case(
    generator: np.random.Generator,
    x: Tensor,
    shape: tuple[int, ...],
    channels: int,
    integer: bool,
    attributes: dict[str, Any],
) -> BinaryCase:
    threshold = generator.standard_normal(channels).astype(np.float32) * (generator.random() < 0.5)
    flat = x.reshape(-1)  # values at which signs are easily taken wrong
    odd = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, -1e-40], np.float32)
    flat[generator.integers(0, flat.size, 3)] = generator.choice(odd, 3)
    return BinaryCase(
        x,
        generator.choice(np.array([-1.0, 1.0], np.float32), shape),
        threshold.astype(np.float32),
        np.ones(shape[0], np.float32) if integer else generator.standard_normal(shape[0]).astype(np.float32),
        np.zeros(shape[0], np.float32) if integer else generator.standard_normal(shape[0]).astype(np.float32),
        attributes,
    )


def binary_model(case: BinaryCase, *, opset: int = 18) -> onnx.ModelProto:
    """A model of the operator alone: "x" to "y"."""
    dense = "features" in case.attributes
    names = ["x", "W", "threshold", "scale", "bias"]
    make = binary_dense.node if dense else binary_conv.node
    node = make(names, "y", name="layer", **case.attributes)
    rank = case.x.ndim
    return _model([node], case.x, rank, dict(zip(names[1:], case.inputs[1:], strict=True)), opset)


def plain_model(case: BinaryCase) -> onnx.ModelProto:
    """The same counts by ONNX's own Conv or MatMul: of signs, float32, "x" to "y"."""
    from onnx import helper

    if "features" in case.attributes:
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        return _model([node], case.x, case.x.ndim, {"w": case.signs.T}, 18)
    attributes = {name: value for name, value in case.attributes.items() if name != "channels"}
    return _model([helper.make_node("Conv", ["x", "w"], ["y"], **attributes)], case.x, 4, {"w": case.signs}, 18)


def plain_signs(case: BinaryCase) -> Tensor:
    """What the input's values count as, float32."""
    shape = (-1,) if "features" in case.attributes else (-1, 1, 1)
    return np.where(case.x < case.threshold.reshape(shape), -1, 1).astype(np.float32)


def _model(
    nodes: list[onnx.NodeProto], x: Tensor, rank: int, constants: dict[str, Tensor], opset: int
) -> onnx.ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"axis{axis}" for axis in range(rank)])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    attach_functions(model)
    return model
