"""ONNX model in, Relax module out: TVM's importer, with the few operators it writes in a way no kernel recognizes."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from edgeml.compiler import binary_import, residual_import
from edgeml.compiler.binary_import import inline_functions, without_trees

if TYPE_CHECKING:
    import onnx
    import tvm

_WINDOWED = frozenset({"AveragePool", "Conv", "LpPool", "MaxPool"})


def import_onnx(model: onnx.ModelProto) -> tvm.IRModule:
    """The model as a Relax module whose function "main" takes the graph's inputs in order.

    Model-local functions are inlined, except those of edgeml's own operators. Automatic padding is written out where
    sizes are known, and batch normalization is resolved into arithmetic. Dynamic axes stay dynamic.

    Raises:
        ValueError, NotImplementedError, tvm.error.TVMError: an operator that TVM cannot import.
    """
    from tvm import relax, transform
    from tvm.relax.frontend.onnx import from_onnx, onnx_frontend

    model = _with_explicit_padding(without_trees(inline_functions(model)))
    _replace_converters(onnx_frontend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the importer runs onnx's checker again and warns of what that finds
        module = from_onnx(model, keep_params_in_input=False)
    passes = [relax.transform.DecomposeOpsForInference(), relax.transform.CanonicalizeBindings()]
    return transform.Sequential(passes)(module)


def _with_explicit_padding(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with auto_pad SAME_UPPER and SAME_LOWER written as pads, where the image's size is known."""
    import onnx

    if not any(_attribute(node, "auto_pad") in {b"SAME_UPPER", b"SAME_LOWER"} for node in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=False).graph
    sizes = {value.name: _static_sizes(value) for value in (*inferred.input, *inferred.value_info, *inferred.output)}
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for node in copy.graph.node:
        mode = _attribute(node, "auto_pad")
        if node.op_type not in _WINDOWED or mode not in {b"SAME_UPPER", b"SAME_LOWER"}:
            continue
        window = _attribute(node, "kernel_shape") or weights.get(node.input[1] if len(node.input) > 1 else "", [])[2:]
        image = sizes.get(node.input[0], [])[2:]
        if not window or len(image) != len(window) or not all(image):
            continue
        strides = _attribute(node, "strides") or [1] * len(window)
        dilations = _attribute(node, "dilations") or [1] * len(window)
        totals = [
            max((math.ceil(size / stride) - 1) * stride + (taps - 1) * dilation + 1 - size, 0)
            for size, stride, taps, dilation in zip(image, strides, window, dilations, strict=True)
        ]
        less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
        kept = [each for each in node.attribute if each.name not in {"auto_pad", "pads"}]
        del node.attribute[:]
        node.attribute.extend(kept)
        pads = less + more if mode == b"SAME_UPPER" else more + less
        node.attribute.append(onnx.helper.make_attribute("pads", pads))
    return copy


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    import onnx

    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return None


def _static_sizes(value: onnx.ValueInfoProto) -> list[int]:
    """The axes of a tensor, 0 for those that are not known."""
    return [axis.dim_value for axis in value.type.tensor_type.shape.dim]


def _replace_converters(frontend: Any) -> None:
    """Put our converters into the importer's map (a private function of TVM, so the import stage is pinned to it)."""
    if getattr(frontend, "_edgeml_converters", False):
        return
    original = frontend._get_convert_map
    ours = {"Clip": _clip_converter(frontend), "Sum": _sum_converter(frontend)}
    ours |= binary_import.converters(frontend) | residual_import.converters(frontend)
    frontend._get_convert_map = lambda: {**original(), **ours}
    frontend._edgeml_converters = True


def _clip_converter(frontend: Any) -> Any:
    """Clip as one operator where its bounds are constant; TVM's own writes five, with tests for NaN bounds."""
    from tvm import relax

    class Clip(frontend.Clip):  # type: ignore[misc]
        @classmethod
        def _impl_v1(cls, bb: Any, inputs: Any, attr: Any, params: Any) -> Any:
            bounds = [relax.const(float(attr[name]), "float32") if name in attr else None for name in ("min", "max")]
            return cls._impl_v13(bb, [inputs[0], *bounds], attr, params)

        @classmethod
        def _impl_v13(cls, bb: Any, inputs: Any, attr: Any, params: Any) -> Any:
            given = [inputs[index] if len(inputs) > index else None for index in (1, 2)]
            bounds = [_scalar(expr) for expr in given]
            known = all(expr is None or not math.isnan(bound) for expr, bound in zip(given, bounds, strict=True))
            if "float32" not in str(inputs[0].ty.dtype) or not known:
                return super()._impl_v13(bb, [inputs[0], *given], attr, params)
            value = inputs[0]
            if given[0] is not None:
                value = relax.op.maximum(value, relax.const(bounds[0], "float32"))
            if given[1] is not None:
                value = relax.op.minimum(value, relax.const(bounds[1], "float32"))
            return value

    return Clip


def _sum_converter(frontend: Any) -> Any:
    """Sum as additions; TVM's own stacks the tensors in memory first."""
    from tvm import relax

    class Sum(frontend.OnnxOpConverter):  # type: ignore[misc]
        @classmethod
        def _impl_v1(cls, bb: Any, inputs: Any, attr: Any, params: Any) -> Any:  # noqa: ARG003
            total = inputs[0]
            for each in inputs[1:]:
                total = bb.normalize(relax.op.add(total, each))
            return total

    return Sum


def _scalar(expr: Any) -> float:
    """The value of a constant scalar; NaN for anything else."""
    value = getattr(expr, "value", None)
    if value is None or not hasattr(value, "numpy"):
        return math.nan
    array = value.numpy()
    return float(array.reshape(())) if array.size == 1 else math.nan
