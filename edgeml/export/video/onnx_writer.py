"""Collects the nodes and constants of an ONNX graph, and the parts that all forms of a video network share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from edgeml.core.atomic import atomic_write
from edgeml.core.errors import UsageError
from edgeml.export.clean import checked, to_bytes
from edgeml.models.video.graph import Add, Concat, Dense, GlobalPool, Pointwise, Step
from edgeml.models.video.quantized import CodeGraph
from edgeml.models.video.ranges import CodeRange
from edgeml.ops.attach import attach_functions
from edgeml.ops.body import FIRST_OPSET

if TYPE_CHECKING:
    import onnx

TO_CHANNELS_LAST = [0, 2, 3, 1]
TO_CHANNELS_FIRST = [0, 3, 1, 2]

# Functions of the tail, by torch's word; ONNX has them under another name, or as a product with their argument.
_FUNCTIONS = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "hardswish": ("HardSwish", {}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "silu": ("Sigmoid", {}),
}


class OnnxWriter:
    """A graph in the making; every name is given by the caller or made from it.

    Attributes:
        nodes: in order.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a standard node with one output, and give the output's name back."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, array: npt.NDArray[Any], name: str, *, shared: bool = True) -> str:
        """Name of a constant; equal ones are kept once, under the name that came first, unless not to be shared."""
        from onnx import numpy_helper

        array = np.asarray(array, order="C")  # ascontiguousarray would make a scalar a list
        key = (array.dtype.str if shared else name, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, name)
        found: str = self._constants[key].name
        return found

    def quantize(self, x: str, codes: CodeRange, output: str) -> str:
        """uint8 codes of a float32 value."""
        return self.add("QuantizeLinear", [x, *self.code_range(codes, output)], output)

    def dequantize(self, x: str, codes: CodeRange, output: str) -> str:
        """The float32 value of uint8 codes."""
        return self.add("DequantizeLinear", [x, *self.code_range(codes, output)], output)

    def resize(self, x: str, output: str, mode: Literal["nearest", "linear"], factor: int) -> str:
        """A map (1, channels, height, width) upsampled as `edgeml.models.video.graph.Resize` says."""
        scales = self.constant(np.array([1, 1, factor, factor], np.float32), f"{output}/scales")
        linear = mode == "linear"
        attributes = {} if linear else {"nearest_mode": "floor"}
        return self.add(
            "Resize", [x, "", scales], output, mode=mode,
            coordinate_transformation_mode="half_pixel" if linear else "asymmetric", **attributes,
        )  # fmt: skip

    def code_range(self, codes: CodeRange, name: str) -> tuple[str, str]:
        """Constants scale, float32, and zero point, uint8."""
        scale = self.constant(np.array(codes.scale, np.float32), f"{name}/scale")
        return scale, self.constant(np.array(codes.zero_point, np.uint8), f"{name}/zero_point")

    def tail(self, step: Step, values: dict[str, str]) -> None:
        """Append a float32 step after the last map; `values` names what it reads, and then what it makes.

        Raises:
            UsageError: it is a function that no ONNX operator stands for.
        """
        output = f"{step.name}/value"
        match step:
            case GlobalPool():
                values[step.name] = self.add("GlobalAveragePool", [values[step.x]], output)
            case Dense():
                flat = self.add("Flatten", [values[step.x]], f"{step.name}/flat", axis=1)
                weight = self.constant(step.weight, f"{step.name}/weight")
                bias = self.constant(step.bias, f"{step.name}/bias")
                values[step.name] = self.add("Gemm", [flat, weight, bias], output, transB=1)
            case Add():
                values[step.name] = self.add("Add", [values[step.a], values[step.b]], output)
            case Concat():
                values[step.name] = self.add("Concat", [values[part] for part in step.parts], output, axis=1)
            case Pointwise():
                values[step.name] = self._function(step, values[step.x], output)
            case _:
                raise AssertionError(step)

    def _function(self, step: Pointwise, x: str, output: str) -> str:
        word = step.operator.lower()
        if word == "relu6":
            ends = [self.constant(np.array(end, np.float32), f"{step.name}/{end}") for end in (0, 6)]
            return self.add("Clip", [x, *ends], output)
        if word not in _FUNCTIONS:
            raise UsageError(
                f"{step.name}: {step.operator} after global pooling cannot be written; allowed there: relu6, "
                f"{', '.join(_FUNCTIONS)}"
            )
        operator, attributes = _FUNCTIONS[word]
        if word == "silu":
            return self.add("Mul", [x, self.add(operator, [x], f"{step.name}/gate")], output)
        return self.add(operator, [x], output, **attributes)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.ModelProto:
        """The model, with the bodies of edgeml's operators, after ONNX's full check.

        Raises:
            EdgeMLError: it is not valid ONNX, or too large for one file.
        """
        from onnx import helper

        graph = helper.make_graph(self.nodes, name, list(inputs), list(outputs), list(self._constants.values()))
        opsets = [helper.make_opsetid("", FIRST_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="edgeml")
        model.ir_version = 9
        attach_functions(model)
        return checked(model)


def frame_input(graph: CodeGraph) -> onnx.ValueInfoProto:
    """The input `frame`, float32 (1, channels, height, width)."""
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info("frame", TensorProto.FLOAT, [1, *graph.input_shape])


def network_output(graph: CodeGraph) -> onnx.ValueInfoProto:
    """The output `output`, float32 (1, channels, height, width) or (1, classes)."""
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, *graph.shapes[graph.output]])


def write_models(models: Mapping[Path, onnx.ModelProto]) -> None:
    """Write files that belong together, each whole; none appears before all are written.

    Raises:
        EdgeMLError: one cannot be written, or is too large.
    """
    with ExitStack() as stack:
        for path, model in models.items():
            stack.enter_context(atomic_write(path)).write_bytes(to_bytes(model))
