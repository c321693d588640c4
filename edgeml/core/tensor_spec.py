"""Name, shape and dtype of one input or output of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeml.core.errors import UsageError


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
        """Inverse of `to_json`."""
        return cls(value["name"], tuple(value["shape"]), value["dtype"])
