"""How the importer reads edgeml's own operators: as themselves, not by their bodies of standard operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeml.ops import binary_conv, binary_dense, tree_binary_conv
from edgeml.ops.domain import DOMAIN

if TYPE_CHECKING:
    import onnx


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without model-local functions, except those of edgeml's operators, which are called as before."""
    from onnx import inliner

    if not model.functions:
        return model
    ours = [(DOMAIN, operator.NAME) for operator in (binary_conv, binary_dense, tree_binary_conv)]
    return inliner.inline_selected_functions(model, ours, exclude=True)


def without_trees(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every TreeBinaryConv as the BinaryConv that it stands for, its filters decoded.

    Raises:
        ValueError: the tree is no constant.
        UsageError: it is no tree.
    """
    import onnx
    from onnx import numpy_helper

    from edgeml.ops.tree_coding import CodedTree, decode

    if not any(_is_ours(node, tree_binary_conv.NAME) for node in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = _constants(copy)
    for index, node in enumerate(copy.graph.node):
        if not _is_ours(node, tree_binary_conv.NAME):
            continue
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        x, *coded, threshold, scale, bias = node.input
        if unknown := [name for name in (*coded, scale) if name not in constants]:
            raise ValueError(f"{node.op_type} needs constants; {', '.join(unknown)} is computed by the graph")
        tree = CodedTree(
            **dict(
                zip(
                    tree_binary_conv.TREE_INPUTS,
                    (numpy_helper.to_array(constants[name]) for name in coded),
                    strict=True,
                )
            ),
            root_index=attributes.pop("root_index"),
            rice_parameter=attributes.pop("rice_parameter"),
        )
        filters = f"{node.output[0]}_filters"
        decoded = decode(tree, constants[scale].dims[0])
        copy.graph.initializer.append(numpy_helper.from_array(decoded, filters))
        inputs = [x, filters, threshold, scale, bias]
        copy.graph.node[index].CopyFrom(binary_conv.node(inputs, node.output[0], name=node.name, **attributes))
    return copy


def _is_ours(node: onnx.NodeProto, name: str) -> bool:
    return bool(node.domain == DOMAIN and node.op_type == name)


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Tensors that are known, by name."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
            found[node.output[0]] = node.attribute[0].t
    return found


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
