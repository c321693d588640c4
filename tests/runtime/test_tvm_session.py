from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from ctypes.util import find_library
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from edgeml.core.artifact import Artifact, sha256_file
from edgeml.core.device import Device
from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError, UsageError
from edgeml.core.session import Session, SessionOptions
from edgeml.core.target import Target
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.onnx_file import open_artifact
from edgeml.runtime.registry import get_runtime, runtime_of_format
from edgeml.runtime.tvm.aligned import aligned_copy, aligned_empty, is_aligned
from edgeml.runtime.tvm.library import find_runtime_library, load_runtime
from edgeml.runtime.tvm.session import Tvm, TvmSession

pytestmark = pytest.mark.tvm

LOCAL = Device("local")
Libraries = dict[str, Artifact]


def opened(artifact: Artifact, threads: int | None = 1) -> Session:
    return Tvm().open(artifact, LOCAL, SessionOptions(threads=threads))


def images(batch: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((batch, 3, 16, 16)).astype(np.float32)


def by_onnxruntime(artifact: Artifact, **feeds: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    session = onnxruntime.InferenceSession(str(artifact.path.with_suffix(".onnx")), providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds), strict=True))


def assert_agree(found: dict[str, npt.NDArray[Any]], expected: dict[str, npt.NDArray[Any]]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_outputs_are_onnxruntimes_at_every_batch(tvm_libraries: Libraries, threads: int) -> None:
    session = opened(tvm_libraries["net"], threads)
    for batch in (1, 3, 2, 5):
        image = images(batch, seed=batch)
        assert_agree(session.run({"image": image}), by_onnxruntime(tvm_libraries["net"], image=image))
    session.close()


def test_the_interface_is_the_manifests(tvm_libraries: Libraries) -> None:
    session = opened(open_artifact(tvm_libraries["net"].path))
    assert session.inputs == (TensorSpec("image", ("batch", 3, 16, 16), "float32"),)
    assert [spec.name for spec in session.outputs] == ["logits", "features"]


def test_the_registry_gives_tvm_for_compiled_libraries() -> None:
    assert runtime_of_format("tvm") == "tvm"
    assert runtime_of_format("onnx") == "onnxruntime"
    assert get_runtime("tvm").formats == {"tvm"}


def test_the_pip_hint_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeml.runtime.tvm.session.is_installed", lambda: False)
    with pytest.raises(MissingError, match=r"pip install 'edgeml\[tvm\]'"):
        get_runtime("tvm")


def test_neither_torch_nor_the_compiler_is_loaded(tvm_libraries: Libraries) -> None:
    program = (
        "import sys, numpy\n"
        "from pathlib import Path\n"
        "from edgeml.core.device import LOCAL\n"
        "from edgeml.core.session import SessionOptions\n"
        "from edgeml.runtime.onnx_file import open_artifact\n"
        "from edgeml.runtime.tvm.session import Tvm\n"
        "session = Tvm().open(open_artifact(Path(sys.argv[1])), LOCAL, SessionOptions(threads=2))\n"
        "session.run({'image': numpy.zeros((2, 3, 16, 16), numpy.float32)})\n"
        "print(sorted({'torch', 'tvm', 'onnx', 'onnxruntime'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tvm_libraries["net"].path], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_sessions_of_other_thread_counts_live_in_one_process(tvm_libraries: Libraries) -> None:
    # Linux lists a process's threads: with one thread nothing is started, with n the pool has at most n - 1 others.
    program = (
        "import os, sys, numpy\n"
        "from pathlib import Path\n"
        "from edgeml.core.device import LOCAL\n"
        "from edgeml.core.session import SessionOptions\n"
        "from edgeml.runtime.onnx_file import open_artifact\n"
        "from edgeml.runtime.tvm.session import Tvm\n"
        "artifact = open_artifact(Path(sys.argv[1]))\n"
        "import tvm_ffi\n"
        "count = lambda: len(os.listdir('/proc/self/task'))\n"
        "image = numpy.ones((4, 3, 16, 16), numpy.float32)\n"
        "before, cores, seen, values = count(), os.sched_getaffinity(0), [], []\n"
        "for threads in (1, 2, 1, 2):\n"
        "    session = Tvm().open(artifact, LOCAL, SessionOptions(threads=threads))\n"
        "    values.append(session.run({'image': image})['logits'])\n"
        "    used = tvm_ffi.get_global_func('runtime.NumThreads')() if threads > 1 else 1\n"
        "    seen.append((count() - before, used))\n"
        "assert all((value == values[0]).all() for value in values)\n"
        "assert os.sched_getaffinity(0) == cores\n"
        "print(seen)\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, tvm_libraries["net"].path],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    )
    assert done.stdout.strip() == "[(0, 1), (1, 2), (1, 1), (1, 2)]", done.stderr


def test_more_threads_than_the_pool_was_made_for_are_refused(tvm_libraries: Libraries) -> None:
    artifact, found = tvm_libraries["net"], []

    def in_a_thread_of_its_own() -> None:
        image = images(2)
        opened(artifact, 2).run({"image": image})
        with pytest.raises(EdgeMLError, match="threads is 500, but TVM's thread pool in this thread was made for"):
            opened(artifact, 500).run({"image": image})
        assert_agree(opened(artifact, 2).run({"image": image}), by_onnxruntime(artifact, image=image))
        found.append("done")

    thread = threading.Thread(target=in_a_thread_of_its_own)
    thread.start()
    thread.join()
    assert found == ["done"]


def test_one_session_serves_many_threads(tvm_libraries: Libraries) -> None:
    artifact = tvm_libraries["net"]
    session = opened(artifact, 2)
    feeds = [images(3, seed) for seed in range(4)]
    expected = [by_onnxruntime(artifact, image=image)["logits"] for image in feeds]
    wrong: list[int] = []

    def run(index: int) -> None:
        for _ in range(30):
            found = session.run({"image": feeds[index]})["logits"]
            if not np.allclose(found, expected[index], rtol=1e-5, atol=1e-5):
                wrong.append(index)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_outputs_outlive_later_runs_and_the_session(tvm_libraries: Libraries) -> None:
    session = opened(tvm_libraries["net"])
    feeds = [images(2, seed) for seed in range(6)]
    kept = [session.run({"image": image}) for image in feeds]
    for outputs in kept:
        for array in outputs.values():
            array *= 1  # they are the caller's to write to
    session.close()
    for image, outputs in zip(feeds, kept, strict=True):
        assert_agree(outputs, by_onnxruntime(tvm_libraries["net"], image=image))


def test_what_a_run_returns_is_never_the_feed_a_constant_or_another_output(tvm_libraries: Libraries) -> None:
    session = opened(tvm_libraries["echo"])
    for seed in range(4):
        x = aligned_copy(np.random.default_rng(seed).standard_normal(4).astype(np.float32))
        expected = by_onnxruntime(tvm_libraries["echo"], x=x)
        found = session.run({"x": x})
        assert_agree(found, expected)
        for array in found.values():
            array[:] = np.nan
        assert not np.isnan(x).any()
        found = session.run({"x": x})
        found["sum"][:] = np.nan
        found.pop("sum")
        expected.pop("sum")
        assert_agree(found, expected)


def test_inputs_may_lie_anywhere(tvm_libraries: Libraries) -> None:
    # The library loads vectors of 64 bytes by an instruction that ends the process where they are not aligned.
    session = opened(tvm_libraries["vector"])
    memory = aligned_empty((2048,), np.float32)
    for start in range(20):
        x = memory[start : start + 256]
        x[:] = np.random.default_rng(start).standard_normal(256)
        np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x)
    x = memory[:512:2]
    np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x)
    constant = np.arange(256, dtype=np.float32)
    constant.flags.writeable = False
    np.testing.assert_array_equal(session.run({"x": constant})["y"], 2 * constant)
    swapped = np.arange(256, dtype=np.float32).astype(np.dtype("float32").newbyteorder())
    np.testing.assert_array_equal(session.run({"x": swapped})["y"], 2 * constant)


@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (2, 0, 4)])
def test_aligned_arrays_begin_at_64_bytes(shape: tuple[int, ...]) -> None:
    array = aligned_empty(shape, np.int16)
    assert array.shape == shape
    assert array.dtype == np.dtype("int16")
    assert is_aligned(array)
    assert array.flags.c_contiguous


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "inputs are image; the feeds given are none"),
        ({"image": np.zeros((1, 3, 16, 16))}, "input image takes float32; float64 was fed"),
        ({"image": np.zeros((1, 3, 16, 15), np.float32)}, "takes shape (batch, 3, 16, 16); (1, 3, 16, 15) was fed"),
    ],
)
def test_feeds_that_do_not_fit_are_refused_in_the_models_terms(
    tvm_libraries: Libraries, feeds: dict[str, npt.NDArray[Any]], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        opened(tvm_libraries["net"]).run(feeds)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": (TensorSpec("image", ("batch", 4, 16, 16), "float32"),)}, "shape\\[1\\] mismatch"),
        ({"inputs": (TensorSpec("image", ("batch", 4, 16, 16), "float64"),)}, "expect Tensor with dtype float32"),
        ({"outputs": (TensorSpec("logits", ("batch", 10), "float32"),)}, "gives 2 outputs, its manifest names 1"),
        ({"inputs": ()}, "tvm failed to run"),
    ],
)
def test_a_manifest_that_does_not_fit_the_library_gives_one_line(
    tvm_libraries: Libraries, changes: dict[str, Any], message: str
) -> None:
    artifact = replace(tvm_libraries["net"], **changes)
    feeds = {spec.name: np.zeros((1, 4, 16, 16), spec.dtype) for spec in artifact.inputs}
    if "outputs" in changes:
        feeds = {"image": images(1)}
    with pytest.raises(EdgeMLError, match=message) as caught:
        opened(artifact).run(feeds)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_session_goes_on_after_a_run_that_failed(tvm_libraries: Libraries) -> None:
    artifact = tvm_libraries["net"]
    session = opened(replace(artifact, inputs=(TensorSpec("image", ("batch", "channels", 16, 16), "float32"),)))
    for _ in range(3):
        with pytest.raises(EdgeMLError, match="tvm failed to run"):
            session.run({"image": np.zeros((1, 4, 16, 16), np.float32)})
        assert_agree(session.run({"image": images(2)}), by_onnxruntime(artifact, image=images(2)))


