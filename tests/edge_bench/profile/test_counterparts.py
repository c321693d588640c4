"""Nodes are found again that onnxruntime renamed, rounded up to blocks, or made of something else."""

from __future__ import annotations

from edgeml.edge_bench.profile.counterparts import counterparts
from edgeml.edge_bench.profile.trace import Tensor, TracedNode


def node(name: str, operator: str = "Conv", filters: tuple[int, ...] = (8, 4, 1, 1), size: int = 7) -> TracedNode:
    inputs = (Tensor("float32", (1, filters[1], size, size)), Tensor("float32", filters))
    return TracedNode(
        name=name,
        operator=operator,
        provider="CPUExecutionProvider",
        milliseconds=1.0,
        calls=1,
        inputs=inputs,
        outputs=(Tensor("float32", (1, filters[0], size, size)),),
        activation_bytes=0,
        weight_bytes=0,
        output_bytes=0,
    )


def names(executed: list[TracedNode], plain: list[TracedNode]) -> list[str | None]:
    return [None if found is None else found.name for found in counterparts(executed, plain)]


def test_a_name_made_unique_is_the_same_name() -> None:
    plain = [node("a", "QLinearConv"), node("b", "Add")]
    executed = [
        node("a_token_12", "QLinearConv"),
        node("b", "Add"),
        node("b", "Mul"),
        node("c_token_1", "ReorderInput"),
    ]
    assert names(executed, plain) == ["a", "b", None, None]


def test_convolutions_in_blocks_are_paired_by_shape_in_order() -> None:
    plain = [
        node("first", filters=(10, 240, 1, 1)),
        node("gate", "FusedConv", (240, 10, 1, 1)),
        node("second", filters=(14, 240, 1, 1)),
    ]
    executed = [
        node("x_nchwc", filters=(16, 240, 1, 1)),
        node("y_nchwc", filters=(240, 16, 1, 1)),
        node("z_nchwc", filters=(16, 240, 1, 1)),
    ]
    assert names(executed, plain) == ["first", "gate", "second"]


def test_other_kernels_and_sizes_are_no_counterparts() -> None:
    executed = [node("x_nchwc", filters=(16, 8, 3, 3))]
    assert names(executed, [node("a", filters=(16, 8, 1, 1))]) == [None]
    assert names(executed, [node("a", filters=(16, 8, 3, 3), size=9)]) == [None]
    assert names(executed, [node("a", filters=(17, 8, 3, 3))]) == [None]


def test_each_node_is_taken_once() -> None:
    plain = [node("a", filters=(16, 8, 1, 1))]
    assert names([node("x_nchwc", filters=(16, 8, 1, 1))] * 2, plain) == ["a", None]
