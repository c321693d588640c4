"""The relax operator for a convolution of signs: what the importer writes, kernels replace, and any other path expands.

Its arguments are those of the ONNX operator BinaryConv, its attributes a shape of eleven numbers at the end. Where no
kernel takes it, TVM's legalization expands it into loops: one that packs signs into words, one that counts the bits in
which words differ. A GPU runs these.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.compiler.kernels.window import Axis
from edgeml.ops.bits import packed_size, unpack_signs

Expr = Any

NAME = "edgeml.binary_conv"
# Names of the loops that count, for schedules.
COUNTS = "binary_counts"
_OPAQUE = 8  # relax's OpPatternKind: not to be computed again inside its reader


@dataclass(frozen=True)
class BinaryGeometry:
    """The attributes of BinaryConv."""

    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    top: int
    left: int
    bottom: int
    right: int
    dilation_height: int
    dilation_width: int
    group: int

    @classmethod
    def of(cls, call: Expr) -> BinaryGeometry:
        """Those of a call of the operator."""
        return cls(*(int(value) for value in call.args[-1].values))

    def axes(self, height: Expr, width: Expr) -> tuple[Axis, Axis]:
        """The window along the height and along the width; sizes may be expressions."""
        return (
            Axis(
                size_in=height,
                taps=self.kernel_height,
                stride=self.stride_height,
                pad_begin=self.top,
                pad_end=self.bottom,
                dilation=self.dilation_height,
            ),
            Axis(
                size_in=width,
                taps=self.kernel_width,
                stride=self.stride_width,
                pad_begin=self.left,
                pad_end=self.right,
                dilation=self.dilation_width,
            ),
        )

    def negative(self, weights: npt.NDArray[np.uint8], channels: int) -> npt.NDArray[np.uint8]:
        """Packed filters as uint8 (filters, channels / group, height, width): 1 for a weight of -1, 0 for one of +1."""
        depth = channels // self.group
        signs = unpack_signs(weights, depth * self.kernel_height * self.kernel_width)
        return (signs < 0).astype(np.uint8).reshape(len(weights), depth, self.kernel_height, self.kernel_width)


def binary_convolution(
    x: Expr, weights: Expr, threshold: Expr, scale: Expr, bias: Expr, geometry: BinaryGeometry
) -> Expr:
    """A call of the operator.

    Args:
        x: float32 (batch, channels, height, width); all but the channels may be dynamic.
        weights: a constant, uint8 (filters, bytes) as BinaryConv has it.
        threshold: float32 (channels).
        scale: float32 (filters).
        bias: float32 (filters).
        geometry: the attributes.

    Raises:
        ValueError: the tensors do not fit each other; said in ONNX's words.
    """
    from tvm import relax
    from tvm.ir.op import Op

    _register()
    if not hasattr(getattr(weights, "value", None), "numpy"):
        raise ValueError("BinaryConv and BinaryDense need constant weights; these are computed by the graph")
    channels, filters = _shape(x, "X", 4)[1], _shape(weights, "W", 2)[0]
    if any(value % geometry.group for value in (channels, filters)):
        raise ValueError(f"BinaryConv has group {geometry.group}, which divides not both {channels} and {filters}")
    size = channels // geometry.group * geometry.kernel_height * geometry.kernel_width
    expected = {"W": (weights, (filters, packed_size(size))), "threshold": (threshold, (channels,))}
    for name, (found, shape) in {**expected, "scale": (scale, (filters,)), "bias": (bias, (filters,))}.items():
        if _shape(found, name, len(shape)) != shape:
            raise ValueError(f"BinaryConv needs {name} of shape {shape}; it has {_shape(found, name, len(shape))}")
    return relax.Call(Op.get(f"relax.{NAME}"), [x, weights, threshold, scale, bias, relax.ShapeExpr(astuple(geometry))])


def _shape(expr: Expr, name: str, rank: int) -> tuple[Any, ...]:
    from tvm import tirx

    shape = getattr(expr.ty, "shape", None)
    if shape is None or len(shape) != rank:
        raise ValueError(f"the number of axes of {name} must be {rank}, and known")
    axes = tuple(int(axis) if isinstance(axis, tirx.IntImm) else axis for axis in shape)
    if (rank < 4 and not all(isinstance(axis, int) for axis in axes)) or not isinstance(axes[min(1, rank - 1)], int):
        raise ValueError(f"the shape of {name} must be known; it is {axes}")
    return axes


_registered: list[bool] = []


def _register() -> None:
    """Tell TVM of the operator, once a process."""
    from tvm import relax
    from tvm.ir import register_op_attr
    from tvm.relax.transform.legalize_ops.common import register_legalize

    if _registered:
        return
    _registered.append(True)
    name = f"relax.{NAME}"
    register_op_attr(name, "FPurity", True)

    def infer(call: Expr, _builder: Expr) -> Expr:
        batch, _, height, width = call.args[0].ty.shape
        rows, columns = BinaryGeometry.of(call).axes(height, width)
        return relax.TensorType([batch, call.args[3].ty.shape[0], rows.size_out, columns.size_out], "float32")

    register_op_attr(name, "FInferType", infer)
    register_legalize(name, _expanded)


def _expanded(builder: Expr, call: Expr) -> Expr:
    """The operator as loops that TVM schedules."""
    from tvm import relax

    x, weights, threshold, scale, bias, _ = call.args
    geometry, channels = BinaryGeometry.of(call), int(x.ty.shape[1])
    negative = geometry.negative(weights.value.numpy(), channels)
    word = 32 if negative.shape[1] <= 32 else 64
    signs = builder.emit_te(
        _sign_words, x, threshold, geometry.group, word, primfunc_name_hint="binary_signs",
        primfunc_attrs={"op_pattern": _OPAQUE},
    )  # fmt: skip
    packed, depth = relax.const(_filter_words(negative, word)), channels // geometry.group

    def convolved(signs: Expr, filters: Expr, scale: Expr, bias: Expr) -> Expr:
        return _convolved(signs, filters, scale, bias, geometry, depth)

    return builder.call_te(convolved, signs, packed, scale, bias, primfunc_name_hint="binary_conv")


def _filter_words(negative: npt.NDArray[np.uint8], word: int) -> npt.NDArray[Any]:
    """Filters' bits as words (filters, height, width, words of the channels)."""
    bits = np.ascontiguousarray(negative.transpose(0, 2, 3, 1))
    bits = np.pad(bits, ((0, 0), (0, 0), (0, 0), (0, -bits.shape[-1] % word)))
    return np.packbits(bits, axis=-1, bitorder="little").view(f"<u{word // 8}").astype(f"uint{word}")


