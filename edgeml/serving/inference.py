"""What travels between the protocols and the engine: a request's tensors as numpy arrays, and the answer's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

Tensor = npt.NDArray[Any]
"""A tensor as numpy holds it; BYTES is an object array of `bytes`, BF16 is ml_dtypes.bfloat16."""


@dataclass(frozen=True, kw_only=True)
class RequestedOutput:
    """An output the client asks for.

    Attributes:
        name: its name.
        classification: 0 for the tensor itself; k for the k largest of each row as "value:index[:label]" strings (the
            classification extension).
        binary: whether its data follows the JSON as raw bytes (HTTP).
    """

    name: str
    classification: int = 0
    binary: bool = False


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Membership in a sequence of requests that share state.

    Attributes:
        id: what the client calls the sequence; not 0 and not empty.
        start: whether this request begins it, with fresh state.
        end: whether this request is its last, after which its state is freed.
    """

    id: int | str
    start: bool = False
    end: bool = False


@dataclass(frozen=True, kw_only=True)
class InferenceRequest:
    """One inference request, parsed and checked for form; not yet checked against the model.

    Attributes:
        model: the model's name.
        version: the version asked for; "" for the newest that is served.
        id: echoed in the answer.
        inputs: tensors by name; they may be views of the request's body, so they are read-only.
        outputs: outputs asked for; empty for all of them.
        binary_output: whether outputs follow as raw bytes where they do not say (HTTP).
        sequence: None for a model without state.
        priority: 0 for the model's default, else 1 (highest) and up.
        deadline: monotonic time in seconds after which the answer is of no use; None for the server's own bound.
        parameters: further parameters, which models may define.
    """

    model: str
    version: str = ""
    id: str = ""
    inputs: dict[str, Tensor]
    outputs: tuple[RequestedOutput, ...] = ()
    binary_output: bool = False
    sequence: Sequence | None = None
    priority: int = 0
    deadline: float | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class InferenceResponse:
    """The answer to one request.

    Attributes:
        model: the model's name.
        version: the version that ran.
        id: the request's.
        outputs: tensors by name, those asked for in the order asked for; classified ones as BYTES.
    """

    model: str
    version: str
    id: str
    outputs: dict[str, Tensor]
