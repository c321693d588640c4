"""Measures what onnxruntime's profiler adds to every operator it times, to take it off.

The profiler looks at the memory arena and at the threads between its two readings of the clock. That takes a few
microseconds, as long as a small operator does. A chain of operators that do next to nothing tells how long: by its
trace, less what an operator of it takes without the profiler.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from edgeml.core.session import SessionOptions
from edgeml.edge_bench.profile.probe_models import chain_model
from edgeml.edge_bench.profile.trace import read_trace
from edgeml.runtime.onnxruntime_loading import create_session, session_settings

LENGTH = 100
RUNS = 50
_PLACE = Path("a chain of operators")


def tracing_ms(threads: int) -> float:
    """Milliseconds that onnxruntime's profiler adds to one call of an operator, with so many threads.

    Raises:
        MissingError: onnxruntime or onnx is not installed.
        EdgeMLError: onnxruntime cannot open the chain, or its trace cannot be read.
    """
    model, feeds = chain_model(LENGTH), {"a": np.ones(1, np.float32)}
    plain = create_session(model, session_settings(SessionOptions(threads=threads)), _PLACE)
    times_ns = []
    for _ in range(RUNS):
        start = time.perf_counter_ns()
        plain.run(None, feeds)
        times_ns.append(time.perf_counter_ns() - start)
    with tempfile.TemporaryDirectory(prefix="edgeml-profile-") as directory:
        settings = session_settings(SessionOptions(threads=threads))
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(directory) / "trace")
        traced = create_session(model, settings, _PLACE)
        for _ in range(RUNS):
            traced.run(None, feeds)
        nodes = read_trace(Path(traced.end_profiling()), runs=RUNS // 2).nodes
    each_ms = statistics.median(node.milliseconds for node in nodes)
    return max(0.0, each_ms - statistics.median(times_ns) / LENGTH / 1e6)
