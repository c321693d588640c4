"""Models for benchmarks/serving.py: what they take, and onnxruntime's bare session around them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgeml.core.session import SessionOptions
from edgeml.runtime.onnxruntime_loading import import_onnxruntime, session_settings

if TYPE_CHECKING:
    import onnxruntime

WIDTH = 2048
LAYERS = 4


def bare_session(path: Path, threads: int) -> "onnxruntime.InferenceSession":
    """A session of onnxruntime's own, with the settings that edgeml gives it."""
    settings = session_settings(SessionOptions(threads=threads))
    return import_onnxruntime().InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def sample_of(path: Path) -> tuple[str, npt.NDArray[np.float32]]:
    """Name of a model's input, and a random sample: float32 (1, ...)."""
    (described,) = bare_session(path, 1).get_inputs()
    return described.name, np.random.default_rng(0).standard_normal((1, *described.shape[1:])).astype(np.float32)


def write_dense(path: Path) -> Path:
    """A network of dense layers with 67 MB of weights: for one sample each is read for a single multiplication."""
    generator = np.random.default_rng(0)
    nodes, weights, value = [], [], "x"
    for layer in range(LAYERS):
        matrix = generator.standard_normal((WIDTH, WIDTH), np.float32) / np.float32(np.sqrt(WIDTH))
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [value, f"w{layer}"], [f"m{layer}"]))
        nodes.append(helper.make_node("Relu", [f"m{layer}"], [f"r{layer}"]))
        value = f"r{layer}"
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", WIDTH]) for name in ("x", value))
    graph = helper.make_graph(nodes, "dense", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
