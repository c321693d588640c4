"""Brings a float video graph into 8-bit codes: scales, fused functions, tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError
from edgeml.models.video.execute import run
from edgeml.models.video.gating import with_layer_tiles
from edgeml.models.video.graph import (
    FRAME,
    Add,
    Concat,
    Conv,
    Dense,
    GlobalPool,
    Pointwise,
    Pool,
    Resize,
    Step,
    VideoGraph,
    inputs_of,
)
from edgeml.models.video.quantized import (
    IDENTITY,
    CodeAdd,
    CodeConcat,
    CodeConv,
    CodeGraph,
    CodePool,
    CodeResize,
    Codes,
    CodeStep,
    CodeTable,
    Gate,
)
from edgeml.models.video.ranges import CodeRange, Method, calibrate

_CLAMPS = frozenset({"relu", "relu6", "ReLU", "ReLU6"})
_WEIGHT_LIMIT = 127
_BIAS_LIMIT = 2.0**30  # leaves as much for the products
_TILES = (1, 256)


def quantize(
    graph: VideoGraph,
    frames: npt.NDArray[np.float32],
    *,
    method: Method = "mse",
    gate: Gate | None = None,
    thresholds: Mapping[str, int] | None = None,
) -> CodeGraph:
    """The network in codes, with ranges from calibration frames.

    A function that alone reads a convolution or sum becomes its table; ReLU and ReLU6 become the range of its codes.

    Args:
        graph: the network.
        frames: float32 (frame, channels, height, width).
        method: how ranges are taken, see `calibrate`.
        gate: at the frame; every changed code passes where None.
        thresholds: in sixteenths of a code, for convolutions by the name of the value after their fused function.

    Raises:
        UsageError: frames, gate or thresholds do not fit, or the network needs maps after global pooling.
    """
    gate = Gate() if gate is None else gate
    _check_gate(gate)
    ranges = calibrate(graph, frames, method)
    pooled = _pooled(graph)
    if graph.output not in pooled and graph.output == FRAME:
        raise UsageError("the network gives the frame back; a video network must have a step")
    writer = _Writer(graph, ranges, _shapes(graph, frames), dict(thresholds or {}))
    for step in graph.steps:
        if step.name not in pooled:
            writer.write(step)
    convolutions = {step.name for step in writer.steps if isinstance(step, CodeConv)}
    for name, threshold in (thresholds or {}).items():
        if name not in convolutions or threshold < 0:
            raise UsageError(
                f"threshold {threshold} for {name!r}; allowed: 0 or more, for the convolutions "
                f"{', '.join(sorted(convolutions)) or '(there are none)'}"
            )
    return with_layer_tiles(
        CodeGraph(
            steps=tuple(writer.steps),
            tail=tuple(step for step in graph.steps if step.name in pooled),
            ranges=writer.ranges,
            shapes=writer.shapes,
            output=graph.output,
            gate=gate,
        )
    )


def _check_gate(gate: Gate) -> None:
    low, high = _TILES
    if not low <= gate.tile <= high:
        raise UsageError(f"tiles of {gate.tile} pixels are out of range; allowed: {low} to {high}")
    if gate.threshold < 0:
        raise UsageError(f"gate threshold {gate.threshold} is negative; allowed: 0 or more sixteenths of a code")


def _pooled(graph: VideoGraph) -> frozenset[str]:
    """Values without rows and columns: global pooling, linear layers and all that is computed from them.

    Raises:
        UsageError: a step makes a map of such a value.
    """
    pooled: set[str] = set()
    for step in graph.steps:
        if isinstance(step, GlobalPool | Dense) or pooled.intersection(inputs_of(step)):
            if isinstance(step, Conv | Pool | Resize):
                raise UsageError(
                    f"{step.name}: {type(step).__name__} comes after global pooling; there only linear layers, "
                    "functions, sums and concatenations are allowed in gated video"
                )
            pooled.add(step.name)
    return frozenset(pooled)


def _shapes(graph: VideoGraph, frames: npt.NDArray[np.float32]) -> dict[str, tuple[int, ...]]:
    return {name: value.shape[1:] for name, value in run(graph, frames[:1]).items()}


class _Writer:
    """Writes the code steps one after another; a value's range is known before it is read."""

    def __init__(
        self,
        graph: VideoGraph,
        found: dict[str, CodeRange],
        shapes: dict[str, tuple[int, ...]],
        thresholds: dict[str, int],
    ) -> None:
        self.steps: list[CodeStep] = []
        self.ranges = {FRAME: found[FRAME]}
        self.shapes = {FRAME: shapes[FRAME]}
        self._found = found
        self._all_shapes = shapes
        self._thresholds = thresholds
        readers = Counter(name for step in graph.steps for name in inputs_of(step))
        readers[graph.output] += 1
        # The function that alone reads a value, by that value's name.
        self._after = {
            step.x: step for step in graph.steps if isinstance(step, Pointwise) and readers[step.x] == 1
        }  # fmt: skip
        self._fused: set[str] = set()
        for step in graph.steps:
            if step.name in _pooled(graph):
                self.shapes[step.name] = shapes[step.name]

    def write(self, step: Step) -> None:
        """Add the code steps of one float step, with the functions that alone read it."""
        if step.name in self._fused:
            return
        match step:
            case Conv():
                functions = self._functions(step.name)
                before, table, name = self._end(step.name, functions)
                self._add(self._conv(step, name, before, table), self._result(functions, before))
            case Add():
                functions = self._functions(step.name)
                before, table, name = self._end(step.name, functions)
                self._add(
                    CodeAdd(name=name, a=step.a, b=step.b, before=before, table=table),
                    self._result(functions, before),
                )
            case Concat():
                self._concat(step)
            case Pointwise():
                codes = self._found[step.name]
                self._add(CodeTable(name=step.name, x=step.x, table=_table([step], self.ranges[step.x], codes)), codes)
            case Pool():
                pool = CodePool(
                    name=step.name, x=step.x, mode=step.mode, kernel_shape=step.kernel_shape, strides=step.strides,
                    pads=step.pads,
                )  # fmt: skip
                self._add(pool, self.ranges[step.x])
            case Resize():
                resize = CodeResize(name=step.name, x=step.x, mode=step.mode, factor=step.factor)
                self._add(resize, self.ranges[step.x])
            case _:
                raise AssertionError(step)

    def _add(self, step: CodeStep, codes: CodeRange) -> None:
        self.steps.append(step)
        self.ranges[step.name] = codes
        self.shapes.setdefault(step.name, self._all_shapes.get(step.name, ()))

    def _functions(self, name: str) -> list[Pointwise]:
        """The functions after a value, each the only reader of the one before."""
        functions: list[Pointwise] = []
        while name in self._after:
            functions.append(self._after[name])
            name = functions[-1].name
        self._fused.update(function.name for function in functions)
        return functions

    def _end(self, name: str, functions: Sequence[Pointwise]) -> tuple[CodeRange, Codes, str]:
        """Codes before the table, the table, and the name of the value after it."""
        if not functions:
            return self._found[name], IDENTITY, name
        after = self._found[functions[-1].name]
        if _clamps(functions, after):
            return after, IDENTITY, functions[-1].name
        return self._found[name], _table(functions, self._found[name], after), functions[-1].name

    def _result(self, functions: Sequence[Pointwise], before: CodeRange) -> CodeRange:
        return self._found[functions[-1].name] if functions else before

    def _conv(self, step: Conv, name: str, before: CodeRange, table: Codes) -> CodeConv:
        x = np.float32(self.ranges[step.x].scale)
        scale = _weight_scales(step, float(x))
        per_filter = scale.reshape(-1, 1, 1, 1).astype(np.float64)
        weight = np.clip(np.rint(step.weight / per_filter), -_WEIGHT_LIMIT, _WEIGHT_LIMIT).astype(np.int8)
        product = x * scale  # float32, as onnxruntime's QLinearConv computes it
        if weight[0].size * 255 * 128 >= _BIAS_LIMIT:
            raise UsageError(
                f"{step.name}: sums of {weight[0].size} products leave int32; use groups or fewer channels"
            )
        return CodeConv(
            name=name,
            x=step.x,
            weight=weight,
            weight_scale=scale,
            bias=np.rint(step.bias.astype(np.float64) / product).astype(np.int32),
            multiplier=(product / np.float32(before.scale)).astype(np.float32),
            before=before,
            table=table,
            strides=step.strides,
            pads=step.pads,
            dilations=step.dilations,
            group=step.group,
            threshold=self._thresholds.get(name, 0),
        )

    def _concat(self, step: Concat) -> None:
        """Two parts, then one more at a time; all in the scale of the whole."""
        codes = self._found[step.name]
        tables = [_table([], self.ranges[part], codes) for part in step.parts]
        (a, *rest), (table_a, *others) = step.parts, tables
        for index, (part, table) in enumerate(zip(rest, others, strict=True), start=1):
            name = step.name if index == len(rest) else f"{step.name}/{index}"
            channels = self.shapes[a][0] + self.shapes[part][0]
            self.shapes[name] = (channels, *self.shapes[a][1:])
            self._add(CodeConcat(name=name, whole=step.name, a=a, b=part, table_a=table_a, table_b=table), codes)
            a, table_a = name, IDENTITY


