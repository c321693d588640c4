"""Pixel maps in standard ONNX operators: which windows changed, and which codes did in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeml.ops.body import Body

if TYPE_CHECKING:
    import onnx

Attributes = dict[str, tuple[str, "onnx.AttributeProto.AttributeType"]]


def changed_pixels(body: Body, changed: str) -> str:
    """Where a pixel map is not 0, bool (N, H, W)."""
    from onnx import TensorProto

    return body.add("Cast", changed, to=TensorProto.BOOL)


def changed_in_either(body: Body, first: str, second: str) -> str:
    """Where one of two pixel maps is not 0, bool (N, H, W)."""
    return body.add("Or", changed_pixels(body, first), changed_pixels(body, second))


def window_attributes(*names: str) -> Attributes:
    """Lists of integers that an inner operator takes from the function's own attributes of the same names."""
    from onnx import AttributeProto

    return {name: (name, AttributeProto.INTS) for name in names}


def ones_kernel(body: Body) -> str:
    """Ones, float32 (1, 1, *kernel_shape): a Conv by it sums windows."""
    from onnx import numpy_helper

    shape = body.add("Concat", body.constant([1, 1], np.int64), body.integers("kernel_shape"), axis=0)
    return body.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.ones(1, np.float32)))


def changed_windows(body: Body, changed: str, *, dilations: bool) -> str:
    """Where a window sees a changed pixel, bool (N, OH, OW).

    A Conv counts them and no MaxPool finds them, since onnxruntime's refuses the wide padding of dilated windows.

    Args:
        body: of a function with the attributes kernel_shape, strides and pads.
        changed: a pixel map.
        dilations: whether the function has that attribute as well.
    """
    from onnx import TensorProto

    plane = body.add("Cast", changed_pixels(body, changed), to=TensorProto.FLOAT)
    names = ("kernel_shape", "strides", "pads", *(("dilations",) if dilations else ()))
    channel = body.constant([1], np.int64)
    count = body.refer(
        "Conv", body.add("Unsqueeze", plane, channel), ones_kernel(body), attributes=window_attributes(*names)
    )
    return body.add("Greater", body.add("Squeeze", count, channel), body.constant(0.5, np.float32))


def update(body: Body, fresh: str, active: str, *, changed: str) -> None:
    """Adds the last nodes: outputs Y, `fresh` where active and the input `previous` elsewhere, and its pixel map.

    Args:
        body: of a function with the input "previous".
        fresh: codes, uint8 (N, H, W, C).
        active: bool (N, H, W).
        changed: name of the output for the pixel map.
    """
    from onnx import TensorProto

    last = body.constant([-1], np.int64)
    codes = body.add("Where", body.add("Unsqueeze", active, last), fresh, "previous", output="Y")
    different = body.add("Not", body.add("Equal", codes, "previous"))
    body.add("ReduceMax", body.add("Cast", different, to=TensorProto.UINT8), last, keepdims=0, output=changed)
