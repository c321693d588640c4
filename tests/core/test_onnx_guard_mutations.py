import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeml.core.errors import EdgeMLError
from edgeml.core.onnx_guard import check_onnx_file


def rich_model() -> bytes:
    """A small model with something of everything: subgraph, function, typed and raw and sparse data, metadata."""
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Constant", [], ["y"], value_floats=[1.0, 2.0])], "b", [], [output])
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["m"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        helper.make_node("Double", ["m"], ["d"], domain="own"),
        helper.make_node("ConstantOfShape", ["s"], ["z"], value=helper.make_tensor("v", TensorProto.INT8, [1], [-3])),
    ]
    initializers = [
        numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "w"),
        helper.make_tensor("s", TensorProto.INT64, [2], [2, 300]),
        TensorProto(name="t", data_type=TensorProto.STRING, dims=[2], string_data=[b"a", b"bc"]),
        helper.make_tensor("c", TensorProto.BOOL, [], [True]),
        helper.make_tensor("d", TensorProto.DOUBLE, [2], [1.0, 2.0]),
    ]
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    function = helper.make_function("own", "Double", ["a"], ["b"], body, [helper.make_opsetid("", 18)])
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("p", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("i", TensorProto.INT64, [1], [2]),
        [4],
    )
    graph = helper.make_graph(nodes, "g", [image], [output], initializers, sparse_initializer=[sparse])
    model = helper.make_model(graph, functions=[function])
    helper.set_model_props(model, {"author": "someone"})
    return bytes(model.SerializeToString())


SEED = rich_model()
PLACES = st.integers(0, len(SEED) - 1)
Change = Callable[[bytes], bytes]


def overwrite(place: int, content: bytes) -> Change:
    return lambda data: data[:place] + content + data[place + len(content) :]


def insert(place: int, content: bytes) -> Change:
    return lambda data: data[:place] + content + data[place:]


def cut(place: int, count: int) -> Change:
    return lambda data: data[:place] + data[place + count :]


def repeat(place: int, count: int) -> Change:
    return lambda data: data[: place + count] + data[place:]


CHANGES = st.one_of(
    st.builds(overwrite, PLACES, st.binary(min_size=1, max_size=4)),
    st.builds(insert, PLACES, st.binary(min_size=1, max_size=4)),
    st.builds(cut, PLACES, st.integers(1, 40)),
    st.builds(repeat, PLACES, st.integers(1, 40)),
)


def count(message: onnx.GraphProto | onnx.FunctionProto) -> int:
    """Nodes of a graph or function as the onnx package sees them."""
    graphs = [graph for node in message.node for each in node.attribute for graph in ([each.g, *each.graphs])]
    return len(message.node) + sum(map(count, graphs))


def test_the_unchanged_model_is_accepted() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        path.write_bytes(SEED)
        assert check_onnx_file(path).nodes == 7


@settings(max_examples=2000, deadline=None)
@given(st.lists(CHANGES, min_size=1, max_size=3))
def test_a_damaged_model_is_refused_or_means_to_onnx_what_it_means_to_us(changes: list[Change]) -> None:
    data = SEED
    for change in changes:
        data = change(data)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        path.write_bytes(data)
        try:
            summary = check_onnx_file(path)
        except EdgeMLError:
            return
        model = onnx.load(path)
    training = [graph for each in model.training_info for graph in (each.initialization, each.algorithm)]
    assert summary.nodes == sum(map(count, [model.graph, *model.functions, *training]))
    assert summary.ir_version == model.ir_version
    assert summary.functions == len(model.functions)
    for tensor in model.graph.initializer:
        if tensor.HasField("raw_data"):
            assert numpy_helper.to_array(tensor).shape == tuple(tensor.dims)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_give_one_of_our_errors_or_parse(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        path.write_bytes(data)
        try:
            check_onnx_file(path)
        except EdgeMLError:
            return
        onnx.load(path)
