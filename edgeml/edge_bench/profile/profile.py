"""Says where the time of one contender goes: per-operator times, beside the peaks of the device it runs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeml.core.artifact import Artifact
from edgeml.core.bench_profile import Profile
from edgeml.core.errors import MissingError, UsageError
from edgeml.core.session import Feeds
from edgeml.edge_bench.profile.onnxruntime_profile import profile_onnxruntime
from edgeml.edge_bench.profile.peaks import measure_peaks
from edgeml.edge_bench.profile.roofline import under_roofline
from edgeml.edge_bench.profile.tvm_profile import profile_tvm

_PROFILERS = {"onnxruntime": profile_onnxruntime, "tvm": profile_tvm}


def profile(artifact: Artifact, runtime: str, threads: int, feeds: Sequence[Feeds], runs: int) -> Profile:
    """Per-operator times of a model, by a session of its own in this process, under the roofline of the device.

    Args:
        artifact: the model file.
        runtime: name of the runtime.
        threads: threads inside one operator, of the model and of what measures the peaks.
        feeds: taken in turn.
        runs: runs to take the times over, after a few that are dropped.

    Raises:
        UsageError: `runs` is below 1, there are no feeds, or the runtime has no profiler.
        EdgeMLError: the runtime cannot open, run or profile the model.
    """
    if runs < 1:
        raise UsageError(f"runs is {runs}; it must be at least 1")
    if not feeds:
        raise UsageError("a profile takes at least one set of inputs")
    if runtime not in _PROFILERS:
        raise UsageError(f"the runtime {runtime!r} has no profiler; those that have one: {', '.join(_PROFILERS)}")
    found = _PROFILERS[runtime](artifact, threads, feeds, runs)
    try:
        peaks = measure_peaks(threads)
    except MissingError:  # a board that has TVM's runtime only: times without a roofline
        return found
    return replace(found, operators=under_roofline(found.operators, peaks), peaks=peaks)
