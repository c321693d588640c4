"""The messages of ONNX as a table: field numbers, kinds, and what each costs in memory once it is parsed.

The numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); a test compares every one
with the installed onnx package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, cast, get_args

from edgeml.core.onnx_guard.wire import FIXED32, FIXED64, LENGTH, VARINT

# "name" and "text" are protobuf strings: a name identifies a thing and is copied often, a text is for people.
Kind = Literal["int32", "int64", "uint64", "float", "double", "name", "text", "bytes", "message"]

WIRE_TYPES: dict[Kind, int] = {
    "int32": VARINT,
    "int64": VARINT,
    "uint64": VARINT,
    "float": FIXED32,
    "double": FIXED64,
    "name": LENGTH,
    "text": LENGTH,
    "bytes": LENGTH,
    "message": LENGTH,
}

# Upper bounds of what one item takes beyond its own bytes in the file, in the Python and the C++ protobuf of
# onnx 1.17-1.23 (64-bit): an empty message, an entry of a repeated string, an entry of a repeated number. Growing
# arrays double, hence the factor on numbers. A test holds them against the memory onnx.load really takes.
LARGE_MESSAGE_BYTES = 272
SMALL_MESSAGE_BYTES = 96
STRING_ENTRY_BYTES = 64
NUMBER_BYTES = 24


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        name: its name in onnx.proto.
        kind: what it holds.
        wire: the wire type of one value.
        repeated: whether there may be many.
        message: the message type where kind is "message", else "".
        kept: how many values of a repeated field the scan keeps; it only counts the others.
        at_most: the most values of a repeated field that are allowed; 0 where only the total limits count.
    """

    name: str
    kind: Kind
    wire: int
    repeated: bool
    message: str
    kept: int
    at_most: int


@dataclass(frozen=True)
class Message:
    """One message type: its fields by number, and the memory an empty one takes when parsed."""

    name: str
    fields: dict[int, Field]
    parsed_bytes: int


def _message(name: str, *lines: str, parsed_bytes: int = SMALL_MESSAGE_BYTES) -> Message:
    """A message from lines "number name kind".

    A star marks a repeated field, a number after it how many values are kept, and "!" that there may be no more.
    """
    fields: dict[int, Field] = {}
    for line in lines:
        number, field, declared = line.split()
        kind, star, rest = declared.partition("*")
        kept = int(rest.rstrip("!") or 0)
        at_most = kept if rest.endswith("!") else 0
        if kind in get_args(Kind):
            scalar = cast("Kind", kind)
            fields[int(number)] = Field(field, scalar, WIRE_TYPES[scalar], bool(star), "", kept, at_most)
        else:
            fields[int(number)] = Field(field, "message", LENGTH, bool(star), kind, kept, at_most)
    return Message(name, fields, parsed_bytes)


