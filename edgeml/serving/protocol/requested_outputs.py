"""The outputs that a request asks for, the same over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Sequence

from edgeml.serving.errors import InvalidRequestError
from edgeml.serving.inference import RequestedOutput
from edgeml.serving.protocol.limits import Limits
from edgeml.serving.protocol.parameters import Parameters, count, flag


def requested_outputs(asked: Sequence[tuple[str, Parameters]], limits: Limits) -> tuple[RequestedOutput, ...]:
    """Names and what is to become of each.

    Args:
        asked: name and parameters of each; the parameters are taken out of it.
        limits: bounds on their number.

    Raises:
        InvalidRequestError: too many, one twice, or parameters that are not of the protocol's form.
    """
    if len(asked) > limits.inputs:
        raise InvalidRequestError(f"the request asks for {len(asked)} outputs; at most {limits.inputs} are allowed")
    if len({name for name, _ in asked}) < len(asked):
        raise InvalidRequestError("an output is asked for twice")
    found = []
    for name, parameters in asked:
        if "shared_memory_region" in parameters:
            raise InvalidRequestError(f"output {name!r:.80} is asked for in shared memory, which is not done here")
        found.append(
            RequestedOutput(
                name=name,
                classification=count(parameters, "classification"),
                binary=flag(parameters, "binary_data"),
            )
        )
    return tuple(found)
