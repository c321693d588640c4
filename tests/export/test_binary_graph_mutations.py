"""Graphs broken at random: what reads binary layers refuses them in one line or lets them pass, and always ends."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgeml.core.errors import EdgeMLError
from edgeml.export.binary_layers import use_binary_operators
from edgeml.export.fold_binary import fold_binary
from edgeml.export.late_signs import take_signs_late
from edgeml.export.qonnx import standard_operators
from edgeml.ops.attach import attach_functions, inline_functions
from tests.export.test_fold_binary import model_of, norm
from tests.export.test_qonnx import network

ODD_VALUES: list[Any] = [1, 0, -3, 2.5, "x", [1], [1, 2, 3], [0.5, 1.0], [1, 1], [0, 0]]


def sources() -> list[onnx.ModelProto]:
    after, constants = norm()
    before = [helper.make_node("Sub", ["x", "k"], ["a"])]
    return [
        network()[0],
        inline_functions(model_of("conv", after=after, constants=constants)),
        model_of("conv", after=after, constants=constants),
        model_of("dense", after=after, constants=constants),
        model_of("conv", before=before, constants={"k": np.ones((6, 1, 1))}),
    ]


def break_one_thing(model: onnx.ModelProto, dice: random.Random) -> None:
    node, tensor = dice.choice(model.graph.node), dice.choice(model.graph.initializer)
    names = [entry.name for entry in model.graph.initializer] + [
        name for each in model.graph.node for name in each.output
    ]
    kind = dice.randrange(9)
    if kind == 0 and node.input:
        del node.input[dice.randrange(len(node.input))]
    elif kind == 1 and node.input:
        node.input[dice.randrange(len(node.input))] = dice.choice(names)
    elif kind == 2 and node.attribute:
        del node.attribute[dice.randrange(len(node.attribute))]
    elif kind == 3 and node.attribute:
        attribute = dice.choice(node.attribute)
        attribute.CopyFrom(helper.make_attribute(attribute.name, dice.choice(ODD_VALUES)))
    elif kind == 4:
        del node.output[:]
    elif kind == 5:
        node.op_type = dice.choice(model.graph.node).op_type
    elif kind == 6:
        value = numpy_helper.to_array(tensor)
        flat = value.reshape(-1)
        odd = [flat, value[..., None], flat[:1].sum(), flat[:0], value.astype(np.float64), flat[::2]]
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(dice.choice(odd)), tensor.name))
    elif kind == 7:
        node.input.append(dice.choice(names))
    elif kind == 8:
        node.output.append("another")


@pytest.mark.parametrize("seed", range(4))
def test_broken_graphs_pass_or_are_refused_in_one_line(seed: int) -> None:
    dice = random.Random(seed)
    models = sources()
    for _ in range(150):
        model = onnx.ModelProto()
        model.CopyFrom(dice.choice(models))
        for _ in range(dice.randint(1, 3)):
            break_one_thing(model, dice)
        with contextlib.suppress(EdgeMLError):
            standard_operators(model)
            take_signs_late(model.graph)
            model = use_binary_operators(model)
            fold_binary(model)
            attach_functions(model)
            inline_functions(model)


def test_circles_end() -> None:
    circle = [
        helper.make_node("Flatten", ["b"], ["a"]),
        helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("MatMul", ["a", "b"], ["y"]),
    ]
    graph = helper.make_graph(circle, "circle", [], [])
    take_signs_late(graph)
    assert use_binary_operators(helper.make_model(graph)).graph.node[2].op_type == "MatMul"
    shift = [helper.make_node("Sub", ["a", "k"], ["a"])]
    fold_binary(model_of("conv", before=shift, constants={"k": np.zeros((6, 1, 1))}))
