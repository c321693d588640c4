"""The profile of a contender: the runtime's own profiler, and the device's peaks beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edgeml.core.artifact import Artifact
from edgeml.core.bench_profile import Peaks, Profile
from edgeml.core.errors import MissingError, UsageError
from edgeml.edge_bench.feeds import random_feeds
from edgeml.edge_bench.profile import profile as module
from edgeml.edge_bench.profile.profile import profile
from edgeml.runtime.onnx_file import open_artifact

PEAKS = Peaks(gflops_float32=200.0, gops_int8=None, gigabytes_per_second=10.0, method="made up")


@pytest.fixture
def net(write_conv_net: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Artifact:
    monkeypatch.setattr(module, "measure_peaks", lambda threads: PEAKS)
    return open_artifact(write_conv_net())


def test_operators_stand_under_the_devices_roofline(net: Artifact) -> None:
    found = profile(net, "onnxruntime", 1, random_feeds(net.inputs, 1, 0), 3)
    assert found.peaks == PEAKS
    assert all((each.bound is None) == (each.macs is None) for each in found.operators)
    assert any(each.bound == "memory" for each in found.operators)
    assert msgspec.convert(msgspec.to_builtins(found), Profile) == found


def test_a_device_that_cannot_measure_peaks_gives_times_alone(net: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(threads: int) -> Peaks:
        raise MissingError("onnx is not installed; install it with: pip install onnx")

    monkeypatch.setattr(module, "measure_peaks", absent)
    found = profile(net, "onnxruntime", 1, random_feeds(net.inputs, 1, 0), 3)
    assert found.peaks is None
    assert all(each.share_of_roof is None for each in found.operators)


@pytest.mark.parametrize(
    ("runtime", "runs", "count", "message"),
    [
        ("onnxruntime", 0, 1, "runs is 0; it must be at least 1"),
        ("onnxruntime", 1, 0, "at least one set of inputs"),
        ("openvino", 1, 1, "the runtime 'openvino' has no profiler; those that have one: onnxruntime, tvm"),
    ],
)
def test_what_cannot_be_profiled_is_refused(net: Artifact, runtime: str, runs: int, count: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        profile(net, runtime, 1, random_feeds(net.inputs, 1, 0)[:count], runs)
