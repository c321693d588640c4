"""One convolution on frames of which a share of tiles changes, as files: residual, and whole in onnxruntime's int8."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from video_worker import Alternating

from edgeml.ops.attach import attach_functions
from edgeml.ops.residual import residual_conv, tile_gate

CHANNELS, HEIGHT, WIDTH, TILE = 64, 128, 256, 8
RESIDUAL = "residual"
OTHERS = ("onnxruntime int8", "onnxruntime int8, channels last")

_X_ZERO, _Y_ZERO = 120, 128
_X_SCALE, _Y_SCALE = np.float32(0.02), np.float32(0.05)
_OPSET, _IR_VERSION = 20, 10
_INNER = slice(1, TILE - 1)  # a 3x3 window around these pixels stays in the tile

Codes = npt.NDArray[np.uint8]


def operator_files(share: float, directory: Path) -> dict[str, Path]:
    """Files by contender, each with its frames beside it; all are checked to give the same codes.

    Args:
        share: of the tiles that differ between the two frames.
        directory: where they go.
    """
    frames = two_frames(share)
    generator = np.random.default_rng(1)
    weight = generator.integers(-127, 128, (CHANNELS, CHANNELS, 3, 3)).astype(np.int8)
    weight_scale = generator.uniform(5e-4, 2e-3, CHANNELS).astype(np.float32)
    bias = generator.integers(-2000, 2000, CHANNELS).astype(np.int32)
    models = {
        RESIDUAL: _residual(weight, weight_scale, bias),
        OTHERS[0]: _dense(weight, weight_scale, bias, channels_last=False),
        OTHERS[1]: _dense(weight, weight_scale, bias, channels_last=True),
    }
    files, found = {}, {}
    for name, model in models.items():
        files[name] = directory / f"{name.replace(' ', '-').replace(',', '')}-{share:g}.onnx"
        onnx.save(model, files[name])
        np.save(files[name].with_suffix(".npy"), frames.transpose(0, 1, 4, 2, 3) if name == OTHERS[0] else frames)
        session = Alternating(files[name], 1)
        found[name] = []
        for _ in range(3):  # the first frame, the second, the first again
            session.run({})
            found[name].append(session.arrays["Y"].copy())
    for frame in range(3):
        first = found[OTHERS[0]][frame].transpose(0, 2, 3, 1)
        if not all(np.array_equal(found[name][frame], first) for name in (RESIDUAL, OTHERS[1])):
            raise AssertionError(f"at {share:.0%} of the tiles the contenders give different codes")
    return files


def two_frames(share: float) -> Codes:
    """Frames that differ in the inner pixels of a share of their tiles: uint8 (2, 1, height, width, channels)."""
    generator = np.random.default_rng(0)
    rows, columns = HEIGHT // TILE, WIDTH // TILE
    first = generator.integers(0, 256, (rows, TILE, columns, TILE, CHANNELS)).astype(np.uint8)
    second = first.copy()
    count = round(share * rows * columns)
    for place in generator.permutation(rows * columns)[:count]:
        row, column = divmod(int(place), columns)
        inner = second[row, _INNER, column, _INNER]
        inner[...] = inner + generator.integers(1, 256, inner.shape).astype(np.uint8)
    frames = np.stack([first, second]).reshape(2, 1, HEIGHT, WIDTH, CHANNELS)
    if active_tiles(frames) != count:
        raise AssertionError(f"{active_tiles(frames)} output tiles are active, not {count}")
    return frames


def active_tiles(frames: Codes) -> int:
    """Number of the 3x3 convolution's output tiles that have a changed pixel in a window."""
    changed = np.pad((frames[0, 0] != frames[1, 0]).any(axis=-1), 1)
    reached = np.lib.stride_tricks.sliding_window_view(changed, (3, 3)).any(axis=(2, 3))
    return int(reached.reshape(HEIGHT // TILE, TILE, WIDTH // TILE, TILE).any(axis=(1, 3)).sum())


def _residual(weight: Any, weight_scale: Any, bias: Any) -> onnx.ModelProto:
    """TileGate and ResidualConv; states are `previous_frame` and `previous_Y`."""
    constants = {
        "W": weight,
        "multiplier": (_X_SCALE * weight_scale / _Y_SCALE).astype(np.float32),
        "bias": bias,
        "table": np.arange(256, dtype=np.uint8),
    }
    nodes = [
        tile_gate.node(["X", "previous_frame"], ["frame", "changed"], tile=TILE),
        residual_conv.node(
            ["frame", "changed", *constants, "previous_Y"], ["Y", "changed_Y"], kernel_shape=(3, 3),
            x_zero_point=_X_ZERO, y_zero_point=_Y_ZERO, pads=(1, 1, 1, 1), tile=TILE,
        ),
    ]  # fmt: skip
    shape = [1, HEIGHT, WIDTH, CHANNELS]
    model = _model(
        nodes,
        {"X": shape, "previous_frame": shape, "previous_Y": shape},
        {"frame": shape, "Y": shape, "changed_Y": shape[:3]},
        constants,
    )
    attach_functions(model)
    return model


def _dense(weight: Any, weight_scale: Any, bias: Any, *, channels_last: bool) -> onnx.ModelProto:
    """The convolution between DequantizeLinear and QuantizeLinear, of which onnxruntime makes one integer kernel."""
    constants = {
        "x_scale": np.array(_X_SCALE),
        "x_zero": np.array(_X_ZERO, np.uint8),
        "y_scale": np.array(_Y_SCALE),
        "y_zero": np.array(_Y_ZERO, np.uint8),
        "W": weight,
        "w_scale": weight_scale,
        "w_zero": np.zeros(CHANNELS, np.int8),
        "bias": bias,
        "b_scale": (_X_SCALE * weight_scale).astype(np.float32),
        "b_zero": np.zeros(CHANNELS, np.int32),
    }
    image, result = ("image", "result") if channels_last else ("X", "Y")
    nodes = [
        helper.make_node("DequantizeLinear", [image, "x_scale", "x_zero"], ["x_real"]),
        helper.make_node("DequantizeLinear", ["W", "w_scale", "w_zero"], ["w_real"], axis=0),
        helper.make_node("DequantizeLinear", ["bias", "b_scale", "b_zero"], ["b_real"], axis=0),
        helper.make_node("Conv", ["x_real", "w_real", "b_real"], ["y_real"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["y_real", "y_scale", "y_zero"], [result]),
    ]
    shape = [1, CHANNELS, HEIGHT, WIDTH]
    if channels_last:  # onnxruntime cancels these against those of its own
        nodes = [
            helper.make_node("Transpose", ["X"], ["image"], perm=[0, 3, 1, 2]),
            *nodes,
            helper.make_node("Transpose", ["result"], ["Y"], perm=[0, 2, 3, 1]),
        ]
        shape = [1, HEIGHT, WIDTH, CHANNELS]
    return _model(nodes, {"X": shape}, {"Y": shape}, constants)


def _model(nodes: Any, inputs: Any, outputs: Any, constants: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "operator",
        *(
            [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name, shape in ends.items()]
            for ends in (inputs, outputs)
        ),
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
