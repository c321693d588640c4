from typing import Any

import onnx

from edgeml.core.onnx_guard.schema import MESSAGES
from edgeml.core.onnx_guard.tensors import ELEMENT_TYPES

FIELD = onnx.ModelProto.DESCRIPTOR.fields[0]
KINDS = {
    FIELD.TYPE_INT32: {"int32"},
    FIELD.TYPE_ENUM: {"int32"},
    FIELD.TYPE_INT64: {"int64"},
    FIELD.TYPE_UINT64: {"uint64"},
    FIELD.TYPE_FLOAT: {"float"},
    FIELD.TYPE_DOUBLE: {"double"},
    FIELD.TYPE_STRING: {"name", "text"},
    FIELD.TYPE_BYTES: {"bytes"},
    FIELD.TYPE_MESSAGE: {"message"},
}


def reachable(root: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    waiting = [root]
    while waiting:
        message = waiting.pop()
        if message.name not in found:
            found[message.name] = message
            waiting += [field.message_type for field in message.fields if field.message_type is not None]
    return found


def test_every_field_number_and_kind_is_that_of_the_onnx_package() -> None:
    descriptors = reachable(onnx.ModelProto.DESCRIPTOR)
    assert descriptors.keys() <= MESSAGES.keys()
    for name, descriptor in descriptors.items():
        ours = MESSAGES[name].fields
        assert {field.number: field.name for field in descriptor.fields}.items() <= {
            number: field.name for number, field in ours.items()
        }.items()
        for field in descriptor.fields:
            mine = ours[field.number]
            assert mine.kind in KINDS[field.type], (name, field.name)
            assert mine.repeated == field.is_repeated, (name, field.name)
            assert mine.message == (field.message_type.name if field.message_type else ""), (name, field.name)


def test_every_element_type_is_that_of_the_onnx_package() -> None:
    theirs = {number: name for name, number in onnx.TensorProto.DataType.items() if number}
    assert theirs.items() <= {number: kind.name for number, kind in ELEMENT_TYPES.items()}.items()


def test_element_sizes_are_those_the_onnx_package_stores() -> None:
    for number, kind in ELEMENT_TYPES.items():
        if not kind.bits or number not in onnx.TensorProto.DataType.values():
            continue
        count = 13
        typed = onnx.helper.make_tensor("t", number, [count], [1] * count)
        assert len(getattr(typed, kind.typed_field)) == -(-count * kind.numbers // kind.elements), kind
        stored = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(typed))
        assert stored.data_type == number
        assert len(stored.raw_data) == -(-count * kind.bits // 8), kind
