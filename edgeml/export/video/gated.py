"""Writes a network for gated video: a file for key frames, one for the frames between, and the same frame by frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError
from edgeml.export.video.activity import write_activity
from edgeml.export.video.code_nodes import step_node
from edgeml.export.video.dense import dense_model
from edgeml.export.video.onnx_writer import (
    TO_CHANNELS_FIRST,
    TO_CHANNELS_LAST,
    OnnxWriter,
    frame_input,
    network_output,
    write_models,
)
from edgeml.models.video.graph import FRAME, Dense, VideoGraph
from edgeml.models.video.quantize import quantize
from edgeml.models.video.quantized import CodeConv, CodeGraph, CodeResize, Gate, code_inputs
from edgeml.models.video.ranges import Method
from edgeml.ops.residual import tile_gate

if TYPE_CHECKING:
    import onnx
    from torch import nn

METADATA_KEY = "edgeml.video"
Role = Literal["key", "residual"]


@dataclass(frozen=True, kw_only=True)
class GatedFiles:
    """What an export wrote.

    Attributes:
        key: the file for frames computed whole.
        residual: the file for frames of which only what changed is computed.
        dense: the same network without states, for comparison.
        graph: the network in codes.
    """

    key: Path
    residual: Path
    dense: Path
    graph: CodeGraph


def export_gated(
    network: VideoGraph | nn.Module,
    calibration_frames: npt.NDArray[np.float32],
    output: Path,
    *,
    method: Method = "mse",
    gate: Gate | None = None,
    thresholds: Mapping[str, int] | None = None,
    key_interval: int | None = None,
) -> GatedFiles:
    """Write `output`.key.onnx, `output`.residual.onnx and `output`.dense.onnx; nothing, if one of them fails.

    Args:
        network: a video graph, or a torch module that `edgeml.models.video.trace` reads.
        calibration_frames: float32 (frame, channels, height, width), normalized as the network asks; their size is the
            network's for good.
        output: directory and name without ending.
        method: how ranges are taken: "minmax", "percentile" or "mse".
        gate: at the frame; the default passes every changed code in tiles of 8x8 pixels.
        thresholds: of convolutions by name, in sixteenths of a code.
        key_interval: every so many frames one should be a key frame; None for no limit.

    Raises:
        UsageError: the network cannot be converted, or an argument is out of range.
        EdgeMLError: a file cannot be written.
    """
    if key_interval is not None and key_interval < 1:
        raise UsageError(f"key interval {key_interval} is out of range; allowed: 1 frame or more, or none for no limit")
    if not output.name:
        raise UsageError(f"{output} names no file; give a directory and a name, such as models/net")
    if not isinstance(network, VideoGraph):
        from edgeml.models.video.trace import trace

        if calibration_frames.ndim != 4:
            raise UsageError(
                f"calibration frames of shape {calibration_frames.shape}; allowed: (frames, channels, height, width)"
            )
        _, channels, height, width = calibration_frames.shape
        network = trace(network, (channels, height, width))
    graph = quantize(network, calibration_frames, method=method, gate=gate, thresholds=thresholds)
    return write_gated(graph, output, key_interval=key_interval)


def write_gated(graph: CodeGraph, output: Path, *, key_interval: int | None = None) -> GatedFiles:
    """The same for a network that is in codes already.

    Args:
        graph: the network.
        output: directory and name without ending.
        key_interval: every so many frames one should be a key frame; None for no limit.

    Raises:
        UsageError: the end of the network has a function that no ONNX operator stands for.
        EdgeMLError: a file cannot be written.
    """
    models = {
        "key": gated_model(graph, "key", key_interval=key_interval),
        "residual": gated_model(graph, "residual", key_interval=key_interval),
        "dense": dense_model(graph),
    }
    paths = {role: output.with_name(f"{output.name}.{role}.onnx") for role in models}
    write_models({paths[role]: model for role, model in models.items()})
    return GatedFiles(key=paths["key"], residual=paths["residual"], dense=paths["dense"], graph=graph)


def gated_model(graph: CodeGraph, role: Role, *, key_interval: int | None = None) -> onnx.ModelProto:
    """The ONNX model of one role; both have the same inputs and outputs.

    Inputs are `frame`, float32 (1, channels, height, width), and a `state_...` for each of `kept_steps`, uint8 (1,
    height, width, channels); outputs are `output`, a `next_state_...` each, and `activity`, float32 (kept steps), the
    share of pixels that changed.

    Args:
        graph: the network in codes.
        role: "key" computes everything and reads no state; "residual" computes what changed.
        key_interval: for the metadata.

    Raises:
        UsageError: the end of the network has a function that no ONNX operator stands for.
        EdgeMLError: the model is too large for one file.
    """
    from onnx import TensorProto, helper

    names = {step: f"state_{index}_{step}" for index, step in enumerate(kept_steps(graph))}
    writer = OnnxWriter()
    maps = _key_maps(writer, graph, names) if role == "key" else {step: f"changed_{names[step]}" for step in names}
    _first_codes(writer, graph, role, names[FRAME], maps[FRAME])
    for step in graph.steps:
        if step.name not in names:
            continue
        # A key frame's own maps are not read: where nothing came before, everything counts as changed.
        changed = f"unused_map_{names[step.name]}" if role == "key" else maps[step.name]
        writer.nodes.append(
            step_node(
                writer,
                graph,
                step,
                codes=lambda name: f"next_{names[name]}",
                maps=maps.__getitem__,
                previous=names[step.name],
                outputs=(f"next_{names[step.name]}", changed),
                exact=role == "key",
            )
        )
    _network_end(writer, graph, names)
    if role == "key":
        ones = writer.constant(np.ones(len(names), np.float32), "all_active")
        writer.add("Identity", [ones], "activity")
    else:
        write_activity(writer, {maps[step]: graph.shapes[step][1:] for step in names})

    def states(prefix: str) -> list[onnx.ValueInfoProto]:
        found = []
        for step, name in names.items():
            channels, height, width = graph.shapes[step]
            shape = [1, height, width, channels]
            found.append(helper.make_tensor_value_info(f"{prefix}{name}", TensorProto.UINT8, shape))
        return found

    activity = helper.make_tensor_value_info("activity", TensorProto.FLOAT, [len(names)])
    model = writer.model(
        f"gated_{role}",
        [frame_input(graph), *states("")],
        [network_output(graph), *states("next_"), activity],
    )
    helper.set_model_props(model, {METADATA_KEY: json.dumps(_metadata(graph, role, names, key_interval))})
    return model


def _first_codes(writer: OnnxWriter, graph: CodeGraph, role: Role, state: str, changed: str) -> None:
    codes = writer.quantize("frame", graph.ranges[FRAME], "frame/codes")
    if role == "key":
        writer.add("Transpose", [codes], f"next_{state}", perm=TO_CHANNELS_LAST)
        return
    rows = writer.add("Transpose", [codes], "frame/channels_last", perm=TO_CHANNELS_LAST)
    gate = graph.gate
    writer.nodes.append(
        tile_gate.node(
            [rows, state],
            [f"next_{state}", changed],
            name=f"next_{state}",
            tile=gate.tile,
            threshold=gate.threshold,
            rms=int(gate.rms),
        )
    )


def kept_steps(graph: CodeGraph) -> tuple[str, ...]:
    """Names of the values that a frame leaves to the next: the frame's, and all but nearest upsampling at the end.

    That one copies codes which are kept already, so each frame does it anew: for little, and without a state that would
    be the network's largest.
    """
    steps, last = list(graph.steps), graph.output
    while steps and isinstance(end := steps[-1], CodeResize) and end.name == last and end.mode == "nearest":
        source = end.x
        if source == FRAME or any(source in code_inputs(step) for step in steps[:-1]):
            break
        steps.pop()
        last = source
    return (FRAME, *(step.name for step in steps))


def _key_maps(writer: OnnxWriter, graph: CodeGraph, names: Iterable[str]) -> dict[str, str]:
    """Constants of ones, one for each size."""
    maps = {}
    for step in names:
        _, height, width = graph.shapes[step]
        maps[step] = writer.constant(np.ones((1, height, width), np.uint8), f"all_{height}x{width}")
    return maps


def _network_end(writer: OnnxWriter, graph: CodeGraph, names: dict[str, str]) -> None:
    """Float32 values of the maps that the end reads, (1, channels, height, width), and the end itself."""
    values = _Maps(writer, graph, names)
    for step in graph.tail:
        writer.tail(step, values)
    writer.add("Identity", [values[graph.output]], "output")


class _Maps(dict[str, str]):
    """Names of float32 values; a map is dequantized when it is first asked for."""

    def __init__(self, writer: OnnxWriter, graph: CodeGraph, names: dict[str, str]) -> None:
        super().__init__()
        self._writer, self._graph, self._names = writer, graph, names
        self._upsampled = {
            step.name: step for step in graph.steps if isinstance(step, CodeResize) and step.name not in names
        }

    def __missing__(self, name: str) -> str:
        codes = self._channels_first(name)
        self[name] = self._writer.dequantize(codes, self._graph.ranges[name], f"{name}/real")
        return self[name]

    def _channels_first(self, name: str) -> str:
        """Name of a map's codes, uint8 (1, channels, height, width)."""
        if name not in self._upsampled:
            return self._writer.add(
                "Transpose", [f"next_{self._names[name]}"], f"{name}/channels_first", perm=TO_CHANNELS_FIRST
            )
        step = self._upsampled[name]
        return self._writer.resize(self._channels_first(step.x), f"{name}/codes", step.mode, step.factor)


def _metadata(graph: CodeGraph, role: Role, names: dict[str, str], key_interval: int | None) -> dict[str, Any]:
    macs = {
        step.name: int(np.prod(graph.shapes[step.name][1:])) * step.weight.size
        for step in graph.steps
        if isinstance(step, CodeConv)
    }
    dense = {step.name: step.weight.size for step in graph.tail if isinstance(step, Dense)}
    return {
        "mode": "gated",
        "role": role,
        "key_interval": key_interval,
        "states": [{"name": name, "next": f"next_{name}", "step": step} for step, name in names.items()],
        "gated_steps": list(names),
        "macs": macs | dense,
        "bits": {name: [8, 8] for name in macs} | {name: [32, 32] for name in dense},
        "frame_scale": graph.ranges[FRAME].scale,
        "frame_zero_point": graph.ranges[FRAME].zero_point,
    }
