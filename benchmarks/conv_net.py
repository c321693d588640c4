"""A small convolutional network as ONNX for the benchmarks here; made without torch, the same on every machine."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper


def write_conv_net(path: Path, *, channels: int = 32, layers: int = 6, size: int = 28, batch: int | str = 1) -> Path:
    """Write `layers` 3x3 convolutions of `channels` channels on a size x size grey image, and a classifier of 10."""
    generator = np.random.default_rng(0)
    nodes, weights, value, width = [], [], "image", 1
    for layer in range(layers):
        kernel = generator.standard_normal((channels, width, 3, 3)) / np.sqrt(9 * width)
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w{layer}"))
        nodes.append(helper.make_node("Conv", [value, f"w{layer}"], [f"c{layer}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        value, width = f"r{layer}", channels
    weights.append(numpy_helper.from_array(generator.standard_normal((width, 10)).astype(np.float32), "head"))
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "head"], ["logits"]))
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [batch, 1, size, size])
    logits = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [batch, 10])
    graph = helper.make_graph(nodes, "conv_net", [image], [logits], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
