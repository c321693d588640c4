"""BinaryDense: the product of an input's signs with a matrix of signs stored as bits, times a scale, plus a bias.

Y (…, M) = scale[m] * count + bias[m], where count is the sum over features of the +1 and -1 of X times those of W.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeml.ops.bits import unpack_signs
from edgeml.ops.body import FIRST_OPSET, Body
from edgeml.ops.domain import DOMAIN, VERSION

if TYPE_CHECKING:
    import onnx

NAME = "BinaryDense"
INPUTS = ("X", "W", "threshold", "scale", "bias")
REQUIRED = ("features",)
DOC = (
    "Y = scale * MatMul(signs of X, transposed signs in W) + bias. X (…, features) is -1 where X < threshold and +1 "
    "elsewhere, also at NaN. W is uint8 (M, ceil(features / 8)): bit i of a row, the least significant bit of a byte "
    "first, is element i; 1 is -1, 0 is +1, and bits beyond the features are 0."
)
_SHORT_DOC = "Y = scale * MatMul(signs of X - threshold, transposed signs in W) + bias; bit 1 of W is -1"


def node(inputs: Sequence[str], output: str, *, features: int, name: str = "") -> onnx.NodeProto:
    """A BinaryDense node; inputs are X, W, threshold, scale, bias."""
    from onnx import helper

    return helper.make_node(NAME, list(inputs), [output], name=name, domain=DOMAIN, features=features)


def schema() -> onnx.defs.OpSchema:
    """Inputs, output and attributes."""
    from onnx import defs

    parameter = defs.OpSchema.FormalParameter
    return defs.OpSchema(
        NAME,
        DOMAIN,
        VERSION,
        DOC,
        inputs=[
            parameter("X", "tensor(float)", "float32 (…, features), at least one axis"),
            parameter("W", "tensor(uint8)", "packed rows (M, ceil(features / 8))"),
            parameter("threshold", "tensor(float)", "below it X is negative (features)"),
            parameter("scale", "tensor(float)", "of the count (M)"),
            parameter("bias", "tensor(float)", "added at the end (M)"),
        ],
        outputs=[parameter("Y", "tensor(float)", "float32 (…, M)")],
        attributes=[
            defs.OpSchema.Attribute("features", defs.OpSchema.AttrType.INT, "length of X's last axis", required=True)
        ],
    )


def function(opset: int = FIRST_OPSET) -> onnx.FunctionProto:
    """The operator in standard operators; a runtime folds the unpacking away and runs a MatMul."""
    body = Body(INPUTS)
    features = body.add("Unsqueeze", body.integer("features"), body.constant([0], np.int64))
    weights = body.add("Transpose", body.unpacked("W", features), perm=[1, 0])
    count = body.add("MatMul", body.signs("X", "threshold"), weights)
    body.add("Add", body.add("Mul", count, "scale"), "bias", output="Y")
    return body.function(NAME, output="Y", required=REQUIRED, opset=opset, doc=_SHORT_DOC)


def reference(
    x: npt.NDArray[np.float32],
    w: npt.NDArray[np.uint8],
    threshold: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    *,
    features: int,
) -> npt.NDArray[np.float32]:
    """Y, float32 (…, M), by numpy; arguments as the operator's inputs."""
    return scale * counts(x, w, threshold, features=features).astype(np.float32) + bias


def counts(
    x: npt.NDArray[np.float32],
    w: npt.NDArray[np.uint8],
    threshold: npt.NDArray[np.float32],
    *,
    features: int,
) -> npt.NDArray[np.int64]:
    """The integers before scale and bias, int64 (…, M).

    Args:
        x: float32 (…, features).
        w: uint8 (M, ceil(features / 8)).
        threshold: float32 (features).
        features: length of the last axis of `x`.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if x.ndim < 1 or x.shape[-1] != features:
        raise ValueError(f"the input is of shape {x.shape}; its last axis must have {features} features")
    signs = np.where(x < threshold, -1.0, 1.0)  # float64 holds such integers exactly
    return (signs @ unpack_signs(w, features).T.astype(np.float64)).astype(np.int64)
