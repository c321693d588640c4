"""How much a client may ask of a server."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from edgeml.core.errors import UsageError

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds that hold for every request; each is checked before the memory or time it bounds is spent.

    Attributes:
        body_bytes: of a body, on the wire and again after decompression.
        header_bytes: of the JSON part of a body.
        json_elements: of all tensors that come as JSON, together.
        rank: axes of a tensor, which is also how deep its JSON may nest.
        inputs: tensors of a request, and outputs it may ask for.
        queue: requests that wait for one model.
        request_s: seconds until an answer is of no use, where the request does not say less.
        read_s: seconds a client may stay silent within a request.
        chunks: pieces that a body may arrive in.
    """

    body_bytes: int = 64 * _MIB
    header_bytes: int = 16 * _MIB
    json_elements: int = 4 * _MIB
    rank: int = 16
    inputs: int = 64
    queue: int = 256
    request_s: float = 30.0
    read_s: float = 10.0
    chunks: int = 100_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"the limit {field.name} is {value}; it must be above 0")
