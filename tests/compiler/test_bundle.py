from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from edgeml.compiler.bundle import BundleResult, write_bundle
from edgeml.compiler.bundle.elf_needs import system_needs
from edgeml.compiler.bundle.interface_header import interface_header
from edgeml.core.artifact import Artifact
from edgeml.core.device import LOCAL
from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError, UsageError
from edgeml.core.session import SessionOptions
from edgeml.core.target import Target
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.emulated.machine import EmulatedMachine, emulated_machine
from edgeml.runtime.onnx_file import open_artifact
from edgeml.runtime.tvm.library import find_runtime_library
from edgeml.runtime.tvm.session import Tvm
from edgeml.runtime.tvm.target_libraries import fetch_runtime_libraries

pytestmark = pytest.mark.tvm

Libraries = dict[str, Artifact]


def packages() -> Path:
    spec = find_spec("tvm_ffi")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def bundled(artifact: Artifact, output: Path) -> BundleResult:
    ffi = packages() / "tvm_ffi" / "lib" / "libtvm_ffi.so"
    return write_bundle(artifact, output, libtvm_runtime=find_runtime_library(), libtvm_ffi=ffi)


@pytest.fixture(scope="module")
def unpacked(tvm_libraries: Libraries, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked bundle of `net`."""
    directory = tmp_path_factory.mktemp("bundle")
    bundled(tvm_libraries["net"], directory / "net.tar.gz")
    with tarfile.open(directory / "net.tar.gz") as archive:
        archive.extractall(directory, filter="data")
    return directory / "net"


@pytest.fixture(scope="module")
def image() -> npt.NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal((3, 3, 16, 16)).astype(np.float32)


def expected(artifact: Artifact, image: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(str(artifact.path.with_suffix(".onnx")), providers=["CPUExecutionProvider"])
    return dict(zip(("logits", "features"), session.run(["logits", "features"], {"image": image}), strict=True))


def clean_python(directory: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python with numpy, tvm_ffi and what these import; neither tvm nor edgeml is there."""
    own = directory / "packages"
    own.mkdir(exist_ok=True)
    for pattern in ("numpy", "numpy.libs", "tvm_ffi", "apache_tvm_ffi-*.dist-info", "typing_extensions.py"):
        for path in packages().glob(pattern):
            if not (own / path.name).exists():
                (own / path.name).symlink_to(path)
    command = [sys.executable, "-S", "-P", *map(str, arguments)]
    environment = {"PYTHONPATH": str(own), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=directory)


def test_the_runner_gives_onnxruntimes_outputs_without_tvm_or_edgeml(
    unpacked: Path, tvm_libraries: Libraries, tmp_path: Path, image: npt.NDArray[np.float32]
) -> None:
    absent = clean_python(
        tmp_path, "-c", "import importlib.util as u; print(u.find_spec('tvm'), u.find_spec('edgeml'))"
    )
    assert absent.stdout == "None None\n", absent.stderr
    np.save(tmp_path / "image.npy", image)
    done = clean_python(
        tmp_path, unpacked / "run_model.py", "--input", "image.npy", "--save", "o.npz", "--runs", "70", "--threads", "2"
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "o.npz")
    for name, values in expected(tvm_libraries["net"], image).items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5)
    assert re.search(r"logits \(3, 10\): ", done.stdout)
    assert re.search(r"latency in ms over 70 runs: p50 [\d.]+, p90 [\d.]+\n", done.stdout)


