"""ResidualPool: the maximum or the mean of windows of 8-bit codes, at those pixels whose window changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeml.ops.body import FIRST_OPSET, Body
from edgeml.ops.domain import DOMAIN
from edgeml.ops.residual import code_body, map_body
from edgeml.ops.residual.codes import Codes, saturate
from edgeml.ops.residual.pixel_maps import require_map, update
from edgeml.ops.residual.signature import CODES, Signature
from edgeml.ops.residual.windows import Windows

if TYPE_CHECKING:
    import onnx

NAME = "ResidualPool"
SIGNATURE = Signature(
    name=NAME,
    doc=(
        "Y = the maximum of each window of X or, with average, rint(float32(sum of X - zero_point) * (float32(1) / "
        "float32(count))) + zero_point with the count of its pixels inside the image, rint to nearest even; where the "
        "window changed, previous elsewhere. Padding counts for neither and is smaller than the window."
    ),
    inputs={
        "X": (CODES, "codes (N, H, W, C)"),
        "changed": (CODES, "pixel map of X, not 0 where it changed (N, H, W)"),
        "previous": (CODES, "Y of the frame before (N, OH, OW, C)"),
    },
    outputs={
        "Y": (CODES, "codes in the scale of X (N, OH, OW, C)"),
        "changed_out": (CODES, "1 where a channel of Y differs from previous, else 0 (N, OH, OW)"),
    },
    required={
        "kernel_shape": ("INTS", "height and width of a window, at most 65536 pixels"),
        "zero_point": ("INT", "code that stands for 0"),
    },
    defaults={
        "strides": ((1, 1), "as in MaxPool"),
        "pads": ((0, 0, 0, 0), "top, left, bottom, right"),
        "average": (0, "1: the mean; 0: the maximum"),
    },
)


def node(
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    kernel_shape: Sequence[int],
    zero_point: int,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    average: int = 0,
    name: str = "",
) -> onnx.NodeProto:
    """A ResidualPool node that states every attribute; inputs and outputs are named in `SIGNATURE`."""
    from onnx import helper

    return helper.make_node(
        NAME, list(inputs), list(outputs), name=name, domain=DOMAIN, kernel_shape=list(kernel_shape),
        zero_point=zero_point, strides=list(strides), pads=list(pads), average=average,
    )  # fmt: skip


def schema() -> onnx.defs.OpSchema:
    """Inputs, outputs and attributes."""
    return SIGNATURE.schema()


def function(opset: int = FIRST_OPSET) -> onnx.FunctionProto:
    """The operator in standard operators; maximum and mean are both computed and one is taken."""
    from onnx import TensorProto

    body = SIGNATURE.body()
    image = body.add("Transpose", "X", perm=[0, 3, 1, 2])
    mean = _mean(body, image)
    chosen = body.add("Cast", body.integer("average"), to=TensorProto.BOOL)
    # Spelled out, since the sizes of what is padded by a computed number are not inferred.
    shape = body.add("Concat", body.add("Shape", image, end=2), body.add("Shape", mean, start=2), axis=0)
    mean, greatest = (body.add("Reshape", values, shape) for values in (mean, _greatest(body, image)))
    pooled = body.add("Where", chosen, mean, greatest)
    active = map_body.changed_windows(body, "changed", dilations=False)
    map_body.update(body, body.add("Transpose", pooled, perm=[0, 2, 3, 1]), active, changed="changed_out")
    return SIGNATURE.function(body, opset)


def _greatest(body: Body, image: str) -> str:
    """The maximum of each window of `image`, uint8 (N, C, H, W).

    Zeros around the image change no maximum; ONNX's reference evaluator pads wrongly in MaxPool itself.
    """
    pads, zeros = body.integers("pads"), body.constant([0, 0], np.int64)
    before, after = (
        body.add("Slice", pads, body.constant([first], np.int64), body.constant([first + 2], np.int64))
        for first in (0, 2)
    )
    padded = body.add("Pad", image, body.add("Concat", zeros, before, zeros, after, axis=0))
    return body.refer("MaxPool", padded, attributes=map_body.window_attributes("kernel_shape", "strides"))


def _mean(body: Body, image: str) -> str:
    """The mean of each window of `image`, uint8 (N, C, H, W), each plane by itself: uint8 (N * C, 1, OH, OW).

    A Conv sums, in float32, which holds the sums of 65536 codes exactly; AveragePool would divide by the count.
    """
    from onnx import numpy_helper

    size = body.add("Shape", image, start=2)
    planes = body.add("Concat", body.constant([-1, 1], np.int64), size, axis=0)
    attributes = map_body.window_attributes("kernel_shape", "strides", "pads")
    kernel = map_body.ones_kernel(body)
    centred = body.add("Reshape", code_body.centred(body, image, "zero_point"), planes)
    total = body.refer("Conv", centred, kernel, attributes=attributes)
    one = body.constant([1, 1], np.int64)
    inside = body.add(
        "ConstantOfShape",
        body.add("Concat", one, size, axis=0),
        value=numpy_helper.from_array(np.ones(1, np.float32)),
    )
    count = body.refer("Conv", inside, kernel, attributes=attributes)
    # Round and Abs change nothing here. They keep onnxruntime from multiplying the kernel by a constant reciprocal, and
    # from dividing the sum by the count, which rounds otherwise.
    reciprocal = body.add("Abs", body.add("Div", body.constant(1, np.float32), count))
    mean = body.add("Mul", body.add("Round", total), reciprocal)
    return code_body.as_code(body, code_body.saturated(body, mean, "zero_point"))


def reference(
    x: Codes,
    changed: Codes,
    previous: Codes,
    *,
    kernel_shape: Sequence[int],
    zero_point: int,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    average: int = 0,
) -> tuple[Codes, Codes]:
    """Y, uint8 (N, OH, OW, C), and changed_out, uint8 (N, OH, OW), by numpy.

    Args:
        x: codes, uint8 (N, H, W, C); the output has their scale and zero point.
        changed: their pixel map, uint8 (N, H, W).
        previous: the output for the frame before, uint8 (N, OH, OW, C).
        kernel_shape: height and width of a window.
        zero_point: the code that stands for 0.
        strides: of rows and columns.
        pads: top, left, bottom, right; pixels outside the image do not count.
        average: 1 for the mean, 0 for the maximum.

    Raises:
        ValueError: the shapes do not fit together, or the padding is not smaller than the window.
    """
    require_map(x, changed)
    windows = Windows(kernel_shape, strides, pads)
    if any(pads[side] >= kernel_shape[side % 2] for side in range(4)):
        raise ValueError(f"pads {tuple(pads)} that are not smaller than windows of {tuple(kernel_shape)}")
    if average:
        count = windows.taps(np.ones(x.shape[:3], np.uint8)).sum(axis=0)[..., None]
        total = windows.taps(x.astype(np.int64) - zero_point).sum(axis=0).astype(np.float32)
        fresh = saturate(total * (np.float32(1) / count.astype(np.float32)), zero_point)
    else:
        fresh = windows.taps(x, outside=-1).max(axis=0).astype(np.uint8)
    return update(fresh, previous, windows.changed(changed))
