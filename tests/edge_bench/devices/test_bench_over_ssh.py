"""The bench stage over OpenSSH's own server: whole runs, and runs whose link is cut in the middle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeml.core.samples import Samples
from edgeml.edge_bench.bench import bench
from edgeml.edge_bench.bench_settings import BenchSettings
from edgeml.edge_bench.devices.errors import DeviceLostError
from edgeml.edge_bench.results import from_json, to_json
from edgeml.runtime.onnx_file import open_artifact
from tests.edge_bench.devices.conftest import SshDevice
from tests.edge_bench.devices.ssh_servers import Link, litter

pytestmark = pytest.mark.slow

QUICK = BenchSettings(samples=20, launches=2, seconds=0.1)


@pytest.fixture(autouse=True)
def own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def samples() -> Samples:
    generator = np.random.default_rng(5)
    images = generator.standard_normal((40, 1, 8, 8)).astype(np.float32)
    return Samples("toy:test", images, generator.integers(0, 10, 40), ())


def test_two_files_are_measured_on_a_device_and_held_to_the_reference(
    start_openssh: Callable[..., SshDevice], write_conv_net: Callable[..., Path]
) -> None:
    device = start_openssh()
    artifacts, data = [open_artifact(write_conv_net()), open_artifact(write_conv_net("b.onnx", seed=1))], samples()
    result = bench(
        artifacts, device=device.profile.device, profile=device.profile, samples=[data, data], settings=QUICK
    )
    assert [len(each.launches) for each in result.contenders] == [2, 2]
    assert {each.device for each in result.contenders} == {str(device.profile.device)}
    for each in result.contenders:
        assert each.accuracy is not None
        assert each.accuracy.reference is not None
        assert each.accuracy.reference.differences == ()
    assert len(result.readings) == 2 * 2 * 5
    assert len(result.comparisons) == 1
    assert from_json(to_json(result)) == result
    assert litter(device.directory) == {"processes": [], "runs": []}


def test_a_launch_whose_link_is_cut_is_taken_again_and_nothing_is_left(
    start_openssh: Callable[..., SshDevice], write_conv_net: Callable[..., Path], link_to: Callable[[int], Link]
) -> None:
    device = start_openssh()
    link = link_to(device.port)
    cuts = iter([True])

    def cut_once(task: str, _share: float) -> None:
        if task.startswith("launch 2") and next(cuts, False):
            link.cut()

    profile = device.through(link)
    artifact = open_artifact(write_conv_net())
    result = bench([artifact], device=profile.device, profile=profile, settings=QUICK, progress=cut_once)
    assert [len(launch.latency_ms) for launch in result.contenders[0].launches] == [10, 10]
    assert any(each.startswith("resumed: the link to ") and "launch 2 of 2" in each for each in result.warnings)


def test_a_device_that_is_gone_for_good_ends_the_run_with_one_line(
    start_openssh: Callable[..., SshDevice], write_conv_net: Callable[..., Path], link_to: Callable[[int], Link]
) -> None:
    device = start_openssh()
    link = link_to(device.port)

    def gone(task: str, _share: float) -> None:
        if task.startswith("launch 2"):
            link.close()
            link.cut()

    profile = device.through(link)
    artifact = open_artifact(write_conv_net())
    with pytest.raises(DeviceLostError, match="could not be reached again") as caught:
        bench([artifact], device=profile.device, profile=profile, settings=QUICK, progress=gone)
    assert "\n" not in str(caught.value)