def _clamps(functions: Sequence[Pointwise], after: CodeRange) -> bool:
    """Whether saturation to the codes `after` is all that the functions do: ReLU ends at code 0, ReLU6 below 6 too."""
    return all(each.operator in _CLAMPS for each in functions) and after.zero_point == 0


def _table(functions: Sequence[Pointwise], before: CodeRange, after: CodeRange) -> Codes:
    """What each code `before` becomes, uint8 (256)."""
    import torch

    with torch.no_grad():
        values = torch.from_numpy(before.dequantize(np.arange(256, dtype=np.uint8)).reshape(1, 1, 16, 16))
        for function in functions:
            values = function.function(values.clone())
    if before == after and not functions:
        return IDENTITY
    return after.quantize(cast("npt.NDArray[np.float32]", values.numpy()).reshape(256))


def _weight_scales(step: Conv, x_scale: float) -> npt.NDArray[np.float32]:
    """One for each filter: its greatest weight is 127, and its bias is within int32."""
    greatest = np.abs(step.weight.astype(np.float64)).reshape(len(step.weight), -1).max(axis=1, initial=0)
    least = np.maximum(np.abs(step.bias.astype(np.float64)) / (x_scale * _BIAS_LIMIT), np.finfo(np.float32).tiny * 1e8)
    scales: npt.NDArray[np.float32] = np.maximum(greatest / _WEIGHT_LIMIT, least).astype(np.float32)
    return scales
