"""8-bit codes in standard ONNX operators: what they stand for, how results become codes, and tables of codes."""

from __future__ import annotations

import numpy as np

from edgeml.ops.body import Body


def centred(body: Body, codes: str, zero_point: str) -> str:
    """Codes less the function's attribute of that name, float32, exact."""
    from onnx import TensorProto

    return body.add("Sub", body.add("Cast", codes, to=TensorProto.FLOAT), as_float(body, zero_point))


def as_float(body: Body, attribute: str) -> str:
    """The function's attribute of that name, an integer, as float32 ()."""
    from onnx import TensorProto

    return body.add("Cast", body.integer(attribute), to=TensorProto.FLOAT)


def real(body: Body, attribute: str) -> str:
    """The function's attribute of that name, a number, as float32 ()."""
    from onnx import AttributeProto

    return body.refer("Constant", attributes={"value_float": (attribute, AttributeProto.FLOAT)})


def saturated(body: Body, values: str, zero_point: str) -> str:
    """Float32 values in units of a scale, rounded to nearest even, shifted and clipped to 0 to 255; still float32."""
    shifted = body.add("Add", body.add("Round", values), as_float(body, zero_point))
    return body.add("Clip", shifted, body.constant(0, np.float32), body.constant(255, np.float32))


def looked_up(body: Body, table: str, codes: str) -> str:
    """table[codes], uint8; codes of any numeric type."""
    from onnx import TensorProto

    return body.add("Gather", table, body.add("Cast", codes, to=TensorProto.INT32), axis=0)


def as_code(body: Body, values: str) -> str:
    """Whole numbers from 0 to 255 as uint8."""
    from onnx import TensorProto

    return body.add("Cast", values, to=TensorProto.UINT8)
