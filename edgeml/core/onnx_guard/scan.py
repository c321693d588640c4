"""One pass over an ONNX file in place: every message is counted, every stored tensor is held to what it declares."""

from __future__ import annotations

from collections import Counter
from typing import Any

from edgeml.core.errors import UntrustedFileError, UsageError
from edgeml.core.onnx_guard.external import ExternalFiles
from edgeml.core.onnx_guard.functions import FunctionId
from edgeml.core.onnx_guard.generated import Generators
from edgeml.core.onnx_guard.limits import OnnxLimits
from edgeml.core.onnx_guard.schema import (
    MESSAGES,
    NUMBER_BYTES,
    SMALL_MESSAGE_BYTES,
    STRING_ENTRY_BYTES,
    Field,
    Message,
)
from edgeml.core.onnx_guard.tensors import check_sparse_tensor, check_tensor, element_count, shown
from edgeml.core.onnx_guard.wire import LENGTH, VARINT, Buffer, count_varints, fields, malformed, read_varint, signed64

Values = dict[str, Any]
"""What is kept of one message by field name: singular values, kept ones of repeated fields, or how many there are."""

# Message type -> (the limit on how many there may be, the word for it).
_COUNTED = {
    "NodeProto": ("nodes", "nodes"),
    "TensorProto": ("tensors", "stored tensors"),
    "AttributeProto": ("attributes", "attributes"),
    "ValueInfoProto": ("value_infos", "declared values"),
    "FunctionProto": ("functions", "functions"),
    "StringStringEntryProto": ("metadata_entries", "metadata entries"),
}
_STRINGS = frozenset({"name", "text"})


