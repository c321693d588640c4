"""Compiled models for the emulated ARM device, and models of edgeml's own operators, shared by several tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edgeml.core.artifact import Artifact
from edgeml.core.errors import MissingError
from edgeml.ops.domain import DOMAIN, VERSION
from edgeml.runtime.emulated.machine import EmulatedMachine, emulated_machine
from edgeml.runtime.plugin.registration import register_plugin


@pytest.fixture(scope="session")
def machine() -> EmulatedMachine:
    """The emulated machine, where it is set up."""
    try:
        return emulated_machine()
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def rpi4_libraries(
    machine: EmulatedMachine, tvm_libraries_of: Callable[[str], dict[str, Artifact]]
) -> dict[str, Artifact]:
    """The small libraries of `tvm_libraries`, for a Raspberry Pi 4."""
    return tvm_libraries_of("rpi4")


@pytest.fixture(scope="session")
def one_node_model() -> Callable[..., onnx.ModelProto]:
    """Builds models of a single operator of edgeml's, right or wrong."""
    return _one_node_model


def _one_node_model(
    op_type: str,
    constants: dict[str, npt.NDArray[Any]],
    *,
    fed: dict[str, type[np.generic]] | None = None,
    outputs: int = 1,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model whose only node takes `fed` (X by default), then `constants`, without the operator's function body."""
    fed = {"X": np.float32} if fed is None else fed
    made = [f"Y{index}" if index else "Y" for index in range(outputs)]
    node = helper.make_node(op_type, [*fed, *constants], made, domain=DOMAIN, **attributes)
    graph = helper.make_graph(
        [node],
        "one node",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(t)), None)
            for name, t in fed.items()
        ],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in made],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, VERSION)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


@pytest.fixture(scope="session")
def open_natively() -> Callable[..., onnxruntime.InferenceSession]:
    """Opens a model in onnxruntime with the native kernels, past edgeml's own checks of files and feeds."""
    return _open_natively


def _open_natively(model: onnx.ModelProto, *, threads: int = 1) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 4
    try:
        register_plugin(settings, threads=threads)
    except MissingError as error:
        pytest.skip(str(error))
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def binary_weights() -> Callable[[int, int, int], dict[str, npt.NDArray[Any]]]:
    """Random inputs of a binary operator beside X: of so many filters of so many bits, on so many channels."""
    return _binary_weights


def _binary_weights(filters: int, bits: int, channels: int) -> dict[str, npt.NDArray[Any]]:
    generator = np.random.default_rng(filters)
    return {
        "W": np.packbits(generator.integers(0, 2, (filters, bits), np.uint8), axis=-1, bitorder="little"),
        "threshold": generator.standard_normal(channels).astype(np.float32),
        "scale": generator.standard_normal(filters).astype(np.float32),
        "bias": generator.standard_normal(filters).astype(np.float32),
    }
