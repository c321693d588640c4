"""Lint names what cannot be compiled, and calls nothing supported that is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeml.compiler.lint import lint as stage
from edgeml.compiler.lint.lint import lint
from edgeml.compiler.lint.operator_limits import known_limits, way_round
from edgeml.compiler.process.compiler_process import CompilerCrashedError, ProcessLimits
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.target import Target

WriteConvNet = Callable[..., Path]
HOST = Target.parse("host")
LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))

# Hundreds of megabytes of weights once they are written out, or hundreds of layers.
LARGE = {"light_bvlc_alexnet", "light_densenet121", "light_inception_v2", "light_vgg19", "light_zfnet512"}


def model_of(
    nodes: list[onnx.NodeProto],
    *,
    inputs: Mapping[str, tuple[Any, list[Any]]],
    outputs: Mapping[str, tuple[Any, list[Any]]],
    constants: dict[str, Any] | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


FLOAT = TensorProto.FLOAT
IMAGE = {"x": (FLOAT, ["n", 3, 8, 8])}


@pytest.mark.tvm
def test_a_model_that_compiles_has_no_findings(write_conv_net: WriteConvNet) -> None:
    report = lint(write_conv_net(), HOST)
    assert report.findings == ()
    assert report.to_json()["supported"] is True


@pytest.mark.tvm
def test_every_node_that_cannot_be_compiled_is_named_with_a_way_round(tmp_path: Path) -> None:
    weights = {name: np.zeros(shape, np.float32) for name, shape in {"w": (1, 16, 3), "r": (1, 16, 4)}.items()}
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="fine"),
        helper.make_node("LSTM", ["a", "w", "r"], ["b"], name="memory", hidden_size=4),
        helper.make_node("Celu", ["b"], ["c"], name="bend"),
        helper.make_node("Identity", ["c"], ["y"], name="also fine"),
    ]
    model = model_of(nodes, inputs={"x": (FLOAT, [5, 1, 3])}, outputs={"y": (FLOAT, [5, 1, 1, 4])}, constants=weights)
    onnx.save(model, tmp_path / "m.onnx")
    report = lint(tmp_path / "m.onnx", HOST)
    assert [(finding.operator, finding.name) for finding in report.findings] == [("LSTM", "memory"), ("Celu", "bend")]
    assert "unroll" in report.findings[0].way_round
    assert all("not supported" in finding.reason for finding in report.findings)
    assert report.to_json()["supported"] is False


@pytest.mark.tvm
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in LARGE), id=path.stem) for path in LIGHT],
)
def test_a_light_model_that_lint_calls_supported_computes_what_onnxruntime_does(path: Path, tmp_path: Path) -> None:
    from edgeml.compiler.compile import compile_onnx

    randomized = tmp_path / path.name
    onnx.save(with_random_weights(onnx.load(path)), randomized)
    result = compile_onnx(randomized, HOST, tmp_path / "m.so")
    assert result.parity is not None
    assert result.parity.passed
    assert all(entry.max_abs_reference > 1e-3 for entry in result.parity.outputs)


def with_random_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with weights that its output is sensitive to; the file's own are constants."""
    generator = np.random.default_rng(0)
    model.ir_version = max(model.ir_version, 4)  # from which on weights need not be inputs
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    folded = [node for node in model.graph.node if node.op_type == "ConstantOfShape" and node.input[0] in weights]
    for node in folded:  # how the file keeps its weights small
        shape = numpy_helper.to_array(weights[node.input[0]]).tolist()
        model.graph.initializer.append(numpy_helper.from_array(_random(shape, generator), node.output[0]))
        model.graph.node.remove(node)
    for tensor in list(model.graph.initializer):
        if tensor.data_type == FLOAT and tensor.name in weights and len(tensor.dims) > 1:
            tensor.CopyFrom(numpy_helper.from_array(_random(list(tensor.dims), generator), tensor.name))
    return model


def _random(shape: list[int], generator: np.random.Generator) -> Any:
    values = generator.standard_normal(shape) / math.sqrt(max(1, math.prod(shape[1:])))
    return (np.abs(values) + 0.1 if len(shape) == 1 else values).astype(np.float32)


