"""Writes how much of each map changed, in as few operators as there are sizes of maps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from edgeml.export.video.onnx_writer import OnnxWriter


def write_activity(writer: OnnxWriter, maps: Mapping[str, tuple[int, ...]]) -> None:
    """Append nodes that make `activity`, float32 (maps): the mean of each map.

    An operator takes longer to begin than to average a small map, so maps of one size are averaged together.

    Args:
        writer: where the nodes go.
        maps: height and width of each pixel map, uint8 (1, height, width) of 0 and 1, by its name.
    """
    from onnx import TensorProto

    of_size: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, size in maps.items():
        of_size[size].append(name)
    axes = writer.constant(np.array([1, 2], np.int64), "rows_and_columns")
    shares = []
    for size, alike in of_size.items():
        name = f"activity/{'x'.join(map(str, size))}"
        stacked = writer.add("Concat", alike, f"{name}/maps", axis=0)
        real = writer.add("Cast", [stacked], f"{name}/real", to=TensorProto.FLOAT)
        shares.append(writer.add("ReduceMean", [real, axes], f"{name}/shares", keepdims=0))
    by_size = writer.add("Concat", shares, "activity/by_size", axis=0)
    order = [name for alike in of_size.values() for name in alike]
    places = writer.constant(np.array([order.index(name) for name in maps], np.int64), "activity/places")
    writer.add("Gather", [by_size, places], "activity", axis=0)
