"""What a gated stream computes: of each convolution, the share of pixels in active tiles, frame by frame.

Kernels compute whole tiles, so the share of changed pixels says too little. The pixel maps that decide are values
inside the graph of residual frames: one untimed pass is made with a copy of the files that gives them out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError
from edgeml.core.session import SessionOptions
from edgeml.edge_bench.video.results import Layer
from edgeml.ops.domain import DOMAIN
from edgeml.ops.residual import residual_conv
from edgeml.ops.residual.windows import Windows
from edgeml.runtime.streaming.cut_detector import CutDetector
from edgeml.runtime.streaming.model import StreamingModel
from edgeml.runtime.streaming.video_files import video_files

if TYPE_CHECKING:
    import onnx

_MAP = "edgeml.pixel_map.{}"


@dataclass(frozen=True, kw_only=True)
class TiledFrame:
    """What one frame computed.

    Attributes:
        shares: of the output pixels of each layer that lie in active tiles, in order; all 1 at a key frame.
        bit_operations: sum over steps of macs x weight bits x activation bits x share.
    """

    shares: tuple[float, ...]
    bit_operations: float


@dataclass(frozen=True, kw_only=True)
class TiledClip:
    """What a stream computed of a clip.

    Attributes:
        layers: the convolutions that are computed in tiles, in the order of the network.
        frames: in order; empty where there is no such layer.
    """

    layers: tuple[Layer, ...]
    frames: tuple[TiledFrame, ...]


@dataclass(frozen=True, kw_only=True)
class _Watched:
    """A ResidualConv: what it makes, the output that gives its pixel map, and which tiles the map makes it compute."""

    makes: str
    output: str
    windows: Windows
    tile: int


def tiled_clip(
    path: Path,
    frames: Iterable[npt.NDArray[np.float32]],
    *,
    threads: int,
    key_interval: int | Literal["file"] | None,
    cut_detector: CutDetector | None,
) -> TiledClip:
    """Run a clip once and tell what was computed of each frame.

    Args:
        path: NAME.residual.onnx, which has passed the safety check.
        frames: float32 (channels, height, width) each.
        threads: inside one operator.
        key_interval: frames between key frames; None for no limit, "file" for what the files say.
        cut_detector: of the stream; None finds no cuts.

    Raises:
        EdgeMLError: the files cannot be opened or run.
    """
    with tempfile.TemporaryDirectory(prefix="edgeml-tiles-") as name:
        watched, copy = _write_copies(path, Path(name))
        if not watched:
            return TiledClip(layers=(), frames=())
        model = StreamingModel.open(copy, SessionOptions(threads=threads))
        steps = {state.next: state.step for state in model.states}
        names = [steps.get(each.makes, each.makes) for each in watched]
        macs = model.residual.metadata.macs
        stream = model.stream(key_interval=key_interval, cut_detector=cut_detector)
        found = []
        for frame in frames:
            result = stream.step(frame)
            key = result.statistics.kind == "key"
            shares = [
                1.0 if key else active_share(result.outputs[each.output], each.windows, each.tile) for each in watched
            ]
            computed = {**result.statistics.active_share, **dict(zip(names, shares, strict=True))}
            metadata = (model.key if key else model.residual).metadata
            bit_operations = metadata.bit_operations([computed[step] for step in metadata.gated_steps])
            found.append(TiledFrame(shares=tuple(shares), bit_operations=bit_operations))
        model.close()
    return TiledClip(layers=tuple(Layer(name=name, macs=macs.get(name, 0)) for name in names), frames=tuple(found))


def active_share(changed: npt.NDArray[np.uint8], windows: Windows, tile: int) -> float:
    """The share of a convolution's output pixels that lie in tiles with a changed pixel at a tap.

    That a threshold then keeps some of these tiles as they were saves nothing: they have been computed.

    Args:
        changed: pixel map of its input, uint8 (N, H, W), not 0 where a pixel changed.
        windows: of the convolution.
        tile: height and width of a tile in output pixels.
    """
    # What Windows.changed and tile_maxima say, but faster: windows and tiles are rectangles, so axes go one by one.
    height, width = windows.output_size(changed.shape[1:])
    top, left, bottom, right = windows.pads
    seen = np.pad(changed != 0, ((0, 0), (top, bottom), (left, right)))
    for axis, count in ((1, height), (2, width)):
        seen = _any_tap(seen, windows, axis, count)
        seen = np.logical_or.reduceat(seen, np.arange(0, count, tile), axis=axis)
    rows, columns = (np.minimum(tile, count - np.arange(0, count, tile)) for count in (height, width))
    return float((seen * np.outer(rows, columns)).sum() / (len(seen) * height * width))


def _any_tap(seen: npt.NDArray[np.bool_], windows: Windows, axis: int, count: int) -> npt.NDArray[np.bool_]:
    """Whether any tap along an axis sees something: `count` windows in place of that axis of a padded map (N, H, W)."""
    stride, dilation = windows.strides[axis - 1], windows.dilations[axis - 1]
    span = (count - 1) * stride + 1
    lines = np.moveaxis(seen, axis, 0)
    taps = [lines[at * dilation : at * dilation + span : stride] for at in range(windows.kernel_shape[axis - 1])]
    return np.moveaxis(np.logical_or.reduce(taps), 0, axis)


def _write_copies(path: Path, directory: Path) -> tuple[tuple[_Watched, ...], Path]:
    """Write the pair again, with the pixel maps that its convolutions read as outputs; the copy of `path`.

    A key frame's maps are not read: its copy gives ones, so that both have the same outputs.

    Raises:
        UsageError: the size of a pixel map is not known.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    files = video_files(path)
    key, residual = onnx.load(files.key), onnx.load(files.residual)
    watched, maps = _watched(residual.graph)
    sizes = _map_sizes(residual.graph)
    for name, output in maps.items():
        if name not in sizes:
            raise UsageError(
                f"{files.residual}: the size of the pixel map {name} is not known; convert the network again"
            )
        residual.graph.node.append(helper.make_node("Identity", [name], [output]))
        ones = numpy_helper.from_array(np.ones(sizes[name], np.uint8))
        key.graph.node.append(helper.make_node("Constant", [], [output], value=ones))
        for model in (key, residual):
            model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.UINT8, sizes[name]))
    copies = {files.key: key, files.residual: residual}
    for file, model in copies.items():
        onnx.save(model, directory / file.name)
    return watched, directory / files.residual.name


def _watched(graph: onnx.GraphProto) -> tuple[tuple[_Watched, ...], dict[str, str]]:
    """The graph's convolutions in tiles, and the output for each pixel map that they read."""
    from onnx import helper

    convolutions = [node for node in graph.node if node.domain == DOMAIN and node.op_type == residual_conv.NAME]
    read = list(dict.fromkeys(node.input[1] for node in convolutions))
    maps = {name: _MAP.format(index) for index, name in enumerate(read)}
    found = []
    for node in convolutions:
        stated = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        said = {name: default for name, (default, _) in residual_conv.SIGNATURE.defaults.items()} | stated
        windows = Windows(said["kernel_shape"], said["strides"], said["pads"], said["dilations"])
        found.append(_Watched(makes=node.output[0], output=maps[node.input[1]], windows=windows, tile=said["tile"]))
    return tuple(found), maps


def _map_sizes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Size (N, H, W) of each pixel map that is made beside codes (N, H, W, C) which the graph gives out."""
    sizes = {
        value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)[:3] for value in graph.output
    }
    return {
        node.output[1]: sizes[node.output[0]]
        for node in graph.node
        if node.domain == DOMAIN and len(node.output) == 2 and node.output[0] in sizes
    }
