"""The ASGI application: from a connection's request to its answer, whatever happens in between."""

from __future__ import annotations

import logging
import time

from edgeml.core.errors import EdgeMLError
from edgeml.serving.engine_protocol import Engine
from edgeml.serving.errors import FailedError, RequestError
from edgeml.serving.http.authorization import Tokens
from edgeml.serving.http.cross_site import check_origin
from edgeml.serving.http.handlers import Handlers
from edgeml.serving.http.messages import (
    ClientLeftError,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    compressed,
    error_response,
    send_response,
)
from edgeml.serving.http.metrics import Metrics
from edgeml.serving.http.rate_limit import RateLimit
from edgeml.serving.http.routes import MethodError
from edgeml.serving.protocol.limits import Limits

# Orchestrators ask these without a token, and they tell nothing.
_OPEN_PAGES = frozenset({"/v2/health/live", "/v2/health/ready"})

_log = logging.getLogger("edgeml.serving")


class Application:
    """One server's pages.

    Attributes:
        draining: whether connections are closed after the answer they wait for.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        metrics: Metrics,
        limits: Limits,
        tokens: Tokens | None = None,
        rate_limit: RateLimit | None = None,
        log_requests: bool = False,
    ) -> None:
        """Ready to answer.

        Args:
            engine: holds the models.
            metrics: counts the answers.
            limits: bounds on requests.
            tokens: who may use the server; None for everybody.
            rate_limit: how much each may send; None for no limit.
            log_requests: whether every answer leaves a line in the log.
        """
        self._routes = Handlers(engine, metrics, limits).routes()
        self._metrics = metrics
        self._limits = limits
        self._tokens = Tokens() if tokens is None else tokens
        self._rate_limit = RateLimit(0) if rate_limit is None else rate_limit
        self._log_requests = log_requests
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        request = Request(scope, receive, self._limits)
        try:
            response = await self._answer(request)
        except ClientLeftError:
            self._metrics.answered("http", "left")
            return
        if response.status < 400:
            response = await compressed(response, request.headers.get("accept-encoding", ""))
        await send_response(response, send, request=request, close=self.draining)
        self._metrics.answered("http", str(response.status))
        if self._log_requests:
            _log.info(
                "answered",
                extra={
                    "fields": {
                        "client": request.client,
                        "method": request.method,
                        "path": request.path,
                        "status": response.status,
                        "ms": round((time.perf_counter() - began) * 1e3, 3),
                    }
                },
            )

    async def _answer(self, request: Request) -> Response:
        try:
            if request.path not in _OPEN_PAGES:
                bearer = self._tokens.check(request.headers.get("authorization", ""))
                self._rate_limit.check(bearer or request.client)
            match = self._routes.match(request.method, request.path)
            if request.method not in {"GET", "HEAD"}:
                check_origin(request.headers)
            request.model, request.version = match.model, match.version
            return await match.handler(request)
        except MethodError as error:
            return error_response(error, {"allow": ", ".join(error.allowed)})
        except RequestError as error:
            if error.status >= 500 and isinstance(error, FailedError):
                _log.error("failed", extra={"fields": {"path": request.path, "reason": str(error)}})
            return error_response(error)
        except EdgeMLError as error:
            _log.exception("failed", extra={"fields": {"path": request.path}})
            return error_response(FailedError(str(error)))
        except ClientLeftError:
            raise
        except Exception:  # noqa: BLE001 (whatever fails, the client is answered and the others go on)
            _log.exception("failed", extra={"fields": {"path": request.path}})
            return error_response(FailedError("the server failed on this request; its log says why"))
