"""Writes a small network for video in all its forms: relu of each value, gated by what changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeml.ops.attach import attach_functions
from edgeml.ops.domain import DOMAIN, VERSION
from edgeml.ops.registry import operators

SCALE, ZERO_POINT = 1 / 32, 128
STATES = (("state_0_gate", "next_state_0_gate"), ("state_1_relu", "next_state_1_relu"))
HAS_RESIDUAL_OPERATORS = {"TileGate", "ResidualTable"} <= operators().keys()


def expected(frame: npt.NDArray[np.float32], *, classifier: bool = False) -> npt.NDArray[np.float32]:
    """The network's output for a frame, float32 (1, C, H, W) or (1, C), by numpy."""
    codes = np.clip(np.rint(frame / np.float32(SCALE)) + ZERO_POINT, 0, 255)
    values = (np.maximum(codes, ZERO_POINT) - ZERO_POINT).astype(np.float32) * np.float32(SCALE)
    return np.asarray(values.mean(axis=(1, 2))[None] if classifier else values[None], np.float32)


def write_pair(
    directory: Path,
    *,
    name: str = "net",
    own: bool = False,
    shape: tuple[int, int, int] = (2, 16, 24),
    classifier: bool = False,
    **changes: Any,
) -> Path:
    """Write NAME.key.onnx, NAME.residual.onnx, NAME.dense.onnx and NAME.onnx; the residual file's path.

    Args:
        directory: where.
        name: what the files' names begin with.
        own: whether the residual file has edgeml's own operators, else standard ones.
        shape: of a frame.
        classifier: whether the output is the mean of each channel, else a map.
        changes: entries of the metadata in place of the usual ones.
    """
    metadata = {
        "mode": "gated",
        "key_interval": None,
        "states": [{"name": state, "next": after, "step": state[8:]} for state, after in STATES],
        "gated_steps": ["gate", "relu"],
        "macs": {"gate": 0, "relu": 1000, "head": 10},
        "bits": {"gate": [8, 8], "relu": [8, 8], "head": [32, 32]},
        "frame_scale": SCALE,
        "frame_zero_point": ZERO_POINT,
    } | changes
    for role in ("key", "residual"):
        model = _model(role, own=own, shape=shape, classifier=classifier)
        model.metadata_props.add(key="edgeml.video", value=json.dumps({**metadata, "role": role}))
        onnx.save(model, directory / f"{name}.{role}.onnx")
    onnx.save(_model("dense", own=False, shape=shape, classifier=classifier), directory / f"{name}.dense.onnx")
    onnx.save(_fp32(shape, classifier), directory / f"{name}.onnx")
    return directory / f"{name}.residual.onnx"


