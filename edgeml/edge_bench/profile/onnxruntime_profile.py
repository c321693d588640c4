"""Per-operator times of an ONNX file by onnxruntime's own profiler."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.core.artifact import Artifact
from edgeml.core.bench_profile import OperatorTime, Profile
from edgeml.core.device import LOCAL
from edgeml.core.session import Feeds, SessionOptions
from edgeml.edge_bench.profile.counterparts import counterparts
from edgeml.edge_bench.profile.fallbacks import BODY, Bodies, precision_fallback
from edgeml.edge_bench.profile.operator_costs import BINARY, macs
from edgeml.edge_bench.profile.trace import Trace, TracedNode, read_trace
from edgeml.edge_bench.profile.tracing_cost import tracing_ms
from edgeml.ops.registry import operators as own_operators
from edgeml.runtime.onnxruntime_session import OnnxRuntime
from edgeml.runtime.plugin.registration import uses_own_operators

if TYPE_CHECKING:
    import onnxruntime

SOURCE = "onnxruntime's profiler"
WARM_UP_RUNS = 5
EVENTS_LIMIT = 200_000
"""Most calls of operators in one trace, which takes about 700 bytes for each."""

# What fusing puts in; these operators exist nowhere else.
_FUSED = ("PackSigns", "PackedBinaryConv", "PackedBinaryConvSum", "PackedMaxPool", "AveragePoolChannelsLast")


def profile_onnxruntime(artifact: Artifact, threads: int, feeds: Sequence[Feeds], runs: int) -> Profile:
    """Per-operator times over `runs` runs, fewer where the graph is so large that its trace would not end.

    The model is run twice: as a Session runs it, and for a moment with its layouts unchanged, which tells the shapes it
    has itself (see `counterparts`). What the profiler adds to each call is taken off (see `tracing_cost`).

    Raises:
        MissingError: onnxruntime or onnx is not installed.
        EdgeMLError: onnxruntime cannot open or run the model, or its trace cannot be read.
    """
    plain, _ = _traced(artifact, threads, feeds, runs=1, warm_up=0, layouts=False)
    runs = max(1, min(runs, EVENTS_LIMIT // max(1, len(plain.nodes)) - WARM_UP_RUNS))
    executed, native = _traced(artifact, threads, feeds, runs=runs, warm_up=WARM_UP_RUNS, layouts=True)
    bodies = Bodies.of(artifact.path) if native is None and uses_own_operators(artifact.path) else None
    added_ms = tracing_ms(threads)
    nodes = [replace(node, milliseconds=max(0.0, node.milliseconds - node.calls * added_ms)) for node in executed.nodes]
    total_ms = sum(node.milliseconds for node in nodes)
    pairs = zip(nodes, counterparts(nodes, plain.nodes), strict=True)
    return Profile(
        source=SOURCE,
        runs=runs,
        run_ms=executed.run_ms,
        operators=tuple(
            _operator(
                node,
                other,
                share=node.milliseconds / total_ms if total_ms else 0.0,
                fallback=BODY
                if bodies is not None and bodies.hold(node if other is None else other)
                else precision_fallback(position, nodes, artifact.precision),
            )
            for position, (node, other) in enumerate(pairs)
        ),
        peaks=None,
    )


def _traced(
    artifact: Artifact, threads: int, feeds: Sequence[Feeds], *, runs: int, warm_up: int, layouts: bool
) -> tuple[Trace, str | None]:
    """The trace of these runs, and the native kernel that runs edgeml's own operators in them."""
    with tempfile.TemporaryDirectory(prefix="edgeml-profile-") as directory:

        def configure(settings: onnxruntime.SessionOptions) -> None:
            import onnxruntime

            settings.enable_profiling = True
            settings.profile_file_prefix = str(Path(directory) / "trace")
            if not layouts:
                settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
                settings.add_session_config_entry("session.disable_prepacking", "1")

        session = OnnxRuntime().open(artifact, LOCAL, SessionOptions(threads=threads), configure=configure)
        try:
            for index in range(warm_up + runs):
                session.run(feeds[index % len(feeds)])
            return read_trace(session.end_profiling(), runs=runs), session.native_kernel
        finally:
            session.close()


def _operator(node: TracedNode, other: TracedNode | None, *, share: float, fallback: str | None) -> OperatorTime:
    """The entry of one node, whose counterpart with layouts unchanged is `other`."""
    shapes = node if other is None else other
    count = None if other is None and _scales(node) else macs(shapes.operator, shapes.inputs, shapes.outputs)
    total = None if count is None else count * node.calls
    # Weights that onnxruntime rearranged are not in the trace of the node that reads them.
    weight_bytes = max(node.weight_bytes, 0 if other is None else other.weight_bytes)
    own = node.operator in _FUSED or node.operator in own_operators()
    return OperatorTime(
        name=node.name,
        operator=node.operator,
        kernel="edgeml" if own else node.provider,
        precision="binary" if node.operator in BINARY else node.dtype,
        milliseconds=node.milliseconds,
        share=share,
        calls=node.calls,
        macs=total,
        bytes_moved=node.activation_bytes + weight_bytes + node.output_bytes,
        gflops=2 * total / (node.milliseconds * 1e6) if total is not None and node.milliseconds else None,
        fallback=fallback,
    )


def _scales(node: TracedNode) -> bool:
    """Whether a convolution is a batch normalization that onnxruntime wrote so: one value for each channel."""
    return node.operator == "Conv" and len(node.inputs) > 1 and set(node.inputs[1].shape[1:]) == {1}
