"""A model compiled, or one clear line and nothing left behind."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeml.compiler import compile as stage
from edgeml.compiler.compile import compile_onnx, device_for
from edgeml.compiler.library_parity import output_steps, seeded_feeds
from edgeml.compiler.process.compiler_process import CompilerCrashedError, ProcessLimits, run_job
from edgeml.core.artifact import Artifact, load_manifest, sha256_file
from edgeml.core.device import Device
from edgeml.core.errors import CheckFailedError, EdgeMLError, UntrustedFileError, UsageError
from edgeml.core.target import PRESETS, Target
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.onnx_file import open_artifact

WriteConvNet = Callable[..., Path]
HOST = Target.parse("host")


def worker(tmp_path: Path, body: str) -> ProcessLimits:
    """Limits whose program, in place of the compiler, tells a step and then does `body`."""
    program = tmp_path / "worker.py"
    program.write_text(
        "import json, os, resource, signal, sys, time\n"
        "job = json.loads(sys.stdin.readline())\n"
        "def say(**answer): print(json.dumps(answer), flush=True)\n"
        "say(step='compiling')\n" + body,
        encoding="utf-8",
    )
    return ProcessLimits(timeout_s=30, command=(sys.executable, str(program)))


def left_beside(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


@pytest.mark.tvm
def test_a_model_becomes_a_library_that_computes_the_same(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    source, output = write_conv_net(), tmp_path / "net.so"
    steps: list[str] = []
    result = compile_onnx(source, HOST, output, progress=steps.append)
    assert result.parity is not None
    assert result.parity.passed
    assert [entry.batch for entry in result.parity.outputs] == [1, 3]
    assert all(entry.max_abs_reference > 0.01 for entry in result.parity.outputs)
    assert steps == [
        "checking the file",
        "reading the model",
        "loading TVM",
        "compiling",
        "linking",
        "comparing with onnxruntime",
    ]
    artifact = load_manifest(output)
    assert artifact == result.artifact
    assert artifact is not None
    assert artifact.parent_sha256 == sha256_file(source)
    assert (artifact.format, artifact.schedule, str(artifact.target)) == ("tvm", "kernels", "host")
    assert {"apache-tvm", "apache-tvm-ffi", "llvm", "c++"} <= dict(artifact.tool_versions).keys()
    assert artifact.inputs == open_artifact(source).inputs
    assert left_beside(tmp_path) == ["net.onnx", "net.so", "net.so.edgeml.json"]


@pytest.mark.tvm
@pytest.mark.qemu
def test_a_library_for_a_board_is_compared_on_the_emulated_one(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    result = compile_onnx(write_conv_net(), Target.parse("cortex-a72"), tmp_path / "net.so")
    assert result.parity is not None
    assert "qemu://aarch64" in result.parity.reference
    assert result.parity.passed


@pytest.mark.tvm
def test_a_board_that_cannot_be_emulated_is_plainly_not_checked(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    target = Target.parse("llvm -triple=x86_64-linux-gnu -cpu=znver5")
    result = compile_onnx(write_conv_net(), target, tmp_path / "net.so")
    assert result.parity is None
    assert "not checked" in result.parity_note
    assert result.runs_on is None


@pytest.mark.tvm
def test_a_model_of_an_unsupported_operator_is_refused_by_name_and_node(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    node = helper.make_node("Celu", ["x"], ["y"], name="bend")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    with pytest.raises(CheckFailedError, match=r"cannot be compiled for host: Celu 'bend'.*edgeml lint"):
        compile_onnx(tmp_path / "m.onnx", HOST, tmp_path / "m.so")
    assert left_beside(tmp_path) == ["m.onnx"]


@pytest.mark.tvm
def test_too_little_memory_is_one_line(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    limits = ProcessLimits(timeout_s=60, memory_bytes=60_000_000)
    with pytest.raises(EdgeMLError, match=r"needs more memory than the 0\.1 GB it may take.*--memory-limit"):
        compile_onnx(write_conv_net(), HOST, tmp_path / "net.so", limits=limits)
    assert left_beside(tmp_path) == ["net.onnx"]


@pytest.mark.tvm
def test_a_library_that_computes_something_else_is_not_kept(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    other = tmp_path / "other.so"
    compile_onnx(write_conv_net("other.onnx", seed=1), HOST, other, check_parity=False)
    limits = worker(
        tmp_path,
        f"import shutil; shutil.copy({str(other)!r}, job['library'])\n"
        "say(ok={'operators': [], 'gpu_kernels': [], 'notes': [], 'schedule': 'kernels', 'tool_versions': {}})\n",
    )
    with pytest.raises(
        CheckFailedError, match=r"does not compute what net computes: at batch 1 .* nothing was written"
    ):
        compile_onnx(write_conv_net(), HOST, tmp_path / "out" / "net.so", limits=limits)
    assert left_beside(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)\n", r"the compiler crashed with SIGSEGV while compiling"),
        ("os.kill(os.getpid(), signal.SIGKILL)\n", r"crashed with SIGKILL \(the kernel may have ended it"),
        ("print('LLVM ERROR: bad', file=sys.stderr); sys.exit(3)\n", r"exit code 3 while compiling.*LLVM ERROR: bad"),
        ('print("std::bad_alloc", file=sys.stderr); os.abort()\n', r"needs more memory.*while compiling"),
        ("say(out_of_memory=True)\n", r"needs more memory.*while compiling"),
        ("say(error='No space left on device', kind='EdgeMLError')\n", r"No space left on device \(while compiling\)"),
        (
            "sys.exit('LLVM ERROR: IO failure on output stream: No space left on device')\n",
            r"cannot write its files: No space left on device \(while compiling\)",
        ),
        ("say(error='no compiler', kind='MissingError')\n", r"^no compiler$"),
    ],
)
def test_whatever_ends_the_compiler_is_one_line_and_leaves_nothing(
    write_conv_net: WriteConvNet, tmp_path: Path, body: str, message: str
) -> None:
    source = write_conv_net()
    (tmp_path / "out").mkdir()
    litter = "open(os.environ['TMPDIR'] + '/half.o', 'wb').write(b'x'); open(job['library'], 'wb').write(b'x')\n"
    with pytest.raises(EdgeMLError, match=message) as caught:
        compile_onnx(source, HOST, tmp_path / "out" / "net.so", limits=worker(tmp_path, litter + body))
    assert "\n" not in str(caught.value)
    assert left_beside(tmp_path / "out") == []


def ends(pid: int) -> bool:
    """Whether the process is gone, or a zombie, within ten seconds."""
    status = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        try:
            if status.read_text().split()[2] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


def test_a_compiler_that_hangs_is_stopped_with_all_it_started(tmp_path: Path) -> None:
    body = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '100'])\n"
        "open(job['library'] + '.pid', 'w').write(str(child.pid))\n"
    )
    limits = replace(worker(tmp_path, body + "time.sleep(100)\n"), timeout_s=2)
    directory = tmp_path / "job"
    directory.mkdir()
    with pytest.raises(EdgeMLError, match=r"did not finish within 2 s and was stopped while compiling.*--timeout"):
        run_job({"library": str(directory / "net.so")}, directory=directory, limits=limits)
    pid = int((directory / "net.so.pid").read_text())
    assert ends(pid)  # it is killed, and the kernel takes its time where all cores are busy


def test_a_crash_names_the_node_that_was_tried(tmp_path: Path) -> None:
    limits = worker(tmp_path, "say(trying=7)\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    with pytest.raises(CompilerCrashedError) as caught:
        run_job({}, directory=tmp_path, limits=limits)
    assert caught.value.trying == 7


def test_a_compiler_that_dies_before_reading_its_job_is_one_line(tmp_path: Path) -> None:
    limits = ProcessLimits(command=(sys.executable, "-c", "import sys; sys.exit('cannot start')"))
    with pytest.raises(EdgeMLError, match=r"exit code 1 while starting; its last line: cannot start"):
        run_job({"big": "x" * 1_000_000}, directory=tmp_path, limits=limits)


def test_a_manifest_that_cannot_be_written_takes_the_library_with_it(
    write_conv_net: WriteConvNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Artifact) -> None:
        raise EdgeMLError("cannot write the manifest: No space left on device")

    monkeypatch.setattr(Artifact, "save_manifest", full)
    limits = worker(
        tmp_path,
        "open(job['library'], 'wb').write(b'x')\n"
        "say(ok={'operators': [], 'gpu_kernels': [], 'notes': [], 'schedule': 'kernels', 'tool_versions': {}})\n",
    )
    (tmp_path / "out").mkdir()
    with pytest.raises(EdgeMLError, match="No space left"):
        compile_onnx(write_conv_net(), HOST, tmp_path / "out" / "net.so", check_parity=False, limits=limits)
    assert left_beside(tmp_path / "out") == []


def test_a_compilation_that_fails_leaves_the_former_library_as_it_was(
    write_conv_net: WriteConvNet, tmp_path: Path
) -> None:
    output = tmp_path / "net.so"
    output.write_bytes(b"former")
    with pytest.raises(EdgeMLError, match="SIGSEGV"):
        compile_onnx(write_conv_net(), HOST, output, limits=worker(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)\n"))
    assert output.read_bytes() == b"former"


@pytest.mark.parametrize(
    ("name", "message"),
    [("net.dll", r"named \*\.so"), ("none/net.so", "directory that exists")],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    write_conv_net: WriteConvNet, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        compile_onnx(write_conv_net(), HOST, tmp_path / name, limits=worker(tmp_path, "time.sleep(100)\n"))


def test_a_corrupt_file_is_refused_before_the_compiler_starts(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"\x08\x09\xff\xff\xff\xff")
    with pytest.raises((UsageError, UntrustedFileError), match=r"bad\.onnx"):
        compile_onnx(path, HOST, tmp_path / "bad.so", limits=worker(tmp_path, "time.sleep(100)\n"))
    assert left_beside(tmp_path) == ["bad.onnx", "worker.py"]


def test_code_is_checked_where_it_can_be_run() -> None:
    assert device_for(HOST) == Device("local")
    assert device_for(Target.parse("rpi4")) in {Device.parse("qemu://aarch64"), None}
    assert device_for(Target.parse("rpi-armv7")) is None
    assert all(device_for(target) is None for target in PRESETS.values() if target.kind == "cuda")


def test_inputs_of_the_comparison_are_the_same_on_every_call() -> None:
    specs = (TensorSpec("x", ("batch", 3), "float32"), TensorSpec("i", (2, "length"), "int64"))
    first, second = (seeded_feeds(specs, 3) for _ in range(2))
    assert first["x"].shape == (3, 3)
    assert first["i"].shape == (2, 8)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_an_output_that_is_quantized_last_may_differ_by_one_step(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    scale = numpy_helper.from_array(np.array(0.25, np.float32), "scale")
    zero = numpy_helper.from_array(np.array(3, np.uint8), "zero")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        helper.make_node("Relu", ["x"], ["z"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xyz"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [scale, zero])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    assert output_steps(open_artifact(tmp_path / "m.onnx")) == {"y": 0.25}


def test_the_result_is_plain_json(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    operator = {"name": "c", "operator": "Conv", "kernel": "general", "precision": "fp32", "quantized": False}
    limits = worker(
        tmp_path,
        "open(job['library'], 'wb').write(b'x')\n"
        f"say(ok={{'operators': [{operator}], 'gpu_kernels': [], 'notes': [], 'schedule': 'kernels',"
        " 'tool_versions': {}})\n",
    )
    result = compile_onnx(write_conv_net(), HOST, tmp_path / "net.so", check_parity=False, limits=limits)
    value = json.loads(json.dumps(result.to_json()))
    assert value["kernels"] == 0
    assert value["operators"] == [operator]
    assert value["parity"] is None
    assert value["artifact"]["bytes"] == 1
    assert os.access(tmp_path / "net.so", os.R_OK)
    assert stage.TIMEOUT_S > 0
