"""Finds the first layer that differs between two forms of one network: the one to blame, not the ones after it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.core.parity import LayerDifference, TensorStatistics, sqnr_db
from edgeml.export.clean import SCOPES_KEY
from edgeml.export.run_onnx import Values, run_values
from edgeml.export.torch_values import TorchValue, torch_values

if TYPE_CHECKING:
    import onnx
    import torch

# A quantized layer is to blame where it loses this many decibels against its worst input and ends below the level
# that 8 bits leave in a layer as a rule (about 30 dB; measured on TinyNets).
_DROP_DB = 10.0
_SUSPECT_DB = 20.0
_SIMILAR_CORRELATION = 0.98
_ALIGN_LIMIT = 4000
# Operators that a batch norm after them may have been folded into.
_TAKES_NORM = frozenset({"Conv", "BinaryConv", "TreeBinaryConv", "BinaryDense"})


@dataclass(frozen=True)
class _Pair:
    """A value of the reference beside the same value of the file."""

    layer: str
    layer_type: str
    node: onnx.NodeProto
    value: str
    reference: npt.NDArray[Any]
    actual: npt.NDArray[Any]


def first_difference_from_torch(
    program: torch.export.ExportedProgram,
    model: onnx.ModelProto,
    inputs: npt.NDArray[np.float32],
    *,
    relative: float,
    absolute: float,
    feeds: Values | None = None,
) -> LayerDifference | None:
    """The first layer whose value differs by more than `relative` x its largest value + `absolute`.

    Values are matched by the names of torch's graph nodes that the exporter leaves in the file, or, in a file without
    them, by order, kind and shape. A convolution that took in its batch norm is compared at the batch norm's output.
    Values are walked in the order they are computed, so whatever the layer reads has passed already.

    Args:
        program: the torch network.
        model: the file.
        inputs: float32 (batch, channels, height, width).
        relative: tolerance relative to the largest absolute value of the layer's output.
        absolute: tolerance added to it.
        feeds: what to feed the file, where it is one with its signs held.

    Returns:
        None where every matched layer agrees.
    """
    reference = torch_values(program, inputs)
    actual = run_values(model, feeds or {model.graph.input[0].name: inputs})
    pairs = _pair_by_name(reference, model, actual) or _pair_by_order(reference, model, actual)
    return _first_beyond(pairs, relative, absolute)


def first_difference_between(
    reference: onnx.ModelProto,
    model: onnx.ModelProto,
    inputs: npt.NDArray[np.float32],
    *,
    relative: float,
    absolute: float,
    feeds: Values | None = None,
) -> LayerDifference | None:
    """The same between two ONNX graphs whose values have the same names.

    Raises:
        EdgeMLError: onnxruntime cannot run one of them.
    """
    return _first_beyond(list(_pair_by_value_name(reference, model, inputs, feeds)), relative, absolute)


def first_loss(
    reference: onnx.ModelProto,
    model: onnx.ModelProto,
    inputs: npt.NDArray[np.float32],
    *,
    feeds: Values | None = None,
) -> LayerDifference | None:
    """The first layer of a low-precision graph that loses far more than 8 or 16 bits must, or else the worst one.

    A layer's signal-to-noise ratio is held against the worst of the values it reads, so that noise handed down from
    an earlier layer is not counted against it.

    Args:
        reference: the float32 graph.
        model: the same graph in lower precision; values keep their names.
        inputs: float32 (batch, channels, height, width).
        feeds: what to feed the low-precision graph, where it is one with its signs held.
    """
    ratios: dict[str, float] = {}
    worst: tuple[float, _Pair] | None = None
    for pair in _pair_by_value_name(reference, model, inputs, feeds):
        ratio = min(sqnr_db(pair.reference, pair.actual), 120.0)
        before = min((ratios[name] for name in pair.node.input if name in ratios), default=120.0)
        drop = before - ratio
        ratios[pair.value] = ratio
        if drop > _DROP_DB and ratio < _SUSPECT_DB:
            return _describe(pair)
        if worst is None or drop * (ratio < before) / max(1.0, ratio) > worst[0]:
            worst = (drop / max(1.0, ratio), pair)
    return None if worst is None else _describe(worst[1])


def _pair_by_name(reference: Sequence[TorchValue], model: onnx.ModelProto, actual: Values) -> list[_Pair]:
    last: dict[str, onnx.NodeProto] = {}
    for node in model.graph.node:  # several nodes may make one torch value; the last one gives it
        scope = _scopes(node)
        if scope:
            last[scope[-1]] = node
    pairs = []
    for position, entry in enumerate(reference):
        maker = last.get(entry.name)
        if maker is None or maker.output[0] not in actual:
            continue
        value = maker.output[0]
        if actual[value].shape == entry.value.shape:
            fused = _fused(reference[position - 1], entry) if position and maker.op_type in _TAKES_NORM else entry
            pairs.append(_pair(fused, maker, actual[value]))
    return pairs


def _fused(before: TorchValue, norm: TorchValue) -> TorchValue:
    """A batch norm that went into the convolution before it, named after both."""
    if "batch_norm" not in norm.operator or not ("conv" in before.operator or "dense" in before.operator):
        return norm
    module, kind = f"{before.module} with {norm.module}", f"{before.module_type} with {norm.module_type}"
    return TorchValue(norm.name, module, kind, before.operator, norm.value)


def _pair(entry: TorchValue, maker: onnx.NodeProto, actual: npt.NDArray[Any]) -> _Pair:
    return _Pair(entry.module or "(network)", entry.module_type, maker, maker.output[0], entry.value, actual)


def _scopes(node: onnx.NodeProto) -> list[str]:
    for entry in node.metadata_props:
        if entry.key == SCOPES_KEY:
            try:
                scopes = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return []
            return scopes if isinstance(scopes, list) else []
    return []


def _pair_by_order(reference: Sequence[TorchValue], model: onnx.ModelProto, actual: Values) -> list[_Pair]:
    """Align two sequences of values by kind and shape; a fused batch norm stands for its convolution."""
    has_norm = any(node.op_type == "BatchNormalization" for node in model.graph.node)
    left = _fold_batch_norms(reference) if not has_norm else list(reference)
    right = [node for node in model.graph.node if node.output[0] in actual]
    if max(len(left), len(right)) > _ALIGN_LIMIT:
        return []
    tokens_left = [(_torch_kind(entry.operator), entry.value.shape) for entry in left]
    tokens_right = [(_onnx_kind(node.op_type), actual[node.output[0]].shape) for node in right]
    matcher = SequenceMatcher(None, tokens_left, tokens_right, autojunk=False)
    pairs = []
    for start_left, start_right, size in matcher.get_matching_blocks():
        for entry, node in zip(
            left[start_left : start_left + size], right[start_right : start_right + size], strict=True
        ):
            value = node.output[0]
            pairs.append(_Pair(entry.module or "(network)", entry.module_type, node, value, entry.value, actual[value]))
    return pairs


def _fold_batch_norms(reference: Sequence[TorchValue]) -> list[TorchValue]:
    folded: list[TorchValue] = []
    for entry in reference:
        if "batch_norm" in entry.operator and folded and "conv" in folded[-1].operator:
            folded.append(_fused(folded.pop(), entry))
        else:
            folded.append(entry)
    return folded


def _torch_kind(operator: str) -> str:
    name = operator.removeprefix("aten.").removeprefix("edgeml.").partition(".")[0].strip("_")
    kinds = {
        "convolution": "conv", "conv2d": "conv", "conv1d": "conv", "addmm": "gemm", "linear": "gemm", "mm": "gemm",
        "matmul": "gemm", "silu": "mul", "mul": "mul", "add": "add", "mean": "pool", "adaptive_avg_pool2d": "pool",
        "hardtanh": "clip", "relu6": "clip", "clamp": "clip", "max_pool2d": "maxpool", "cat": "concat",
        "native_batch_norm_legit_no_training": "norm", "batch_norm": "norm", "hardsigmoid": "hardsigmoid",
        "hardswish": "hardswish", "binary_conv": "conv", "binary_dense": "gemm",
    }  # fmt: skip
    return kinds.get(name, name)


def _onnx_kind(op_type: str) -> str:
    kinds = {
        "Conv": "conv", "Gemm": "gemm", "MatMul": "gemm", "ReduceMean": "pool", "GlobalAveragePool": "pool",
        "Clip": "clip", "BatchNormalization": "norm", "BinaryConv": "conv", "TreeBinaryConv": "conv",
        "BinaryDense": "gemm",
    }  # fmt: skip
    return kinds.get(op_type, op_type.lower())


def _pair_by_value_name(
    reference: onnx.ModelProto, model: onnx.ModelProto, inputs: npt.NDArray[np.float32], feeds: Values | None
) -> Iterable[_Pair]:
    expected = run_values(reference, {reference.graph.input[0].name: inputs})
    found = run_values(model, feeds or {model.graph.input[0].name: inputs})
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in reference.graph.node:
        value = node.output[0]
        # In a QDQ graph what later layers read is the value after its quantizer; a float16 graph casts in its stead.
        shown = next((name for name in (f"{value}_DequantizeLinear_Output", value) if name in found), None)
        if shown is None or value not in expected or found[shown].shape != expected[value].shape:
            continue
        if expected[value].dtype.kind != "f":
            continue
        maker = makers.get(value, node)
        named = makers[shown] if maker.op_type in {"QuantizeLinear", "DequantizeLinear", "Cast"} else maker
        subject = node if named.op_type in {"QuantizeLinear", "DequantizeLinear", "Cast"} else named
        scope = _scopes(node)
        layer = scope[-2] if len(scope) > 1 and scope[-2] else node.name
        pair = _Pair(layer, node.op_type, _with_inputs(subject, node), value, expected[value], found[shown])
        yield pair


def _with_inputs(named: onnx.NodeProto, wired: onnx.NodeProto) -> onnx.NodeProto:
    """The file's node, reading the values of the reference's node (a QDQ graph renames what a node reads)."""
    import onnx

    node = onnx.NodeProto()
    node.CopyFrom(named)
    del node.input[:]
    node.input.extend(wired.input)
    return node


def _first_beyond(pairs: Sequence[_Pair], relative: float, absolute: float) -> LayerDifference | None:
    for pair in pairs:
        tolerance = relative * float(np.abs(pair.reference).max(initial=0.0)) + absolute
        difference = np.abs(pair.actual.astype(np.float64) - pair.reference.astype(np.float64))
        if not np.isfinite(difference).all() or difference.max(initial=0.0) > tolerance:
            return _describe(pair)
    return None


def _describe(pair: _Pair) -> LayerDifference:
    difference = np.abs(pair.actual.astype(np.float64) - pair.reference.astype(np.float64))
    finite = bool(np.isfinite(difference).all())
    at = int(np.nan_to_num(difference, nan=np.inf).argmax()) if difference.size else 0
    ratio = sqnr_db(pair.reference, pair.actual)
    return LayerDifference(
        layer=pair.layer,
        layer_type=pair.layer_type,
        node=pair.node.name,
        op_type=pair.node.op_type,
        value=pair.value,
        reference=TensorStatistics.of(pair.reference),
        actual=TensorStatistics.of(pair.actual),
        max_abs_difference=float(difference.max(initial=0.0)) if finite else None,
        where=tuple(int(index) for index in np.unravel_index(at, difference.shape)) if difference.size else (),
        sqnr_db=ratio if np.isfinite(ratio) else None,
    )
