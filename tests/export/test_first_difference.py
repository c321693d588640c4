from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeml.core.errors import CheckFailedError
from edgeml.core.samples import Samples
from edgeml.export.first_difference import first_difference_between, first_difference_from_torch, first_loss
from edgeml.export.parity import FP32_ABSOLUTE, FP32_RELATIVE, parity_with
from edgeml.export.quantize import quantize
from edgeml.export.references import torch_reference
from edgeml.export.run_onnx import run_samples
from tests.export.conftest import SHAPE, Case
from tests.export.faults import node_with_weight, scale_weights, without_metadata, zero_scale

INPUTS = np.random.default_rng(5).standard_normal((2, *SHAPE)).astype(np.float32)
TOLERANCE: dict[str, Any] = {"relative": FP32_RELATIVE, "absolute": FP32_ABSOLUTE}
POSITIONS = [
    ("conv_stem.weight", "conv_stem with bn"),
    ("blocks.0.conv_dw.weight", "blocks.0.conv_dw with blocks.0.bn2"),
    ("blocks.1.se.conv_reduce.weight", "blocks.1.se.conv_reduce"),
    ("blocks.1.conv_pwl.weight", "blocks.1.conv_pwl with blocks.1.bn3"),
    ("blocks.2.conv_pw.weight", "blocks.2.conv_pw with blocks.2.bn1"),
    ("classifier.weight", "classifier"),
]


def test_a_faithful_file_has_no_difference(case: Case) -> None:
    assert first_difference_from_torch(case.exported.program, case.model, INPUTS, **TOLERANCE) is None


@pytest.mark.parametrize("bare", [False, True], ids=["with torch names", "foreign"])
@pytest.mark.parametrize(("weight", "layer"), POSITIONS)
def test_a_layer_with_wrong_weights_is_named_and_none_after_it(case: Case, weight: str, layer: str, bare: bool) -> None:
    model = scale_weights(case.copy(), weight, 1.2)
    node = node_with_weight(model, weight)
    found = first_difference_from_torch(
        case.exported.program, without_metadata(model) if bare else model, INPUTS, **TOLERANCE
    )
    assert found is not None
    assert (found.layer, found.node, found.op_type) == (layer, node.name, node.op_type)
    assert found.max_abs_difference is not None
    assert found.max_abs_difference > 0
    assert found.reference.std != found.actual.std


def test_a_wrong_padding_is_named(case: Case) -> None:
    model = case.copy()
    node = node_with_weight(model, "blocks.1.conv_dw.weight")
    pads = next(entry for entry in node.attribute if entry.name == "pads")
    pads.ints[:] = [0, 0, 2, 2]
    found = first_difference_from_torch(case.exported.program, model, INPUTS, **TOLERANCE)
    assert found is not None
    assert found.layer == "blocks.1.conv_dw with blocks.1.bn2"


@pytest.mark.parametrize("block", [0, 2])
def test_a_wrong_activation_is_named(case: Case, block: int) -> None:
    model = case.copy()
    gate = next(
        node for node in model.graph.node if node.op_type == "Sigmoid" and _scope(node) == f"blocks.{block}.act"
    )
    gate.op_type = "HardSigmoid"
    found = first_difference_from_torch(case.exported.program, model, INPUTS, **TOLERANCE)
    assert found is not None
    assert (found.layer, found.layer_type) == (f"blocks.{block}.act", "SiLU")


def test_a_wrong_epsilon_of_a_batch_norm_that_was_kept_is_named() -> None:
    import torch
    from torch import nn

    from edgeml.export.to_onnx import to_onnx

    torch.manual_seed(0)
    module = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(1), nn.ReLU(), nn.Conv2d(1, 3, 3)).eval()
    exported = to_onnx(module, SHAPE)
    norm = next(node for node in exported.model.graph.node if node.op_type == "BatchNormalization")
    next(entry for entry in norm.attribute if entry.name == "epsilon").f = 0.1
    found = first_difference_from_torch(exported.program, exported.model, INPUTS, **TOLERANCE)
    assert found is not None
    assert (found.layer, found.layer_type) == ("1", "BatchNorm2d")


def test_two_onnx_files_are_compared_by_value_names(case: Case) -> None:
    model = scale_weights(case.copy(), "blocks.1.conv_pw.weight", 1.2)
    found = first_difference_between(case.model, model, INPUTS, **TOLERANCE)
    assert found is not None
    assert found.node == node_with_weight(model, "blocks.1.conv_pw.weight").name


def test_a_zeroed_scale_in_an_int8_file_is_named(case: Case, samples: Samples) -> None:
    import onnx

    quantized = quantize(case.model, samples).model
    assert run_samples(quantized, samples.inputs).std() > 0
    makers = {name: node for node in case.model.graph.node for name in node.output}
    scales = [
        (node.input[1], makers[node.input[0]].name)
        for node in quantized.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in makers
    ]
    assert len(scales) >= 3
    for scale, name in scales[:: max(1, len(scales) // 3)]:
        broken = onnx.ModelProto()
        broken.CopyFrom(quantized)
        weights = {node.input[1] for node in broken.graph.node if node.op_type == "DequantizeLinear"}
        assert scale in weights
        found = first_loss(case.model, zero_scale(broken, scale), samples.inputs[:2])
        assert found is not None
        assert found.node == name


def test_the_gate_s_tolerance_scales_with_the_outputs(case: Case) -> None:
    assert parity_with("network", torch_reference(case.network.module), case.model).passed
    model = scale_weights(case.copy(), "classifier.weight", 1.001)
    assert not parity_with("network", torch_reference(case.network.module), model).passed


def test_outputs_of_another_shape_fail_the_check(case: Case) -> None:
    import torch

    with pytest.raises(CheckFailedError, match="shapes"):
        parity_with("flatten", torch_reference(torch.nn.Flatten()), case.model)


def _scope(node: object) -> str:
    import ast

    return str(ast.literal_eval(node.metadata_props[0].value)[-2])  # type: ignore[attr-defined]
