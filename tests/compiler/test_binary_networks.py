"""A file with binary layers compiles for each kind of target, by the command that users run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from edgeml.compiler.cuda.fatbin import architectures
from edgeml.ops import binary_conv, binary_dense
from edgeml.ops.attach import attach_functions

pytestmark = pytest.mark.tvm

COMPILE = [sys.executable, "-m", "edgeml.cli.main", "compile"]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A convolution, a binary convolution with a shortcut and a binary dense layer, as a file."""
    generator, weights = np.random.default_rng(0), []

    def constant(name: str, values: npt.NDArray[Any]) -> str:
        weights.append(numpy_helper.from_array(values, name))
        return name

    def binary(name: str, channels: int, filters: int, size: int) -> list[str]:
        bits = generator.integers(0, 256, (filters, size)).astype(np.uint8)
        values: list[npt.NDArray[Any]] = [
            np.zeros(channels, np.float32),
            np.full(filters, 0.125, np.float32),
            np.ones(filters, np.float32),
        ]
        return [constant(f"{name}{index}", each) for index, each in enumerate((bits, *values))]

    stem = generator.standard_normal((16, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", constant("stem", stem)], ["a"], pads=[1] * 4),
        binary_conv.node(
            ["a", *binary("conv", 16, 16, 18)], "b", kernel_shape=[3, 3], channels=16, pads=[1] * 4, name="conv"
        ),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        binary_dense.node(["e", *binary("dense", 16, 10, 2)], "logits", features=16, name="dense"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    attach_functions(model)
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def compiled(network: Path, target: str, *options: str) -> Path:
    library = network.with_suffix(".so")
    command = [*COMPILE, str(network), "--target", target, "--output", str(library), "--no-measure", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library


def test_the_host_library_agrees_with_onnxruntime(network: Path) -> None:
    compiled(network, "host")


@pytest.mark.qemu
def test_the_arm_library_agrees_on_the_emulated_device(network: Path) -> None:
    compiled(network, "rpi4")


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc, CUDA's compiler, is not installed")
def test_a_gpu_library_holds_machine_code_that_counts_bits(network: Path) -> None:
    library = compiled(network, "cuda-sm_87", "--no-parity")
    assert architectures(library) == {"sm_87"}
    dump = shutil.which("cuobjdump")
    if dump is not None:
        code = subprocess.run([dump, "-sass", library], capture_output=True, text=True, check=False).stdout
        assert not code or re.search(r"\bPOPC\b", code)


def test_lint_finds_nothing(network: Path) -> None:
    command = [sys.executable, "-m", "edgeml.cli.main", "lint", str(network), "--target", "host", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["findings"] == []
