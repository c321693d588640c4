from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.export.clean import clean, to_bytes
from edgeml.export.run_onnx import run_onnx
from edgeml.export.to_onnx import to_onnx
from tests.export.conftest import SHAPE, Case

torch = pytest.importorskip("torch")


def test_input_and_output_have_the_documented_names_and_a_dynamic_batch(case: Case) -> None:
    graph = case.model.graph
    assert [value.name for value in graph.input] == ["input"]
    assert [value.name for value in graph.output] == ["logits"]
    assert [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == ["batch", *SHAPE]
    assert graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_onnx_s_own_reference_evaluator_computes_what_torch_computes(case: Case, batch: int) -> None:
    inputs = np.random.default_rng(3).standard_normal((batch, *SHAPE)).astype(np.float32)
    with torch.no_grad():
        expected = case.network.module(torch.from_numpy(inputs)).numpy()
    (actual,) = ReferenceEvaluator(case.model).run(None, {"input": inputs})
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=1e-4, atol=1e-5)
    unoptimized = run_onnx(case.model, {"input": inputs}, optimize=False)["logits"]
    np.testing.assert_allclose(unoptimized, expected, rtol=1e-4, atol=1e-5)


def test_opset_18_is_what_the_file_says(case: Case) -> None:
    model = clean(to_onnx(case.network.module, SHAPE, opset=18).model)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [18]


def test_the_same_network_twice_gives_the_same_bytes(case: Case) -> None:
    again = clean(to_onnx(case.network.module, SHAPE).model)
    assert to_bytes(again) == to_bytes(case.model)


def test_a_static_batch_is_one(case: Case) -> None:
    model = clean(to_onnx(case.network.module, SHAPE, static_batch=True).model)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_a_training_module_is_exported_in_evaluation_mode_and_gets_its_mode_back(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    module = torch.nn.Sequential(torch.nn.Dropout(0.9), torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    module.train()
    module[2].eval()
    model = to_onnx(module, SHAPE).model
    assert not {"Dropout"} & {node.op_type for node in model.graph.node}
    assert [part.training for part in module.modules()] == [True, True, True, False]
    assert capsys.readouterr().out == ""


def test_several_outputs_are_numbered() -> None:
    class Two(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def forward(self, x: object) -> object:
            return x + 1, x * 2  # type: ignore[operator]

    assert [value.name for value in to_onnx(Two(), SHAPE).model.graph.output] == ["output_0", "output_1"]


def test_an_opset_outside_the_range_is_refused(case: Case) -> None:
    with pytest.raises(UsageError, match="opset is 11; allowed: 18 to 23"):
        to_onnx(case.network.module, SHAPE, opset=11)


def test_a_network_that_torch_cannot_export_gives_one_line() -> None:
    class Branching(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def forward(self, x: object) -> object:
            return x if x.sum().item() > 3 else -x  # type: ignore[attr-defined,operator]

    with pytest.raises(EdgeMLError, match="torch cannot export") as failure:
        to_onnx(Branching(), SHAPE)
    assert "\n" not in str(failure.value)


def test_onnx_accepts_the_graph(case: Case) -> None:
    onnx.checker.check_model(case.model, full_check=True)