class Scan:
    """The state of one pass.

    Attributes:
        counts: how many messages of each type there are.
        overhead_bytes: estimated memory of the parsed model beyond the bytes of the file.
        tensor_bytes: bytes of all stored tensors.
        graph_operators: how often the graphs use each operator.
        function_operators: the same for each model-local function.
    """

    def __init__(self, buffer: Buffer, limits: OnnxLimits, external: ExternalFiles) -> None:
        self.counts: Counter[str] = Counter()
        self.overhead_bytes = 0
        self.tensor_bytes = 0
        self.graph_operators: Counter[FunctionId] = Counter()
        self.function_operators: dict[FunctionId, Counter[FunctionId]] = {}
        self._buffer = buffer
        self._limits = limits
        self._external = external
        self._fields_left = limits.fields
        self._most: dict[str, int] = {name: getattr(limits, limit) for name, (limit, _) in _COUNTED.items()}
        self._string_bytes = {"name": limits.name_bytes, "text": limits.text_bytes}
        self._operators = self.graph_operators
        self._generators = Generators(buffer, limits)

    def model(self, end: int) -> Values:
        """Check the ModelProto in buffer[:end] and return its own values.

        Raises:
            UsageError: the bytes are no ONNX model.
            UntrustedFileError: the model breaks a limit or contradicts itself.
        """
        values = self._message(MESSAGES["ModelProto"], 0, end, 1)
        if "graph" not in values:
            raise UsageError("it is no ONNX model: it holds no graph")
        self._generators.check()
        return values

    def _message(self, message: Message, start: int, end: int, depth: int) -> Values:
        self._begin(message, depth)
        table = message.fields
        values: Values = {"span": (start, end)}
        value: Any
        for number, wire, a, b in fields(self._buffer, start, end):
            self._fields_left -= 1
            if self._fields_left < 0:
                raise self._too_many(self._limits.fields, "fields")
            field = table.get(number)
            if field is None:
                # A field of a newer ONNX: protobuf keeps its bytes aside.
                self._charge(SMALL_MESSAGE_BYTES)
                continue
            name, kind, expected, repeated, child, _, _ = field
            if wire != expected:
                self._packed(message, field, wire, a, b, values)
                continue
            if kind == "message":
                value = self._message(MESSAGES[child], a, b, depth + 1)
            elif kind in _STRINGS:
                value = self._string(field, a, b)
            elif wire == VARINT:
                value = self._integer(field, a)
            else:
                value = (a, b)
            if repeated:
                self._append(message, field, value, values)
            elif name in values:
                # Protobuf would merge the two; no writer produces this, and not every reader agrees on it.
                raise malformed(f"{message.name} has two fields {name}")
            else:
                values[name] = value
        self._finish(message, values)
        return values

    def _append(self, message: Message, field: Field, value: Any, values: Values) -> None:
        name = field.name
        if field.kind != "message":
            self._charge(STRING_ENTRY_BYTES if field.wire == LENGTH else NUMBER_BYTES)
        elif name == "initializer":
            self._generators.initializer(value)
        if field.kept:
            kept = values.setdefault(name, [])
            if len(kept) < field.kept:
                kept.append(value)
            elif field.at_most:
                raise UntrustedFileError(f"a {message.name} has more than {field.at_most} {name} entries")
        else:
            values[name] = values.get(name, 0) + 1

    def _packed(self, message: Message, field: Field, wire: int, a: int, b: int, values: Values) -> None:
        """Numbers in one piece, as writers store repeated ones."""
        if wire != LENGTH or not field.repeated or field.wire == LENGTH:
            raise malformed(f"{message.name}.{field.name} has wire type {wire}")
        if field.kept:
            while a < b:
                value, a = read_varint(self._buffer, a, b)
                self._append(message, field, self._integer(field, value), values)
            return
        if field.wire == VARINT:
            count = count_varints(self._buffer, a, b)
            self._charge(count * NUMBER_BYTES)
        else:
            width = 4 if field.kind == "float" else 8
            count, rest = divmod(b - a, width)
            if rest:
                raise malformed(f"{message.name}.{field.name} has {b - a} bytes")
            self._charge(2 * (b - a))
        values[field.name] = values.get(field.name, 0) + count

    def _integer(self, field: Field, value: int) -> int:
        number = signed64(value)
        if field.kind == "int32" and not -(1 << 31) <= number < 1 << 31:
            raise malformed(f"{field.name} has the value {number}")
        return number

    def _string(self, field: Field, start: int, end: int) -> str:
        limit = self._string_bytes[field.kind]
        if end - start > limit:
            raise UntrustedFileError(f"a string ({field.name}) has {end - start} bytes; at most {limit} are allowed")
        try:
            return self._buffer[start:end].decode()
        except UnicodeDecodeError as error:
            raise malformed(f"{field.name} at byte {start} is no text") from error

    def _begin(self, message: Message, depth: int) -> None:
        if depth > self._limits.depth:
            raise UntrustedFileError(f"its messages are nested more than the allowed {self._limits.depth} deep")
        name = message.name
        self.counts[name] = count = self.counts[name] + 1
        if count > self._most.get(name, count):
            raise self._too_many(self._most[name], _COUNTED[name][1])
        self._charge(message.parsed_bytes)
        if name == "GraphProto":
            self._generators.enter(isolated=False)
        elif name == "FunctionProto":
            self._generators.enter(isolated=True)
            self._operators = Counter()

    def _finish(self, message: Message, values: Values) -> None:
        match message.name:
            case "NodeProto":
                self._node(values)
            case "TensorProto":
                self._tensor(values)
            case "SparseTensorProto":
                self._store(check_sparse_tensor(values, self._limits))
            case "TensorShapeProto":
                # -1 is how old exporters wrote an axis of unknown size.
                dims = [dim["dim_value"] for dim in values.get("dim", []) if dim.get("dim_value", -1) != -1]
                element_count("a declared value", dims, self._limits)
            case "GraphProto":
                self._generators.leave()
            case "FunctionProto":
                self._function(values)

    def _node(self, values: Values) -> None:
        domain = _domain(values)
        self._operators[domain, values.get("op_type", ""), values.get("overload", "")] += 1
        if not domain:
            self._generators.node(values)

    def _tensor(self, values: Values) -> None:
        stored = check_tensor(values, self._limits)
        self._store(stored.size_bytes)
        if stored.external is not None:
            self._external.check(shown(values.get("name", "")), stored.external, stored.size_bytes)

    def _function(self, values: Values) -> None:
        self._generators.leave()
        name = (_domain(values), values.get("name", ""), values.get("overload", ""))
        if name in self.function_operators:
            raise UntrustedFileError(f"the function {shown(name[1])} is defined twice")
        self.function_operators[name] = self._operators
        self._operators = self.graph_operators

    def _store(self, size_bytes: int) -> None:
        self.tensor_bytes += size_bytes
        if self.tensor_bytes > self._limits.tensor_bytes:
            raise self._too_many(self._limits.tensor_bytes, "bytes of tensors")

    def _charge(self, size_bytes: int) -> None:
        self.overhead_bytes += size_bytes
        if self.overhead_bytes > self._limits.overhead_bytes:
            raise self._too_many(self._limits.overhead_bytes, "bytes of memory beyond its size when parsed")

    def _too_many(self, limit: int, word: str) -> UntrustedFileError:
        return UntrustedFileError(
            f"it has more than the allowed {limit} {word}; docs/safe-loading.md tells how to allow more"
        )


def _domain(values: Values) -> str:
    domain: str = values.get("domain", "")
    return "" if domain == "ai.onnx" else domain
