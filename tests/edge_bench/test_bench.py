import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgeml.core.binary_storage import BinaryStorage, Int8Peer
from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.samples import Samples
from edgeml.edge_bench.bench import bench
from edgeml.edge_bench.measure import BLOCKS, BenchSettings, runs_of_launch
from edgeml.edge_bench.verdicts.pay_off import pay_offs
from edgeml.runtime.onnx_file import open_artifact

LOCAL = Device("local")
QUICK = BenchSettings(samples=23, launches=2, seconds=0.1)

WriteConvNet = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other measurements on this machine are not waited for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def samples(count: int = 50, classes: int = 10) -> Samples:
    generator = np.random.default_rng(5)
    images = generator.standard_normal((count, 1, 8, 8)).astype(np.float32)
    return Samples("toy:test", images, generator.integers(0, classes, count), ())


def test_two_files_are_measured_against_each_other_with_their_accuracy(write_conv_net: WriteConvNet) -> None:
    small, large = write_conv_net("small.onnx"), write_conv_net("large.onnx", channels=24, layers=6, seed=1)
    data = samples()
    told: list[float] = []
    result = bench(
        [open_artifact(small), open_artifact(large)],
        device=LOCAL,
        threads=[1],
        samples=[data, data],
        settings=QUICK,
        progress=lambda _task, share: told.append(share),
        remarks=["a remark"],
    )
    assert [contender.artifact for contender in result.contenders] == [str(small), str(large)]
    for path, contender in zip((small, large), result.contenders, strict=True):
        assert [len(launch.latency_ms) for launch in contender.launches] == [12, 11]
        assert [max(launch.block) for launch in contender.launches] == [BLOCKS - 1] * 2
        assert all(launch.load_ms > 0 and launch.peak_memory_bytes > 10 << 20 for launch in contender.launches)
        assert contender.size_bytes == path.stat().st_size
        reference = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        right = reference.run(None, {"image": data.inputs})[0].argmax(axis=1) == data.labels
        assert contender.accuracy is not None
        assert contender.accuracy.correct == tuple(right.tolist())
    (comparison,) = result.comparisons
    assert (comparison.a, comparison.b) == (1, 0)
    first, second = (
        math.exp(np.mean([np.log(np.median(launch.latency_ms)) for launch in contender.launches]))
        for contender in result.contenders
    )
    assert comparison.ratio == pytest.approx(first / second)
    assert comparison.ratio < 1
    accuracies = [contender.accuracy.value for contender in result.contenders if contender.accuracy]
    assert comparison.accuracy_difference == pytest.approx(accuracies[1] - accuracies[0])
    assert result.warnings[0] == "a remark"
    assert told == sorted(told)


def test_thread_counts_are_contenders_and_random_inputs_need_no_data(write_conv_net: WriteConvNet) -> None:
    artifact = open_artifact(write_conv_net())
    settings = replace(QUICK, batch=3)
    result = bench([artifact], device=LOCAL, threads=[1, 2, 1], settings=settings)
    assert [(contender.threads, contender.batch) for contender in result.contenders] == [(1, 3), (2, 3)]
    assert all(contender.accuracy is None for contender in result.contenders)
    assert result.comparisons[0].accuracy_difference is None


def test_a_fixed_batch_is_measured_as_it_is_and_told(write_conv_net: WriteConvNet) -> None:
    artifact = open_artifact(write_conv_net(batch=4))
    result = bench([artifact], device=LOCAL, threads=[1], settings=replace(QUICK, batch=2), samples=[samples(6)])
    assert result.contenders[0].batch == 4
    assert result.contenders[0].accuracy is not None
    assert result.contenders[0].accuracy.samples == 6
    assert any("batch is fixed" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [((BenchSettings(samples=23, launches=5), 3, 1.0), 4), ((BenchSettings(samples=23, launches=5), 2, 1.0), 5)],
)
def test_samples_asked_for_are_split_over_launches(runs: tuple[BenchSettings, int, float], expected: int) -> None:
    assert runs_of_launch(*runs) == expected


def test_the_time_limit_decides_the_runs_of_a_launch() -> None:
    settings = BenchSettings(seconds=10.0, launches=5)
    assert runs_of_launch(settings, 0, 14.0) == 100  # 70% of 2 s; the rest is warm-up
    assert runs_of_launch(settings, 0, 1e-6) == 2000
    assert runs_of_launch(settings, 0, 1e6) == 2


@pytest.mark.parametrize(
    "settings", [{"seconds": 0.0}, {"seconds": math.nan}, {"launches": 1}, {"batch": 0}, {"samples": 4}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        BenchSettings(**settings)  # type: ignore[arg-type]


def test_what_does_not_fit_together_is_refused_before_anything_runs(write_conv_net: WriteConvNet) -> None:
    artifact = open_artifact(write_conv_net())
    with pytest.raises(UsageError, match="nothing to measure"):
        bench([], device=LOCAL)
    with pytest.raises(UsageError, match="2 sets of samples for 1 artifacts"):
        bench([artifact], device=LOCAL, samples=[None, None])
    with pytest.raises(UsageError, match="does not tell how many cores"):
        bench([artifact], device=Device.parse("rpc://127.0.0.1:9090"))
    with pytest.raises(UsageError, match="threads is 0"):
        bench([artifact], device=LOCAL, threads=[0])
    with pytest.raises(UsageError, match="unknown runtime"):
        bench([artifact], device=LOCAL, runtime="abacus")
    with pytest.raises(UsageError, match="the model has 10 outputs"):
        bench([artifact], device=LOCAL, samples=[samples(classes=11)])
    wide = Samples("wide:test", np.zeros((2, 1, 8, 9), np.float32), np.zeros(2, np.int64), ())
    with pytest.raises(UsageError, match="takes inputs of shape"):
        bench([artifact], device=LOCAL, samples=[wide])
    tvm = replace(artifact, format="tvm")
    with pytest.raises(UsageError, match="opens onnx"):
        bench([tvm], device=LOCAL, runtime="onnxruntime")


def test_a_worker_that_fails_ends_the_run_with_one_line(write_conv_net: WriteConvNet) -> None:
    artifact = open_artifact(write_conv_net())
    artifact.path.write_bytes(b"\x0f" * 100)
    with pytest.raises(EdgeMLError) as caught:
        bench([artifact], device=LOCAL, settings=QUICK)
    assert "net.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_binary_network_is_compared_with_the_int8_peer_it_names(write_conv_net: WriteConvNet) -> None:
    peer = replace(open_artifact(write_conv_net("peer.onnx")), precision="int8")
    storage = BinaryStorage(layers=1, weight_bits=8, file_bytes=9, body_bytes=9, float32_bytes=36, float_parameters=3)
    named = Int8Peer(file="peer.onnx", sha256=peer.sha256)
    binary = replace(open_artifact(write_conv_net("bnn.onnx", channels=8)), binary=storage, int8_peer=named)
    data = samples()
    result = bench([binary, peer], device=LOCAL, threads=[1], samples=[data, data], settings=QUICK)
    assert [(contender.binary, contender.int8_peer) for contender in result.contenders] == [
        (True, peer.sha256),
        (False, None),
    ]
    (comparison,) = result.comparisons
    assert (comparison.a, comparison.b) == (0, 1)
    assert comparison.accuracy_ci95 is not None
    assert [each.peer for each in pay_offs(result)] == [1]
