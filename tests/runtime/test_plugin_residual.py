"""Native operators of residual video inside onnxruntime give numpy's codes and pixel maps; wrong nodes are errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from edgeml.core.errors import EdgeMLError
from edgeml.ops.domain import DOMAIN, VERSION
from edgeml.ops.residual import (
    residual_add,
    residual_concat,
    residual_pool,
    residual_resize,
    residual_table,
    tile_gate,
)
from edgeml.runtime.plugin.library import load_plugin

Tensor = npt.NDArray[Any]
Open = Callable[..., onnxruntime.InferenceSession]

try:
    KERNELS = load_plugin().kernels
except EdgeMLError:  # the tests tell why
    KERNELS = ("scalar",)

IDENTITY = np.arange(256, dtype=np.uint8)
# Around the widths of vectors, and beyond the largest.
CHANNELS = (1, 2, 3, 7, 8, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 80, 127, 130)


@dataclass(frozen=True)
class Case:
    """One node with what it is fed.

    Attributes:
        op_type: the operator.
        inputs: by name, in the operator's order; the last is the previous output.
        attributes: of the node.
        reference: what it gives, by numpy.
    """

    op_type: str
    inputs: dict[str, Tensor]
    attributes: dict[str, Any]
    reference: Callable[..., tuple[Tensor, Tensor]]

    @cached_property
    def expected(self) -> tuple[Tensor, Tensor]:
        return self.reference(*self.inputs.values(), **self.attributes)

    def replaced(self, **inputs: Tensor) -> Case:
        return replace(self, inputs={**self.inputs, **inputs})


@dataclass(frozen=True)
class Size:
    """Of an image, and how much of it changed."""

    batch: int
    height: int
    width: int
    channels: int
    share: float
    seed: int


SIZES = st.builds(
    Size,
    batch=st.integers(1, 2),
    height=st.integers(1, 12),
    width=st.integers(1, 40),
    channels=st.sampled_from(CHANNELS),
    share=st.sampled_from((0.0, 0.02, 0.3, 0.95, 1.0)),
    seed=st.integers(0, 2**32 - 1),
)


def gate_case(size: Size) -> Case:
    """Most tiles are near the threshold, and some exactly at it."""
    generator = np.random.default_rng(size.seed)
    x = _codes(generator, size)
    reach = int(generator.integers(0, 6))
    noise = generator.integers(-reach, reach + 1, x.shape) * (generator.random(x.shape[:3]) < size.share)[..., None]
    previous = np.clip(x + noise, 0, 255).astype(np.uint8)
    attributes = {
        "tile": int(generator.integers(1, 12)),
        "threshold": int(generator.choice([0, 1, 16, 31, 32, 40, 80, 4080, 2**40])),
        "rms": int(generator.integers(0, 2)),
    }
    if attributes["threshold"] == 2**40 and attributes["rms"]:
        attributes["threshold"] = 5000  # its square must fit numpy's integers
    return Case("TileGate", {"X": x, "previous": previous}, attributes, tile_gate.reference)


def add_case(size: Size) -> Case:
    generator = np.random.default_rng(size.seed)
    scale = float(generator.choice([1.0, 1.0, 0.01, 1e6, 1e20]))
    attributes = {
        "a_multiplier": scale * float(np.float32(generator.choice([0.5, 1.0, generator.random() * 3]))),
        "b_multiplier": scale * float(np.float32(generator.choice([0.5, -1.25, generator.random() * 3]))),
        **{name: int(generator.choice([0, 255, 128, 77])) for name in ("a_zero_point", "b_zero_point", "y_zero_point")},
    }
    inputs = {**_pixels(generator, size, "A", "changed_a"), **_pixels(generator, size, "B", "changed_b")}
    return _with_previous(
        generator, Case("ResidualAdd", inputs | _tables(generator, "table"), attributes, residual_add.reference)
    )


def concat_case(size: Size) -> Case:
    generator = np.random.default_rng(size.seed)
    other = replace(size, channels=int(generator.choice(CHANNELS)))
    inputs = {**_pixels(generator, size, "A", "changed_a"), **_pixels(generator, other, "B", "changed_b")}
    inputs |= _tables(generator, "table_a", "table_b")
    return _with_previous(generator, Case("ResidualConcat", inputs, {}, residual_concat.reference))


def table_case(size: Size) -> Case:
    generator = np.random.default_rng(size.seed)
    inputs = _pixels(generator, size, "X", "changed") | _tables(generator, "table")
    return _with_previous(generator, Case("ResidualTable", inputs, {}, residual_table.reference))


def pool_case(size: Size) -> Case:
    generator = np.random.default_rng(size.seed)
    kernel = generator.integers(1, 5, 2)
    pads = generator.integers(0, [*kernel, *kernel])
    for axis, length in enumerate((size.height, size.width)):
        kernel[axis] = min(kernel[axis], length + pads[axis])  # one window at least fits
    pads = np.minimum(pads, [*(kernel - 1), *(kernel - 1)])
    kernel = np.minimum(kernel, [length + pads[axis] for axis, length in enumerate((size.height, size.width))])
    pads = np.minimum(pads, [*(kernel - 1), *(kernel - 1)])
    attributes = {
        "kernel_shape": kernel.tolist(),
        "strides": generator.integers(1, 4, 2).tolist(),
        "pads": pads.tolist(),
        "average": int(generator.integers(0, 2)),
        "zero_point": int(generator.choice([0, 255, 100])),
    }
    inputs = _pixels(generator, size, "X", "changed")
    return _with_previous(generator, Case("ResidualPool", inputs, attributes, residual_pool.reference))


def resize_case(size: Size) -> Case:
    generator = np.random.default_rng(size.seed)
    linear = int(generator.integers(0, 2))
    attributes = {"factor": int(generator.choice([2, 4] if linear else [1, 2, 3, 4])), "linear": linear}
    inputs = _pixels(generator, size, "X", "changed")
    return _with_previous(generator, Case("ResidualResize", inputs, attributes, residual_resize.reference))


CASES = (gate_case, add_case, concat_case, table_case, pool_case, resize_case)


def _codes(generator: np.random.Generator, size: Size) -> Tensor:
    shape = (size.batch, size.height, size.width, size.channels)
    return generator.integers(0, 256, shape, np.uint8)


def _pixels(generator: np.random.Generator, size: Size, codes: str, changed: str) -> dict[str, Tensor]:
    """Codes and a pixel map; a map means the same by any number that is not 0."""
    found = _codes(generator, size)
    marks = generator.choice(np.array([1, 1, 1, 128, 255], np.uint8), found.shape[:3])
    return {codes: found, changed: marks * (generator.random(found.shape[:3]) < size.share).astype(np.uint8)}


def _tables(generator: np.random.Generator, *names: str) -> dict[str, Tensor]:
    return {name: IDENTITY if generator.random() < 0.4 else generator.integers(0, 256, 256, np.uint8) for name in names}


def _with_previous(generator: np.random.Generator, case: Case) -> Case:
    """The case with a previous output of which some pixels are what the new one will be."""
    ones = {name: np.ones_like(value) for name, value in case.inputs.items() if name.startswith("changed")}
    case = case.replaced(previous=np.zeros(0, np.uint8))
    shape = _output_shape(case)
    fresh, _ = case.replaced(**ones, previous=np.zeros(shape, np.uint8)).expected
    same = generator.random((*shape[:3], 1)) < generator.choice([0.0, 0.5, 1.0])
    other = fresh.copy()
    other.reshape(-1)[generator.random(other.size) < 0.1] ^= np.uint8(1)
    return case.replaced(previous=np.where(same, fresh, other))


def _output_shape(case: Case) -> tuple[int, ...]:
    first = next(iter(case.inputs.values()))
    batch, height, width, channels = first.shape
    if case.op_type == "ResidualConcat":
        channels += case.inputs["B"].shape[3]
    if case.op_type == "ResidualResize":
        height, width = height * case.attributes["factor"], width * case.attributes["factor"]
    if case.op_type == "ResidualPool":
        kernel, strides, pads = (case.attributes[name] for name in ("kernel_shape", "strides", "pads"))
        height = (height + pads[0] + pads[2] - kernel[0]) // strides[0] + 1
        width = (width + pads[1] + pads[3] - kernel[1]) // strides[1] + 1
    return batch, height, width, channels


def model_of(case: Case, *, constant: Sequence[str] = ()) -> onnx.ModelProto:
    """The node alone, without its function body; `constant` names the inputs that the model holds."""
    attributes = {name: value for name, value in case.attributes.items() if value is not None}
    node = helper.make_node(case.op_type, list(case.inputs), ["Y", "changed_out"], domain=DOMAIN, **attributes)

    def described(name: str, dtype: npt.DTypeLike) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)

    graph = helper.make_graph(
        [node],
        "one node",
        [described(name, value.dtype) for name, value in case.inputs.items() if name not in constant],
        [described(name, np.uint8) for name in ("Y", "changed_out")],
        [onnx.numpy_helper.from_array(case.inputs[name], name) for name in constant],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, VERSION)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def opened(open_natively: Open, case: Case, kernel: str, *, threads: int = 1) -> onnxruntime.InferenceSession:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEML_KERNEL", kernel)
        return open_natively(model_of(case), threads=threads)


def run_in_place(session: onnxruntime.InferenceSession, case: Case) -> tuple[Tensor, Tensor]:
    """Y written over the previous output, and its pixel map."""
    inputs = {name: np.ascontiguousarray(value) for name, value in case.inputs.items()}
    y = inputs["previous"] = inputs["previous"].copy()
    changed = np.full(y.shape[:3], 77, np.uint8)
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_input(name, "cpu", 0, np.uint8, value.shape, value.ctypes.data)
    for name, value in (("Y", y), ("changed_out", changed)):
        binding.bind_output(name, "cpu", 0, np.uint8, value.shape, value.ctypes.data)
    session.run_with_iobinding(binding)
    return y, changed


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("case_of", CASES)
def test_codes_and_maps_are_numpys(case_of: Callable[[Size], Case], kernel: str, open_natively: Open) -> None:
    @settings(max_examples=25, deadline=None)
    @given(size=SIZES)
    def check(size: Size) -> None:
        case = case_of(size)
        session = opened(open_natively, case, kernel)
        for found in (session.run(None, case.inputs), run_in_place(session, case)):
            for value, right in zip(found, case.expected, strict=True):
                np.testing.assert_array_equal(value, right)

    check()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("case_of", CASES)
@pytest.mark.parametrize(("height", "channels", "share"), [(30, 1, 1.0), (8, 40, 1.0), (12, 3, 0.9995)])
def test_long_runs_and_two_threads_change_nothing(
    case_of: Callable[[Size], Case], height: int, channels: int, share: float, kernel: str, open_natively: Open
) -> None:
    case = case_of(Size(batch=2, height=height, width=220, channels=channels, share=share, seed=5))
    session = opened(open_natively, case, kernel, threads=2)
    for found in (session.run(None, case.inputs), run_in_place(session, case)):
        for value, right in zip(found, case.expected, strict=True):
            np.testing.assert_array_equal(value, right)


@pytest.mark.parametrize("case_of", CASES)
def test_a_batch_of_none_gives_none(case_of: Callable[[Size], Case], open_natively: Open) -> None:
    case = case_of(Size(batch=1, height=4, width=4, channels=3, share=1.0, seed=1))
    y, changed = case.expected
    empty = case.replaced(**{name: value[:0] for name, value in case.inputs.items() if value.ndim > 1})
    found = open_natively(model_of(case)).run(None, empty.inputs)
    assert [value.shape for value in found] == [(0, *y.shape[1:]), (0, *changed.shape[1:])]


def test_a_table_may_be_a_constant_of_the_model(open_natively: Open) -> None:
    case = table_case(Size(batch=1, height=5, width=9, channels=16, share=0.5, seed=0))
    case = case.replaced(table=IDENTITY[::-1].copy())
    fed = {name: value for name, value in case.inputs.items() if name != "table"}
    found = open_natively(model_of(case, constant=["table"])).run(None, fed)
    for value, right in zip(found, case.expected, strict=True):
        np.testing.assert_array_equal(value, right)


def test_attributes_that_a_node_leaves_out_have_their_defaults(open_natively: Open) -> None:
    size = Size(batch=1, height=20, width=21, channels=3, share=0.1, seed=3)
    for case, kept in ((gate_case(size), ()), (pool_case(size), ("kernel_shape", "zero_point"))):
        attributes = {name: value for name, value in case.attributes.items() if name in kept}
        short = replace(case, attributes=attributes)
        if case.op_type == "ResidualPool":
            short = replace(short, attributes=attributes | {"kernel_shape": [2, 3]})
            short = short.replaced(previous=np.zeros((1, 19, 19, 3), np.uint8))
        found = open_natively(model_of(short)).run(None, short.inputs)
        for value, right in zip(found, short.expected, strict=True):
            np.testing.assert_array_equal(value, right)


def test_sums_round_ties_to_even_and_saturate(open_natively: Open) -> None:
    a, b = (grid.reshape(1, 256, 256, 1).astype(np.uint8) for grid in np.mgrid[:256, :256])
    ones = np.ones((1, 256, 256), np.uint8)
    for left, right, zero in ((0.5, 0.5, 10), (0.5, -1.5, 128), (2.0**90, -(2.0**90), 3), (1e7, 0.5, 0)):
        multipliers = {"a_multiplier": left, "b_multiplier": right}
        zeros = {"a_zero_point": 7, "b_zero_point": 200, "y_zero_point": zero}
        inputs = {"A": a, "changed_a": ones, "B": b, "changed_b": ones, "table": IDENTITY, "previous": np.zeros_like(a)}
        case = Case("ResidualAdd", inputs, multipliers | zeros, residual_add.reference)
        for kernel in KERNELS:
            y, _ = opened(open_natively, case, kernel).run(None, inputs)
            np.testing.assert_array_equal(y, case.expected[0])


SIZE = Size(batch=1, height=6, width=9, channels=4, share=0.5, seed=11)
POOL = {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [0, 0, 0, 0], "average": 0, "zero_point": 0}

WRONG_ATTRIBUTES: list[tuple[Callable[[Size], Case], dict[str, Any], str]] = [
    (gate_case, {"tile": 0}, "tile is 0; allowed are 1 to 32768"),
    (gate_case, {"tile": -8}, "tile is -8"),
    (gate_case, {"tile": 2**62}, "tile is"),
    (gate_case, {"tile": 8.0}, "attribute tile, an integer"),
    (gate_case, {"threshold": -1}, "threshold is -1; allowed are 0 and more"),
    (gate_case, {"threshold": [1]}, "attribute threshold, an integer"),
    (gate_case, {"rms": 2}, "rms is 2; allowed are 0 and 1"),
    (add_case, {"a_multiplier": None}, "attribute a_multiplier, a real number"),
    (add_case, {"a_multiplier": 1}, "attribute a_multiplier, a real number"),
    (add_case, {"a_multiplier": float("inf")}, "a_multiplier is inf; allowed are finite numbers"),
    (add_case, {"b_multiplier": float("nan")}, "b_multiplier is -?nan"),
    (add_case, {"b_multiplier": 3e38}, "b_multiplier is 3"),
    (add_case, {"a_zero_point": 256}, "a_zero_point is 256; allowed are 0 to 255"),
    (add_case, {"b_zero_point": -1}, "b_zero_point is -1"),
    (add_case, {"y_zero_point": 2**32}, "y_zero_point is 4294967296"),
    (add_case, {"y_zero_point": None}, "attribute y_zero_point, an integer"),
    (pool_case, {"kernel_shape": None}, "attribute kernel_shape, a list of integers"),
    (pool_case, {"kernel_shape": [2]}, "kernel_shape has 1 values; it takes 2"),
    (pool_case, {"kernel_shape": [0, 2]}, "kernel_shape holds 0; allowed are 1 to 32768"),
    (pool_case, {"kernel_shape": [2**62, 2]}, "kernel_shape holds"),
    (pool_case, {"kernel_shape": [32768, 32768]}, "kernel_shape is a window of 1073741824 pixels"),
    (pool_case, {"kernel_shape": [7, 2]}, "smaller than the kernel"),
    (pool_case, {"strides": [0, 1]}, "strides holds 0"),
    (pool_case, {"strides": [1, -(2**63)]}, "strides holds"),
    (pool_case, {"pads": [-1, 0, 0, 0]}, "pads holds -1; allowed are 0 to 32768"),
    (pool_case, {"pads": [0, 0, 2**62, 0]}, "pads holds"),
    (pool_case, {"pads": [2, 0, 0, 0]}, "a window lies outside the image of 6 x 9 pixels"),
    (pool_case, {"pads": [0, 0, 0, 2]}, "a window lies outside the image"),
    (pool_case, {"average": 7}, "average is 7"),
    (pool_case, {"zero_point": None}, "attribute zero_point, an integer"),
    (pool_case, {"zero_point": 256}, "zero_point is 256"),
    (resize_case, {"factor": None}, "attribute factor, an integer"),
    (resize_case, {"factor": 0, "linear": 0}, "factor is 0; allowed are 1 to 32768, with linear 2 and 4"),
    (resize_case, {"factor": 2**62, "linear": 0}, "factor is"),
    (resize_case, {"factor": 3, "linear": 1}, "factor is 3"),
    (resize_case, {"factor": 2, "linear": -1}, "linear is -1"),
    (resize_case, {"factor": 32768, "linear": 0}, "previous has shape"),
]


@pytest.mark.parametrize(("case_of", "wrong", "told"), WRONG_ATTRIBUTES)
def test_wrong_attributes_are_refused(
    case_of: Callable[[Size], Case], wrong: dict[str, Any], told: str, open_natively: Open
) -> None:
    case = case_of(SIZE)
    base = POOL if case_of is pool_case else case.attributes
    assert_refused(open_natively, replace(case, attributes=base | wrong), told)


def _wrong_inputs() -> list[tuple[Callable[[Size], Case], str, Tensor, str]]:
    """Every input of every operator with other axes, one place too many, none, and of another type."""
    found: list[tuple[Callable[[Size], Case], str, Tensor, str]] = []
    for case_of in CASES:
        for name, value in case_of(SIZE).inputs.items():
            found.append((case_of, name, value[None] if value.ndim == 1 else value[0], r"has shape \("))
            found.append((case_of, name, np.zeros([length + 1 for length in value.shape], np.uint8), r"has shape \("))
            found.append((case_of, name, np.zeros((), np.uint8), r"has shape \(\)"))
            found.append((case_of, name, value[:0] if value.ndim == 1 else value[:, :0], r"has shape \("))
            found.append((case_of, name, value.astype(np.float32), "Type Error|is not uint8"))
            found.append((case_of, name, value.astype(np.int8), "Type Error|is not uint8"))
    return found


@pytest.mark.parametrize(("case_of", "name", "value", "told"), _wrong_inputs())
def test_wrong_inputs_are_refused(
    case_of: Callable[[Size], Case], name: str, value: Tensor, told: str, open_natively: Open
) -> None:
    assert_refused(open_natively, case_of(SIZE).replaced(**{name: value}), told)


@pytest.mark.parametrize("case_of", CASES)
def test_absent_inputs_and_more_of_them_are_refused(case_of: Callable[[Size], Case], open_natively: Open) -> None:
    case = case_of(SIZE)
    model = model_of(case)
    for inputs in ([*case.inputs][:-1], ["", *[*case.inputs][1:]], [*case.inputs, "more"]):
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        changed.graph.node[0].input[:] = inputs
        with pytest.raises(Exception, match=r"\[ONNXRuntimeError\]"):
            open_natively(changed).run(None, case.inputs)


def test_sizes_that_no_batch_bounds_are_refused(open_natively: Open) -> None:
    x = np.zeros((0, 2**40, 2**20, 3), np.uint8)
    case = resize_case(SIZE).replaced(X=x, changed=x[..., 0], previous=x)
    assert_refused(open_natively, case, "more than 2147483648 elements|[Ii]nvalid|overflow")


def assert_refused(open_natively: Open, case: Case, told: str) -> None:
    with pytest.raises(Exception, match=r"\[ONNXRuntimeError\]") as caught:
        open_natively(model_of(case)).run(None, case.inputs)
    assert re.search(told, str(caught.value)), str(caught.value)
