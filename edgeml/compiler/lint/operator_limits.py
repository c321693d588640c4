"""What compiles and then computes something else, or nothing: found by running ONNX's own test suite, refused by name.

`benchmarks/tvm_operator_sweep.py` is that run; every rule here answers cases of it. Operators that TVM's importer
itself refuses need no rule, only a way round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgeml.ops.domain import DOMAIN
from edgeml.ops.registry import residual_operators

if TYPE_CHECKING:
    import onnx

_ONNXRUNTIME = "run this model with onnxruntime"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One node that cannot be compiled.

    Attributes:
        operator: its type.
        domain: the type's domain; "" is ONNX's own.
        name: its name, or that of its first output where it has none.
        reason: why not.
        way_round: what can be done instead.
    """

    operator: str
    domain: str
    name: str
    reason: str
    way_round: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Scope:
    """A node's surroundings.

    Attributes:
        types: ONNX's element type of each value whose type is known.
        shapes: sizes of the axes of each value whose rank is known; None for a dynamic axis.
        values: numbers of each constant.
        outputs: names of the graph's outputs.
        used: names that something reads.
        constants: names of values that are known when compiling.
    """

    types: dict[str, int]
    shapes: dict[str, tuple[int | None, ...]]
    values: dict[str, Sequence[float]]
    outputs: frozenset[str]
    used: frozenset[str]

    @property
    def constants(self) -> frozenset[str]:
        """Names of values that are known when compiling."""
        return frozenset(self.values)


_Rule = Callable[["onnx.NodeProto", _Scope], "str | None"]


def finding(node: onnx.NodeProto, reason: str) -> Finding:
    """The finding that `node` cannot be compiled for `reason`."""
    return Finding(
        operator=node.op_type,
        domain=node.domain,
        name=node.name or next(iter(node.output), ""),
        reason=reason,
        way_round=way_round(node),
    )


def way_round(node: onnx.NodeProto) -> str:
    """What can be done instead of compiling `node`."""
    if node.domain == DOMAIN and node.op_type in residual_operators():
        return _ONNXRUNTIME
    if node.domain == DOMAIN:
        return f"store its weights in the file in the shape that the operator's definition gives, or {_ONNXRUNTIME}"
    if node.domain not in {"", "ai.onnx"}:
        return f"give {node.domain}.{node.op_type} a body as a model-local function of standard operators"
    return _WAYS.get(node.op_type, f"replace it by other operators when exporting, or {_ONNXRUNTIME}")


def known_limits(model: onnx.ModelProto) -> list[Finding]:
    """The nodes of `model`, in bodies of functions and branches too, that would compile to something else."""
    found = [_value_finding(value) for value in (*model.graph.input, *model.graph.output) if _kind(value) is not None]
    for nodes, scope in _graphs(model):
        for node in nodes:
            rule = _RULES.get(node.op_type) if node.domain in {"", "ai.onnx"} else None
            if rule is not None and (reason := rule(node, scope)) is not None:
                found.append(finding(node, reason))
    return found


def _graphs(model: onnx.ModelProto) -> Iterator[tuple[list[onnx.NodeProto], _Scope]]:
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        graph = model.graph
    yield from _graph(graph)
    for function in model.functions:
        if function.domain == DOMAIN:
            continue  # these are kernels, not their bodies
        used = frozenset(name for node in function.node for name in node.input) | frozenset(function.output)
        yield list(function.node), _Scope({}, {}, _constants(function.node, ()), frozenset(), used)


def _graph(graph: onnx.GraphProto) -> Iterator[tuple[list[onnx.NodeProto], _Scope]]:
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    outputs = frozenset(value.name for value in graph.output)
    yield (
        list(graph.node),
        _Scope(
            types=types | {tensor.name: tensor.data_type for tensor in graph.initializer},
            shapes={value.name: _sizes(value) for value in values if value.type.tensor_type.HasField("shape")}
            | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer},
            values=_constants(graph.node, graph.initializer),
            outputs=outputs,
            used=frozenset(name for node in graph.node for name in node.input) | outputs,
        ),
    )
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else list(attribute.graphs):
                yield from _graph(inner)


def _sizes(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    axes = value.type.tensor_type.shape.dim
    return tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in axes)


def _constants(nodes: Iterable[onnx.NodeProto], tensors: Iterable[onnx.TensorProto]) -> dict[str, Sequence[float]]:
    """Each constant's name, with its numbers where they are few."""
    import onnx

    known = {tensor.name: tensor for tensor in tensors}
    for node in nodes:
        if node.op_type == "Constant":
            tensor = next((each.t for each in node.attribute if each.HasField("t")), onnx.TensorProto())
            known[node.output[0]] = tensor
    return {
        name: onnx.numpy_helper.to_array(tensor).ravel().tolist() if _is_small(tensor) else ()
        for name, tensor in known.items()
    }


def _is_small(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location != tensor.EXTERNAL and tensor.data_type != 0 and 0 < math.prod(tensor.dims) <= _SMALL


_SMALL = 16


def _kind(value: onnx.ValueInfoProto) -> str | None:
    """What `value` is where it is no tensor of a type that a compiled model takes or gives."""
    import onnx

    if not value.type.HasField("tensor_type"):
        return str(value.type.WhichOneof("value"))
    name = str(onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type))
    return name.lower() if name == "STRING" or name.startswith(("FLOAT8", "FLOAT4", "INT4", "UINT4", "INT2")) else None