def test_the_runner_is_a_module_and_makes_inputs_of_its_own(unpacked: Path, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        "from run_model import Model\n"
        "model = Model(threads=1)\n"
        "print(model.inputs[0]['name'], {k: v.shape for k, v in model.run(model.random_feeds(4)).items()})\n"
    )
    done = clean_python(tmp_path, "-c", program)
    assert done.stdout == "image {'logits': (4, 10), 'features': (4, 8)}\n", done.stderr


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 3, 16, 15), np.float32), "takes float32 (batch, 3, 16, 16); float32 (1, 3, 16, 15) was fed"),
        (np.zeros((1, 3, 16, 16)), "takes float32 (batch, 3, 16, 16); float64 (1, 3, 16, 16) was fed"),
    ],
)
def test_the_runner_refuses_wrong_inputs_in_one_line(
    unpacked: Path, tmp_path: Path, array: npt.NDArray[np.float32], message: str
) -> None:
    np.save(tmp_path / "x.npy", array)
    done = clean_python(tmp_path, unpacked / "run_model.py", "--input", "x.npy")
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["net.so", "net.so.edgeml.json", "lib/libtvm_runtime.so"])
def test_the_runner_loads_no_file_that_was_changed(unpacked: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "net"
    shutil.copytree(unpacked, copy)
    with (copy / name).open("ab") as file:
        file.write(b" ")
    done = clean_python(tmp_path, copy / "run_model.py")
    assert done.returncode == 1
    assert done.stderr.endswith("is not the file that was bundled: unpack the bundle again\n")


@pytest.mark.skipif(shutil.which("g++") is None or shutil.which("make") is None, reason="needs g++ and make")
def test_the_cpp_example_builds_and_gives_the_same_outputs(
    unpacked: Path, tvm_libraries: Libraries, tmp_path: Path, image: npt.NDArray[np.float32]
) -> None:
    subprocess.run(
        ["make", "CXXFLAGS=-O0 -Wall -Wextra -Werror"], cwd=unpacked / "cpp", check=True, stdout=subprocess.DEVNULL
    )
    program = unpacked / "cpp" / "run_model"
    image.tofile(tmp_path / "image.bin")
    arguments = ["--batch", "3", "--runs", "5", "--save", "out", "image.bin"]
    done = subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True, env={})
    assert "logits (3, 10): " in done.stdout
    assert "latency: median " in done.stdout
    for name, values in expected(tvm_libraries["net"], image).items():
        found = np.fromfile(tmp_path / "out" / f"{name}.bin", np.float32).reshape(values.shape)
        np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-5)
    for wrong, message in (
        (["--batch", "2", "image.bin"], "has 9216 bytes; input image takes 6144"),
        (["none.bin"], "cannot read none.bin"),
        (["a.bin", "b.bin"], "the model has 1 inputs; 2 files were given"),
        (["--batch"], "--batch takes a whole number from 1 on"),
        (["--help"], "usage: run_model"),
    ):
        done = subprocess.run([program, *wrong], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert message in done.stderr


def test_the_build_line_of_the_readme_is_that_of_the_makefile(unpacked: Path) -> None:
    told = next(line.strip() for line in (unpacked / "README.md").read_text().splitlines() if "g++ -std" in line)
    dry = subprocess.run(
        ["make", "--no-print-directory", "-n", "-B"], cwd=unpacked / "cpp", capture_output=True, text=True, check=True
    ).stdout
    assert told == dry.strip()


def test_every_file_is_in_the_manifest_with_its_digest(unpacked: Path) -> None:
    manifest = json.loads((unpacked / "bundle.json").read_text())
    files = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    made_since = {"cpp/run_model"}
    assert files - made_since == {*manifest["sha256"], "bundle.json"}
    for name, value in manifest["sha256"].items():
        assert hashlib.sha256((unpacked / name).read_bytes()).hexdigest() == value
    for licence in ("apache-tvm/LICENSE", "apache-tvm/NOTICE", "apache-tvm-ffi/LICENSE", "apache-tvm-ffi/NOTICE"):
        assert f"licenses/{licence}" in files


@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf")
def test_the_floors_told_are_those_that_readelf_finds(unpacked: Path) -> None:
    text = "".join(
        subprocess.run(["readelf", "-V", "--wide", path], capture_output=True, text=True, check=True).stdout
        for path in (unpacked / "net.so", *(unpacked / "lib").iterdir())
    )
    needs = json.loads((unpacked / "bundle.json").read_text())["needs"]
    for kind, key in (("GLIBC", "glibc"), ("GLIBCXX", "glibcxx"), ("CXXABI", "cxxabi")):
        found = re.findall(rf"Name: {kind}_([\d.]+) ", text)
        assert needs[key] == max(found, key=lambda version: [int(part) for part in version.split(".")])
    assert f"glibc {needs['glibc']}" in (unpacked / "README.md").read_text()


def test_the_readme_names_the_version_of_tvm_ffi_to_install(unpacked: Path) -> None:
    version = importlib.metadata.version("apache-tvm-ffi")
    assert f"apache-tvm-ffi=={version}\n" in (unpacked / "README.md").read_text()


def test_edgeml_opens_a_library_in_its_bundle(
    unpacked: Path, tvm_libraries: Libraries, image: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Tvm().open(open_artifact(unpacked / "net.so"), LOCAL, SessionOptions(threads=1))
    np.testing.assert_allclose(
        session.run({"image": image})["logits"], expected(tvm_libraries["net"], image)["logits"], rtol=1e-5, atol=1e-5
    )
    session.close()
    monkeypatch.setattr("edgeml.runtime.tvm.library.find_spec", lambda name: None)
    assert find_runtime_library(unpacked) == unpacked / "lib" / "libtvm_runtime.so"


def test_the_same_library_gives_the_same_bytes(tvm_libraries: Libraries, tmp_path: Path) -> None:
    (tmp_path / "later").mkdir()
    first = bundled(tvm_libraries["net"], tmp_path / "net.tar.gz")
    second = bundled(tvm_libraries["net"], tmp_path / "later" / "net.tar.gz")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()
    with tarfile.open(first.path) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == [f"net/{name}" for name, _ in first.files]
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "", "")}


