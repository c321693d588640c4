"""Writes a network in codes as ONNX's quantize and dequantize pairs: what int8 runtimes take, each frame for itself.

onnxruntime makes one integer kernel of each group of them. Convolutions, concatenations, maxima and nearest upsampling
then give the same codes as the residual operators; its sums, means and linear upsampling round in another way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeml.export.video.onnx_writer import OnnxWriter, frame_input, network_output
from edgeml.models.video.graph import FRAME
from edgeml.models.video.quantized import (
    IDENTITY,
    CodeAdd,
    CodeConcat,
    CodeConv,
    CodeGraph,
    CodePool,
    CodeResize,
    Codes,
    CodeStep,
    CodeTable,
)
from edgeml.models.video.ranges import CodeRange

if TYPE_CHECKING:
    import onnx


def dense_model(graph: CodeGraph) -> onnx.ModelProto:
    """The model from `frame` to `output`; the codes of a value are called after it, with "/codes" at the end.

    Raises:
        UsageError: the end of the network has a function that no ONNX operator stands for.
        EdgeMLError: the model is too large for one file.
    """
    writer = OnnxWriter()
    dense = _Dense(writer, graph)
    for step in graph.steps:
        dense.write(step)
    for end in graph.tail:
        writer.tail(end, dense.values)
    writer.add("Identity", [dense.values[graph.output]], "output")
    return writer.model("dense", [frame_input(graph)], [network_output(graph)])


class _Dense:
    """Writes step after step.

    Attributes:
        values: names of float32 values, behind their codes.
    """

    def __init__(self, writer: OnnxWriter, graph: CodeGraph) -> None:
        self.values: dict[str, str] = {}
        self._writer = writer
        self._graph = graph
        self._parts: dict[str, tuple[str, ...]] = {}
        self._keep(FRAME, writer.quantize("frame", graph.ranges[FRAME], "frame/codes"))

    def write(self, step: CodeStep) -> None:
        """Add a step's nodes, up to its value behind the codes."""
        writer, ranges, raw = self._writer, self._graph.ranges, f"{step.name}/raw"
        match step:
            case CodeConv():
                self._finish(step.name, self._conv(step, raw), step.before, step.table)
            case CodeAdd():
                total = writer.add("Add", [self.values[step.a], self.values[step.b]], raw)
                self._finish(step.name, total, step.before, step.table)
            case CodeConcat():
                self._parts[step.name] = (*self._parts.get(step.a, (step.a,)), step.b)
                if step.name == step.whole:
                    parts = [self.values[part] for part in self._parts[step.name]]
                    self._finish(step.name, writer.add("Concat", parts, raw, axis=1), ranges[step.name])
            case CodeTable():
                self._keep(step.name, self._looked_up(step.name, f"{step.x}/codes", step.table, f"{step.name}/codes"))
            case CodePool():
                self._finish(step.name, self._pool(step, raw), ranges[step.name])
            case CodeResize():
                raw = writer.resize(self.values[step.x], raw, step.mode, step.factor)
                self._finish(step.name, raw, ranges[step.name])

    def _finish(self, name: str, raw: str, before: CodeRange, table: Codes = IDENTITY) -> None:
        """The codes of a step's float32 result, looked up in its table if it has one."""
        if np.array_equal(table, IDENTITY):
            self._keep(name, self._writer.quantize(raw, before, f"{name}/codes"))
            return
        codes = self._writer.quantize(raw, before, f"{name}/codes_before")
        self._keep(name, self._looked_up(name, codes, table, f"{name}/codes"))

    def _looked_up(self, name: str, codes: str, table: Codes, output: str) -> str:
        from onnx import TensorProto

        index = self._writer.add("Cast", [codes], f"{name}/index", to=TensorProto.INT32)
        return self._writer.add("Gather", [self._writer.constant(table, f"{name}/table"), index], output)

    def _keep(self, name: str, codes: str) -> None:
        self.values[name] = self._writer.dequantize(codes, self._graph.ranges[name], f"{name}/real")

    def _conv(self, step: CodeConv, output: str) -> str:
        writer = self._writer
        product = np.float32(self._graph.ranges[step.x].scale) * step.weight_scale
        constants = []
        for word, numbers, scale in (("weight", step.weight, step.weight_scale), ("bias", step.bias, product)):
            name = f"{step.name}/{word}"
            zeros = np.zeros(len(scale), numbers.dtype)
            inputs = [
                writer.constant(numbers, name, shared=False),
                writer.constant(scale, f"{name}_scale"),
                # onnxruntime rewrites weights to uint8 where asked to, and then fails on zero points in common.
                writer.constant(zeros, f"{name}_zero_point", shared=False),
            ]
            constants.append(writer.add("DequantizeLinear", inputs, f"{name}_real", axis=0))
        return writer.add(
            "Conv", [self.values[step.x], *constants], output, kernel_shape=list(step.weight.shape[2:]),
            strides=list(step.strides), pads=list(step.pads), dilations=list(step.dilations), group=step.group,
        )  # fmt: skip

    def _pool(self, step: CodePool, output: str) -> str:
        operator = "MaxPool" if step.mode == "max" else "AveragePool"
        return self._writer.add(
            operator, [self.values[step.x]], output, kernel_shape=list(step.kernel_shape), strides=list(step.strides),
            pads=list(step.pads),
        )  # fmt: skip
