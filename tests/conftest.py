"""Fixtures that tests of several stages share, and how the suite is spread over cores."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeml.core.artifact import Artifact, load_manifest

# Else gRPC, loaded for the server's tests, has words of its own printed by every process that is forked here.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# What tests measure and decide is kept apart from the user's own results and devices.
_USER_FILES = tempfile.TemporaryDirectory(prefix="edgeml-tests-")
for _variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
    os.environ[_variable] = str(Path(_USER_FILES.name) / _variable.lower())

WriteConvNet = Callable[..., Path]
LIBRARY_BUILDER = Path(__file__).parent / "build_tvm_libraries.py"

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # gw0, gw1, ...; empty where one process runs everything
if WORKER and hasattr(os, "sched_setaffinity"):
    # Each process keeps to a core, or their threads would wait for each other's.
    _cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {_cores[int(WORKER.removeprefix("gw")) % len(_cores)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, so that no core is left with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture
def write_conv_net(tmp_path: Path) -> WriteConvNet:
    """Writes a small convolutional classifier as ONNX and returns its path; needs no torch."""

    def write(
        name: str = "net.onnx",
        *,
        channels: int = 4,
        layers: int = 2,
        size: int = 8,
        classes: int = 10,
        batch: int | str = "batch",
        seed: int = 0,
    ) -> Path:
        import onnx
        from onnx import helper, numpy_helper

        generator = np.random.default_rng(seed)
        nodes, weights, value, width = [], [], "image", 1
        for layer in range(layers):
            kernel = generator.standard_normal((channels, width, 3, 3)) / np.sqrt(9 * width)
            weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w{layer}"))
            nodes.append(helper.make_node("Conv", [value, f"w{layer}"], [f"c{layer}"], pads=[1] * 4))
            nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
            value, width = f"r{layer}", channels
        head = generator.standard_normal((width, classes)).astype(np.float32)
        weights.append(numpy_helper.from_array(head, "head"))
        nodes.append(helper.make_node("GlobalAveragePool", [value], ["pooled"]))
        nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
        nodes.append(helper.make_node("MatMul", ["flat", "head"], ["logits"]))
        image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [batch, 1, size, size])
        logits = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [batch, classes])
        graph = helper.make_graph(nodes, "net", [image], [logits], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return write


@pytest.fixture(scope="session")
def tvm_libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Small libraries for this machine, by name; each has its ONNX file NAME.onnx beside it where it has one.

    They are built by a process of its own, so that tests of the runtime run without the compiler.
    """
    return build_tvm_libraries(tmp_path_factory.mktemp("libraries"))


def build_tvm_libraries(directory: Path, preset: str = "host") -> dict[str, Artifact]:
    """The same libraries for the target of that name, which takes its cross compiler."""
    subprocess.run([sys.executable, LIBRARY_BUILDER, directory, preset], check=True)
    found = [load_manifest(path) for path in sorted(directory.glob("*.so"))]
    return {artifact.path.stem: artifact for artifact in found if artifact is not None}


@pytest.fixture(scope="session")
def tvm_libraries_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Artifact]]:
    """Builds them for another target."""
    return lambda preset: build_tvm_libraries(tmp_path_factory.mktemp(preset), preset)
