"""What a client is told when a request is not served: one line, and the status of each protocol that carries it."""

from __future__ import annotations

from edgeml.core.errors import EdgeMLError


class RequestError(EdgeMLError):
    """A request that is not served; what the client is told is this error's one line.

    Attributes:
        status: HTTP status code.
        grpc_status: name of the gRPC status code.
        retry_after_s: seconds after which the client may try again; None where trying again does not help.
    """

    status = 500
    grpc_status = "INTERNAL"

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class InvalidRequestError(RequestError):
    """The request is not of the protocol's form, or does not fit the model."""

    status = 400
    grpc_status = "INVALID_ARGUMENT"


class UnauthorizedError(RequestError):
    """The request lacks the token that this server asks for."""

    status = 401
    grpc_status = "UNAUTHENTICATED"


class NotFoundError(RequestError):
    """There is no such model, version or page."""

    status = 404
    grpc_status = "NOT_FOUND"


class TooLargeError(RequestError):
    """The request exceeds a limit on size."""

    status = 413
    grpc_status = "RESOURCE_EXHAUSTED"


class TooManyRequestsError(RequestError):
    """This client sends more than it may."""

    status = 429
    grpc_status = "RESOURCE_EXHAUSTED"


class UnavailableError(RequestError):
    """The model is not ready, its queue is full, or the server is being stopped."""

    status = 503
    grpc_status = "UNAVAILABLE"


class DeadlineError(UnavailableError):
    """The request's deadline passed before it was run."""

    grpc_status = "DEADLINE_EXCEEDED"


class FailedError(RequestError):
    """The model failed to run; the fault is the server's or the model's."""

    status = 500
    grpc_status = "INTERNAL"
