from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeml.core.errors import EdgeMLError
from edgeml.core.onnx_guard import check_onnx_file
from edgeml.ops import binary_conv
from edgeml.ops.attach import attach_functions, called_operators, detach_functions, inline_functions
from edgeml.ops.domain import DOMAIN, VERSION
from tests.conftest import WriteConvNet
from tests.ops.cases import binary_model, random_conv, random_dense
from tests.ops.test_operators import run


def test_attaching_again_leaves_one_body_and_one_version() -> None:
    model = binary_model(random_conv(np.random.default_rng(0)), opset=21)
    before = model.SerializeToString(deterministic=True)
    attach_functions(model)
    assert model.SerializeToString(deterministic=True) == before
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 21), (DOMAIN, VERSION)]


def test_a_model_without_such_operators_stays_as_it_is(write_conv_net: WriteConvNet) -> None:
    model = onnx.load(write_conv_net())
    before = model.SerializeToString(deterministic=True)
    attach_functions(model)
    assert model.SerializeToString(deterministic=True) == before
    assert inline_functions(model) is model


def test_a_body_that_a_file_brings_along_is_replaced() -> None:
    case = random_dense(np.random.default_rng(1), integer=True)
    model = binary_model(case)
    expected = run(model, case.x)
    foreign = model.functions[0]
    foreign.node[-1].op_type = "Sub"
    attach_functions(model)
    assert np.array_equal(run(model, case.x), expected)


def test_calls_inside_sub_graphs_and_other_functions_are_found() -> None:
    from onnx import helper

    call = binary_model(random_conv(np.random.default_rng(2))).graph.node[0]
    inside = helper.make_graph([call], "then", [], [])
    branch = helper.make_node("If", ["condition"], ["y"], then_branch=inside, else_branch=inside)
    graph = helper.make_graph([branch], "g", [], [])
    assert called_operators(helper.make_model(graph)) == {"BinaryConv"}
    caller = helper.make_function("other", "Wrap", ["x"], ["y"], [call], [helper.make_opsetid("", 18)])
    assert called_operators(helper.make_model(helper.make_graph([], "g", [], []), functions=[caller])) == {"BinaryConv"}


def test_an_unknown_operator_of_the_domain_is_named() -> None:
    model = binary_model(random_conv(np.random.default_rng(3)))
    model.graph.node[0].op_type = "BinaryPool"
    with pytest.raises(EdgeMLError, match="no operator 'BinaryPool'; this version knows BinaryConv, BinaryDense"):
        attach_functions(model)


def test_an_opset_too_old_is_told() -> None:
    model = binary_model(random_conv(np.random.default_rng(4)))
    model.opset_import[0].version = 17
    with pytest.raises(EdgeMLError, match="opset 17 cannot hold edgeml's operators; they need 18"):
        attach_functions(model)


def test_an_inlined_model_has_standard_operators_only_and_stays_packed() -> None:
    generator = np.random.default_rng(5)
    for make in (random_conv, random_dense):
        case = make(generator, integer=True)
        model = binary_model(case)
        model.graph.node[0].metadata_props.add(key="layer", value="here")
        inlined = inline_functions(model)
        assert {node.domain for node in inlined.graph.node} == {""}
        assert not inlined.functions
        assert [entry.domain for entry in inlined.opset_import] == [""]
        sizes = {tensor.name for tensor in inlined.graph.initializer if tensor.data_type == onnx.TensorProto.INT64}
        assert {tensor.name for tensor in inlined.graph.initializer} - sizes == {"W", "threshold", "scale", "bias"}
        asking = [node for node in inlined.graph.node if node.op_type in {"Slice", "Reshape", "Unsqueeze"}]
        assert {name for node in asking for name in node.input[1:]} <= sizes
        assert [entry.value for entry in inlined.graph.node[-1].metadata_props] == ["here"]
        onnx.checker.check_model(inlined, full_check=True)
        assert np.array_equal(run(inlined, case.x), run(model, case.x))


def test_openvino_runs_an_inlined_model() -> None:
    openvino = pytest.importorskip("openvino")
    generator = np.random.default_rng(6)
    for make in (random_conv, random_dense, random_dense):
        case = make(generator, integer=True)
        inlined = inline_functions(binary_model(case))
        core = openvino.Core()
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(core.read_model(inlined.SerializeToString()), "CPU", exact)
        (found,) = compiled([case.x]).values()
        assert np.array_equal(found, run(inlined, case.x)), case.attributes


def test_detached_calls_stay() -> None:
    model = binary_model(random_conv(np.random.default_rng(7)))
    detach_functions(model)
    assert not model.functions
    assert model.graph.node[0].op_type == "BinaryConv"


def test_the_safety_check_passes_such_files(tmp_path: Path) -> None:
    path = tmp_path / "binary.onnx"
    onnx.save(binary_model(random_conv(np.random.default_rng(8))), path)
    assert check_onnx_file(path).functions == 1


def test_the_binary_layers_of_a_resnet18_take_a_twenty_fifth_of_their_floats() -> None:
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, width, floats = [], [], 64, 0
    for layer, filters in enumerate([64] * 4 + [128] * 4 + [256] * 4 + [512] * 4):
        packed = np.zeros((filters, width * 9 // 8), np.uint8)
        lengths = {"t": width, "s": filters, "b": filters}
        constants.append(numpy_helper.from_array(packed, f"W{layer}"))
        constants += [numpy_helper.from_array(np.ones(n, np.float32), f"{part}{layer}") for part, n in lengths.items()]
        names = [f"x{layer}", f"W{layer}", f"t{layer}", f"s{layer}", f"b{layer}"]
        stride = 1 if width == filters else 2
        nodes.append(
            binary_conv.node(
                names, f"x{layer + 1}", kernel_shape=(3, 3), channels=width, strides=(stride, stride), pads=(1, 1, 1, 1)
            )
        )
        floats += filters * width * 9
        width = filters
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["batch", 64, 56, 56])],
        [helper.make_tensor_value_info("x16", TensorProto.FLOAT, ["batch", 512, 7, 7])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    attach_functions(model)
    onnx.checker.check_model(model, full_check=True)
    assert 4 * floats / model.ByteSize() >= 25
