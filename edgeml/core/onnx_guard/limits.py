"""How much an ONNX file may ask for before it is refused, and what a file within the limits holds."""

from __future__ import annotations

from dataclasses import dataclass, fields

from edgeml.core.errors import UsageError

_PROTOBUF_DEPTH = 100


@dataclass(frozen=True, kw_only=True)
class OnnxLimits:
    """Limits of `check_onnx_file`; docs/safe-loading.md gives the reason of each.

    Attributes:
        file_bytes: size of the file.
        fields: protobuf fields read, which bounds the time of the check.
        overhead_bytes: estimated memory of the parsed model beyond the file's own size.
        nodes: nodes in all graphs and functions, as written and with every function call expanded.
        tensors: stored tensors, in initializers and attributes.
        attributes: attributes of nodes and functions.
        value_infos: declared values: inputs, outputs and inner ones.
        functions: model-local functions.
        metadata_entries: key and value pairs of all kinds.
        depth: messages inside messages (a graph inside a graph is three), and functions calling functions.
        rank: axes of one tensor.
        tensor_elements: elements of one tensor, stored or declared.
        tensor_bytes: bytes of all stored tensors together, inside the file and beside it.
        generated_elements: elements of all tensors that nodes make out of nothing but a constant shape.
        name_bytes: length of one name.
        text_bytes: length of one metadata value or documentation string.
    """

    file_bytes: int = (1 << 31) - 1
    fields: int = 2_000_000
    overhead_bytes: int = 512 << 20
    nodes: int = 100_000
    tensors: int = 100_000
    attributes: int = 1_000_000
    value_infos: int = 500_000
    functions: int = 10_000
    metadata_entries: int = 1_000_000
    depth: int = 64
    rank: int = 32
    tensor_elements: int = 1 << 28
    tensor_bytes: int = 4 << 30
    generated_elements: int = 1 << 28
    name_bytes: int = 4 << 10
    text_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 1:
                raise UsageError(f"OnnxLimits.{field.name} is {value}; it must be at least 1")
        if self.depth > _PROTOBUF_DEPTH:
            raise UsageError(f"OnnxLimits.depth is {self.depth}; protobuf itself reads at most {_PROTOBUF_DEPTH}")


@dataclass(frozen=True, kw_only=True)
class ExternalFile:
    """A file beside the model that holds tensor data: its plain name and its size in bytes."""

    name: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class OnnxSummary:
    """What a checked ONNX file holds.

    Attributes:
        size_bytes: size of the file itself.
        ir_version: version of the ONNX format.
        opset_imports: (operator domain, version); "" is ONNX's own domain.
        nodes: nodes in all graphs and functions, as written.
        tensors: stored tensors.
        attributes: attributes of nodes and functions.
        value_infos: declared values.
        functions: model-local functions.
        metadata_entries: key and value pairs of all kinds.
        tensor_bytes: bytes of all stored tensors.
        parsed_bytes: estimated upper bound of the memory of the parsed file, external data excluded.
        external_files: files beside the model that it reads.
    """

    size_bytes: int
    ir_version: int
    opset_imports: tuple[tuple[str, int], ...]
    nodes: int
    tensors: int
    attributes: int
    value_infos: int
    functions: int
    metadata_entries: int
    tensor_bytes: int
    parsed_bytes: int
    external_files: tuple[ExternalFile, ...]
