"""TinyNet-C compiled for a Cortex-A72 and run on the emulated one: by Session, over RPC, and by the C++ example."""

from __future__ import annotations

import subprocess
import tarfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.compiler.bundle.write import write_bundle
from edgeml.compiler.compile import compile_onnx
from edgeml.core.artifact import Artifact
from edgeml.core.device import LOCAL, Device
from edgeml.core.errors import MissingError
from edgeml.core.samples import Samples
from edgeml.core.session import Session, SessionOptions
from edgeml.core.target import Target
from edgeml.runtime.emulated.device import emulated_rpc_server, open_emulated
from edgeml.runtime.emulated.machine import EmulatedMachine, emulated_machine
from edgeml.runtime.onnxruntime_session import OnnxRuntime
from edgeml.runtime.tvm.rpc import open_rpc
from edgeml.runtime.tvm.target_libraries import fetch_runtime_libraries

pytestmark = [pytest.mark.tvm, pytest.mark.qemu, pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(900)]

TARGET = Target.parse("cortex-a72")


@dataclass(frozen=True)
class Form:
    """One precision of the network: the file, and the library made of it."""

    source: Artifact
    library: Artifact


@pytest.fixture(scope="module")
def machine() -> EmulatedMachine:
    try:
        return emulated_machine()
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def forms(machine: EmulatedMachine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Form]:
    """TinyNet-C in float32 and int8, compiled; compile_onnx compares each on the emulated device by itself."""
    pytest.importorskip("torch")
    from edgeml.export.export import export, export_onnx
    from edgeml.export.reference_network import reference_network

    directory = tmp_path_factory.mktemp("tinynet")
    network = reference_network("tinynet-c")
    inputs = np.random.default_rng(0).standard_normal((16, *network.input_shape)).astype(np.float32)
    noise = Samples("noise:train", inputs, np.zeros(len(inputs), np.int64), ("any",))
    fp32 = export(network, directory / "fp32.onnx").artifact
    int8 = export_onnx(fp32.path, directory / "int8.onnx", precision="int8", calibration=noise).artifact
    found = {}
    for source in (fp32, int8):
        result = compile_onnx(source.path, TARGET, directory / f"{source.path.stem}.so")
        assert result.parity is not None
        assert [entry.batch for entry in result.parity.outputs] == [1, 3]
        found[source.path.stem] = Form(source, result.artifact)
    return found


def image(batch: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(batch).standard_normal((batch, 3, 184, 184)).astype(np.float32)


def by_onnxruntime(source: Artifact, feed: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    with closing(OnnxRuntime().open(source, LOCAL, SessionOptions(optimize=False))) as session:
        return session.run({"input": feed})["logits"]


def largest_difference(session: Session, source: Artifact, batch: int) -> tuple[float, float]:
    """Of a session's logits from onnxruntime's on this machine, with the largest logit; the input must matter."""
    feed = image(batch)
    wanted = by_onnxruntime(source, feed)
    assert np.abs(by_onnxruntime(source, feed[:, ::-1].copy()) - wanted).max() > 0.05 * np.abs(wanted).max()
    return float(np.abs(session.run({"input": feed})["logits"] - wanted).max()), float(np.abs(wanted).max())


@pytest.mark.parametrize("batch", [1, 2])
def test_float32_agrees_with_onnxruntime_at_every_batch(forms: dict[str, Form], batch: int) -> None:
    form = forms["fp32"]
    with closing(open_emulated(form.library, Device.parse("qemu://aarch64"), SessionOptions(threads=1))) as session:
        difference, largest = largest_difference(session, form.source, batch)
    assert difference <= 1e-5 * largest


def test_int8_is_as_near_as_onnxruntime_is_to_itself(forms: dict[str, Form]) -> None:
    """A code that falls between two is rounded to either, and untrained layers spread that to several codes.

    Each integer kernel is bit-equal on this device (test_quantized_on_arm.py). Through the whole network onnxruntime's
    own logits move by 3 to 5 codes with the last bits of the input; the library may be off by no more codes than that.
    """
    form, feed = forms["int8"], image(1)
    wanted = by_onnxruntime(form.source, feed)
    moved = [by_onnxruntime(form.source, (feed * factor).astype(np.float32)) for factor in (1 + 2**-20, 1 - 2**-20)]
    spread = max(float(np.abs(each - wanted).max()) for each in moved)
    with closing(open_emulated(form.library, Device.parse("qemu://aarch64"), SessionOptions(threads=1))) as session:
        difference, largest = largest_difference(session, form.source, 1)
    quantum = _quantum(form.source)
    assert round(difference / quantum) <= max(round(spread / quantum), 1)
    assert spread < 0.1 * largest


def _quantum(source: Artifact) -> float:
    import onnx

    graph = onnx.load(source.path).graph
    scales = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    last = next(node for node in graph.node if "logits" in node.output)
    assert last.op_type == "DequantizeLinear", "the logits are codes"
    return float(scales[last.input[1]])


def test_the_same_library_agrees_over_rpc(forms: dict[str, Form]) -> None:
    form = forms["fp32"]
    with (
        emulated_rpc_server(port=19190) as device,
        closing(open_rpc(form.library, device, SessionOptions(threads=1))) as session,
    ):
        difference, largest = largest_difference(session, form.source, 1)
    assert difference <= 1e-5 * largest


def test_the_cpp_example_of_its_bundle_runs_there(
    forms: dict[str, Form], machine: EmulatedMachine, tmp_path: Path
) -> None:
    form, libraries = forms["fp32"], fetch_runtime_libraries(TARGET)
    write_bundle(
        form.library,
        tmp_path / "board.tar.gz",
        libtvm_runtime=libraries.libtvm_runtime,
        libtvm_ffi=libraries.libtvm_ffi,
    )
    with tarfile.open(tmp_path / "board.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    board = tmp_path / "board"
    build = ["make", "CXX=aarch64-linux-gnu-g++", "CXXFLAGS=-O1"]
    subprocess.run(build, cwd=board / "cpp", check=True, stdout=subprocess.DEVNULL)
    feed = image(2)
    feed.tofile(tmp_path / "image.bin")
    program = (board / "cpp" / "run_model", "--batch", "2", "--save", tmp_path / "out", tmp_path / "image.bin")
    subprocess.run(machine.command(*program, cpu=TARGET.cpu), check=True, capture_output=True)
    wanted = by_onnxruntime(form.source, feed)
    found = np.fromfile(tmp_path / "out" / "logits.bin", np.float32).reshape(wanted.shape)
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
