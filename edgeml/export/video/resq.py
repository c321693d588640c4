"""Writes a ResQ network as two ONNX files in standard operators, one for key frames and one for residuals.

Both take the frame and the states and give the result and the next states, under the same names, so that a stream
can switch between them. States are x0 and z0 of the linear layers, float32, which key frames make and residual frames
pass on. Codes of fewer than 8 bits are int8 or uint8 ones clipped to a shorter range; no runtime gains speed by
them, and what the bits are worth is told by `edgeml.models.video.resq.bit_operations`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError
from edgeml.export.video.onnx_writer import OnnxWriter, write_models
from edgeml.export.video.resq_pointwise import write_pointwise
from edgeml.models.video.graph import FRAME, Add, Concat, Conv, Dense, GlobalPool, Pointwise, Pool, Resize, Step

if TYPE_CHECKING:
    import onnx

    from edgeml.models.video.resq.bits import Bits
    from edgeml.models.video.resq.layer import ResidualLayer
    from edgeml.models.video.resq.network import ResQNetwork
    from edgeml.models.video.resq.quantizer import Quantizer

METADATA_KEY = "edgeml.video"
OUTPUT = "output"
Role = Literal["key", "residual"]


@dataclass(frozen=True)
class ResQModels:
    """A network's two graphs.

    Attributes:
        key: computes a frame in full and makes the states.
        residual: computes a frame from what changed since the key frame and passes the states on.
    """

    key: onnx.ModelProto
    residual: onnx.ModelProto


@dataclass(frozen=True)
class ResQFiles:
    """What an export wrote.

    Attributes:
        key: the file for key frames.
        residual: the file for the frames between.
    """

    key: Path
    residual: Path


def export_resq(network: ResQNetwork, output: Path, *, key_interval: int | None = None) -> ResQFiles:
    """Write `output`.key.onnx and `output`.residual.onnx; nothing, if one of them fails.

    Args:
        network: calibrated, without tiles.
        output: directory and name without ending.
        key_interval: every so many frames one should be a key frame; None for no limit.

    Raises:
        UsageError: as `resq_models`, or `output` names no file.
        EdgeMLError: the network is not calibrated, or a file cannot be written.
    """
    if not output.name:
        raise UsageError(f"{output} names no file; give a directory and a name, such as models/net")
    models = resq_models(network, key_interval)
    files = ResQFiles(*(output.with_name(f"{output.name}.{role}.onnx") for role in ("key", "residual")))
    write_models({files.key: models.key, files.residual: models.residual})
    return files


def resq_models(network: ResQNetwork, key_interval: int | None) -> ResQModels:
    """Both graphs of a calibrated network.

    Args:
        network: without tiles, whose bits differ from frame to frame.
        key_interval: frames from one key frame to the next, for the files' metadata; None for no limit.

    Raises:
        UsageError: the network has tiles or a function that standard operators lack, or the interval is not positive.
        EdgeMLError: the network is not calibrated.
    """
    if network.tiles is not None:
        raise UsageError("a network whose tiles choose their bits has no form in ONNX; export it without tiles")
    if key_interval is not None and key_interval < 1:
        raise UsageError(f"a key frame every {key_interval} frames; the interval is 1 or more, None for no limit")
    return ResQModels(*(_Writer(network, role).model(key_interval) for role in ("key", "residual")))


class _Writer:
    """Writes one graph; the value of a step is called after the step."""

    def __init__(self, network: ResQNetwork, role: Role) -> None:
        from edgeml.models.video.resq.shapes import value_shapes

        self.network, self.role = network, role
        self.shapes = value_shapes(network.graph)
        names = dict.fromkeys(name for key, layer in network.layers() for name in (layer.step.x, key))
        self.states = {name: f"state_{place}_{name}" for place, name in enumerate(names)}
        self.writer = OnnxWriter()

    def model(self, key_interval: int | None) -> onnx.ModelProto:
        from onnx import helper

        graph = self.network.graph
        for step in graph.steps:
            self._step(step)
        self.writer.add("Identity", [_value(graph.output)], OUTPUT)
        for name, state in self.states.items():
            self.writer.add("Identity", [_value(name) if self.role == "key" else state], f"next_{state}")
        inputs = [self._info(FRAME, FRAME), *(self._info(state, name) for name, state in self.states.items())]
        outputs = [
            self._info(OUTPUT, graph.output),
            *(self._info(f"next_{state}", name) for name, state in self.states.items()),
        ]
        model = self.writer.model(f"resq_{self.role}", inputs, outputs)
        helper.set_model_props(model, {METADATA_KEY: json.dumps(self._metadata(key_interval))})
        return model

    def _metadata(self, key_interval: int | None) -> dict[str, Any]:
        from edgeml.models.video.resq.bit_operations import work
        from edgeml.models.video.resq.bits import FLOAT_BITS

        bits: Bits = self.network.key if self.role == "key" else self.network.residual
        pair = [FLOAT_BITS if width is None else width for width in (bits.weights, bits.activations)]
        macs = {name: layer.macs for name, layer in work(self.network.graph).items()}
        return {
            "mode": "resq",
            "role": self.role,
            "key_interval": key_interval,
            "states": [{"name": state, "next": f"next_{state}", "step": name} for name, state in self.states.items()],
            "gated_steps": [],
            "macs": macs,
            "bits": dict.fromkeys(macs, pair),
        }

    def _step(self, step: Step) -> None:
        y = _value(step.name)
        match step:
            case Conv() | Dense():
                self._linear(step, y)
            case Pointwise():
                write_pointwise(self.writer, step, _value(step.x), y)
            case Add():
                self.writer.add("Add", [_value(step.a), _value(step.b)], y)
            case Concat():
                self.writer.add("Concat", [_value(part) for part in step.parts], y, axis=1)
            case Pool():
                operator = "MaxPool" if step.mode == "max" else "AveragePool"
                shape = {"kernel_shape": step.kernel_shape, "strides": step.strides, "pads": step.pads}
                self.writer.add(operator, [_value(step.x)], y, **shape)
            case Resize():
                scales = self.writer.constant(np.array([1, 1, step.factor, step.factor], np.float32), f"{y}/scales")
                nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
                linear = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
                self.writer.add(
                    "Resize", [_value(step.x), "", scales], y, **(nearest if step.mode == "nearest" else linear)
                )
            case GlobalPool():
                self.writer.add("GlobalAveragePool", [_value(step.x)], y)

    def _linear(self, step: Conv | Dense, y: str) -> None:
        layer, x = self.network.layer(step.name), _value(step.x)
        if self.role == "key":
            rounded = self._rounded(layer.key_activation, x, f"{y}/x")
            weight = self._weight(layer, layer.key_weight, y)
            self._product(step, [rounded, weight, self.writer.constant(_array(layer.bias), f"{y}/bias")], y)
            return
        change = self.writer.add("Sub", [x, self.states[step.x]], f"{y}/change")
        rounded = self._rounded(layer.residual_activation, change, change)
        weight = self._weight(layer, layer.residual_weight, y)
        self._product(step, [rounded, weight], f"{y}/update")
        self.writer.add("Add", [self.states[step.name], f"{y}/update"], y)

    def _product(self, step: Conv | Dense, inputs: list[str], y: str) -> None:
        if isinstance(step, Dense):
            flat = self.writer.add("Flatten", inputs[:1], f"{y}/flat", axis=1)
            self.writer.add("Gemm", [flat, *inputs[1:]], y, transB=1)
            return
        self.writer.add(
            "Conv", inputs, y, kernel_shape=step.weight.shape[2:], strides=step.strides, pads=step.pads,
            dilations=step.dilations, group=step.group,
        )  # fmt: skip

    def _rounded(self, quantizer: Quantizer | None, x: str, name: str) -> str:
        """The name of `x` rounded to codes and back; `x` itself without a quantizer."""
        if quantizer is None:
            return x
        scale = _array(quantizer.scale)
        dtype, zero_point = (np.int8, 0) if quantizer.kind == "residual" else (np.uint8, -quantizer.low)
        parameters = [
            self.writer.constant(scale, f"{name}/scale"),
            self.writer.constant(np.array(zero_point, dtype), f"{name}/zero_point"),
        ]
        if quantizer.high - quantizer.low < np.iinfo(np.uint8).max:  # otherwise the type's range is the codes'
            ends = [
                self.writer.constant(np.array(code * scale, np.float32), f"{name}/{end}")
                for end, code in (("low", quantizer.low), ("high", quantizer.high))
            ]
            x = self.writer.add("Clip", [x, *ends], f"{name}/clipped")
        codes = self.writer.add("QuantizeLinear", [x, *parameters], f"{name}/codes")
        return self.writer.add("DequantizeLinear", [codes, *parameters], f"{name}/rounded")

    def _weight(self, layer: ResidualLayer, quantizer: Quantizer | None, y: str) -> str:
        if quantizer is None:
            return self.writer.constant(_array(layer.weight), f"{y}/weight")
        codes = self.writer.constant(_array(quantizer.codes(layer.weight)).astype(np.int8), f"{y}/weight_codes")
        scale = self.writer.constant(_array(quantizer.scale).reshape(-1), f"{y}/weight_scale")
        zero_point = self.writer.constant(np.zeros(len(layer.weight), np.int8), f"{y}/weight_zero_point")
        return self.writer.add("DequantizeLinear", [codes, scale, zero_point], f"{y}/weight", axis=0)

    def _info(self, name: str, value: str) -> onnx.ValueInfoProto:
        from onnx import TensorProto, helper

        return helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[value])


def _value(name: str) -> str:
    """What a step's value is called in the graph: apart from the names that stand for something else there."""
    return FRAME if name == FRAME else f"{name}/value"


def _array(tensor: Any) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = tensor.detach().cpu().numpy()
    return array
