"""BinaryConv: the convolution of an input's signs with signs stored as bits, times a scale, plus a bias.

Y (N, M, OH, OW) = scale[m] * count + bias[m], where count is ONNX's Conv of the +1 and -1 of X and W. Padding adds
exactly 0, so count is an integer. As in XNOR-Net (Rastegari et al., ECCV 2016), a processor counts differing bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.ops.bits import unpack_signs
from edgeml.ops.body import FIRST_OPSET, Body
from edgeml.ops.domain import DOMAIN, VERSION

if TYPE_CHECKING:
    import onnx

NAME = "BinaryConv"
INPUTS = ("X", "W", "threshold", "scale", "bias")
REQUIRED = ("kernel_shape", "channels")
# What an attribute that a node leaves out stands for, as in ONNX's Conv.
DEFAULTS: dict[str, int | tuple[int, ...]] = {
    "group": 1,
    "strides": (1, 1),
    "pads": (0, 0, 0, 0),
    "dilations": (1, 1),
}
DOC = (
    "Y = scale * Conv(signs of X, signs in W) + bias. X is -1 where X < threshold and +1 elsewhere, also at NaN; "
    "padding adds 0. W is uint8 (M, ceil(K / 8)) with K = channels / group * kernel height * kernel width: bit i of a "
    "row, the least significant bit of a byte first, is element i of the filter (channel, row, column); 1 is -1, 0 is "
    "+1, and bits beyond K are 0. pads are top, left, bottom, right."
)
_SHORT_DOC = "Y = scale * Conv(signs of X - threshold, signs in W) + bias; bit 1 of W is -1"


def node(
    inputs: Sequence[str],
    output: str,
    *,
    kernel_shape: Sequence[int],
    channels: int,
    group: int = 1,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    name: str = "",
) -> onnx.NodeProto:
    """A BinaryConv node that states every attribute; inputs are X, W, threshold, scale, bias."""
    from onnx import helper

    return helper.make_node(
        NAME, list(inputs), [output], name=name, domain=DOMAIN, kernel_shape=list(kernel_shape), channels=channels,
        group=group, strides=list(strides), pads=list(pads), dilations=list(dilations),
    )  # fmt: skip


def schema() -> onnx.defs.OpSchema:
    """Inputs, output and attributes."""
    from onnx import defs

    kinds = defs.OpSchema.AttrType
    parameter = defs.OpSchema.FormalParameter
    return defs.OpSchema(
        NAME,
        DOMAIN,
        VERSION,
        DOC,
        inputs=[
            parameter("X", "tensor(float)", "float32 (N, channels, H, W)"),
            parameter("W", "tensor(uint8)", "packed filters (M, ceil(K / 8))"),
            parameter("threshold", "tensor(float)", "below it X is negative (channels)"),
            parameter("scale", "tensor(float)", "of the count (M)"),
            parameter("bias", "tensor(float)", "added at the end (M)"),
        ],
        outputs=[parameter("Y", "tensor(float)", "float32 (N, M, OH, OW)")],
        attributes=[
            defs.OpSchema.Attribute("kernel_shape", kinds.INTS, "height and width of the filters", required=True),
            defs.OpSchema.Attribute("channels", kinds.INT, "channels of X", required=True),
            *(defs.OpSchema.Attribute(entry.name, entry, "as in Conv") for entry in default_attributes()),
        ],
    )


def default_attributes() -> list[onnx.AttributeProto]:
    """The attributes that a node may leave out, with what they then are."""
    from onnx import helper

    return [helper.make_attribute(name, value) for name, value in DEFAULTS.items()]


def function(opset: int = FIRST_OPSET) -> onnx.FunctionProto:
    """The operator in standard operators; a runtime folds the unpacking away and runs a Conv."""
    body = Body(INPUTS)
    convolve(body, body.unpacked("W", bits_per_filter(body)))
    return body.function(
        NAME, output="Y", required=REQUIRED, defaults=default_attributes(), opset=opset, doc=_SHORT_DOC
    )


def bits_per_filter(body: Body) -> str:
    """K, int64 (1), from the function's attributes."""
    taps = body.add("ReduceProd", body.integers("kernel_shape"), keepdims=1)
    return body.add("Div", body.add("Mul", body.integer("channels"), taps), body.integer("group"))


