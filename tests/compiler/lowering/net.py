"""Writes small ONNX graphs, and runs them compiled and by onnxruntime without its optimizations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgeml.compiler.placed_operator import PlacedOperator
from edgeml.core.target import Target

Array = npt.NDArray[Any]
Value = str
Feeds = dict[str, Array]

TOLERANCE = 1e-5
BATCH = 2


class Net:
    """An ONNX graph in the making; weights are random and scaled so that values keep their size."""

    def __init__(self, *, opset: int = 18, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)
        self._opset = opset
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, *shape: int | str, dtype: str = "float32") -> Value:
        """A graph input; axes of a name are dynamic."""
        name = f"input{len(self._inputs)}"
        self._inputs.append(helper.make_tensor_value_info(name, _element_type(dtype), shape))
        return name

    def constant(self, array: npt.ArrayLike, dtype: str | None = None) -> Value:
        """An initializer."""
        self._count += 1
        name = f"constant{self._count}"
        self._weights.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def normal(self, *shape: int) -> Value:
        """A float32 initializer of random values."""
        return self.constant(self.generator.standard_normal(shape), "float32")

    def weights(self, *shape: int) -> Value:
        """A float32 initializer with which sums over all axes but the first have variance 1."""
        fan_in = np.prod(shape[1:], dtype=np.int64)
        return self.constant(self.generator.standard_normal(shape) / np.sqrt(fan_in), "float32")

    def op(self, operator: str, *inputs: Value | None, name: str = "", **attributes: Any) -> Value:
        """The only output of a new node."""
        return self.ops(operator, *inputs, outputs=1, name=name, **attributes)[0]

    def ops(
        self, operator: str, *inputs: Value | None, outputs: int, name: str = "", **attributes: Any
    ) -> tuple[Value, ...]:
        """The outputs of a new node."""
        self._count += 1
        found = tuple(f"value{self._count}_{index}" for index in range(outputs))
        names = [each or "" for each in inputs]
        self._nodes.append(helper.make_node(operator, names, found, name=name, **attributes))
        return found

    def output(self, *values: Value, dtype: str = "float32") -> None:
        """Make values outputs of the graph."""
        self._outputs += [helper.make_tensor_value_info(value, _element_type(dtype), None) for value in values]

    def conv(
        self, value: Value, weights: Sequence[int], *, bias: bool = True, name: str = "", **attributes: Any
    ) -> Value:
        """A convolution with random weights of that shape."""
        bias_name = self.normal(weights[0]) if bias else None
        return self.op("Conv", value, self.weights(*weights), *[bias_name] * bias, name=name, **attributes)

    def batch_norm(self, value: Value, channels: int) -> Value:
        """Batch normalization with random statistics."""
        variance = self.constant(self.generator.uniform(0.5, 2, channels), "float32")
        scale = self.constant(self.generator.uniform(0.5, 1.5, channels), "float32")
        return self.op("BatchNormalization", value, scale, self.normal(channels), self.normal(channels), variance)

    def model(self) -> onnx.ModelProto:
        """The graph, checked."""
        graph = helper.make_graph(self._nodes, "net", self._inputs, self._outputs, self._weights)
        for output in graph.output:
            output.type.tensor_type.ClearField("shape")
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self._opset)], ir_version=9)
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(inferred)
        del inferred.graph.value_info[:]
        return inferred


@dataclass(frozen=True)
class Compiled:
    """A model compiled for this machine, in memory."""

    model: onnx.ModelProto
    operators: tuple[PlacedOperator, ...]
    main: Any

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Compiled:
        """The model, built."""
        import tvm

        from edgeml.compiler.pipeline import build

        built = build(model, Target.parse("host"))
        machine = tvm.relax.VirtualMachine(built.executable, tvm.cpu())
        return cls(model, built.operators, machine["main"])

    def run(self, feeds: Feeds) -> list[Array]:
        """All outputs."""
        import tvm

        result = self.main(*[tvm.runtime.tensor(array) for array in feeds.values()])
        tensors = [result] if hasattr(result, "numpy") else list(result)
        return [tensor.numpy() for tensor in tensors]

    @property
    def kernels(self) -> list[str]:
        """What computes each convolution and dense layer."""
        return [operator.kernel for operator in self.operators]


def feeds_of(model: onnx.ModelProto, seed: int = 1, **axes: int) -> Feeds:
    """Random inputs; `axes` gives the sizes of dynamic axes, 2 where it does not name one."""
    generator = np.random.default_rng(seed)
    feeds = {}
    for entry in model.graph.input:
        kind = entry.type.tensor_type
        shape = [axis.dim_value or axes.get(axis.dim_param, BATCH) for axis in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        values = generator.standard_normal(shape) if dtype.kind == "f" else generator.integers(0, 9, shape)
        feeds[entry.name] = np.asarray(values, dtype)
    return feeds


def by_onnxruntime(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """All outputs as the graph says literally."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, dict(feeds))]


def differences(model: onnx.ModelProto, found: Sequence[Array], expected: Sequence[Array]) -> dict[str, float]:
    """The largest difference of each output, relative to its largest value."""
    names = [output.name for output in model.graph.output]
    return {name: difference(a, b) for name, a, b in zip(names, found, expected, strict=True)}


def difference(found: Array, expected: Array) -> float:
    """The largest difference relative to the largest value expected."""
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if expected.size == 0:
        return 0.0
    assert np.isfinite(expected.astype(np.float64)).all(), "the reference is to be meaningful"
    gap = np.abs(found.astype(np.float64) - expected.astype(np.float64)).max()
    return float(gap / max(np.abs(expected.astype(np.float64)).max(), 1e-6))


def agrees(net: Net | onnx.ModelProto, *, tolerance: float = TOLERANCE, **axes: int) -> Compiled:
    """Assert that the compiled model computes what onnxruntime does."""
    model = net.model() if isinstance(net, Net) else net
    compiled = Compiled.of(model)
    agrees_on(compiled, feeds_of(model, **axes), tolerance=tolerance)
    return compiled


def agrees_on(compiled: Compiled, feeds: Feeds, *, tolerance: float = TOLERANCE) -> None:
    """Assert that for these inputs a compiled model computes what onnxruntime does."""
    found = differences(compiled.model, compiled.run(feeds), by_onnxruntime(compiled.model, feeds))
    assert all(each <= tolerance for each in found.values()), found


def _element_type(dtype: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
