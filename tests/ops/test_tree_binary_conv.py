"""A convolution whose filters are stored as a tree computes what BinaryConv computes, in every runtime."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgeml.core.onnx_guard import check_onnx_file
from edgeml.ops import binary_conv, tree_binary_conv
from edgeml.ops.attach import attach_functions
from edgeml.ops.tree_coding import CodedTree, encode

STOCK = "import sys, numpy as np, onnxruntime as o; a = sys.argv; x = np.load(a[2]); \
s = o.InferenceSession(a[1], providers=['CPUExecutionProvider']); np.save(a[3], s.run(None, {'X': x})[0]); \
sys.exit(any(name.startswith('edgeml') for name in sys.modules))"


@dataclass(frozen=True)
class Case:
    """One convolution with all that it takes; scale is 1 and bias 0, so that Y are the counts."""

    x: npt.NDArray[np.float32]
    weights: npt.NDArray[np.uint8]
    tree: CodedTree
    threshold: npt.NDArray[np.float32]
    attributes: dict[str, Any]

    @property
    def counts(self) -> npt.NDArray[np.float32]:
        return binary_conv.counts(self.x, self.weights, self.threshold, **self.attributes).astype(np.float32)

    def model(self, opset: int = 20) -> onnx.ModelProto:
        filters = len(self.weights)
        values: dict[str, npt.NDArray[Any]] = {
            "root": self.tree.root,
            "parents": self.tree.parents,
            "quotients": self.tree.quotients,
            "remainders": self.tree.remainders,
            "threshold": self.threshold,
            "scale": np.ones(filters, np.float32),
            "bias": np.zeros(filters, np.float32),
        }
        node = tree_binary_conv.node(
            ["X", *values],
            "Y",
            root_index=self.tree.root_index,
            rice_parameter=self.tree.rice_parameter,
            **self.attributes,
        )
        graph = helper.make_graph(
            [node],
            "tree",
            [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, self.x.shape)],
            [helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, self.counts.shape)],
            [numpy_helper.from_array(value, name) for name, value in values.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        attach_functions(model)
        return model


def random_case(seed: int) -> Case:
    generator = np.random.default_rng(seed)
    group = int(generator.choice([1, 1, 2, 3]))
    channels, filters = group * int(generator.integers(1, 8)), group * int(generator.integers(2, 9))
    kernel = [int(each) for each in generator.integers(1, 4, 2)]
    bits = channels // group * kernel[0] * kernel[1]
    common = generator.integers(0, 2, bits)
    weights = np.packbits(
        common ^ (generator.random((filters, bits)) < generator.choice([0, 0.1, 0.5])), axis=1, bitorder="little"
    )
    order, parents = generator.permutation(filters), np.empty(filters, np.int64)
    parents[order[0]] = order[0]
    for place in range(1, filters):
        parents[order[place]] = order[place - 1 if seed % 2 else generator.integers(place)]
    x = generator.standard_normal((int(generator.integers(1, 3)), channels, *generator.integers(5, 9, 2)))
    x[generator.random(x.shape) < 0.05] = np.nan
    return Case(
        x.astype(np.float32),
        weights,
        encode(weights, parents),
        generator.standard_normal(channels).astype(np.float32),
        {
            "kernel_shape": kernel,
            "channels": channels,
            "group": group,
            "strides": [int(each) for each in generator.integers(1, 4, 2)],
            "pads": [int(each) for each in generator.integers(0, 3, 4)],
            "dilations": [int(each) for each in generator.integers(1, 3, 2)],
        },
    )


def session(model: onnx.ModelProto, optimized: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("seed", range(40))
def test_onnxruntime_counts_as_the_reference(seed: int) -> None:
    case = random_case(seed)
    np.testing.assert_array_equal(session(case.model()).run(None, {"X": case.x})[0], case.counts)


@pytest.mark.parametrize("seed", range(100, 106))
def test_the_reference_evaluator_counts_as_the_reference(seed: int) -> None:
    case = random_case(seed)
    results: Any = ReferenceEvaluator(case.model()).run(None, {"X": case.x})
    np.testing.assert_array_equal(results[0], case.counts)


def test_numpy_reference_is_binary_conv_of_the_decoded_filters() -> None:
    case = random_case(7)
    filters = len(case.weights)
    scale, bias = np.linspace(-1, 1, filters, dtype=np.float32), np.linspace(2, 3, filters, dtype=np.float32)
    np.testing.assert_array_equal(
        tree_binary_conv.reference(case.x, case.tree, case.threshold, scale, bias, **case.attributes),
        binary_conv.reference(case.x, case.weights, case.threshold, scale, bias, **case.attributes),
    )


@pytest.mark.parametrize("opset", [18, 20, 23])
def test_the_checker_and_shape_inference_pass(opset: int) -> None:
    case = random_case(3)
    model = case.model(opset)
    dims = model.graph.output[0].type.tensor_type.shape.dim
    for axis, dim in enumerate(dims):
        dim.dim_param = f"axis{axis}"
    onnx.checker.check_model(model, full_check=True)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    shape = [dim.dim_value for dim in inferred.graph.output[0].type.tensor_type.shape.dim]
    assert shape == list(case.counts.shape)


def test_the_deepest_tree_is_rebuilt() -> None:
    generator = np.random.default_rng(0)
    weights = np.packbits(generator.integers(0, 2, (1024, 8)), axis=1, bitorder="little")
    case = Case(
        generator.standard_normal((1, 8, 2, 2)).astype(np.float32),
        weights,
        encode(weights, np.maximum(np.arange(1024) - 1, 0)),
        np.zeros(8, np.float32),
        {"kernel_shape": [1, 1], "channels": 8},
    )
    np.testing.assert_array_equal(session(case.model()).run(None, {"X": case.x})[0], case.counts)


def test_onnxruntime_folds_the_tree_into_one_convolution(tmp_path: Path) -> None:
    session(random_case(5).model(), tmp_path / "optimized.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert operators.count("Conv") == 1
    assert set(operators) <= {"Less", "Where", "Conv", "Mul", "Add", "ReorderInput", "ReorderOutput"}


def test_a_process_without_edgeml_runs_the_file(tmp_path: Path) -> None:
    case = random_case(11)
    onnx.save(case.model(), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", case.x)
    arguments = [str(tmp_path / name) for name in ("m.onnx", "x.npy", "y.npy")]
    subprocess.run([sys.executable, "-c", STOCK, *arguments], check=True, cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), case.counts)


def test_the_inlined_file_computes_the_same_and_the_guard_lets_both_pass(tmp_path: Path) -> None:
    import onnx.inliner

    case = random_case(12)
    inlined = onnx.inliner.inline_local_functions(case.model())
    assert not inlined.functions
    np.testing.assert_array_equal(session(inlined).run(None, {"X": case.x})[0], case.counts)
    for name, model in {"function.onnx": case.model(), "inlined.onnx": inlined}.items():
        onnx.save(model, tmp_path / name)
        check_onnx_file(tmp_path / name)


def test_the_schema_fits_the_function() -> None:
    schema, function = tree_binary_conv.schema(), tree_binary_conv.function(18)
    assert [each.name for each in schema.inputs] == list(function.input)
    required = {name for name, attribute in schema.attributes.items() if attribute.required}
    assert required == set(function.attribute)
    assert set(schema.attributes) - required == {attribute.name for attribute in function.attribute_proto}