def _model(role: str, *, own: bool, shape: tuple[int, int, int], classifier: bool) -> onnx.ModelProto:
    channels, height, width = shape
    nodes = [
        helper.make_node("QuantizeLinear", ["frame", "scale", "zero_point"], ["codes_nchw"]),
        helper.make_node("Transpose", ["codes_nchw"], ["codes"], perm=[0, 2, 3, 1]),
    ]
    if role == "residual":
        nodes += _own_steps() if own else _standard_steps()
    else:
        nodes += [
            helper.make_node("Identity", ["codes"], ["next_state_0_gate"]),
            helper.make_node("Cast", ["codes"], ["indices"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "indices"], ["next_state_1_relu"]),
            helper.make_node("Identity", ["ones"], ["activity"]),
        ]
    nodes += [
        helper.make_node("DequantizeLinear", ["next_state_1_relu", "scale", "zero_point"], ["values"]),
        helper.make_node("ReduceMean", ["values", "space"], ["output"], keepdims=0)
        if classifier
        else helper.make_node("Transpose", ["values"], ["output"], perm=[0, 3, 1, 2]),
    ]
    codes = [1, height, width, channels]
    frame = helper.make_tensor_value_info("frame", TensorProto.FLOAT, [1, *shape])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, channels] if classifier else [1, *shape])
    before = [helper.make_tensor_value_info(state, TensorProto.UINT8, codes) for state, _ in STATES]
    after = [helper.make_tensor_value_info(state, TensorProto.UINT8, codes) for _, state in STATES]
    activity = helper.make_tensor_value_info("activity", TensorProto.FLOAT, [2])
    dense = role == "dense"
    graph = helper.make_graph(
        nodes,
        role,
        [frame] if dense else [frame, *before],
        [output] if dense else [output, *after, activity],
        [
            numpy_helper.from_array(np.array(SCALE, np.float32), "scale"),
            numpy_helper.from_array(np.array(ZERO_POINT, np.uint8), "zero_point"),
            numpy_helper.from_array(np.maximum(np.arange(256), ZERO_POINT).astype(np.uint8), "table"),
            numpy_helper.from_array(np.array([1, 2], np.int64), "space"),
            numpy_helper.from_array(np.array([3], np.int64), "channel"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
            numpy_helper.from_array(np.ones(2, np.float32), "ones"),
        ],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, VERSION)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    attach_functions(model)
    return model


def _own_steps() -> list[onnx.NodeProto]:
    return [
        helper.make_node("TileGate", ["codes", "state_0_gate"], ["next_state_0_gate", "map_0"], domain=DOMAIN, tile=8),
        helper.make_node(
            "ResidualTable",
            ["next_state_0_gate", "map_0", "table", "state_1_relu"],
            ["next_state_1_relu", "map_1"],
            domain=DOMAIN,
        ),
        *_activity(),
    ]


def _standard_steps() -> list[onnx.NodeProto]:
    """The same, a pixel at a time."""
    nodes = [helper.make_node("Identity", ["codes"], ["next_state_0_gate"])]
    nodes += _map(0, "codes", "state_0_gate")
    nodes += [
        helper.make_node("Cast", ["codes"], ["indices"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "indices"], ["new"]),
        helper.make_node("Cast", ["map_0"], ["where_0"], to=TensorProto.BOOL),
        helper.make_node("Unsqueeze", ["where_0", "channel"], ["mask"]),
        helper.make_node("Where", ["mask", "new", "state_1_relu"], ["next_state_1_relu"]),
    ]
    return [*nodes, *_map(1, "next_state_1_relu", "state_1_relu"), *_activity()]


def _map(step: int, now: str, before: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Equal", [now, before], [f"same_{step}"]),
        helper.make_node("Not", [f"same_{step}"], [f"differs_{step}"]),
        helper.make_node("Cast", [f"differs_{step}"], [f"bytes_{step}"], to=TensorProto.UINT8),
        helper.make_node("ReduceMax", [f"bytes_{step}", "channel"], [f"map_{step}"], keepdims=0),
    ]


def _activity() -> list[onnx.NodeProto]:
    nodes = []
    for step in (0, 1):
        nodes += [
            helper.make_node("Cast", [f"map_{step}"], [f"float_{step}"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", [f"float_{step}"], [f"mean_{step}"], keepdims=0),
            helper.make_node("Reshape", [f"mean_{step}", "one"], [f"share_{step}"]),
        ]
    return [*nodes, helper.make_node("Concat", ["share_0", "share_1"], ["activity"], axis=0)]


def _fp32(shape: tuple[int, int, int], classifier: bool) -> onnx.ModelProto:
    nodes = [helper.make_node("Relu", ["frame"], ["values" if classifier else "output"])]
    if classifier:
        nodes.append(helper.make_node("ReduceMean", ["values", "space"], ["output"], keepdims=0))
    output = [1, shape[0]] if classifier else [1, *shape]
    graph = helper.make_graph(
        nodes,
        "fp32",
        [helper.make_tensor_value_info("frame", TensorProto.FLOAT, [1, *shape])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(np.array([2, 3], np.int64), "space")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def clip(frames: int, shape: tuple[int, int, int] = (2, 16, 24), seed: int = 0) -> npt.NDArray[np.float32]:
    """A still scene in which a small square moves, float32 (frame, channels, height, width)."""
    generator = np.random.default_rng(seed)
    scene = generator.uniform(-2, 2, shape).astype(np.float32)
    video = np.repeat(scene[None], frames, axis=0)
    for index in range(frames):
        left = index % (shape[2] - 4)
        video[index, :, 4:8, left : left + 4] = 1 + index % 3
    return video