_ALL = (
    _message(
        "ModelProto",
        "1 ir_version int64",
        "2 producer_name name",
        "3 producer_version name",
        "4 domain name",
        "5 model_version int64",
        "6 doc_string text",
        "7 graph GraphProto",
        "8 opset_import OperatorSetIdProto*1000!",
        "14 metadata_props StringStringEntryProto*",
        "20 training_info TrainingInfoProto*",
        "25 functions FunctionProto*",
        "26 configuration DeviceConfigurationProto*",
        parsed_bytes=LARGE_MESSAGE_BYTES,
    ),
    _message(
        "GraphProto",
        "1 node NodeProto*",
        "2 name name",
        "5 initializer TensorProto*",
        "10 doc_string text",
        "11 input ValueInfoProto*",
        "12 output ValueInfoProto*",
        "13 value_info ValueInfoProto*",
        "14 quantization_annotation TensorAnnotation*",
        "15 sparse_initializer SparseTensorProto*",
        "16 metadata_props StringStringEntryProto*",
        parsed_bytes=LARGE_MESSAGE_BYTES,
    ),
    _message(
        "NodeProto",
        "1 input name*2",
        "2 output name*1",
        "3 name name",
        "4 op_type name",
        "5 attribute AttributeProto*8",
        "6 doc_string text",
        "7 domain name",
        "8 overload name",
        "9 metadata_props StringStringEntryProto*",
        "10 device_configurations NodeDeviceConfigurationProto*",
        parsed_bytes=LARGE_MESSAGE_BYTES,
    ),
    _message(
        "AttributeProto",
        "1 name name",
        "2 f float",
        "3 i int64",
        "4 s bytes",
        "5 t TensorProto",
        "6 g GraphProto",
        "7 floats float*",
        "8 ints int64*",
        "9 strings bytes*",
        "10 tensors TensorProto*",
        "11 graphs GraphProto*",
        "13 doc_string text",
        "14 tp TypeProto",
        "15 type_protos TypeProto*",
        "20 type int32",
        "21 ref_attr_name name",
        "22 sparse_tensor SparseTensorProto",
        "23 sparse_tensors SparseTensorProto*",
        parsed_bytes=LARGE_MESSAGE_BYTES,
    ),
    _message(
        "TensorProto",
        "1 dims int64*100!",
        "2 data_type int32",
        "3 segment Segment",
        "4 float_data float*",
        "5 int32_data int32*",
        "6 string_data bytes*",
        "7 int64_data int64*",
        "8 name name",
        "9 raw_data bytes",
        "10 double_data double*",
        "11 uint64_data uint64*",
        "12 doc_string text",
        "13 external_data StringStringEntryProto*100!",
        "14 data_location int32",
        "16 metadata_props StringStringEntryProto*",
        parsed_bytes=LARGE_MESSAGE_BYTES,
    ),
    _message(
        "FunctionProto",
        "1 name name",
        "4 input name*",
        "5 output name*",
        "6 attribute name*",
        "7 node NodeProto*",
        "8 doc_string text",
        "9 opset_import OperatorSetIdProto*",
        "10 domain name",
        "11 attribute_proto AttributeProto*",
        "12 value_info ValueInfoProto*",
        "13 overload name",
        "14 metadata_props StringStringEntryProto*",
        parsed_bytes=LARGE_MESSAGE_BYTES,
    ),
    _message("SparseTensorProto", "1 values TensorProto", "2 indices TensorProto", "3 dims int64*100!"),
    _message("Segment", "1 begin int64", "2 end int64"),
    _message(
        "ValueInfoProto",
        "1 name name",
        "2 type TypeProto",
        "3 doc_string text",
        "4 metadata_props StringStringEntryProto*",
    ),
    _message(
        "TypeProto",
        "1 tensor_type Tensor",
        "4 sequence_type Sequence",
        "5 map_type Map",
        "6 denotation name",
        "7 opaque_type Opaque",
        "8 sparse_tensor_type SparseTensor",
        "9 optional_type Optional",
    ),
    _message("Tensor", "1 elem_type int32", "2 shape TensorShapeProto"),
    _message("SparseTensor", "1 elem_type int32", "2 shape TensorShapeProto"),
    _message("Sequence", "1 elem_type TypeProto"),
    _message("Optional", "1 elem_type TypeProto"),
    _message("Map", "1 key_type int32", "2 value_type TypeProto"),
    _message("Opaque", "1 domain name", "2 name name"),
    _message("TensorShapeProto", "1 dim Dimension*100!"),
    _message("Dimension", "1 dim_value int64", "2 dim_param name", "3 denotation name"),
    _message("StringStringEntryProto", "1 key name", "2 value text"),
    _message("OperatorSetIdProto", "1 domain name", "2 version int64"),
    _message("TensorAnnotation", "1 tensor_name name", "2 quant_parameter_tensor_names StringStringEntryProto*"),
    _message(
        "TrainingInfoProto",
        "1 initialization GraphProto",
        "2 algorithm GraphProto",
        "3 initialization_binding StringStringEntryProto*",
        "4 update_binding StringStringEntryProto*",
    ),
    _message("DeviceConfigurationProto", "1 name name", "2 num_devices int32", "3 device name*"),
    _message(
        "NodeDeviceConfigurationProto",
        "1 configuration_id name",
        "2 sharding_spec ShardingSpecProto*",
        "3 pipeline_stage int32",
    ),
    _message(
        "ShardingSpecProto",
        "1 tensor_name name",
        "2 device int64*",
        "3 index_to_device_group_map IntIntListEntryProto*",
        "4 sharded_dim ShardedDimProto*",
    ),
    _message("IntIntListEntryProto", "1 key int64", "2 value int64*"),
    _message("ShardedDimProto", "1 axis int64", "2 simple_sharding SimpleShardedDimProto*"),
    _message("SimpleShardedDimProto", "1 dim_value int64", "2 dim_param name", "3 num_shards int64"),
)

MESSAGES: dict[str, Message] = {message.name: message for message in _ALL}
