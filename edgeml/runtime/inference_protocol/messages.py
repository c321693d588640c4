"""Message classes made from the compiled descriptors beside this file.

Generated code would tie edgeml to one release of protobuf; descriptors do not. They live in a pool of their own, so
that a client library that brings its own copy of the protocol can be loaded into the same process. After a change of a
.proto file, in this directory:

    python -m grpc_tools.protoc -I. --include_imports --descriptor_set_out=descriptors.pb inference.proto
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

PACKAGE = "inference"


@lru_cache
def message_class(name: str) -> Any:
    """The class of the message of that name ("ModelConfig")."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


def methods(service: str) -> dict[str, tuple[Any, Any, bool]]:
    """Request class, answer class and whether it is a stream, for each method of a service."""
    found = _pool().FindServiceByName(f"{PACKAGE}.{service}")
    return {
        method.name: (
            message_class(method.input_type.name),
            message_class(method.output_type.name),
            bool(method.client_streaming),
        )
        for method in found.methods
    }


@lru_cache
def _pool() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    files = descriptor_pb2.FileDescriptorSet.FromString((Path(__file__).parent / "descriptors.pb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool
