"""Writes a model's interface as a C++ header, so that the example needs no JSON."""

from __future__ import annotations

import json

from edgeml.core.artifact import Artifact
from edgeml.core.errors import UsageError
from edgeml.core.tensor_spec import TensorSpec

# DLPack's type code and width in bits of what a compiled model's interface may hold.
_TYPES = {
    "bool": ("kDLBool", 8),
    **{f"float{bits}": ("kDLFloat", bits) for bits in (16, 32, 64)},
    **{f"int{bits}": ("kDLInt", bits) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": ("kDLUInt", bits) for bits in (8, 16, 32, 64)},
}


def interface_header(artifact: Artifact) -> str:
    """The text of model.h: the library's name, its inputs and its outputs; an axis of any size is -1.

    Raises:
        UsageError: an input or output is of a type that DLPack does not name.
    """
    return f"""// What the compiled model takes and gives. Written with the bundle.
#pragma once

#include <dlpack/dlpack.h>

#include <cstdint>
#include <vector>

namespace model {{

struct Value {{
  const char* name;
  std::vector<int64_t> shape;  // -1: an axis of any size
  uint8_t code;                // DLDataTypeCode
  uint8_t bits;
}};

inline const char* const file = {_literal(artifact.path.name)};
inline const std::vector<Value> inputs = {{
{_values(artifact.inputs)}
}};
inline const std::vector<Value> outputs = {{
{_values(artifact.outputs)}
}};

}}  // namespace model
"""


def _values(specs: tuple[TensorSpec, ...]) -> str:
    return "\n".join(f"    {_value(spec)}," for spec in specs)


def _value(spec: TensorSpec) -> str:
    if spec.dtype not in _TYPES:
        raise UsageError(f"{spec.name} is {spec.dtype}; the C++ example takes {', '.join(_TYPES)}")
    shape = ", ".join("-1" if isinstance(axis, str) else str(axis) for axis in spec.shape)
    code, bits = _TYPES[spec.dtype]
    return f"{{{_literal(spec.name)}, {{{shape}}}, {code}, {bits}}}"


def _literal(text: str) -> str:
    """A C++ string literal in UTF-8: JSON's escapes are C++'s."""
    return json.dumps(text, ensure_ascii=False)
