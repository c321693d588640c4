from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from edgeml.ops import binary_conv, binary_dense
from edgeml.ops.registry import operators
from tests.ops.cases import BinaryCase, binary_model, plain_model, plain_signs, random_conv, random_dense

Random = Callable[..., BinaryCase]
# Runs models by onnxruntime in a process that has no edgeml: "-I" leaves out the working directory, and what is
# installed is hidden.
STOCK = """
import pathlib, sys
sys.modules["edgeml"] = None
import numpy, onnxruntime
onnxruntime.set_default_logger_severity(3)
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    numpy.save(path.with_suffix(".y.npy"), session.run(None, {"x": numpy.load(path.with_suffix(".x.npy"))})[0])
"""


def counts_of(case: BinaryCase) -> np.ndarray:
    if "features" in case.attributes:
        return binary_dense.counts(case.x, case.packed, case.threshold, **case.attributes)
    return binary_conv.counts(case.x, case.packed, case.threshold, **case.attributes)


def reference_of(case: BinaryCase) -> np.ndarray:
    if "features" in case.attributes:
        return binary_dense.reference(*case.inputs, **case.attributes)
    return binary_conv.reference(*case.inputs, **case.attributes)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"x": x})[0]
    return result


@pytest.mark.parametrize("make", [random_conv, random_dense])
def test_counts_are_those_of_onnx_own_operators_on_signs(make: Random) -> None:
    generator = np.random.default_rng(1)
    for _ in range(150):
        case = make(generator)
        expected = run(plain_model(case), plain_signs(case))
        assert np.array_equal(counts_of(case), expected), case.attributes


@pytest.mark.parametrize("make", [random_conv, random_dense])
def test_the_body_and_the_reference_agree_on_every_count(make: Random) -> None:
    generator = np.random.default_rng(2)
    for _ in range(60):
        case = make(generator, integer=True)
        model = binary_model(case)
        onnx.checker.check_model(model, full_check=True)
        expected = counts_of(case)
        evaluated: Any = ReferenceEvaluator(model).run(None, {"x": case.x})
        assert np.array_equal(evaluated[0], expected), case.attributes
        assert np.array_equal(run(model, case.x), expected), case.attributes


def test_a_process_without_edgeml_gives_the_same_counts_and_outputs(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    cases = [make(generator, integer=number % 2 == 0) for number in range(40) for make in (random_conv, random_dense)]
    for number, case in enumerate(cases):
        onnx.save(binary_model(case), tmp_path / f"{number}.onnx")
        np.save(tmp_path / f"{number}.x.npy", case.x)
    subprocess.run([sys.executable, "-I", "-c", STOCK, str(tmp_path)], check=True, timeout=120)
    for number, case in enumerate(cases):
        found, expected = np.load(tmp_path / f"{number}.y.npy"), reference_of(case)
        exact = bool((case.scale == 1).all() and (case.bias == 0).all())
        # onnxruntime folds a scale into the weights, whose sums then round.
        tolerance = 0 if exact else 1e-5 * float(np.abs(expected).max(initial=1))
        assert np.abs(found - expected).max(initial=0) <= tolerance, case.attributes


@pytest.mark.parametrize("make", [random_conv, random_dense])
@pytest.mark.parametrize("opset", [18, 20, 22, 23])
def test_shapes_are_inferred_through_the_body_at_every_opset(make: Random, opset: int) -> None:
    case = make(np.random.default_rng(opset))
    inferred = onnx.shape_inference.infer_shapes(binary_model(case, opset=opset), strict_mode=True)
    onnx.checker.check_model(inferred, full_check=True)
    shape = [dim.dim_value for dim in inferred.graph.output[0].type.tensor_type.shape.dim]
    assert shape == list(reference_of(case).shape)


def test_attributes_left_out_are_those_of_a_plain_convolution() -> None:
    case = random_conv(np.random.default_rng(5), integer=True)
    signs = np.ones((4, case.x.shape[1], 1, 1), np.float32)
    plain = BinaryCase(
        case.x, signs, case.threshold, np.ones(4, np.float32), np.zeros(4, np.float32),
        {"kernel_shape": (1, 1), "channels": case.x.shape[1]},
    )  # fmt: skip
    model = binary_model(plain)
    node = model.graph.node[0]
    kept = [entry for entry in node.attribute if entry.name in binary_conv.REQUIRED]
    del node.attribute[:]
    node.attribute.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    assert np.array_equal(run(model, plain.x), counts_of(plain))


def test_bits_beyond_the_last_sign_change_nothing() -> None:
    case = random_dense(np.random.default_rng(6), integer=True)
    assert case.attributes["features"] % 8
    model = binary_model(case)
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "W")
    dirty = case.packed.copy()
    dirty[:, -1] |= np.uint8(0x80)
    weights.CopyFrom(onnx.numpy_helper.from_array(dirty, "W"))
    assert np.array_equal(run(model, case.x), counts_of(case))


def test_the_reference_refuses_shapes_that_do_not_fit() -> None:
    case = random_conv(np.random.default_rng(7))
    with pytest.raises(ValueError, match="input channels"):
        binary_conv.counts(case.x[:, :0], case.packed, case.threshold, **case.attributes)
    with pytest.raises(ValueError, match="does not fit"):
        binary_conv.counts(
            np.zeros((1, 1, 2, 2), np.float32), np.zeros((1, 2), np.uint8), np.zeros(1, np.float32),
            kernel_shape=(3, 3), channels=1,
        )  # fmt: skip
    with pytest.raises(ValueError, match="features"):
        binary_dense.counts(case.x, case.packed, case.threshold, features=1000)


@pytest.mark.parametrize("name", sorted(operators()))
def test_schema_and_body_name_the_same_inputs_and_attributes(name: str) -> None:
    operator = operators()[name]
    schema, function = operator.schema(), operator.function(18)
    assert (schema.domain, schema.name, schema.since_version) == (function.domain, function.name, 1)
    assert [entry.name for entry in schema.inputs] == list(function.input)
    assert [entry.name for entry in schema.outputs] == list(function.output)
    required = {entry.name for entry in schema.attributes.values() if entry.required}
    assert required == set(function.attribute)
    defaults = {
        entry.name: onnx.helper.get_attribute_value(entry.default_value)
        for entry in schema.attributes.values()
        if not entry.required
    }
    assert defaults == {entry.name: onnx.helper.get_attribute_value(entry) for entry in function.attribute_proto}


def test_onnx_takes_the_schemas() -> None:
    for operator in operators().values():
        schema = operator.schema()
        onnx.defs.register_schema(schema)
        try:
            assert onnx.defs.get_schema(operator.name, schema.domain).doc == schema.doc
        finally:
            onnx.defs.deregister_schema(operator.name, 1, schema.domain)
