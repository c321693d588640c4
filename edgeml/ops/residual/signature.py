"""What an operator of residual video takes and gives, from which its ONNX schema and its function's head follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from edgeml.ops.body import FIRST_OPSET, Body
from edgeml.ops.domain import DOMAIN, VERSION
from edgeml.ops.short_body import shorten

if TYPE_CHECKING:
    import onnx

CODES = "tensor(uint8)"


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One operator.

    Attributes:
        name: as in a node's op_type.
        doc: what it computes.
        inputs: name -> (ONNX type, meaning).
        outputs: name -> (ONNX type, meaning).
        required: attribute that a node must state -> (its kind, meaning).
        defaults: attribute that a node may leave out -> (what it then is, meaning).
    """

    name: str
    doc: str
    inputs: Mapping[str, tuple[str, str]]
    outputs: Mapping[str, tuple[str, str]]
    required: Mapping[str, tuple[Literal["INT", "INTS", "FLOAT"], str]] = field(default_factory=dict)
    defaults: Mapping[str, tuple[int | tuple[int, ...], str]] = field(default_factory=dict)

    def schema(self) -> onnx.defs.OpSchema:
        """The schema that ONNX can register."""
        from onnx import defs, helper

        parameter, attribute, kinds = (
            defs.OpSchema.FormalParameter,
            defs.OpSchema.Attribute,
            defs.OpSchema.AttrType,
        )
        return defs.OpSchema(
            self.name,
            DOMAIN,
            VERSION,
            self.doc,
            inputs=[parameter(name, kind, meaning) for name, (kind, meaning) in self.inputs.items()],
            outputs=[parameter(name, kind, meaning) for name, (kind, meaning) in self.outputs.items()],
            attributes=[
                *(
                    attribute(name, getattr(kinds, kind), meaning, required=True)
                    for name, (kind, meaning) in self.required.items()
                ),
                *(
                    attribute(name, helper.make_attribute(name, value), meaning)
                    for name, (value, meaning) in self.defaults.items()
                ),
            ],
        )

    def body(self) -> Body:
        """An empty body with the operator's inputs."""
        return Body(tuple(self.inputs))

    def function(self, body: Body, opset: int) -> onnx.FunctionProto:
        """The operator as a function, in few bytes.

        Args:
            body: all nodes; they make values of the outputs' names.
            opset: of the standard operators; a file's own, since ONNX wants them alike.
        """
        from onnx import helper

        assert opset >= FIRST_OPSET
        result = helper.make_function(
            DOMAIN,
            self.name,
            list(self.inputs),
            list(self.outputs),
            body.nodes,
            [helper.make_opsetid("", opset)],
            attributes=list(self.required),
            attribute_protos=[helper.make_attribute(name, value) for name, (value, _) in self.defaults.items()],
            doc_string=self.doc,
        )
        shorten(result)
        return result
