"""Builds the body of an operator: a function in standard ONNX operators that any runtime can inline.

The bodies use only what opsets 18 and up define alike, so that a file of any of these opsets can hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.ops.domain import DOMAIN
from edgeml.ops.short_body import shorten

if TYPE_CHECKING:
    import onnx

FIRST_OPSET = 18


class Body:
    """Nodes of a function in the order they are added; each method returns the name of the value it makes.

    Args:
        inputs: names of the function's inputs.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        self.inputs = tuple(inputs)
        self.nodes: list[onnx.NodeProto] = []

    def add(self, op_type: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """The output of one standard operator."""
        from onnx import helper

        name = output or f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        return name

    def refer(
        self, op_type: str, *inputs: str, attributes: dict[str, tuple[str, onnx.AttributeProto.AttributeType]]
    ) -> str:
        """The output of an operator whose attributes are the function's own: name there -> (name here, type)."""
        name = self.add(op_type, *inputs)
        for there, (here, kind) in attributes.items():
            self.nodes[-1].attribute.add(name=there, type=kind, ref_attr_name=here)
        return name

    def constant(self, value: Any, dtype: Any) -> str:
        """A constant tensor."""
        from onnx import numpy_helper

        return self.add("Constant", value=numpy_helper.from_array(np.array(value, dtype)))

    def integer(self, attribute: str) -> str:
        """The function's attribute of that name, an integer, as int64 ()."""
        from onnx import AttributeProto

        return self.refer("Constant", attributes={"value_int": (attribute, AttributeProto.INT)})

    def integers(self, attribute: str) -> str:
        """The function's attribute of that name, a list of integers, as int64 (length)."""
        from onnx import AttributeProto

        return self.refer("Constant", attributes={"value_ints": (attribute, AttributeProto.INTS)})

    def signs(self, values: str, threshold: str) -> str:
        """-1 where values < threshold and +1 elsewhere, float32, so that NaN counts as +1."""
        return self.add(
            "Where", self.add("Less", values, threshold), self.constant(-1, np.float32), self.constant(1, np.float32)
        )

    def unpacked(self, packed: str, size: str) -> str:
        """The signs, float32 +1 and -1 (rows, size), in `packed`, uint8 (rows, ceil(size / 8)); `size` is int64 (1)."""
        # Masks and not BitShift, which OpenVINO's CPU plugin rounds.
        column = self.add("Unsqueeze", packed, self.constant([2], np.int64))
        bits = self.add("BitwiseAnd", column, self.constant([1 << bit for bit in range(8)], np.uint8))
        rows = self.add("Reshape", bits, self.constant([0, -1], np.int64))
        used = self.add("Slice", rows, self.constant([0], np.int64), size, self.constant([1], np.int64))
        return self.add(
            "Where",
            self.add("Equal", used, self.constant(0, np.uint8)),
            self.constant(1, np.float32),
            self.constant(-1, np.float32),
        )

    def function(
        self,
        name: str,
        *,
        output: str,
        required: Sequence[str],
        defaults: Sequence[onnx.AttributeProto] = (),
        opset: int = FIRST_OPSET,
        doc: str = "",
    ) -> onnx.FunctionProto:
        """The function, in few bytes.

        Args:
            name: of the operator.
            output: name of the function's only output.
            required: attributes without a default.
            defaults: attributes with one.
            opset: of the standard operators; a file's own, since ONNX wants them alike.
            doc: what the operator computes, in a few words.
        """
        from onnx import helper

        assert opset >= FIRST_OPSET
        result = helper.make_function(
            DOMAIN,
            name,
            self.inputs,
            [output],
            self.nodes,
            [helper.make_opsetid("", opset)],
            attributes=list(required),
            attribute_protos=list(defaults),
            doc_string=doc,
        )
        shorten(result)
        return result
