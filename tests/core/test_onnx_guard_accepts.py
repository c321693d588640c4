import warnings
from pathlib import Path

import onnx
import onnx.backend.test.case.node as node_cases
import pytest

from edgeml.core.onnx_guard import check_onnx_file

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
BUNDLED = sorted(DATA.rglob("*.onnx"))


def graph_nodes(graph: onnx.GraphProto) -> int:
    inner = [attribute for node in graph.node for attribute in node.attribute]
    return len(graph.node) + sum(
        graph_nodes(inside)
        for attribute in inner
        for inside in ([attribute.g] if attribute.HasField("g") else attribute.graphs)
    )


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_model_of_the_onnx_package_is_accepted_and_counted_as_onnx_counts_it(path: Path) -> None:
    summary = check_onnx_file(path)
    model = onnx.load(path)
    assert summary.nodes == graph_nodes(model.graph) + sum(len(function.node) for function in model.functions)
    assert summary.tensors >= len(model.graph.initializer)
    assert summary.ir_version == model.ir_version
    assert summary.opset_imports == tuple((opset.domain, opset.version) for opset in model.opset_import)
    assert summary.functions == len(model.functions)
    assert summary.size_bytes == path.stat().st_size < summary.parsed_bytes
    assert summary.external_files == ()


def test_the_models_of_all_onnx_operator_tests_are_accepted(tmp_path: Path) -> None:
    assert len(BUNDLED) > 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx's own cases divide by zero on purpose
        cases = node_cases.collect_testcases(None)
    assert len(cases) > 1000
    path = tmp_path / "model.onnx"
    for case in cases:
        if case.model is not None:
            path.write_bytes(case.model.SerializeToString())
            summary = check_onnx_file(path)
            assert summary.nodes >= 1, case.name
