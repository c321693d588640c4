"""Well-known networks whose files come with the onnx package compute what onnxruntime does, with random weights."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.compiler.lowering.net import Compiled, by_onnxruntime, difference, feeds_of

pytestmark = pytest.mark.tvm

DIRECTORY = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def with_random_weights(name: str) -> onnx.ModelProto:
    """The network, its constant weights replaced by random ones that keep the size of what flows through it."""
    model = onnx.load(DIRECTORY / f"light_{name}.onnx")
    generator = np.random.default_rng(0)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scales = {node.input[1] for node in model.graph.node if node.op_type == "BatchNormalization"}
    scales |= {node.input[4] for node in model.graph.node if node.op_type == "BatchNormalization"}
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            kept.append(node)
            continue
        shape = tuple(int(size) for size in shapes[node.input[0]])
        if node.output[0] in scales:
            values = generator.uniform(0.8, 1.2, shape)
        else:
            fan_in = max(1, int(np.prod(shape[1:])))
            values = generator.standard_normal(shape) * (np.sqrt(2 / fan_in) if len(shape) > 1 else 0.1)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    named = {tensor.name for tensor in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in named]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = 9  # before 4 every initializer had to be an input
    return model


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_a_well_known_network_agrees(name: str) -> None:
    model = with_random_weights(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old operator sets
        compiled = Compiled.of(model)
    feeds = feeds_of(model)
    found, expected = compiled.run(feeds)[0], by_onnxruntime(model, feeds)[0]
    assert np.std(expected) > 1e-5
    assert difference(found, expected) <= 2e-5
    assert "general" not in compiled.kernels
