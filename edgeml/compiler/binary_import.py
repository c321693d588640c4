"""How the importer reads edgeml's own operators: as themselves, not by their bodies of standard operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeml.ops import binary_conv, binary_dense, tree_binary_conv
from edgeml.ops.domain import DOMAIN
from edgeml.ops.registry import operators
from edgeml.ops.tree_expansion import expand_trees, is_tree

if TYPE_CHECKING:
    import onnx


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without model-local functions, except those of edgeml's operators, which are called as before."""
    from onnx import inliner

    if not model.functions:
        return model
    ours = [(DOMAIN, name) for name in operators()]
    return inliner.inline_selected_functions(model, ours, exclude=True)


def without_trees(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every TreeBinaryConv as the BinaryConv that it stands for, its filters decoded.

    Raises:
        ValueError: the tree is no constant.
        UsageError: it is no tree.
    """
    expanded = expand_trees(model)
    if any(is_tree(node) for node in expanded.graph.node):
        raise ValueError(f"{tree_binary_conv.NAME} needs a constant tree; one is computed by the graph")
    return expanded


def converters(frontend: Any) -> dict[str, Any]:
    """For TVM's importer, by operator."""
    return {
        binary_conv.NAME: _binary_conv_converter(frontend),
        binary_dense.NAME: _binary_dense_converter(frontend),
    }


def _binary_conv_converter(frontend: Any) -> Any:
    from edgeml.compiler.binary_operator import BinaryGeometry, binary_convolution

    class BinaryConv(frontend.OnnxOpConverter):  # type: ignore[misc]
        @classmethod
        def _impl_v1(cls, bb: Any, inputs: Any, attr: Any, params: Any) -> Any:  # noqa: ARG003
            values = {**binary_conv.DEFAULTS, **{name: attr[name] for name in attr}}
            lists = ("kernel_shape", "strides", "pads", "dilations")
            numbers = [int(each) for name in lists for each in values[name]]
            x, weights, threshold, scale, bias = (inputs[index] for index in range(5))
            geometry = BinaryGeometry(*numbers, *[int(values["group"])])
            return bb.normalize(binary_convolution(x, weights, threshold, scale, bias, geometry))

    return BinaryConv


def _binary_dense_converter(frontend: Any) -> Any:
    """A BinaryDense is a convolution of images of one pixel."""
    from tvm import relax

    from edgeml.compiler.binary_operator import BinaryGeometry, binary_convolution

    geometry = BinaryGeometry(1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1)

    class BinaryDense(frontend.OnnxOpConverter):  # type: ignore[misc]
        @classmethod
        def _impl_v1(cls, bb: Any, inputs: Any, attr: Any, params: Any) -> Any:  # noqa: ARG003
            x, weights, threshold, scale, bias = (inputs[index] for index in range(5))
            if getattr(x.ty, "shape", None) is None:
                raise ValueError("the number of axes of BinaryDense's X must be known")
            *outer, features = x.ty.shape
            samples: Any = 1
            for axis in outer:
                samples = samples * axis
            rows = bb.normalize(relax.op.reshape(x, [samples, features, 1, 1]))
            result = bb.normalize(binary_convolution(rows, weights, threshold, scale, bias, geometry))
            return bb.normalize(relax.op.reshape(result, [*outer, result.ty.shape[1]]))

    return BinaryDense
