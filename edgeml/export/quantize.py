"""Makes an 8-bit form of a float32 graph: static QDQ where it pays, float32 where it does not or where it hurts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.core.parity import sqnr_db
from edgeml.core.samples import Samples
from edgeml.export.between_binary import between_binary_layers
from edgeml.export.binarizations import binarizations
from edgeml.export.calibration import METHODS, split_calibration, value_ranges
from edgeml.export.clean import checked
from edgeml.export.held_parity import run_held
from edgeml.export.int8_costs import QUANTIZABLE, Part, Wire, parts_and_wires
from edgeml.export.placement import place
from edgeml.export.references import onnx_reference
from edgeml.export.run_onnx import input_spec, run_samples
from edgeml.export.to_onnx import silence

if TYPE_CHECKING:
    import onnx

NEGLIGIBLE_SHARE = 0.002
TARGET_SQNR_DB = 20.0
TARGET_AGREEMENT = 0.99
_SENSITIVITY_SAMPLES = 16
_HELD_SAMPLES = 8  # every value that is binarized is kept for each of them


@dataclass(frozen=True)
class FloatNode:
    """A convolution or matrix product, or another sensitive node, that was left in float32.

    Attributes:
        name: the ONNX node.
        reason: why, in words.
        share_of_macs: its share of the network's multiply-accumulates.
    """

    name: str
    reason: str
    share_of_macs: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"name": self.name, "reason": self.reason, "share_of_macs": self.share_of_macs}


@dataclass(frozen=True)
class Quantized:
    """The 8-bit graph and how it came about.

    Attributes:
        model: the graph with QuantizeLinear and DequantizeLinear around what runs in 8 bits.
        float_nodes: convolutions, matrix products and sensitive nodes that stayed in float32, in graph order.
        method: how ranges were taken ("minmax", "percentile" or "entropy").
        sqnr_db: signal-to-noise ratio of the logits on the held-out calibration samples.
        agreement: share of them with the same top-1 class as in float32.
        share_of_macs: share of multiply-accumulates that run in 8 bits.
        pays: whether it is estimated to be faster than float32; where nothing is, all that can be is quantized.
    """

    model: onnx.ModelProto
    float_nodes: tuple[FloatNode, ...]
    method: str
    sqnr_db: float
    agreement: float
    share_of_macs: float
    pays: bool


def quantize(model: onnx.ModelProto, calibration: Samples) -> Quantized:
    """The 8-bit form of `model`: unsigned activations, signed weights with a scale a channel.

    Three steps decide what is quantized: (1) what is cheaper in 8 bits with all changes of type counted
    (`edgeml.export.placement`), except convolutions with less than 0.2% of the work, which can only lose accuracy, and
    what lies between binary layers;
    (2) the method of taking ranges whose logits are nearest to float32 on held-out calibration samples; (3) as long as
    they have neither 20 dB nor 99% the same top-1 class, the parts that hurt most by themselves go back to float32. A
    binary network is judged in (2) and (3) with its signs held.

    Args:
        model: float32, with inferred shapes.
        calibration: never a test split.

    Raises:
        UsageError: the calibration data is a test split or too small.
    """
    ranging, held_out = split_calibration(calibration)
    model = _named(model)
    parts, wires = parts_and_wires(model)
    work = max(1, sum(part.macs for part in parts))
    light = (index for index, part in enumerate(parts) if 0 < part.macs < NEGLIGIBLE_SHARE * work)
    barred = dict.fromkeys(light, f"negligible work (under {NEGLIGIBLE_SHARE:.1%} of the multiply-accumulates)")
    barred |= dict.fromkeys(between_binary_layers(parts, wires), "between binary layers")
    placed = place(parts, wires, barred)
    pays = any(parts[index].macs for index in placed)
    if not pays:
        placed = frozenset(i for i, part in enumerate(parts) if part.int8_ns is not None and i not in barred)
    reference = run_samples(model, held_out)
    method, ranges = _best_method(model, parts, placed, ranging, held_out, reference)
    sensitive: frozenset[int] = frozenset()
    result = _qdq(model, _names(parts, placed), ranges)
    if not _good(*_nearness(model, result, held_out, reference)):
        result, placed, sensitive = _relax(model, parts, wires, placed, barred, ranges, held_out, reference)
    ratio, agreement = _agreement(reference, run_samples(result, held_out))  # nothing held: what a user will see
    return Quantized(
        model=checked(result),
        float_nodes=_float_nodes(parts, placed, barred, sensitive, work),
        method=method,
        sqnr_db=ratio,
        agreement=agreement,
        share_of_macs=sum(parts[index].macs for index in placed) / work,
        pays=pays,
    )


def _best_method(
    model: onnx.ModelProto,
    parts: Sequence[Part],
    placed: Collection[int],
    ranging: npt.NDArray[np.float32],
    held_out: npt.NDArray[np.float32],
    reference: npt.NDArray[np.float32],
) -> tuple[str, Any]:
    best: tuple[float, str, Any] | None = None
    names = _names(parts, placed)
    for method in METHODS:
        with silence():
            ranges = value_ranges(model, ranging, method, sorted(QUANTIZABLE))
        ratio, _ = _nearness(model, _qdq(model, names, ranges), held_out, reference)
        if best is None or ratio > best[0]:
            best = (ratio, method, ranges)
    assert best is not None
    return best[1], best[2]


def _relax(
    model: onnx.ModelProto,
    parts: Sequence[Part],
    wires: Sequence[Wire],
    placed: frozenset[int],
    barred: Mapping[int, str],
    ranges: Any,
    held_out: npt.NDArray[np.float32],
    reference: npt.NDArray[np.float32],
) -> tuple[onnx.ModelProto, frozenset[int], frozenset[int]]:
    """Send the most harmful parts back to float32, 1, 2, 4, ... at a time, until the logits are near enough."""
    few, expected = held_out[:_SENSITIVITY_SAMPLES], reference[:_SENSITIVITY_SAMPLES]
    harm = {
        index: _nearness(model, _qdq(model, parts[index].nodes, ranges), few, expected)[0]
        for index in placed
        if parts[index].float_ns > 0
    }
    order = sorted(harm, key=lambda index: (harm[index], index))
    count, best = 1, (_qdq(model, _names(parts, placed), ranges), placed, frozenset[int]())
    while count <= len(order):
        sensitive = frozenset(order[:count])
        kept = place(parts, wires, {*barred, *sensitive}) & placed or placed - sensitive
        if not any(parts[index].macs for index in kept):
            break
        candidate = _qdq(model, _names(parts, kept), ranges)
        best = (candidate, kept, sensitive)
        if _good(*_nearness(model, candidate, held_out, reference)):
            break
        count *= 2
    return best


def _qdq(model: onnx.ModelProto, nodes: Collection[str], ranges: Any) -> onnx.ModelProto:
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    quantizer = QDQQuantizer(
        copied,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=list(nodes),
        nodes_to_exclude=[],
        op_types_to_quantize=sorted(QUANTIZABLE),
        extra_options={},
    )
    with silence():
        quantizer.quantize_model()
    quantizer.model.topological_sort()
    result: onnx.ModelProto = quantizer.model.model
    return result


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a name of its own on every node; foreign files may have none."""
    import onnx

    named = onnx.ModelProto()
    named.CopyFrom(model)
    seen: set[str] = set()
    for index, node in enumerate(named.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{index}"
        seen.add(node.name)
    return named


def _names(parts: Sequence[Part], placed: Collection[int]) -> list[str]:
    return [name for index in sorted(placed) for name in parts[index].nodes]


def _nearness(
    model: onnx.ModelProto,
    candidate: onnx.ModelProto,
    inputs: npt.NDArray[np.float32],
    reference: npt.NDArray[np.float32],
) -> tuple[float, float]:
    """How near a candidate's logits are to those of the float graph: decibels, and share of the same top-1 class.

    Of a binary network with the float graph's signs held, the ratio at the worst binary layer counts as well: turned
    signs would drown what a layer's own 8 bits cost.
    """
    if not binarizations(candidate):
        return _agreement(reference, run_samples(candidate, inputs))
    few = inputs[: input_spec(model)[1][0] or _HELD_SAMPLES]
    run = run_held(candidate, onnx_reference(model), few)
    return run.worst_ratio(), _agreement(reference[: len(few)], run.outputs[0])[1]


def _agreement(reference: npt.NDArray[np.float32], actual: npt.NDArray[np.float32]) -> tuple[float, float]:
    same = reference.reshape(len(reference), -1).argmax(1) == actual.reshape(len(actual), -1).argmax(1)
    return sqnr_db(reference, actual), float(same.mean())


def _good(ratio: float, agreement: float) -> bool:
    return ratio >= TARGET_SQNR_DB or (agreement >= TARGET_AGREEMENT and ratio >= TARGET_SQNR_DB / 2)


def _float_nodes(
    parts: Sequence[Part], placed: Collection[int], barred: Mapping[int, str], sensitive: Collection[int], work: int
) -> tuple[FloatNode, ...]:
    found = []
    for index, part in enumerate(parts):
        if index in placed or not (part.macs or index in sensitive):
            continue
        if index in barred:
            reason = barred[index]
        elif index in sensitive:
            reason = "sensitive: most harm to the logits when quantized by itself"
        else:
            reason = "8 bits would not pay for the changes of type around it"
        found.append(FloatNode(part.nodes[0], reason, part.macs / work))
    return tuple(found)
