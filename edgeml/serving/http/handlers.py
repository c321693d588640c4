"""What each page does."""

from __future__ import annotations

from edgeml.serving.engine_protocol import Engine
from edgeml.serving.errors import InvalidRequestError, UnavailableError
from edgeml.serving.http.messages import Request, Response, empty_response, json_response, text_response
from edgeml.serving.http.metrics import CONTENT_TYPE, Metrics
from edgeml.serving.http.openapi import openapi_json
from edgeml.serving.http.routes import Routes
from edgeml.serving.http.status_page import HEADERS, status_page
from edgeml.serving.protocol.description import index_json, model_json, server_json
from edgeml.serving.protocol.limits import Limits
from edgeml.serving.protocol.request_body import parse_request
from edgeml.serving.protocol.response_body import write_response


class Handlers:
    """The pages of one server."""

    def __init__(self, engine: Engine, metrics: Metrics, limits: Limits) -> None:
        self._engine = engine
        self._metrics = metrics
        self._limits = limits

    def routes(self) -> Routes:
        """Which of them answers what."""
        return Routes(
            pages={
                ("GET", "/"): self.status_page,
                ("GET", "/metrics"): self.metrics,
                ("GET", "/openapi.json"): self.openapi,
                ("GET", "/v2"): self.server,
                ("GET", "/v2/health/live"): self.live,
                ("GET", "/v2/health/ready"): self.ready,
                ("GET", "/v2/models/stats"): self.statistics,
                ("POST", "/v2/repository/index"): self.index,
            },
            models={
                ("GET", ""): self.model,
                ("GET", "ready"): self.model_ready,
                ("GET", "config"): self.config,
                ("GET", "stats"): self.statistics,
                ("POST", "infer"): self.infer,
            },
            repository={("POST", "load"): self.load, ("POST", "unload"): self.unload},
        )

    async def infer(self, request: Request) -> Response:
        """Run a model."""
        metadata = self._engine.metadata(request.model, request.version)
        body = await request.body()
        parsed = parse_request(
            body,
            model=request.model,
            version=request.version,
            headers=request.headers,
            limits=self._limits,
            metadata=metadata,
        )
        response = await request.unless_left(lambda: self._engine.infer(parsed))
        parts, headers = write_response(response, request=parsed)
        return Response(headers=headers, parts=parts)

    async def server(self, _: Request) -> Response:
        """The server."""
        return json_response(server_json())

    async def live(self, _: Request) -> Response:
        """Whether the process answers."""
        return empty_response()

    async def ready(self, _: Request) -> Response:
        """Whether the server has loaded what it could."""
        return empty_response(200 if self._engine.is_ready() else 503)

    async def model(self, request: Request) -> Response:
        """A model's inputs and outputs."""
        return json_response(model_json(self._engine.metadata(request.model, request.version)))

    async def model_ready(self, request: Request) -> Response:
        """Whether a model is ready; 404 for one that is not known."""
        if self._engine.is_ready(request.model, request.version):
            return empty_response()
        self._engine.metadata(request.model, request.version)  # says why it is not
        raise UnavailableError("the server is being stopped", retry_after_s=1)

    async def config(self, request: Request) -> Response:
        """A model's configuration."""
        return json_response(self._engine.config(request.model, request.version))

    async def statistics(self, request: Request) -> Response:
        """Counts and durations."""
        return json_response(self._engine.statistics(request.model, request.version))

    async def index(self, request: Request) -> Response:
        """All models."""
        ready_only = (await request.json()).get("ready", False)
        if not isinstance(ready_only, bool):
            raise InvalidRequestError(f"ready is {ready_only!r:.40}; it must be true or false")
        return json_response([index_json(entry) for entry in self._engine.index(ready_only=ready_only)])

    async def load(self, request: Request) -> Response:
        """Load a model, or load it again."""
        parameters = (await request.json()).get("parameters", {})
        if parameters:
            given = ", ".join(map(str, parameters)) if isinstance(parameters, dict) else repr(parameters)
            raise InvalidRequestError(
                f"load was given {given!r:.80}; this server loads what lies in its repository, without overrides"
            )
        await self._engine.load(request.model)
        return empty_response()

    async def unload(self, request: Request) -> Response:
        """Serve a model no longer."""
        await request.json()
        await self._engine.unload(request.model)
        return empty_response()

    async def metrics(self, _: Request) -> Response:
        """Prometheus' metrics."""
        return text_response(self._metrics.text(), CONTENT_TYPE)

    async def openapi(self, _: Request) -> Response:
        """This server's pages, for programs."""
        return json_response(openapi_json())

    async def status_page(self, _: Request) -> Response:
        """This server's models, for people."""
        models = {entry.name: self._engine.metadata(entry.name) for entry in self._engine.index(ready_only=True)}
        page = status_page(self._engine.index(), models, self._engine.statistics()["model_stats"])
        return text_response(page, "text/html; charset=utf-8", HEADERS)