def test_a_closed_session_says_so_and_gives_the_library_back(tvm_libraries: Libraries, tmp_path: Path) -> None:
    path = tmp_path / "own.so"
    shutil.copy(tvm_libraries["net"].path, path)
    session = opened(tvm_libraries["net"].at(path))
    session.run({"image": images(1)})
    assert str(path) in Path("/proc/self/maps").read_text()
    session.close()
    session.close()
    assert str(path) not in Path("/proc/self/maps").read_text()
    with pytest.raises(EdgeMLError, match="closed"):
        session.run({"image": images(1)})


def test_a_library_without_a_manifest_is_refused(tvm_libraries: Libraries, tmp_path: Path) -> None:
    path = tmp_path / "bare.so"
    shutil.copy(tvm_libraries["net"].path, path)
    with pytest.raises(UsageError, match=r"bare\.so is no model file that edgeml opens: it must .* have a manifest"):
        open_artifact(path)


def test_a_changed_library_is_not_loaded(tvm_libraries: Libraries, tmp_path: Path) -> None:
    path = tmp_path / "changed.so"
    path.write_bytes(tvm_libraries["net"].path.read_bytes() + b"x")
    with pytest.raises(CheckFailedError, match="it was not loaded"):
        opened(tvm_libraries["net"].at(path))
    assert str(path) not in Path("/proc/self/maps").read_text()


