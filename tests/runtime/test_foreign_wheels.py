"""Fetching wheels for another machine, from a directory of made-up ones: nothing is downloaded."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeml.core.errors import EdgeMLError, UntrustedFileError
from edgeml.runtime.tvm.foreign_wheels import unpack_wheels

WriteWheel = Callable[..., Path]


@pytest.fixture
def write_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteWheel:
    """Writes a wheel into the only place where pip looks."""
    directory = tmp_path / "index"
    directory.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))

    def write(name: str, version: str, tags: str, files: dict[str, str]) -> Path:
        path = directory / f"{name}-{version}-{tags}.whl"
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(path, "w") as archive:
            for file, text in files.items():
                archive.writestr(file, text)
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tags}\n")
            archive.writestr(f"{info}/RECORD", "")
        return path

    return write


def test_the_wheel_of_the_other_machine_is_taken_and_unpacked(write_wheel: WriteWheel, tmp_path: Path) -> None:
    write_wheel("pack", "1.0", "cp311-cp311-manylinux_2_28_x86_64", {"pack/lib.so": "x86"})
    write_wheel("pack", "1.0", "cp312-cp312-manylinux_2_28_aarch64", {"pack/lib.so": "arm, python 3.12"})
    write_wheel("pack", "1.0", "cp311-cp311-manylinux_2_35_aarch64", {"pack/lib.so": "arm, a newer glibc"})
    taken = write_wheel("pack", "1.0", "cp311-cp311-manylinux_2_27_aarch64", {"pack/lib.so": "arm", "pack/big": "no"})
    write_wheel("pure", "2.0", "py3-none-any", {"pure.py": "x = 1"})
    wheels = unpack_wheels(
        ("pack==1.0", "pure<=2.0"),
        tmp_path / "site",
        machine="aarch64",
        python="3.11",
        keep=lambda name: name != "pack/big",
    )
    assert (tmp_path / "site/pack/lib.so").read_text() == "arm"
    assert (tmp_path / "site/pure.py").is_file()
    assert not (tmp_path / "site/pack/big").exists()
    assert [wheel.file for wheel in wheels] == [taken.name, "pure-2.0-py3-none-any.whl"]
    assert wheels[0].sha256 == hashlib.sha256(taken.read_bytes()).hexdigest()


def test_a_wheel_that_does_not_exist_is_told_in_one_line(write_wheel: WriteWheel, tmp_path: Path) -> None:
    write_wheel("pack", "1.0", "cp311-cp311-manylinux_2_28_x86_64", {"pack/lib.so": "x86"})
    with pytest.raises(EdgeMLError, match=r"pip cannot fetch pack==1\.0 for aarch64: ERROR: No matching distribution"):
        unpack_wheels(("pack==1.0",), tmp_path / "site", machine="aarch64", python="3.11")


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_a_wheel_that_writes_elsewhere_is_refused(name: str, write_wheel: WriteWheel, tmp_path: Path) -> None:
    write_wheel("pack", "1.0", "py3-none-any", {name: "bad"})
    with pytest.raises(UntrustedFileError, match="leads out of its directory"):
        unpack_wheels(("pack",), tmp_path / "site", machine="aarch64", python="3.11")
    assert not list(tmp_path.rglob("outside"))
