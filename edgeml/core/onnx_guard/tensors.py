"""One stored tensor: what it declares must be exactly what it holds."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from edgeml.core.errors import UntrustedFileError
from edgeml.core.onnx_guard.limits import OnnxLimits


class ElementType(NamedTuple):
    """How elements of one ONNX data type are stored.

    Attributes:
        name: the ONNX name.
        bits: bits of one element in raw data; 0 where raw data is not allowed.
        typed_field: the field that holds them where raw data is not used.
        numbers: how many numbers of that field, and
        elements: how many elements those numbers stand for.
    """

    name: str
    bits: int
    typed_field: str
    numbers: int = 1
    elements: int = 1


# onnx.proto, TensorProto.DataType.
ELEMENT_TYPES: dict[int, ElementType] = {
    1: ElementType("FLOAT", 32, "float_data"),
    2: ElementType("UINT8", 8, "int32_data"),
    3: ElementType("INT8", 8, "int32_data"),
    4: ElementType("UINT16", 16, "int32_data"),
    5: ElementType("INT16", 16, "int32_data"),
    6: ElementType("INT32", 32, "int32_data"),
    7: ElementType("INT64", 64, "int64_data"),
    8: ElementType("STRING", 0, "string_data"),
    9: ElementType("BOOL", 8, "int32_data"),
    10: ElementType("FLOAT16", 16, "int32_data"),
    11: ElementType("DOUBLE", 64, "double_data"),
    12: ElementType("UINT32", 32, "uint64_data"),
    13: ElementType("UINT64", 64, "uint64_data"),
    14: ElementType("COMPLEX64", 64, "float_data", numbers=2),
    15: ElementType("COMPLEX128", 128, "double_data", numbers=2),
    16: ElementType("BFLOAT16", 16, "int32_data"),
    17: ElementType("FLOAT8E4M3FN", 8, "int32_data"),
    18: ElementType("FLOAT8E4M3FNUZ", 8, "int32_data"),
    19: ElementType("FLOAT8E5M2", 8, "int32_data"),
    20: ElementType("FLOAT8E5M2FNUZ", 8, "int32_data"),
    21: ElementType("UINT4", 4, "int32_data", elements=2),
    22: ElementType("INT4", 4, "int32_data", elements=2),
    23: ElementType("FLOAT4E2M1", 4, "int32_data", elements=2),
    24: ElementType("FLOAT8E8M0", 8, "int32_data"),
    25: ElementType("UINT2", 2, "int32_data", elements=4),
    26: ElementType("INT2", 2, "int32_data", elements=4),
    27: ElementType("FLOAT6E2M3", 6, "int32_data"),
    28: ElementType("FLOAT6E3M2", 6, "int32_data"),
}
_TYPED_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_EXTERNAL = 1
_INT64 = 7
# A string is held as an object even when it is empty.
_STRING_BYTES = 64


class ExternalRange(NamedTuple):
    """Where a tensor's data lies beside the model; `length` is None where the rest of the file is meant."""

    location: str
    offset: int
    length: int | None


class StoredTensor(NamedTuple):
    """Size of a checked tensor in bytes, and where its data lies if that is another file."""

    size_bytes: int
    external: ExternalRange | None