def _sign_words(x: Expr, threshold: Expr, group: int, word: int) -> Expr:
    """Words (batch, groups, words, height, width): bit i of word j is 1 where channel i + word * j is negative."""
    from tvm import te, tirx

    batch, channels, height, width = x.shape
    depth, dtype = int(channels) // group, f"uint{word}"

    def bit(index: int, place: tuple[Expr, ...]) -> Expr:
        sample, part, number, row, column = place
        inner = number * word + index
        channel = part * depth + inner
        below = x[sample, channel, row, column] < threshold[channel]
        value = tirx.Select(below, tirx.const(1 << index, dtype), tirx.const(0, dtype))
        return tirx.if_then_else(inner < depth, value, tirx.const(0, dtype)) if depth % word else value

    def packed(*place: Expr) -> Expr:
        return reduce(lambda one, other: one | other, [bit(index, place) for index in range(word)])

    return te.compute((batch, group, -(-depth // word), height, width), packed, name="binary_signs")


def _convolved(signs: Expr, filters: Expr, scale: Expr, bias: Expr, geometry: BinaryGeometry, depth: int) -> Expr:
    """Scale * count + bias, float32 (batch, filters, height, width)."""
    from tvm import te, tirx

    batch, _, words, height, width = signs.shape
    word, number = int(str(signs.dtype).removeprefix("uint")), int(filters.shape[0])
    rows, columns = geometry.axes(height, width)
    over = [te.reduce_axis((0, size), name) for size, name in ((rows.taps, "y"), (columns.taps, "x"), (words, "word"))]

    def count(sample: Expr, filter_: Expr, row: Expr, column: Expr) -> Expr:
        down, along, part = over
        at = (rows.source(row, down), columns.source(column, along))
        inside = tirx.all(at[0] >= 0, at[0] < height, at[1] >= 0, at[1] < width)
        pairs = tirx.min(depth - part * word, word).astype("int32")
        group = filter_ // (number // geometry.group)
        differ = tirx.popcount(signs[sample, group, part, at[0], at[1]] ^ filters[filter_, down, along, part])
        total = pairs - 2 * differ.astype("int32")
        return te.sum(tirx.if_then_else(inside, total, tirx.const(0, "int32")), axis=over)

    shape = (batch, number, rows.size_out, columns.size_out)
    counts = te.compute(shape, count, name=COUNTS)
    return te.compute(
        shape, lambda n, m, h, w: counts[n, m, h, w].astype("float32") * scale[m] + bias[m], name="scaled"
    )
