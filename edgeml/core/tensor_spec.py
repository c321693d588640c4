"""Name, shape and dtype of one input or output of a model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from edgeml.core.errors import UsageError
from edgeml.core.json_values import integer, items, record, string

_RANK_LIMIT = 64
_DTYPE = re.compile("[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a model's interface.

    Attributes:
        name: the ONNX value name.
        shape: one entry an axis; a string names a dynamic axis ("batch").
        dtype: the numpy name ("float32", "uint8", ...).
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str

    def with_batch(self, batch: int) -> tuple[int, ...]:
        """Shape with the first axis set to `batch` when it is dynamic.

        Raises:
            UsageError: another axis is dynamic, or the first one is fixed to another size.
        """
        if not self.shape:
            return ()
        first, *rest = self.shape
        for axis in rest:
            if isinstance(axis, str):
                raise UsageError(
                    f"input {self.name} has the dynamic axis {axis!r} beside the batch axis, so its size is unknown; "
                    "export it with a fixed size"
                )
        if isinstance(first, int) and first != batch:
            raise UsageError(f"input {self.name} has the fixed batch {first}; batch {batch} cannot be fed to it")
        return (batch, *(int(axis) for axis in rest))

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"name": self.name, "shape": list(self.shape), "dtype": self.dtype}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TensorSpec:
        """Inverse of `to_json`.

        Raises:
            UsageError: the values are not those of a TensorSpec.
        """
        values = record("a tensor", value, ("name", "shape", "dtype"))
        name, dtype = string("tensor name", values["name"]), string("dtype", values["dtype"])
        shape = tuple(
            axis if isinstance(axis, str) else integer(f"an axis of {name!r}", axis)
            for axis in items("shape", values["shape"])
        )
        if len(shape) > _RANK_LIMIT or any(isinstance(axis, int) and axis < 0 for axis in shape):
            raise UsageError(f"tensor {name!r} has the shape {shape}; at most {_RANK_LIMIT} axes, none negative")
        if not _DTYPE.fullmatch(dtype):
            raise UsageError(f"tensor {name!r} has the dtype {dtype!r}; a numpy name such as 'float32' is needed")
        return cls(name, shape, dtype)
