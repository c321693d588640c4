"""Random calls of the operators of residual video, and the three that compute them: numpy, onnxruntime, ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgeml.ops.attach import attach_functions
from edgeml.ops.residual import (
    residual_add,
    residual_concat,
    residual_conv,
    residual_pool,
    residual_resize,
    residual_table,
    tile_gate,
)

Array = npt.NDArray[Any]
Case = tuple[ModuleType, dict[str, Array], dict[str, Any]]
CONSTANTS = {"W", "multiplier", "bias", "table", "table_a", "table_b"}


def codes(generator: np.random.Generator, *shape: int, spread: int = 256) -> Array:
    return generator.integers(0, spread, shape).astype(np.uint8)


def pixel_map(generator: np.random.Generator, *shape: int) -> Array:
    """Mostly zeros or mostly not; what is not 0 need not be 1."""
    density = generator.choice([0.0, 0.02, 0.3, 1.0])
    values: Array = generator.integers(1, 256, shape).astype(np.uint8)
    values[generator.random(shape) >= density] = 0
    return values


def near(generator: np.random.Generator, fresh: Array) -> Array:
    """A previous output that differs from a new one here and there, mostly by a few codes."""
    apart = generator.integers(-4, 5, fresh.shape) * (generator.random(fresh.shape) < generator.choice([0.05, 0.6]))
    found: Array = np.clip(fresh.astype(np.int64) + apart, 0, 255).astype(np.uint8)
    return found


def with_previous(case: Case, shape: tuple[int, ...], generator: np.random.Generator) -> Case:
    """The case with a previous output near the one that computing everything gives."""
    module, inputs, attributes = case
    everywhere = {name: np.ones_like(value) if name.startswith("changed") else value for name, value in inputs.items()}
    blank = {**everywhere, "previous": np.zeros(shape, np.uint8)}
    dense = {**attributes, "threshold": 0} if "threshold" in attributes else attributes
    fresh = module.reference(*(blank[name] for name in module.SIGNATURE.inputs), **dense)[0]
    return module, {**inputs, "previous": near(generator, fresh)}, attributes


def sizes(draw: st.DrawFn, least: int = 1, most: int = 19) -> tuple[int, int, int]:
    """Batch, height and width."""
    return draw(st.integers(1, 2)), draw(st.integers(least, most)), draw(st.integers(least, most))


def random(draw: st.DrawFn) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


@st.composite
def gates(draw: st.DrawFn) -> Case:
    generator = random(draw)
    x = codes(generator, *sizes(draw), draw(st.integers(1, 20)))
    attributes = {
        "tile": draw(st.sampled_from([1, 3, 4, 8, 16])),
        "threshold": draw(st.sampled_from([0, 1, 15, 16, 17, 30, 48, 64, 4080])),
        "rms": draw(st.integers(0, 1)),
    }
    return tile_gate, {"X": x, "previous": near(generator, x)}, attributes


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    generator = random(draw)
    group, inside, outside = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    if draw(st.booleans()):  # depthwise
        group, inside, outside = draw(st.integers(1, 20)), 1, draw(st.integers(1, 2))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, strides, dilations = draw(pair), draw(pair), draw(pair)
    pads = draw(st.tuples(*[st.integers(0, 4)] * 4))
    batch, *size = sizes(draw)
    size = [
        max(size[axis], dilations[axis] * (kernel[axis] - 1) + 1 - pads[axis] - pads[axis + 2], 1) for axis in (0, 1)
    ]
    out = [
        (size[axis] + pads[axis] + pads[axis + 2] - dilations[axis] * (kernel[axis] - 1) - 1) // strides[axis] + 1
        for axis in (0, 1)
    ]
    filters = group * outside
    w = generator.integers(-128, 128, (filters, inside, *kernel)).astype(np.int8)
    w[generator.random(w.shape) < 0.1] = -128
    deviation = 6000 * np.sqrt(inside * kernel[0] * kernel[1])
    multiplier = (generator.random(filters) * draw(st.sampled_from([0.1, 60, 1e4])) / deviation).astype(np.float32)
    if draw(st.booleans()):  # sums of 8 and 16 codes to a step, so that many lie half-way
        multiplier = generator.choice([0.125, 0.0625, -0.5, 3e38], filters).astype(np.float32)
    inputs = {
        "X": codes(generator, batch, *size, group * inside),
        "changed": pixel_map(generator, batch, *size),
        "W": w,
        "multiplier": multiplier,
        "bias": generator.integers(-9999, 9999, filters).astype(np.int32),
        "table": codes(generator, 256) if draw(st.booleans()) else np.arange(256).astype(np.uint8),
    }
    attributes = {
        "kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations, "group": group,
        "x_zero_point": draw(st.sampled_from([0, 1, 128, 255])), "y_zero_point": draw(st.sampled_from([0, 77, 255])),
        "tile": draw(st.sampled_from([1, 4, 8])), "threshold": draw(st.sampled_from([0, 0, 16, 17, 40])),
    }  # fmt: skip
    return with_previous((residual_conv, inputs, attributes), (batch, *out, filters), generator)


@st.composite
def sums(draw: st.DrawFn) -> Case:
    generator = random(draw)
    shape = (*sizes(draw), draw(st.integers(1, 20)))
    inputs = {
        "A": codes(generator, *shape), "changed_a": pixel_map(generator, *shape[:3]),
        "B": codes(generator, *shape), "changed_b": pixel_map(generator, *shape[:3]),
        "table": codes(generator, 256),
    }  # fmt: skip
    zero_point, multiplier = st.integers(0, 255), st.sampled_from([0.5, 0.25, 1.0, 1.3333334, 0.0078125, 1e30])
    attributes = {
        "a_multiplier": draw(multiplier), "b_multiplier": draw(multiplier),
        **{f"{part}_zero_point": draw(zero_point) for part in "aby"},
    }  # fmt: skip
    return with_previous((residual_add, inputs, attributes), shape, generator)


@st.composite
def joins(draw: st.DrawFn) -> Case:
    generator = random(draw)
    size, left, right = sizes(draw), draw(st.integers(1, 20)), draw(st.integers(1, 20))
    inputs = {
        "A": codes(generator, *size, left), "changed_a": pixel_map(generator, *size),
        "B": codes(generator, *size, right), "changed_b": pixel_map(generator, *size),
        "table_a": codes(generator, 256), "table_b": codes(generator, 256),
    }  # fmt: skip
    return with_previous((residual_concat, inputs, {}), (*size, left + right), generator)


@st.composite
def tables(draw: st.DrawFn) -> Case:
    generator = random(draw)
    shape = (*sizes(draw), draw(st.integers(1, 20)))
    table = codes(generator, 256, spread=draw(st.sampled_from([1, 3, 256])))
    inputs = {"X": codes(generator, *shape), "changed": pixel_map(generator, *shape[:3]), "table": table}
    return with_previous((residual_table, inputs, {}), shape, generator)


@st.composite
def pools(draw: st.DrawFn) -> Case:
    generator = random(draw)
    kernel, strides = (draw(st.tuples(st.integers(1, most), st.integers(1, most))) for most in (4, 3))
    pads = tuple(draw(st.integers(0, kernel[side % 2] - 1)) for side in range(4))
    batch, *size = sizes(draw)
    size = [max(size[axis], kernel[axis] - pads[axis] - pads[axis + 2], 1) for axis in (0, 1)]
    out = [(size[axis] + pads[axis] + pads[axis + 2] - kernel[axis]) // strides[axis] + 1 for axis in (0, 1)]
    channels = draw(st.integers(1, 20))
    inputs = {
        "X": codes(generator, batch, *size, channels, spread=draw(st.sampled_from([4, 256]))),
        "changed": pixel_map(generator, batch, *size),
    }
    attributes = {
        "kernel_shape": kernel, "strides": strides, "pads": pads,
        "average": draw(st.integers(0, 1)), "zero_point": draw(st.integers(0, 255)),
    }  # fmt: skip
    return with_previous((residual_pool, inputs, attributes), (batch, *out, channels), generator)


@st.composite
def enlargements(draw: st.DrawFn) -> Case:
    generator = random(draw)
    (batch, *size), channels = sizes(draw, most=9), draw(st.integers(1, 20))
    linear = draw(st.integers(0, 1))
    factor = draw(st.sampled_from([2, 4] if linear else [1, 2, 3, 4, 7]))
    inputs = {"X": codes(generator, batch, *size, channels), "changed": pixel_map(generator, batch, *size)}
    shape = (batch, *(factor * length for length in size), channels)
    return with_previous((residual_resize, inputs, {"factor": factor, "linear": linear}), shape, generator)


STRATEGIES: Mapping[str, Callable[[], st.SearchStrategy[Case]]] = {
    "TileGate": gates,
    "ResidualConv": convolutions,
    "ResidualAdd": sums,
    "ResidualConcat": joins,
    "ResidualTable": tables,
    "ResidualPool": pools,
    "ResidualResize": enlargements,
}


def expected_of(case: Case) -> list[Array]:
    module, inputs, attributes = case
    return list(module.reference(*(inputs[name] for name in module.SIGNATURE.inputs), **attributes))


def model_of(case: Case, *, opset: int = 18, constants: bool = True) -> onnx.ModelProto:
    """The operator alone; its inputs and outputs have the operator's names."""
    module, inputs, attributes = case
    held = CONSTANTS if constants else set()
    kinds = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in inputs.items()}
    outputs = list(module.SIGNATURE.outputs)
    graph = helper.make_graph(
        [module.node(list(module.SIGNATURE.inputs), outputs, name="step", **attributes)],
        "step",
        [helper.make_tensor_value_info(name, kinds[name], inputs[name].shape) for name in inputs if name not in held],
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, [f"{name}{axis}" for axis in range(rank)])
            for name, rank in zip(outputs, (4, 3), strict=True)
        ],
        [numpy_helper.from_array(value, name) for name, value in inputs.items() if name in held],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    attach_functions(model)
    return model


def feeds_of(model: onnx.ModelProto, case: Case) -> dict[str, Array]:
    return {entry.name: case[1][entry.name] for entry in model.graph.input}


def run(model: onnx.ModelProto, case: Case) -> list[Array]:
    """By onnxruntime without edgeml's kernels."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, feeds_of(model, case))
    return found


def evaluate(model: onnx.ModelProto, case: Case) -> list[Array]:
    """By ONNX's reference."""
    found: Any = ReferenceEvaluator(model).run(None, feeds_of(model, case))
    return list(found)


def assert_alike(found: list[Array], expected: list[Array]) -> None:
    for left, right in zip(found, expected, strict=True):
        assert left.dtype == right.dtype == np.uint8
        np.testing.assert_array_equal(left, right)