def _value_finding(value: onnx.ValueInfoProto) -> Finding:
    kind = str(_kind(value)).removesuffix("_type")
    return Finding(
        operator="graph input or output",
        domain="",
        name=value.name,
        reason=f"it is a {kind}",
        way_round=f"export the model with tensors of numbers of at least 8 bits there, or {_ONNXRUNTIME}",
    )


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    import onnx

    return next((onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def _later_outputs(node: onnx.NodeProto, scope: _Scope) -> str | None:
    wanted = [name for name in node.output[1:] if name and name in scope.used]
    return f"only its first output is right, and {wanted[0]!r} is used" if wanted else None


def _setting(name: str, default: Any, allowed: Any) -> _Rule:
    """A rule that refuses every value of an attribute but one."""

    def rule(node: onnx.NodeProto, _scope: _Scope) -> str | None:
        value = _attribute(node, name, default)
        shown = value.decode() if isinstance(value, bytes) else value
        return None if value == allowed else f"{name}={shown} is ignored"

    return rule


def _element_type(refused: frozenset[str], reason: str) -> _Rule:
    """A rule that refuses some types of the first input's elements."""

    def rule(node: onnx.NodeProto, scope: _Scope) -> str | None:
        import onnx

        name = str(onnx.TensorProto.DataType.Name(scope.types.get(node.input[0], 0))).lower()
        return f"{reason} ({name})" if name in refused else None

    return rule


def _mod(node: onnx.NodeProto, scope: _Scope) -> str | None:
    if _attribute(node, "fmod", 0):
        return None
    floats = frozenset({"float", "float16", "double", "bfloat16"})
    return _element_type(floats, "with fmod=0 its sign is wrong for floating-point numbers")(node, scope)


def _conv_transpose(node: onnx.NodeProto, _scope: _Scope) -> str | None:
    return "output_shape is ignored" if _attribute(node, "output_shape", None) else None


def _expand(node: onnx.NodeProto, scope: _Scope) -> str | None:
    return None if node.input[1] in scope.constants else f"its shape {node.input[1]!r} is computed when the model runs"


def _is_inf(node: onnx.NodeProto, _scope: _Scope) -> str | None:
    both = _attribute(node, "detect_negative", 1) and _attribute(node, "detect_positive", 1)
    return None if both else "it finds infinities of both signs whatever is asked for"


def _reduces_nothing(node: onnx.NodeProto, scope: _Scope) -> str | None:
    return "it reduces an empty tensor" if 0 in scope.shapes.get(node.input[0], ()) else None


def _shape(node: onnx.NodeProto, scope: _Scope) -> str | None:
    return "a shape cannot be an output of the model" if node.output[0] in scope.outputs else None


def _never(reason: str) -> _Rule:
    return lambda _node, _scope: reason


def _resize(node: onnx.NodeProto, scope: _Scope) -> str | None:
    if _attribute(node, "antialias", 0):
        return "antialias=1 is ignored"
    name = next((name for name in node.input[1 if len(node.input) == 2 else 2 : 3] if name), "")
    scales = scope.values.get(name)
    if scales is None or _attribute(node, "mode", b"nearest") == b"nearest":
        return None
    sizes = scope.shapes.get(node.input[0], (None,) * len(scales))
    for scale, size in zip(scales, sizes, strict=False):
        exact = float(scale).is_integer() if size is None else abs(size * scale - round(size * scale)) < _EXACT
        if not exact:
            return f"scale {scale:g} does not give a whole number of pixels, and positions are then rounded another way"
    return None


_EXACT = 1e-4

_RULES: dict[str, _Rule] = {
    "BatchNormalization": _setting("training_mode", 0, 0),
    "BitShift": _element_type(frozenset({"int8", "int16", "int32", "int64"}), "shifts of signed numbers differ"),
    "ConvTranspose": _conv_transpose,
    "Dropout": _later_outputs,
    "Expand": _expand,
    "IsInf": _is_inf,
    "LayerNormalization": _later_outputs,
    "Mod": _mod,
    "NonMaxSuppression": _never(
        "boxes whose overlap is just the threshold are dropped, and its limits must be constants"
    ),
    "ReduceMax": _reduces_nothing,
    "ReduceMin": _reduces_nothing,
    "Resize": _resize,
    "RoiAlign": _setting("mode", b"avg", b"avg"),
    "Shape": _shape,
    "SpaceToDepth": _setting("mode", b"DCR", b"DCR"),
    "TopK": _element_type(frozenset({"uint64"}), "it fails when run on numbers of this type"),
}

_AS_QDQ = (
    "export it as quantize-dequantize pairs: edgeml export m.onnx --output m8.onnx --precision int8 --calibration DATA"
)
_UNROLLED = f"unroll it when exporting, over a fixed number of steps, or {_ONNXRUNTIME}"
_FIXED = f"export the model with fixed sizes, so that the value is a constant, or {_ONNXRUNTIME}"
_OLDER = f"export with --opset 20, where it is written in simpler operators, or {_ONNXRUNTIME}"
_OUTSIDE = "end the model before it and compute it from the outputs"

_WAYS: dict[str, str] = {
    **dict.fromkeys(
        ["QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QLinearAdd"], _AS_QDQ
    ),
    **dict.fromkeys(["GRU", "LSTM", "RNN", "Loop", "Scan", "If"], _UNROLLED),
    **dict.fromkeys(["Expand", "Range", "Reshape", "Slice", "Split", "Tile", "ConstantOfShape", "OneHot"], _FIXED),
    **dict.fromkeys(["Attention", "FlexAttention", "LinearAttention", "RotaryEmbedding", "RMSNormalization"], _OLDER),
    **dict.fromkeys(["NonMaxSuppression", "TfIdfVectorizer", "ImageDecoder", "StringNormalizer", "Unique"], _OUTSIDE),
    "Shape": "end the model before it: the caller knows the shapes",
    "Resize": "give it sizes in place of scales, with antialias=0, when exporting",
    "Dropout": "export the model in evaluation mode",
    "BatchNormalization": "export the model in evaluation mode",
}