def check_tensor(fields: dict[str, Any], limits: OnnxLimits) -> StoredTensor:
    """The size of the TensorProto with these field values, once it is consistent.

    Args:
        fields: singular numbers as read, `dims` and `external_data` as lists, `raw_data` as its (start, end), typed
            data as how many numbers there are.
        limits: bounds on rank and elements.

    Raises:
        UntrustedFileError: what it declares is impossible, over a limit, or not what it holds.
    """
    name = shown(fields.get("name", ""))
    code = fields.get("data_type", 0)
    if code not in ELEMENT_TYPES:
        raise UntrustedFileError(
            f"tensor {name} has the data type {code}; ONNX's are {min(ELEMENT_TYPES)} to {max(ELEMENT_TYPES)}"
        )
    if "segment" in fields:
        raise UntrustedFileError(f"tensor {name} is stored in segments, which no runtime reads")
    kind = ELEMENT_TYPES[code]
    count = element_count(f"tensor {name}", fields.get("dims", []), limits)
    filled = [field for field in _TYPED_FIELDS if fields.get(field)]
    raw = fields.get("raw_data")
    location = fields.get("data_location", 0)
    if location not in {0, _EXTERNAL}:
        raise UntrustedFileError(f"tensor {name} has the data location {location}; allowed: 0 (inside) and 1 (beside)")
    if (location == _EXTERNAL) != ("external_data" in fields):
        raise UntrustedFileError(f"tensor {name} is not clear on whether its data lies in the file or beside it")
    size_bytes = -(-count * kind.bits // 8) if kind.bits else count * _STRING_BYTES
    if location == _EXTERNAL:
        if filled or raw is not None or not kind.bits:
            raise UntrustedFileError(f"tensor {name} ({kind.name}) has data inside the file as well as beside it")
        return StoredTensor(size_bytes, _external_range(name, fields["external_data"]))
    if raw is not None and kind.bits and not filled:
        held, expected, unit = raw[1] - raw[0], size_bytes, "bytes of raw data"
    else:
        expected, unit = -(-count * kind.numbers // kind.elements), f"numbers in {kind.typed_field}"
        held = fields.get(kind.typed_field, 0)
        if filled not in ([], [kind.typed_field]) or (raw is not None and (filled or raw[0] != raw[1])):
            raise UntrustedFileError(f"tensor {name} ({kind.name}) has data in fields that are not its type's")
    if held != expected:
        raise UntrustedFileError(
            f"tensor {name} declares {kind.name}{fields.get('dims', [])}, which is {expected} {unit}, and holds {held}"
        )
    return StoredTensor(size_bytes, None)


def check_sparse_tensor(fields: dict[str, Any], limits: OnnxLimits) -> int:
    """The size in bytes of the SparseTensorProto with these field values as a dense tensor, which runtimes make of it.

    Raises:
        UntrustedFileError: its parts do not fit each other, or it is over a limit.
    """
    if "values" not in fields or "indices" not in fields:
        raise UntrustedFileError("a sparse tensor lacks its values or indices")
    values, indices = fields["values"], fields["indices"]
    what = f"sparse tensor {shown(values.get('name', ''))}"
    dims = fields.get("dims", [])
    count = element_count(what, dims, limits)
    held = values.get("dims", [])
    if len(held) != 1 or indices.get("dims", []) not in (held, [*held, len(dims)]) or indices["data_type"] != _INT64:
        raise UntrustedFileError(f"{what} has values {held} and indices {indices.get('dims', [])} for the shape {dims}")
    if held[0] > count:
        raise UntrustedFileError(f"{what} has {held[0]} values for the {count} elements of the shape {dims}")
    return count * (ELEMENT_TYPES[values["data_type"]].bits // 8 or _STRING_BYTES)


def element_count(what: str, dims: list[int], limits: OnnxLimits) -> int:
    """How many elements a tensor of this shape has.

    Raises:
        UntrustedFileError: an axis is negative, or there are too many axes or elements. Axes of size 0 are left out of
            the latter, since a reader may multiply in any order.
    """
    if len(dims) > limits.rank:
        raise UntrustedFileError(f"{what} has {len(dims)} axes; at most {limits.rank} are allowed")
    if any(axis < 0 for axis in dims):
        raise UntrustedFileError(f"{what} has the shape {dims}; no axis may be negative")
    if math.prod(axis for axis in dims if axis) > limits.tensor_elements:
        raise UntrustedFileError(f"{what} has the shape {dims}; at most {limits.tensor_elements} elements are allowed")
    return math.prod(dims)


def shown(name: str) -> str:
    """A name from the file, safe to print: quoted, escaped and cut."""
    return ascii(name if len(name) <= 80 else name[:77] + "...")


def _external_range(name: str, entries: list[dict[str, Any]]) -> ExternalRange:
    values: dict[str, str] = {}
    for entry in entries:
        key = entry.get("key", "")
        if key not in {"location", "offset", "length", "checksum"} or key in values:
            raise UntrustedFileError(
                f"the external data of tensor {name} has the entry {shown(key)}; "
                "allowed, once each: location, offset, length, checksum"
            )
        values[key] = entry.get("value", "")
    for key in ("offset", "length"):
        if key in values and not re.fullmatch("[0-9]{1,19}", values[key]):
            raise UntrustedFileError(
                f"the external data of tensor {name} has the {key} {shown(values[key])}; it must be a number of bytes"
            )
    length = int(values["length"]) if "length" in values else None
    return ExternalRange(values.get("location", ""), int(values.get("offset", 0)), length)