def test_a_file_that_is_no_bundles_name_or_no_library_is_refused(tvm_libraries: Libraries, tmp_path: Path) -> None:
    artifact = tvm_libraries["net"]
    with pytest.raises(UsageError, match=r"name it net\.tar\.gz instead of net\.zip"):
        bundled(artifact, tmp_path / "net.zip")
    with pytest.raises(UsageError, match="has the format onnx; a bundle holds a compiled library"):
        bundled(replace(artifact, format="onnx"), tmp_path / "net.tgz")
    with pytest.raises(UsageError, match="compiled for jetson-orin; the runners"):
        bundled(replace(artifact, target=Target.parse("jetson-orin")), tmp_path / "net.tgz")
    with pytest.raises(CheckFailedError, match="not the file its manifest was written for"):
        bundled(replace(artifact, sha256="0" * 64), tmp_path / "net.tgz")
    with pytest.raises(UsageError, match="does not exist; create it first"):
        bundled(artifact, tmp_path / "none" / "net.tgz")
    assert list(tmp_path.iterdir()) == []


def test_libraries_of_two_machines_make_no_bundle(tvm_libraries: Libraries, tmp_path: Path) -> None:
    other = tmp_path / "libtvm_ffi.so"
    data = bytearray(find_runtime_library().read_bytes())
    data[18:20] = b"\xb7\0" if data[18:20] != b"\xb7\0" else b"\x3e\0"
    other.write_bytes(data)
    with pytest.raises(CheckFailedError, match=r"must be for one machine; these are .*AArch64"):
        write_bundle(
            tvm_libraries["net"], tmp_path / "net.tgz", libtvm_runtime=find_runtime_library(), libtvm_ffi=other
        )
    other.write_text("no library")
    with pytest.raises(UsageError, match="is no Linux"):
        system_needs([other])
    assert not (tmp_path / "net.tgz").exists()


def test_a_full_disk_leaves_nothing_behind(
    tvm_libraries: Libraries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "write", full)
    with pytest.raises(EdgeMLError, match="No space left on device"):
        bundled(tvm_libraries["net"], tmp_path / "net.tgz")
    assert list(tmp_path.iterdir()) == []


def test_the_header_writes_any_name_and_refuses_types_that_dlpack_lacks(tvm_libraries: Libraries) -> None:
    artifact = tvm_libraries["net"]
    odd = replace(artifact, outputs=(TensorSpec('a"\\/é', (2, "n"), "int64"), TensorSpec("b", (), "bool")))
    text = interface_header(odd)
    assert '{"a\\"\\\\/é", {2, -1}, kDLInt, 64},' in text
    assert '{"b", {}, kDLBool, 8},' in text
    with pytest.raises(UsageError, match="b is str"):
        interface_header(replace(artifact, outputs=(TensorSpec("b", (), "str"),)))


@pytest.mark.qemu
@pytest.mark.slow
def test_a_bundle_for_an_arm_board_runs_on_the_emulated_one(
    tvm_libraries_of: Callable[[str], Libraries],
    tvm_libraries: Libraries,
    tmp_path: Path,
    image: npt.NDArray[np.float32],
) -> None:
    machine = require_emulated_machine()
    artifact = tvm_libraries_of("cortex-a72")["net"]
    libraries = fetch_runtime_libraries(Target.parse("cortex-a72"))
    result = write_bundle(
        artifact,
        tmp_path / "board.tar.gz",
        libtvm_runtime=libraries.libtvm_runtime,
        libtvm_ffi=libraries.libtvm_ffi,
    )
    assert result.needs.machine == "AArch64"
    with tarfile.open(result.path) as archive:
        archive.extractall(tmp_path, filter="data")
    board = tmp_path / "board"

    np.save(tmp_path / "image.npy", image)
    arguments = ("--input", tmp_path / "image.npy", "--save", tmp_path / "o.npz")
    python = machine.python_command(board / "run_model.py", *arguments, cpu="cortex-a72")
    subprocess.run(python, check=True, capture_output=True)
    by_python = np.load(tmp_path / "o.npz")

    cross = ["make", "CXX=aarch64-linux-gnu-g++", "CXXFLAGS=-O1"]
    subprocess.run(cross, cwd=board / "cpp", check=True, stdout=subprocess.DEVNULL)
    image.tofile(tmp_path / "image.bin")
    program = (board / "cpp" / "run_model", "--batch", "3", "--save", tmp_path / "out", tmp_path / "image.bin")
    subprocess.run(machine.command(*program, cpu="cortex-a72"), check=True, capture_output=True)

    for name, values in expected(tvm_libraries["net"], image).items():
        np.testing.assert_allclose(by_python[name], values, rtol=1e-5, atol=1e-5)
        by_cpp = np.fromfile(tmp_path / "out" / f"{name}.bin", np.float32).reshape(values.shape)
        np.testing.assert_array_equal(by_cpp, by_python[name])


def require_emulated_machine() -> EmulatedMachine:
    try:
        return emulated_machine()
    except MissingError as error:
        pytest.skip(str(error))
