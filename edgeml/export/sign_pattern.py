"""Recognizes how a graph of standard operators takes signs: Where(Less(x, threshold), -scale, scale)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeml.export.graph_values import GraphValues

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Signs:
    """A value that is -scale where another is below a threshold, and scale elsewhere.

    Attributes:
        source: the value whose signs are taken.
        threshold: float32, constant, of a shape that broadcasts against the source.
        scale: any number but 0.
        less: the node that compares.
        where: the node that chooses.
    """

    source: str
    threshold: npt.NDArray[np.float32]
    scale: float
    less: onnx.NodeProto
    where: onnx.NodeProto


def find_signs(values: GraphValues, name: str) -> Signs | None:
    """How the value of that name is made, where it is made of signs."""
    where = values.makers.get(name)
    if where is None or where.op_type != "Where" or where.domain or len(where.input) != 3:
        return None
    less = values.makers.get(where.input[0])
    if less is None or less.op_type != "Less" or less.domain or len(less.input) != 2:
        return None
    threshold, low, high = (values.constant(entry) for entry in (less.input[1], *where.input[1:]))
    if threshold is None or low is None or high is None or threshold.dtype != np.float32 or high.dtype != np.float32:
        return None
    if low.size != 1 or high.size != 1 or max(low.ndim, high.ndim) > 1 or low.item() != -high.item():
        return None
    scale = float(high.item())
    if not np.isfinite(scale) or scale == 0:
        return None
    return Signs(less.input[0], threshold, scale, less, where)
