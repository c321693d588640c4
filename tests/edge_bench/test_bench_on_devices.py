from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.samples import Samples
from edgeml.edge_bench.bench import bench
from edgeml.edge_bench.bench_settings import BenchSettings, Extras
from edgeml.edge_bench.devices.errors import DeviceLostError
from edgeml.edge_bench.reference import default_reference
from edgeml.edge_bench.results import from_json, to_json
from edgeml.edge_bench.verdicts.verdict import verdicts
from edgeml.runtime.onnx_file import open_artifact
from tests.edge_bench.fake_device import BOARD, CLOCK_STEPS, FakeDevice, connecting

QUICK = BenchSettings(samples=20, launches=2, seconds=0.1)
QEMU = Device.parse("qemu://aarch64")

WriteConvNet = Callable[..., Path]


def samples(count: int = 50) -> Samples:
    generator = np.random.default_rng(5)
    images = generator.standard_normal((count, 1, 8, 8)).astype(np.float32)
    return Samples("toy:test", images, generator.integers(0, 10, count), ())


def classes(path: Path, data: Samples) -> list[int]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: list[int] = session.run(None, {"image": data.inputs})[0].argmax(axis=1).tolist()
    return found


def test_a_run_on_a_device_tells_of_the_device_and_lists_every_sample_that_differs_from_the_reference(
    write_conv_net: WriteConvNet, tmp_path: Path
) -> None:
    path, other = write_conv_net(), write_conv_net("other.onnx", seed=1)
    data = samples()
    connect, made = connecting(partial(FakeDevice, tmp_path))
    result = bench(
        [open_artifact(path)],
        device=BOARD,
        samples=[data],
        reference=open_artifact(other),
        settings=QUICK,
        connect=connect,
    )
    (contender,) = result.contenders
    assert (contender.device, contender.artifact) == ("ssh://pi@board", str(path))
    assert contender.threads >= 1
    assert [len(launch.latency_ms) for launch in contender.launches] == [10, 10]
    assert dict(result.host.versions)["onnxruntime"] == onnxruntime.__version__
    assert len(result.readings) == 2 * 5
    assert [each.time_s for each in result.readings] == sorted(each.time_s for each in result.readings)
    assert contender.accuracy is not None
    reference = contender.accuracy.reference
    assert reference is not None
    here, there = classes(path, data), classes(other, data)
    found = [(each.sample, each.label, each.found, each.expected) for each in reference.differences]
    assert found == [
        (index, data.labels[index], here[index], there[index]) for index in range(50) if here[index] != there[index]
    ]
    assert found
    assert reference.value == np.mean(np.array(there) == data.labels)
    assert reference.difference == pytest.approx(contender.accuracy.value - reference.value)
    assert reference.ci95[0] <= reference.difference <= reference.ci95[1]
    assert made[0].closed
    assert from_json(json.loads(json.dumps(to_json(result)))) == result


def test_on_a_device_a_file_is_its_own_reference_and_a_library_is_held_to_the_file_it_was_made_from(
    write_conv_net: WriteConvNet, tmp_path: Path
) -> None:
    artifact = open_artifact(write_conv_net())
    connect, _ = connecting(partial(FakeDevice, tmp_path))
    result = bench([artifact], device=BOARD, samples=[samples()], settings=QUICK, connect=connect, threads=[1])
    accuracy = result.contenders[0].accuracy
    assert accuracy is not None
    assert accuracy.reference is not None
    assert accuracy.reference.differences == ()
    assert accuracy.reference.difference == 0
    write_conv_net("another.onnx", seed=3)
    library = replace(artifact, path=tmp_path / "net.so", format="tvm", parent_sha256=artifact.sha256)
    found = default_reference(library)
    assert isinstance(found, Artifact)
    assert found.path == artifact.path
    assert default_reference(replace(library, parent_sha256="0" * 64)) is None
    assert default_reference(replace(library, parent_sha256=None)) is None


def test_a_reference_that_computes_something_else_is_refused(write_conv_net: WriteConvNet) -> None:
    artifact, wide = open_artifact(write_conv_net()), open_artifact(write_conv_net("wide.onnx", classes=12))
    with pytest.raises(UsageError, match=r"wide\.onnx has outputs of shape \(12,\), .*net\.onnx of \(10,\)"):
        bench([artifact], device=BOARD, samples=[samples()], reference=wide)
    with pytest.raises(UsageError, match="a reference is an ONNX file"):
        bench([artifact], device=BOARD, samples=[samples()], reference=replace(artifact, format="tvm"))


