"""The protobuf messages against the protocol's own, as tritonclient brings them, and against the .proto files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from edgeml.runtime import inference_protocol
from edgeml.runtime.inference_protocol.messages import PACKAGE, message_class, methods

HERE = Path(inference_protocol.__file__).parent
SERVICE = "GRPCInferenceService"


def published() -> Any:
    """The pool that tritonclient's generated code is in."""
    pytest.importorskip("tritonclient.grpc")
    from tritonclient.grpc import service_pb2

    return service_pb2.DESCRIPTOR.pool


def ours() -> descriptor_pb2.FileDescriptorSet:
    return descriptor_pb2.FileDescriptorSet.FromString((HERE / "descriptors.pb").read_bytes())


def names(message: descriptor_pb2.DescriptorProto, prefix: str = PACKAGE) -> list[str]:
    """Full names of a message and of all within it."""
    name = f"{prefix}.{message.name}"
    return [name, *(each for inner in message.nested_type for each in names(inner, name))]


MESSAGES = [name for file in ours().file for message in file.message_type for name in names(message)]
ENUMS = [f"{PACKAGE}.{enum.name}" for file in ours().file for enum in file.enum_type]


def described(message: Any) -> dict[str, tuple[Any, ...]]:
    """Number, type, whether it is repeated, choice and type's name of each field."""
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            None if field.containing_oneof is None else field.containing_oneof.name,
            getattr(field.message_type or field.enum_type, "full_name", None),
        )
        for field in message.fields
    }


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_is_the_protocols(name: str) -> None:
    mine = described(message_class(name.removeprefix(f"{PACKAGE}.")).DESCRIPTOR)
    theirs = described(published().FindMessageTypeByName(name))
    assert mine == {field: theirs.get(field) for field in mine}


def test_what_infers_lacks_no_field() -> None:
    for name in ("ModelInferRequest", "ModelInferResponse", "InferTensorContents", "InferParameter", "ModelStatistics"):
        lacking = (
            described(published().FindMessageTypeByName(f"{PACKAGE}.{name}")).keys()
            - described(message_class(name).DESCRIPTOR).keys()
        )
        assert lacking <= {"response_stats", "memory_usage"}  # Triton's own, of models that answer many times


@pytest.mark.parametrize("name", ENUMS)
def test_every_value_is_the_protocols(name: str) -> None:
    (mine,) = [enum for file in ours().file for enum in file.enum_type if f"{PACKAGE}.{enum.name}" == name]
    theirs = published().FindEnumTypeByName(name)
    assert {each.name: each.number for each in mine.value} == {each.name: each.number for each in theirs.values}


def test_every_method_is_the_protocols() -> None:
    theirs = published().FindServiceByName(f"{PACKAGE}.{SERVICE}").methods_by_name
    for name, (request, answer, streams) in methods(SERVICE).items():
        assert request.DESCRIPTOR.full_name == theirs[name].input_type.full_name
        assert answer.DESCRIPTOR.full_name == theirs[name].output_type.full_name
        assert streams == theirs[name].client_streaming == theirs[name].server_streaming


def test_the_descriptors_are_those_of_the_proto_files(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc")
    made = tmp_path / "descriptors.pb"
    code = protoc.main(["", f"-I{HERE}", "--include_imports", f"--descriptor_set_out={made}", "inference.proto"])
    assert code == 0
    assert descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes()) == ours()


def test_a_message_of_tritonclients_is_read_as_it_was_written() -> None:
    theirs = published()
    from google.protobuf import message_factory

    written = message_factory.GetMessageClass(theirs.FindMessageTypeByName(f"{PACKAGE}.ModelInferRequest"))(
        model_name="m", id="7", raw_input_contents=[b"\x00\x01"]
    )
    written.inputs.add(name="x", datatype="UINT8", shape=[1, 2]).parameters["p"].int64_param = -3
    read = message_class("ModelInferRequest").FromString(written.SerializeToString())
    assert (read.model_name, read.id, list(read.raw_input_contents)) == ("m", "7", [b"\x00\x01"])
    assert (read.inputs[0].name, list(read.inputs[0].shape), read.inputs[0].parameters["p"].int64_param) == (
        "x",
        [1, 2],
        -3,
    )
    assert read.SerializeToString(deterministic=True) == written.SerializeToString(deterministic=True)


def test_messages_are_made_without_generated_code() -> None:
    import subprocess

    code = (
        "import sys; from edgeml.runtime.inference_protocol.messages import message_class; "
        "message_class('ModelConfig'); assert 'tritonclient' not in sys.modules and 'grpc' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
