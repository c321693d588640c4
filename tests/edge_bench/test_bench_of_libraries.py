from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

from edgeml.cli.bench import command
from edgeml.core.artifact import Artifact
from edgeml.core.device import LOCAL
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.samples import Samples
from edgeml.edge_bench.bench import bench
from edgeml.edge_bench.measure import BenchSettings
from edgeml.edge_bench.verdicts.labels import contender_labels
from edgeml.edge_bench.verdicts.verdict import verdicts
from edgeml.runtime.onnx_file import open_artifact
from tests.edge_bench.devices.test_rpc import tvm_server

pytestmark = pytest.mark.tvm

QUICK = BenchSettings(samples=23, launches=2, seconds=0.1)
Libraries = dict[str, Artifact]


@pytest.fixture(autouse=True)
def own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other measurements on this machine are not waited for, and nothing goes to the user's store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_a_model_and_its_library_are_measured_against_each_other(tvm_libraries: Libraries) -> None:
    library = tvm_libraries["net"]
    model = open_artifact(library.path.with_suffix(".onnx"))
    generator = np.random.default_rng(5)
    images = generator.standard_normal((70, 3, 16, 16)).astype(np.float32)
    data = Samples("toy:test", images, generator.integers(0, 10, 70), ())
    result = bench([model, library], device=LOCAL, threads=[1], samples=[data, data], settings=QUICK)
    assert [contender.runtime for contender in result.contenders] == ["onnxruntime", "tvm"]
    assert [contender.artifact for contender in result.contenders] == [str(model.path), str(library.path)]
    assert {contender.model for contender in result.contenders} == {"net"}
    assert {contender.precision for contender in result.contenders} == {"fp32"}
    labels = contender_labels(result.contenders)
    assert labels == ("fp32, onnxruntime", "fp32, tvm")
    assert "fp32, tvm" in verdicts(result)[1].sentence
    reference = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    right = tuple((reference.run(["logits"], {"image": images})[0].argmax(axis=1) == data.labels).tolist())
    assert [contender.accuracy.correct for contender in result.contenders if contender.accuracy] == [right, right]
    assert {"apache-tvm", "apache-tvm-ffi"} <= dict(result.host.versions).keys()


def test_a_library_is_measured_with_several_thread_counts(tvm_libraries: Libraries) -> None:
    settings = replace(QUICK, batch=3)
    result = bench([tvm_libraries["net"]], device=LOCAL, threads=[1, 2], settings=settings)
    found = [(contender.runtime, contender.threads, contender.batch) for contender in result.contenders]
    assert found == [("tvm", 1, 3), ("tvm", 2, 3)]
    # Neither the compiler nor torch is in the process that is measured.
    assert all(launch.peak_memory_bytes < 120 << 20 for each in result.contenders for launch in each.launches)


def test_a_runtime_that_is_asked_for_is_forced_on_every_file(tvm_libraries: Libraries) -> None:
    library = tvm_libraries["net"]
    model = open_artifact(library.path.with_suffix(".onnx"))
    with pytest.raises(UsageError, match=r"net\.onnx has the format onnx; tvm opens tvm"):
        bench([library, model], device=LOCAL, runtime="tvm")
    with pytest.raises(UsageError, match=r"net\.so has the format tvm; onnxruntime opens onnx"):
        bench([library, model], device=LOCAL, runtime="onnxruntime")


@pytest.mark.slow
def test_libraries_are_measured_over_rpc_by_the_devices_own_clock(
    tvm_libraries: Libraries,
) -> None:
    model = open_artifact(tvm_libraries["net"].path.with_suffix(".onnx"))
    library = replace(tvm_libraries["net"], parent_sha256=model.sha256)
    images = np.random.default_rng(5).standard_normal((70, 3, 16, 16)).astype(np.float32)
    data = Samples("toy:test", images, np.zeros(70, np.int64), ())
    with tvm_server() as device:
        settings = replace(QUICK, samples=20)
        result = bench([library, library], device=device, threads=[1], samples=[data, data], settings=settings)
    for each in result.contenders:
        assert [len(launch.latency_ms) for launch in each.launches] == [10, 10]
        assert {launch.peak_memory_bytes for launch in each.launches} == {0}
        assert (each.device, each.threads) == (str(device), 1)
        assert each.accuracy is not None
        assert each.accuracy.reference is not None  # the ONNX file it was compiled from lies beside it
        assert each.accuracy.reference.artifact == str(model.path)
        assert each.accuracy.reference.differences == ()
    assert len(result.comparisons) == 1
    assert result.readings == ()
    assert "is reached over RPC" in result.warnings[0]


def test_a_library_that_cannot_be_loaded_ends_the_run_with_one_line(tvm_libraries: Libraries, tmp_path: Path) -> None:
    path = tmp_path / "net.so"
    shutil.copy(tvm_libraries["net"].path, path)
    artifact = tvm_libraries["net"].at(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EdgeMLError, match=r"net\.so .*it was not loaded") as caught:
        bench([artifact], device=LOCAL, settings=QUICK)
    assert "\n" not in str(caught.value)


def test_the_command_takes_models_and_libraries_together(tvm_libraries: Libraries, tmp_path: Path) -> None:
    library = tvm_libraries["net"].path
    report = tmp_path / "r.html"
    arguments = [library.with_suffix(".onnx"), library, "--threads", 1, "--samples", 20, "--launches", 2, "--json"]
    done = CliRunner().invoke(command, [str(value) for value in (*arguments, "--report", report)])
    assert done.exit_code == 0, done.output
    values = json.loads(done.stdout)
    assert [each["runtime"] for each in values["contenders"]] == ["onnxruntime", "tvm"]
    assert "fp32, tvm" in report.read_text(encoding="utf-8")
    only = CliRunner().invoke(command, [str(value) for value in (library, *arguments[2:], "--runtime", "tvm")])
    assert [each["runtime"] for each in json.loads(only.stdout)["contenders"]] == ["tvm"]