def test_an_emulator_gives_accuracy_alone(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    from edgeml.cli.bench_table import print_table

    path = write_conv_net()
    artifacts, data = [open_artifact(path), open_artifact(path)], samples()
    make = partial(FakeDevice, tmp_path, device=QEMU, measures_latency=False)
    result = bench(artifacts, device=QEMU, samples=[data] * 2, threads=[1], settings=QUICK, connect=connecting(make)[0])
    assert [contender.launches for contender in result.contenders] == [(), ()]
    assert all(contender.accuracy is not None for contender in result.contenders)
    assert result.comparisons == ()
    assert result.readings == ()
    assert "is an emulator" in result.warnings[0]
    assert [each.outcome for each in verdicts(result)] == ["baseline", "not compared"]
    value = to_json(result)
    assert value["contenders"][0]["latency_ms"] is None
    assert from_json(value) == result
    print_table(result)
    with pytest.raises(UsageError, match="give data"):
        bench(artifacts, device=QEMU, threads=[1], connect=connecting(make)[0])
    extras = Extras(energy=True, profile=True)
    with pytest.raises(UsageError, match="energy and a profile on qemu://aarch64"):
        bench(artifacts, device=QEMU, threads=[1], samples=[data] * 2, extras=extras, connect=connecting(make)[0])


@pytest.mark.parametrize("lines", [1, 9])
def test_a_launch_that_a_cut_link_took_is_taken_again(write_conv_net: WriteConvNet, tmp_path: Path, lines: int) -> None:
    artifact = open_artifact(write_conv_net())
    connect, made = connecting(partial(FakeDevice, tmp_path, cut_after=lines), partial(FakeDevice, tmp_path))
    result = bench([artifact], device=BOARD, samples=[samples()], settings=QUICK, connect=connect, threads=[1])
    assert [len(launch.latency_ms) for launch in result.contenders[0].launches] == [10, 10]
    assert len(result.readings) == 2 * 5
    assert any(
        warning.startswith("resumed: the link to ssh://pi@board was cut in launch 1 of 2")
        for warning in result.warnings
    )
    assert [each.closed for each in made] == [True, True]


def test_a_link_that_stays_cut_ends_the_run_with_one_line(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    artifact = open_artifact(write_conv_net())
    cut = partial(FakeDevice, tmp_path, cut_after=4)
    connect, made = connecting(cut, cut)
    with pytest.raises(DeviceLostError, match="the link to ssh://pi@board was cut"):
        bench([artifact], device=BOARD, settings=QUICK, connect=connect)
    assert [each.closed for each in made] == [True, True]
    connect, made = connecting(cut)
    with pytest.raises(DeviceLostError, match=r"was cut; it could not be reached again: .*does not answer"):
        bench([artifact], device=BOARD, settings=QUICK, connect=connect)
    assert [each.closed for each in made] == [True]


def test_a_worker_that_dies_on_a_device_is_not_started_again(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    artifact = open_artifact(write_conv_net())
    artifact.path.write_bytes(b"\x0f" * 100)
    connect, made = connecting(partial(FakeDevice, tmp_path), partial(FakeDevice, tmp_path))
    with pytest.raises(EdgeMLError, match=r"net\.onnx") as caught:
        bench([artifact], device=BOARD, settings=QUICK, connect=connect)
    assert not isinstance(caught.value, DeviceLostError)
    assert [each.closed for each in made] == [True]


def test_wall_clocks_that_are_set_back_change_no_figure(
    write_conv_net: WriteConvNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = open_artifact(write_conv_net())
    start = 1.8e9
    monkeypatch.setattr(time, "time", lambda: start - 3600 * time.monotonic())
    connect, _ = connecting(partial(FakeDevice, tmp_path, command=CLOCK_STEPS))
    result = bench([artifact], device=BOARD, samples=[samples()], settings=QUICK, connect=connect, threads=[1])
    (contender,) = result.contenders
    assert all(0 < value < 60_000 for value in contender.latency_ms)
    assert all(0 < launch.load_ms < 600_000 for launch in contender.launches)
    times = [reading.time_s for reading in result.readings]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 600


@pytest.mark.slow
def test_energy_scenario_and_profile_follow_the_launches(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    from edgeml.edge_bench.scenarios.settings import ScenarioSettings

    artifact = open_artifact(write_conv_net())
    connect, _ = connecting(partial(FakeDevice, tmp_path))
    told: list[float] = []
    result = bench(
        [artifact],
        device=BOARD,
        threads=[1],
        settings=QUICK,
        extras=Extras(scenario=ScenarioSettings(scenario="single-stream", min_duration_s=0.05), profile=True),
        connect=connect,
        progress=lambda _task, share: told.append(share),
    )
    (contender,) = result.contenders
    assert contender.scenario is not None
    assert contender.scenario.scenario == "single-stream"
    assert contender.profile is not None
    assert {each.operator for each in contender.profile.operators} & {"Conv", "FusedConv"}
    assert told == sorted(told)
    assert from_json(to_json(result)) == result


def test_a_package_that_a_scenario_takes_is_missed_before_anything_is_measured(
    write_conv_net: WriteConvNet, tmp_path: Path
) -> None:
    import sys

    from edgeml.core.errors import MissingError
    from edgeml.edge_bench.scenarios.settings import ScenarioSettings

    artifact = open_artifact(write_conv_net())
    program = (
        "from edgeml.edge_bench import worker\n"
        "from edgeml.edge_bench.conditions import environment\n"
        "environment.PACKAGES = ('edgeml',)\nworker.main()\n"
    )
    connect, _ = connecting(partial(FakeDevice, tmp_path, command=(sys.executable, "-c", program)))
    extras = Extras(scenario=ScenarioSettings(scenario="single-stream"))
    with pytest.raises(MissingError, match=r"mlcommons_loadgen is not installed on ssh://pi@board"):
        bench([artifact], device=BOARD, threads=[1], settings=QUICK, extras=extras, connect=connect)
