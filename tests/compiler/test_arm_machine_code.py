"""What the compiler makes for ARM, read back by GNU's disassembler: vector arithmetic in the vector registers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeml.compiler.toolchains import linker
from edgeml.core.errors import MissingError
from edgeml.core.target import PRESETS

pytestmark = pytest.mark.tvm

# Four products in one instruction: ARMv8's fused multiply-add; ARMv7's multiplication, by vector or by lane.
_PRODUCTS = {"rpi4": r"\tfmla\tv\d+\.4s", "rpi-armv7": r"\tv(mul|fma|mla)\.f32\tq"}
_ONE_BY_ONE = {"rpi4": r"\tfmadd\ts\d", "rpi-armv7": r"\tv(mul|fma|mla)\.f32\ts\d"}


def listing(tool: Path | None, *arguments: str | Path) -> str:
    if tool is None:
        pytest.skip("GNU's binutils for the target are not installed")
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("preset", ["rpi4", "rpi-armv7"])
def test_a_convolution_multiplies_whole_vectors(
    preset: str, write_conv_net: Callable[..., Path], tmp_path: Path
) -> None:
    try:
        toolchain = linker(PRESETS[preset])
    except MissingError as error:
        pytest.skip(str(error))
    model, library = write_conv_net(channels=16, size=16), tmp_path / "net.so"
    options = ["--target", preset, "--output", str(library), "--no-measure", "--no-parity"]
    command = [sys.executable, "-m", "edgeml.cli.main", "compile", str(model), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    code = listing(toolchain.objdump, "-d", library)
    vectors, scalars = (len(re.findall(pattern[preset], code)) for pattern in (_PRODUCTS, _ONE_BY_ONE))
    assert vectors > 100
    assert scalars < vectors / 10
    assert "__aeabi_fmul" not in code  # no arithmetic by software


def test_armv7_libraries_take_floats_in_vector_registers(write_conv_net: Callable[..., Path], tmp_path: Path) -> None:
    try:
        toolchain = linker(PRESETS["rpi-armv7"])
    except MissingError as error:
        pytest.skip(str(error))
    from edgeml.compiler import trial_library

    library = tmp_path / "trial.so"
    subprocess.run([sys.executable, "-m", trial_library.__name__, "rpi-armv7", library], check=True)
    attributes = listing(toolchain.readelf, "-A", library)
    assert "Tag_Advanced_SIMD_arch: NEONv1" in attributes
    assert "Tag_ABI_VFP_args: VFP registers" in attributes  # the hard-float convention of Raspberry Pi OS
