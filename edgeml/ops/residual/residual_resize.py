"""ResidualResize: enlarges an image of 8-bit codes at those pixels whose source changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeml.ops.body import FIRST_OPSET, Body
from edgeml.ops.domain import DOMAIN
from edgeml.ops.residual import code_body, map_body
from edgeml.ops.residual.codes import Codes
from edgeml.ops.residual.pixel_maps import Mask, require_map, update
from edgeml.ops.residual.signature import CODES, Signature
from edgeml.ops.residual.windows import Windows

if TYPE_CHECKING:
    import onnx

NAME = "ResidualResize"
SIGNATURE = Signature(
    name=NAME,
    doc=(
        "Y = X enlarged by a whole factor: Y[y, x] = X[y // factor, x // factor] where that pixel changed or, with "
        "linear, the value between the four nearest pixels (half-pixel centres, edges repeated, exact, then rint to "
        "nearest even) where a pixel of the 3x3 around that one changed; previous elsewhere."
    ),
    inputs={
        "X": (CODES, "codes (N, H, W, C)"),
        "changed": (CODES, "pixel map of X, not 0 where it changed (N, H, W)"),
        "previous": (CODES, "Y of the frame before (N, factor * H, factor * W, C)"),
    },
    outputs={
        "Y": (CODES, "codes (N, factor * H, factor * W, C)"),
        "changed_out": (CODES, "1 where a channel of Y differs from previous, else 0 (N, factor * H, factor * W)"),
    },
    required={"factor": ("INT", "of height and width, 1 or more; with linear 2 or 4")},
    defaults={"linear": (0, "1: between the four nearest pixels; 0: the pixel itself")},
)


def node(
    inputs: Sequence[str], outputs: Sequence[str], *, factor: int, linear: int = 0, name: str = ""
) -> onnx.NodeProto:
    """A ResidualResize node that states every attribute; inputs and outputs are named in `SIGNATURE`."""
    from onnx import helper

    return helper.make_node(NAME, list(inputs), list(outputs), name=name, domain=DOMAIN, factor=factor, linear=linear)


def schema() -> onnx.defs.OpSchema:
    """Inputs, outputs and attributes."""
    return SIGNATURE.schema()


def function(opset: int = FIRST_OPSET) -> onnx.FunctionProto:
    """The operator in standard operators, which compute every pixel in the same way for both interpolations."""
    from onnx import TensorProto

    body = SIGNATURE.body()
    blended = body.add("Cast", "X", to=TensorProto.FLOAT)
    for axis in (1, 2):
        blended = _blended(body, blended, axis)
    fresh = code_body.as_code(body, body.add("Round", blended))
    # Spelled out, since the number of pixels that a Range gives is not inferred.
    size = body.add("Mul", body.add("Shape", "X", start=1, end=3), body.integer("factor"))
    image = body.add("Concat", body.add("Shape", "X", end=1), size, axis=0)
    fresh = body.add("Reshape", fresh, body.add("Concat", image, body.add("Shape", "X", start=3), axis=0))
    map_body.update(body, fresh, body.add("Reshape", _active(body), image), changed="changed_out")
    return SIGNATURE.function(body, opset)


def _blended(body: Body, values: str, axis: int) -> str:
    """Float32 values (N, …, C) enlarged along one axis, exact: each between its two nearest, or the one pixel."""
    from onnx import TensorProto

    zero, one, two = (body.constant(number, np.int64) for number in (0, 1, 2))
    factor = body.integer("factor")
    steps = body.add("Mul", factor, two)
    index, source, length = _source(body, axis)
    # Of the centre, in input pixels times `steps`, and one pixel more, since Div rounds to 0.
    linear = body.add("Add", body.add("Add", body.add("Mul", index, two), one), factor)
    nearest = body.add("Mul", body.add("Add", source, one), steps)
    place = body.add("Where", body.add("Cast", body.integer("linear"), to=TensorProto.BOOL), linear, nearest)
    after = body.add("Div", place, steps)
    last = body.add("Sub", length, one)
    pixels = body.add("Max", body.add("Sub", after, one), zero), body.add("Min", after, last)
    beyond = body.add("Mod", place, steps)
    trailing = body.constant([1, 2] if axis == 1 else [1], np.int64)
    parts = [
        body.add(
            "Mul",
            body.add("Gather", values, pixel, axis=axis),
            body.add("Unsqueeze", body.add("Cast", weight, to=TensorProto.FLOAT), trailing),
        )
        for pixel, weight in zip(pixels, (body.add("Sub", steps, beyond), beyond), strict=True)
    ]
    return body.add("Div", body.add("Add", *parts), body.add("Cast", steps, to=TensorProto.FLOAT))


def _source(body: Body, axis: int) -> tuple[str, str, str]:
    """Along one axis: the output's pixels and which of the input each lies in, int64 (length); the input's length."""
    zero, one = (body.constant(number, np.int64) for number in (0, 1))
    factor = body.integer("factor")
    length = body.add("Squeeze", body.add("Shape", "X", start=axis, end=axis + 1))
    index = body.add("Range", zero, body.add("Mul", length, factor), one)
    return index, body.add("Div", index, factor), length


def _active(body: Body) -> str:
    """Where the source changed, with linear where a pixel around it did, bool (N, factor * H, factor * W)."""
    from onnx import TensorProto

    plane = body.add("Cast", map_body.changed_pixels(body, "changed"), to=TensorProto.FLOAT)
    centre = np.zeros((1, 1, 3, 3))
    centre[0, 0, 1, 1] = 1
    around = body.add("Mul", body.constant(1 - centre, np.float32), code_body.as_float(body, "linear"))
    kernel = body.add("Add", around, body.constant(centre, np.float32))
    channel = body.constant([1], np.int64)
    count = body.add("Conv", body.add("Unsqueeze", plane, channel), kernel, kernel_shape=[3, 3], pads=[1] * 4)
    touched = body.add("Greater", body.add("Squeeze", count, channel), body.constant(0.5, np.float32))
    for axis in (1, 2):
        touched = body.add("Gather", touched, _source(body, axis)[1], axis=axis)
    return touched


def reference(x: Codes, changed: Codes, previous: Codes, *, factor: int, linear: int = 0) -> tuple[Codes, Codes]:
    """Y, uint8 (N, factor * H, factor * W, C), and changed_out, uint8 (N, factor * H, factor * W), by numpy.

    Args:
        x: codes, uint8 (N, H, W, C).
        changed: their pixel map, uint8 (N, H, W).
        previous: the output for the frame before.
        factor: of height and width.
        linear: 1 interpolates between the four nearest pixels, with half-pixel centres and the edges repeated;
            0 repeats the pixel.

    Raises:
        ValueError: the shapes do not fit together, or the factor is none for this interpolation.
    """
    require_map(x, changed)
    if factor < 1 or (linear and factor not in {2, 4}):
        raise ValueError(f"factor {factor} with linear={linear}; linear takes 2 or 4")
    touched: Mask = changed != 0
    if not linear:
        fresh = x.repeat(factor, axis=1).repeat(factor, axis=2)
    else:
        rows, columns = (_weights(x.shape[axis], factor) for axis in (1, 2))
        total = np.einsum("yh,xw,nhwc->nyxc", rows, columns, x.astype(np.int64), optimize=True)
        exact = total.astype(np.float64) / (4 * factor * factor)  # a division by a power of two
        fresh = np.rint(exact).astype(np.uint8)
        touched = Windows((3, 3), (1, 1), (1, 1, 1, 1)).changed(changed)
    return update(fresh, previous, touched.repeat(factor, axis=1).repeat(factor, axis=2))


def _weights(length: int, factor: int) -> npt.NDArray[np.int64]:
    """How much each input pixel counts for each output pixel in 1 / (2 * factor), (factor * length, length)."""
    steps = 2 * factor
    place = 2 * np.arange(factor * length) + 1 - factor  # of the centre, in input pixels times `steps`
    first, beyond = place // steps, place % steps
    weights = np.zeros((factor * length, length), np.int64)
    rows = np.arange(factor * length)
    np.add.at(weights, (rows, np.clip(first, 0, length - 1)), steps - beyond)
    np.add.at(weights, (rows, np.clip(first + 1, 0, length - 1)), beyond)
    return weights