def convolve(body: Body, filters: str) -> None:
    """Adds all that follows the unpacking of the filters, float32 +1 and -1 (M, K), up to the output Y."""
    from onnx import AttributeProto

    filter_shape = body.add("Concat", body.constant([0, -1], np.int64), body.integers("kernel_shape"), axis=0)
    weights = body.add("Reshape", filters, filter_shape)
    per_channel = body.constant([1, 2], np.int64)
    signs = body.signs("X", body.add("Unsqueeze", "threshold", per_channel))
    lists = {name: (name, AttributeProto.INTS) for name in ("kernel_shape", "strides", "pads", "dilations")}
    count = body.refer("Conv", signs, weights, attributes={"group": ("group", AttributeProto.INT), **lists})
    scaled = body.add("Mul", count, body.add("Unsqueeze", "scale", per_channel))
    body.add("Add", scaled, body.add("Unsqueeze", "bias", per_channel), output="Y")


def reference(
    x: npt.NDArray[np.float32],
    w: npt.NDArray[np.uint8],
    threshold: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    **attributes: Any,
) -> npt.NDArray[np.float32]:
    """Y, float32 (N, M, OH, OW), by numpy; arguments as the operator's inputs and as `counts` takes them."""
    count = counts(x, w, threshold, **attributes).astype(np.float32)
    return scale[:, None, None] * count + bias[:, None, None]


def counts(
    x: npt.NDArray[np.float32],
    w: npt.NDArray[np.uint8],
    threshold: npt.NDArray[np.float32],
    *,
    kernel_shape: Sequence[int],
    channels: int,
    group: int = 1,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
) -> npt.NDArray[np.int64]:
    """The integers before scale and bias, int64 (N, M, OH, OW).

    Args:
        x: float32 (N, channels, H, W).
        w: uint8 (M, ceil(K / 8)).
        threshold: float32 (channels).
        kernel_shape: height and width of the filters.
        channels: of `x`; a multiple of `group`.
        group: as in ONNX's Conv.
        strides: of rows and columns.
        pads: top, left, bottom, right.
        dilations: of rows and columns.

    Raises:
        ValueError: the shapes do not fit together.
    """
    batch, found, *size = x.shape
    if found != channels or channels % group or len(w) % group:
        raise ValueError(f"{found} input channels and {len(w)} filters, where channels={channels} and group={group}")
    inside = channels // group
    filters = unpack_signs(w, inside * kernel_shape[0] * kernel_shape[1]).reshape(len(w), inside, *kernel_shape)
    signs = np.where(x < threshold[:, None, None], np.int8(-1), np.int8(1))
    signs = np.pad(signs, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    height, width = (
        (size[axis] + pads[axis] + pads[axis + 2] - dilations[axis] * (kernel_shape[axis] - 1) - 1) // strides[axis] + 1
        for axis in (0, 1)
    )
    if height < 1 or width < 1:
        raise ValueError(f"a kernel of {tuple(kernel_shape)} does not fit an input of {tuple(size)}")
    count = np.zeros((batch, len(w), height, width), np.int64)
    for row, column in np.ndindex(*kernel_shape):
        top, left = row * dilations[0], column * dilations[1]
        seen = signs[:, :, top:, left:][:, :, :: strides[0], :: strides[1]][:, :, :height, :width]
        grouped = seen.reshape(batch, group, inside, -1).astype(np.float64)  # float64 holds such integers exactly
        taps = filters[:, :, row, column].reshape(group, -1, inside).astype(np.float64)
        count += (taps @ grouped).astype(np.int64).reshape(count.shape)
    return count