def with_bytes(artifact: Artifact, path: Path, data: bytes) -> Artifact:
    path.write_bytes(data)
    return replace(artifact, path=path, sha256=sha256_file(path))


def test_a_library_for_another_machine_is_refused_before_it_is_loaded(tvm_libraries: Libraries, tmp_path: Path) -> None:
    data = bytearray(tvm_libraries["net"].path.read_bytes())
    other = b"\xb7\0" if data[18:20] != b"\xb7\0" else b"\x3e\0"
    data[18:20] = other
    with pytest.raises(UsageError, match=r"is a library for (aarch64|x86-64) .*; this Python runs on"):
        opened(with_bytes(tvm_libraries["net"], tmp_path / "other.so", bytes(data)))


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"no library at all, but long enough"])
def test_a_file_that_is_no_library_is_refused(tvm_libraries: Libraries, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UsageError, match="is no shared library"):
        opened(with_bytes(tvm_libraries["net"], tmp_path / "none.so", data))


@pytest.mark.parametrize("share", [0.002, 0.3, 0.6])
def test_a_library_that_is_cut_off_is_refused(tvm_libraries: Libraries, tmp_path: Path, share: float) -> None:
    data = tvm_libraries["net"].path.read_bytes()
    with pytest.raises(UsageError, match=r"half\.so is (cut off|no shared library)"):
        opened(with_bytes(tvm_libraries["net"], tmp_path / "half.so", data[: int(share * len(data))]))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_library_that_is_none_of_tvms_or_needs_a_newer_system_gives_one_line(
    tvm_libraries: Libraries, tmp_path: Path
) -> None:
    source, script = tmp_path / "s.c", tmp_path / "map"
    source.write_text("int newer(void) { return 1; }")
    script.write_text("GLIBC_9.99 { newer; };")
    plain, libc = tmp_path / "plain.so", tmp_path / "libc.so.6"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", plain, source], check=True)
    with pytest.raises(EdgeMLError, match=r"tvm cannot load .*plain\.so"):
        opened(replace(tvm_libraries["net"], path=plain, sha256=sha256_file(plain)))
    alone = ["gcc", "-shared", "-fPIC", "-nostdlib"]
    subprocess.run([*alone, f"-Wl,-soname,libc.so.6,--version-script={script}", "-o", libc, source], check=True)
    source.write_text("int newer(void); int call(void) { return newer(); }")
    needs = tmp_path / "needs.so"
    subprocess.run([*alone, "-o", needs, source, libc], check=True)
    with pytest.raises(EdgeMLError, match=r"tvm cannot load .*GLIBC_9\.99") as caught:
        opened(replace(tvm_libraries["net"], path=needs, sha256=sha256_file(needs)))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(find_library("cuda") is not None, reason="this machine has NVIDIA's driver")
