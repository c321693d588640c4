"""Reads the trace that onnxruntime's profiler writes: which operators ran, for how long, on what shapes.

The trace is a list of events in Chrome's trace format (durations in whole microseconds, rounded down). An event of the
category "Node" is one call of one operator; "model_run" is one run. onnxruntime describes it under "Profiling tools".
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.core.errors import EdgeMLError

_SUFFIX = "_kernel_time"
# Operators with graphs of their own inside: their time holds that of the nodes in them, which are told of too.
_CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
_DTYPES = {"float": "float32", "double": "float64"}


@dataclass(frozen=True)
class Tensor:
    """A tensor that an operator reads or writes.

    Attributes:
        dtype: numpy's name.
        shape: of this run.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many values it holds."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """How much memory they take."""
        return self.elements * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, kw_only=True)
class TracedNode:
    """One node of the graph that was executed, over all runs looked at.

    Attributes:
        name: the node's name, as onnxruntime's optimizations left it.
        operator: its type.
        provider: the execution provider that ran it.
        milliseconds: median over runs of the time in it, all its calls in a run together, without the nodes inside it.
        calls: calls in one run.
        inputs: what a call reads; weights that onnxruntime keeps rearranged in a copy of its own are not among them.
        outputs: what a call writes.
        activation_bytes: bytes of the inputs that are no weights, of all calls in a run.
        weight_bytes: bytes of the weights among the inputs, of all calls in a run.
        output_bytes: bytes of the outputs, of all calls in a run.
    """

    name: str
    operator: str
    provider: str
    milliseconds: float
    calls: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    activation_bytes: int
    weight_bytes: int
    output_bytes: int

    @property
    def dtype(self) -> str:
        """Of what it computes with: its first input that is no condition; "" where it has neither input nor output."""
        tensors = [*self.inputs, *self.outputs]
        return next((each.dtype for each in tensors if each.dtype != "bool"), tensors[0].dtype if tensors else "")


@dataclass(frozen=True)
class Trace:
    """What a trace tells of its last runs.

    Attributes:
        nodes: in the order executed.
        run_ms: median time of a run, profiling included.
        runs: how many runs.
    """

    nodes: tuple[TracedNode, ...]
    run_ms: float
    runs: int


@dataclass(frozen=True)
class _Call:
    name: str
    operator: str
    start_us: int
    duration_us: int
    own_us: float
    details: Mapping[str, Any]


def read_trace(path: Path, *, runs: int) -> Trace:
    """The last `runs` runs of a trace.

    Raises:
        EdgeMLError: it is no trace of that many runs.
    """
    try:
        events = json.loads(path.read_text(encoding="utf-8"))
        starts = sorted((event["ts"], event["dur"]) for event in events if event["name"] == "model_run")[-runs:]
        if len(starts) < runs:
            raise EdgeMLError(
                f"onnxruntime's trace holds {len(starts)} runs of {runs}: it has a limit of 1,000,000 events"
            )
        calls = [_call(event) for event in events if event["cat"] == "Node" and event["name"].endswith(_SUFFIX)]
        by_run = _own_times(calls, starts)
        return Trace(_nodes(by_run), statistics.median(duration for _, duration in starts) / 1e3, runs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EdgeMLError(f"onnxruntime wrote a trace that cannot be read: {type(error).__name__}: {error}") from error


def _call(event: Mapping[str, Any]) -> _Call:
    details = event["args"]
    # What takes from d to d + 1 microseconds is written as d.
    return _Call(
        event["name"].removesuffix(_SUFFIX),
        details["op_name"],
        event["ts"],
        event["dur"],
        event["dur"] + 0.5,
        details,
    )


def _own_times(calls: Sequence[_Call], starts: Sequence[tuple[int, int]]) -> list[list[_Call]]:
    """The calls of each run in the order begun, with the time of nested calls taken off those around them."""
    by_run: list[list[_Call]] = [[] for _ in starts]
    ordered = sorted(calls, key=lambda call: (call.start_us, -call.duration_us))
    index = 0
    for call in ordered:
        while index < len(starts) and call.start_us > sum(starts[index]):
            index += 1
        if index < len(starts) and call.start_us >= starts[index][0]:
            by_run[index].append(call)
    return [_without_nested(run) for run in by_run]


def _without_nested(run: Sequence[_Call]) -> list[_Call]:
    inside = [0.0] * len(run)
    around: list[int] = []
    for index, call in enumerate(run):
        while around and call.start_us >= run[around[-1]].start_us + run[around[-1]].duration_us:
            around.pop()
        if around:
            inside[around[-1]] += call.own_us
        if call.operator in _CONTROL_FLOW:
            around.append(index)
    return [
        _Call(call.name, call.operator, call.start_us, call.duration_us, max(0.0, call.own_us - within), call.details)
        for call, within in zip(run, inside, strict=True)
    ]


def _nodes(by_run: Sequence[Sequence[_Call]]) -> tuple[TracedNode, ...]:
    times_us: dict[tuple[str, str], list[float]] = {}
    last: dict[tuple[str, str], list[_Call]] = {}
    for run in by_run:
        total: dict[tuple[str, str], float] = defaultdict(float)
        last = {}
        for call in run:
            # Nodes of different graphs may share an index, nodes without a name share the empty one: both tell apart.
            key = (call.name, str(call.details.get("node_index", "")))
            total[key] += call.own_us
            last.setdefault(key, []).append(call)
        for key, time_us in total.items():
            times_us.setdefault(key, []).append(time_us)
    return tuple(_node(calls, times_us[key]) for key, calls in last.items())


def _node(calls: Sequence[_Call], times_us: Sequence[float]) -> TracedNode:
    details = calls[-1].details

    def total(size: str) -> int:
        return sum(int(call.details.get(size, 0)) for call in calls)

    return TracedNode(
        name=calls[-1].name,
        operator=calls[-1].operator,
        provider=str(details.get("provider", "")),
        # Whole microseconds are classes of a histogram; the median lies somewhere inside its class.
        milliseconds=statistics.median_grouped(times_us, interval=1) / 1e3,
        calls=len(calls),
        inputs=_tensors(details.get("input_type_shape", [])),
        outputs=_tensors(details.get("output_type_shape", [])),
        activation_bytes=total("activation_size"),
        weight_bytes=total("parameter_size"),
        output_bytes=total("output_size"),
    )


def _tensors(entries: Sequence[Mapping[str, Sequence[int]]]) -> tuple[Tensor, ...]:
    return tuple(Tensor(_DTYPES.get(dtype, dtype), tuple(shape)) for entry in entries for dtype, shape in entry.items())