def _node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, outputs, name="it", **attributes)


@pytest.mark.parametrize(
    ("node", "constants", "reason"),
    [
        (_node("Dropout", ["x"], ["y", "mask"]), {}, "only its first output is right"),
        (_node("Mod", ["x", "x"], ["y"]), {}, "fmod=0"),
        (_node("IsInf", ["x"], ["y"], detect_negative=0), {}, "infinities of both signs"),
        (_node("Shape", ["x"], ["y"]), {}, "a shape cannot be an output"),
        (_node("Expand", ["x", "x"], ["y"]), {}, "computed when the model runs"),
        (_node("Resize", ["x", "", "s"], ["y"], mode="linear"), {"s": np.array([1, 1, 0.6, 0.6], "f4")}, "scale 0.6"),
        (_node("Resize", ["x", "", "s"], ["y"], mode="linear"), {"s": np.array([1, 1, 2, 2], "f4")}, None),
        (_node("Resize", ["x", "", "s"], ["y"], mode="nearest"), {"s": np.array([1, 1, 0.6, 0.6], "f4")}, None),
        (_node("ConvTranspose", ["x", "w"], ["y"], output_shape=[9, 9]), {}, "output_shape is ignored"),
        (_node("Relu", ["x"], ["y"]), {}, None),
    ],
)
def test_what_compiles_to_something_else_is_known(
    node: onnx.NodeProto, constants: dict[str, Any], reason: str | None
) -> None:
    outputs: dict[str, tuple[Any, list[Any]]] = {name: (FLOAT, []) for name in node.output}
    found = known_limits(model_of([node], inputs=IMAGE, outputs=outputs, constants=constants))
    if reason is None:
        assert found == []
    else:
        assert len(found) == 1
        assert reason in found[0].reason
        assert found[0].name == "it"


def test_an_output_that_nobody_reads_does_no_harm() -> None:
    node = _node("Dropout", ["x"], ["y", "mask"])
    assert known_limits(model_of([node], inputs=IMAGE, outputs={"y": (FLOAT, [])})) == []


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.FLOAT8E4M3FN, TensorProto.INT4])
def test_values_that_no_library_takes_are_findings(kind: int) -> None:
    found = known_limits(
        model_of([_node("Identity", ["x"], ["y"])], inputs={"x": (kind, [2])}, outputs={"y": (kind, [2])})
    )
    assert [finding.name for finding in found] == ["x", "y"]


def test_integer_operators_are_sent_to_quantize_dequantize_pairs() -> None:
    assert "quantize-dequantize" in way_round(_node("QLinearConv", ["x"], ["y"]))
    assert "body" in way_round(helper.make_node("Odd", ["x"], ["y"], domain="my.domain"))


def test_a_node_that_takes_the_compiler_down_is_a_finding_and_the_rest_is_tried(
    write_conv_net: WriteConvNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped: list[list[int]] = []

    def crash_once(job: dict[str, Any], **_: object) -> dict[str, Any]:
        skipped.append(job["skip"])
        if not job["skip"]:
            raise CompilerCrashedError("the compiler crashed with SIGSEGV", 1)
        return {"findings": []}

    monkeypatch.setattr(stage, "run_job", crash_once)
    report = lint(write_conv_net(), HOST)
    assert skipped == [[], [1]]
    assert [(finding.operator, finding.reason) for finding in report.findings] == [
        ("Relu", "the compiler crashed with SIGSEGV")
    ]


def test_a_compiler_that_crashes_before_it_tries_a_node_is_an_error(
    write_conv_net: WriteConvNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> dict[str, Any]:
        raise CompilerCrashedError("the compiler crashed with SIGSEGV", None)

    monkeypatch.setattr(stage, "run_job", crash)
    with pytest.raises(EdgeMLError, match="SIGSEGV"):
        lint(write_conv_net(), HOST, limits=ProcessLimits())


def test_only_onnx_files_are_linted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no model file"):
        lint(tmp_path / "none.onnx", HOST)
