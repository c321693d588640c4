"""The native TreeBinaryConv gives numpy's results with either of its kernels, and refuses what is no tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edgeml.core.errors import EdgeMLError
from edgeml.models.binary.mst import spanning_tree
from edgeml.ops import tree_binary_conv
from edgeml.ops.tree_coding import CodedTree, encode
from edgeml.runtime.plugin.library import load_plugin

Model = Callable[..., onnx.ModelProto]
Open = Callable[..., onnxruntime.InferenceSession]

try:
    KERNELS = load_plugin().kernels
except EdgeMLError:  # the tests tell why
    KERNELS = ("scalar",)

CONV: dict[str, Any] = {"kernel_shape": (3, 2), "channels": 6, "group": 2, "strides": (2, 1), "pads": (1, 0, 2, 1)}
ONE_GROUP = CONV | {"group": 1}
IMAGE = np.random.default_rng(0).standard_normal((2, 6, 9, 7)).astype(np.float32)
FILTERS = 10


def tree_of(bits: int) -> CodedTree:
    generator = np.random.default_rng(1)
    common = generator.integers(0, 2, bits)
    weights = np.packbits(common ^ (generator.random((FILTERS, bits)) < 0.2), axis=1, bitorder="little")
    return encode(weights, spanning_tree(weights, bits))


def constants_of(tree: CodedTree) -> dict[str, npt.NDArray[Any]]:
    generator = np.random.default_rng(2)
    return {
        "root": tree.root,
        "parents": tree.parents,
        "quotients": tree.quotients,
        "remainders": tree.remainders,
        "threshold": generator.standard_normal(6).astype(np.float32),
        "scale": generator.standard_normal(FILTERS).astype(np.float32),
        "bias": generator.standard_normal(FILTERS).astype(np.float32),
    }


def numbers(tree: CodedTree) -> dict[str, int]:
    return {"root_index": tree.root_index, "rice_parameter": tree.rice_parameter}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("choice", ["tree", "dense", "measured"])
@pytest.mark.parametrize("attributes", [CONV, ONE_GROUP])
def test_a_tree_is_numpys_to_the_last_bit(
    one_node_model: Model,
    monkeypatch: pytest.MonkeyPatch,
    open_natively: Open,
    kernel: str,
    choice: str,
    attributes: dict[str, Any],
) -> None:
    monkeypatch.setenv("EDGEML_KERNEL", kernel)
    monkeypatch.setenv("EDGEML_TREE_KERNEL", choice)
    tree = tree_of(36 // attributes["group"])
    constants = constants_of(tree)
    model = one_node_model("TreeBinaryConv", constants, **attributes, **numbers(tree))
    found = [open_natively(model, threads=threads).run(None, {"X": IMAGE})[0] for threads in (1, 2)]
    expected = tree_binary_conv.reference(IMAGE, tree, *list(constants.values())[4:], **attributes)
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1], expected)


def test_a_tree_that_is_fed_is_decoded_in_each_run(one_node_model: Model, open_natively: Open) -> None:
    tree = tree_of(36)
    constants = constants_of(tree)
    fed = {"X": IMAGE, "root": constants.pop("root")}
    kinds = {name: value.dtype.type for name, value in fed.items()}
    model = one_node_model("TreeBinaryConv", constants, fed=kinds, **ONE_GROUP, **numbers(tree))
    (found,) = open_natively(model).run(None, fed)
    expected = tree_binary_conv.reference(IMAGE, tree, *list(constants.values())[3:], **ONE_GROUP)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"rice_parameter": 0}, "rice_parameter is 0"),
        ({"rice_parameter": 31}, "rice_parameter is 31"),
        ({"root_index": -1}, "root_index is -1"),
        ({"root_index": FILTERS}, "root_index is 10"),
        ({"channels": 7}, "threshold|W has shape"),
        ({"parents": np.full(5, 255, np.uint8)}, "parent is 15"),
        ({"parents": np.zeros(4, np.uint8)}, "parents has 4 bytes"),
        ({"parents": np.zeros((1, 5), np.uint8)}, "takes one axis"),
        ({"quotients": np.zeros(0, np.uint8)}, "remainders has"),
        ({"quotients": np.full(40, 255, np.uint8)}, "remainders has"),
        ({"remainders": np.zeros(1, np.uint8)}, "remainders has 1 bytes"),
        ({"root": np.zeros(0, np.uint8)}, "go beyond|W has shape"),
        ({"root": np.zeros(9, np.uint8)}, "end before"),
        ({"scale": np.zeros(1, np.float32)}, "2 to 65536 filters, not 1"),
        ({"scale": np.zeros((2, 5), np.float32)}, "takes one axis"),
        ({"scale": np.zeros(11, np.float32)}, "end before"),
    ],
)
def test_what_is_no_tree_is_an_error_of_onnxruntime(
    one_node_model: Model, open_natively: Open, change: dict[str, Any], line: str
) -> None:
    tree = tree_of(36)
    constants = constants_of(tree) | {key: value for key, value in change.items() if isinstance(value, np.ndarray)}
    attributes = ONE_GROUP | numbers(tree) | {key: value for key, value in change.items() if isinstance(value, int)}
    model = one_node_model("TreeBinaryConv", constants, **attributes)
    with pytest.raises(Exception, match=line):
        open_natively(model).run(None, {"X": IMAGE})


def test_damaged_bytes_never_crash(one_node_model: Model, open_natively: Open) -> None:
    tree = tree_of(36)
    model = one_node_model("TreeBinaryConv", constants_of(tree), **ONE_GROUP, **numbers(tree))
    generator, refused = np.random.default_rng(3), 0
    for _ in range(100):
        damaged = onnx.ModelProto()
        damaged.CopyFrom(model)
        tensor = damaged.graph.initializer[generator.integers(4)]
        value = numpy_helper.to_array(tensor).copy()
        value[generator.integers(value.size)] ^= 1 << generator.integers(8)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
        try:
            open_natively(damaged).run(None, {"X": IMAGE})
        except Exception as error:  # noqa: BLE001  # onnxruntime's classes share no other base
            assert "TreeBinaryConv" in str(error)  # noqa: PT017
            refused += 1
    assert 0 < refused < 100
