"""TreeBinaryConv: BinaryConv with its filters stored as a tree of differences, fewer bits where filters are alike.

The body rebuilds the filters and goes on as BinaryConv's does, so that a runtime that folds constants runs a plain Conv
and the stored file is the small one. A kernel that knows the tree can reuse counts instead (Vo et al.,
"MST-compression", ICCV 2023): with D the places where filter j differs from its parent i,
count_j = count_i + 2 * sum over k in D of w_j,k * x_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.ops import binary_conv
from edgeml.ops.body import FIRST_OPSET, Body
from edgeml.ops.domain import DOMAIN, VERSION
from edgeml.ops.short_body import shorten
from edgeml.ops.tree_coding import CodedTree, decode
from edgeml.ops.tree_decoding import add_filters

if TYPE_CHECKING:
    import onnx

NAME = "TreeBinaryConv"
TREE_INPUTS = ("root", "parents", "quotients", "remainders")
INPUTS = ("X", *TREE_INPUTS, "threshold", "scale", "bias")
REQUIRED = (*binary_conv.REQUIRED, "root_index", "rice_parameter")
DOC = (
    "BinaryConv with its M filters stored as a tree. root is filter root_index, uint8 (B) with B = ceil(K / 8). "
    "parents holds the other filters' parents in order, each in the bits that M - 1 takes. The places where these "
    "filters differ from their parents, filter after filter of 8 B bits each, are coded by the gaps between them and "
    "to the end: quotients has gap >> rice_parameter zeros and a one for each, remainders the low rice_parameter bits. "
    "In all of them the least significant bit of a byte comes first, and the last byte is filled up with zeros."
)


def node(
    inputs: Sequence[str],
    output: str,
    *,
    root_index: int,
    rice_parameter: int,
    kernel_shape: Sequence[int],
    channels: int,
    group: int = 1,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    name: str = "",
) -> onnx.NodeProto:
    """A TreeBinaryConv node that states every attribute; inputs are named in `INPUTS`."""
    from onnx import helper

    return helper.make_node(
        NAME, list(inputs), [output], name=name, domain=DOMAIN, kernel_shape=list(kernel_shape), channels=channels,
        group=group, strides=list(strides), pads=list(pads), dilations=list(dilations), root_index=root_index,
        rice_parameter=rice_parameter,
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
            parameter("root", "tensor(uint8)", "the filter kept in full (B)"),
            parameter("parents", "tensor(uint8)", "packed parents of the others"),
            parameter("quotients", "tensor(uint8)", "packed unary quotients of the gaps"),
            parameter("remainders", "tensor(uint8)", "packed remainders of the gaps"),
            parameter("threshold", "tensor(float)", "below it X is negative (channels)"),
            parameter("scale", "tensor(float)", "of the count (M)"),
            parameter("bias", "tensor(float)", "added at the end (M)"),
        ],
        outputs=[parameter("Y", "tensor(float)", "float32 (N, M, OH, OW)")],
        attributes=[
            defs.OpSchema.Attribute("kernel_shape", kinds.INTS, "height and width of the filters", required=True),
            defs.OpSchema.Attribute("channels", kinds.INT, "channels of X", required=True),
            defs.OpSchema.Attribute("root_index", kinds.INT, "which filter root is", required=True),
            defs.OpSchema.Attribute("rice_parameter", kinds.INT, "bits of a remainder, 1 to 30", required=True),
            *(defs.OpSchema.Attribute(entry.name, entry, "as in Conv") for entry in binary_conv.default_attributes()),
        ],
    )


def function(opset: int = FIRST_OPSET) -> onnx.FunctionProto:
    """The operator in standard operators; a runtime folds the tree away and runs a Conv."""
    body = Body(INPUTS)
    filters = add_filters(
        body, root="root", parents="parents", quotients="quotients", remainders="remainders", scale="scale"
    )
    binary_conv.convolve(body, body.unpacked(filters, binary_conv.bits_per_filter(body)))
    defaults = binary_conv.default_attributes()
    result = body.function(NAME, output="Y", required=REQUIRED, defaults=defaults, opset=opset, doc=DOC)
    shorten(result)
    return result


def reference(
    x: npt.NDArray[np.float32],
    tree: CodedTree,
    threshold: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    **attributes: Any,
) -> npt.NDArray[np.float32]:
    """Y, float32 (N, M, OH, OW), by numpy; arguments as `binary_conv.reference` takes them, with the tree for W."""
    return binary_conv.reference(x, decode(tree, len(scale)), threshold, scale, bias, **attributes)