def test_a_library_for_a_gpu_is_refused_where_there_is_none(tvm_libraries: Libraries) -> None:
    with pytest.raises(MissingError, match="a model for a GPU needs"):
        opened(replace(tvm_libraries["net"], target=Target.parse("cuda-sm_87")))


def test_tensors_of_another_device_are_copied_there_and_back(tvm_libraries: Libraries) -> None:
    # The processor stands in for the GPU: the calls are the same, and copies of the processor's memory are made.
    artifact, copied = tvm_libraries["net"], []
    tvm_ffi = load_runtime()
    machine = tvm_ffi.load_module(str(artifact.path))["vm_load_executable"]()
    machine["vm_initialization"](1, 0, 2, 1, 0, 2)

    def to_device(tensor: Any, kind: int, index: int) -> Any:
        copied.append((kind, index))
        return copy(tensor, 1, 0)

    copy = tvm_ffi.get_global_func("vm.builtin.to_device")
    session = TvmSession(artifact, machine, tvm_ffi, 1, (2, 0))
    session._to_device = to_device
    for seed in range(3):
        image = images(2, seed)
        assert_agree(session.run({"image": image}), by_onnxruntime(artifact, image=image))
    assert copied == 3 * [(2, 0), (1, 0), (1, 0)]


def test_what_cannot_be_opened_is_refused(tvm_libraries: Libraries) -> None:
    artifact = tvm_libraries["net"]
    with pytest.raises(UsageError, match="has the format onnx; tvm opens compiled libraries"):
        opened(replace(artifact, format="onnx"))
    with pytest.raises(UsageError, match="threads is 0"):
        opened(artifact, 0)
    with pytest.raises(MissingError, match="ssh://pi@host cannot be reached"):
        Tvm().open(artifact, Device.parse("ssh://pi@host"), SessionOptions())


def test_the_runtime_library_is_found_in_the_package_by_name_and_beside_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = find_runtime_library()
    assert installed.parent.parent.name == "tvm"
    own = tmp_path / "lib" / installed.name
    own.parent.mkdir()
    shutil.copy(installed, own)
    assert find_runtime_library(tmp_path) == installed
    for value in (own, own.parent):
        monkeypatch.setenv("EDGEML_TVM_RUNTIME", str(value))
        assert find_runtime_library() == own
    monkeypatch.setenv("EDGEML_TVM_RUNTIME", str(tmp_path / "none.so"))
    with pytest.raises(UsageError, match="EDGEML_TVM_RUNTIME is"):
        find_runtime_library()
    monkeypatch.delenv("EDGEML_TVM_RUNTIME")
    monkeypatch.setattr("edgeml.runtime.tvm.library.find_spec", lambda name: None)
    assert find_runtime_library(tmp_path) == own
    with pytest.raises(MissingError, match="was not found; install it with"):
        find_runtime_library()
