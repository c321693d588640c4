"""What became of one convolution or dense layer of a model: which code computes it, and in which arithmetic."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

OperatorPrecision = Literal["fp32", "int8", "binary"]

GENERAL = "general"


@dataclass(frozen=True)
class PlacedOperator:
    """One operator of the source graph.

    Attributes:
        name: its node's name.
        operator: ONNX's name of what it does.
        kernel: the kernel that computes it; "general" where the general schedule does.
        precision: the arithmetic of its multiplications; "binary" counts differing bits.
        quantized: whether the file asks for 8-bit arithmetic: input and weights are dequantized right before it.
    """

    name: str
    operator: str
    kernel: str
    precision: OperatorPrecision
    quantized: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PlacedOperator:
        """Inverse of `to_json`."""
        return cls(**value)
