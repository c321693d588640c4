"""Parameters of a request that the protocol gives a meaning, over HTTP and gRPC; each is taken out when it is read."""

from __future__ import annotations

import time

from edgeml.serving.errors import InvalidRequestError
from edgeml.serving.inference import Sequence

Parameters = dict[str, bool | int | float | str]

_MICROSECONDS = 1e-6


def flag(parameters: Parameters, name: str) -> bool:
    """A truth value, false where it is not given.

    Raises:
        InvalidRequestError: it is something else.
    """
    value = parameters.pop(name, False)
    if not isinstance(value, bool):
        raise InvalidRequestError(f"the parameter {name} is {value!r:.40}; it must be true or false")
    return value


def count(parameters: Parameters, name: str) -> int:
    """A whole number of at least 0, which is what it is where it is not given.

    Raises:
        InvalidRequestError: it is something else.
    """
    value = parameters.pop(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise InvalidRequestError(f"the parameter {name} is {value!r:.40}; it must be a whole number of at least 0")
    return value


def sequence(parameters: Parameters) -> Sequence | None:
    """The sequence that a request belongs to; None for none.

    Raises:
        InvalidRequestError: its parameters are not of the extension's form.
    """
    start, end = flag(parameters, "sequence_start"), flag(parameters, "sequence_end")
    identity = parameters.pop("sequence_id", 0)
    if isinstance(identity, bool | float) or (isinstance(identity, int) and not 0 <= identity < 1 << 64):
        raise InvalidRequestError(
            f"sequence_id is {identity!r:.40}; it must be a whole number below 2**64, or a string"
        )
    if identity in {0, ""}:
        if start or end:
            raise InvalidRequestError("sequence_start or sequence_end is given without a sequence_id")
        return None
    return Sequence(id=identity, start=start, end=end)


def deadline(parameters: Parameters) -> float | None:
    """Monotonic seconds after which the answer is of no use, from the timeout in microseconds; None without one.

    Raises:
        InvalidRequestError: the timeout is no whole number of at least 0.
    """
    timeout = count(parameters, "timeout")
    return time.monotonic() + timeout * _MICROSECONDS if timeout else None
