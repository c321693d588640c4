"""The pages of the server: which handler answers which method and path."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edgeml.serving.errors import NotFoundError, RequestError
from edgeml.serving.http.messages import Request, Response

Handler = Callable[[Request], Awaitable[Response]]
"""Answers a request."""

_MODEL = re.compile(
    r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?:/(?P<action>ready|infer|config|stats))?"
)
_REPOSITORY = re.compile(r"/v2/repository/models/(?P<model>[^/]+)/(?P<action>load|unload)")
# Paths are in error messages and metrics, so they are bounded.
_SHOWN = 80


class MethodError(RequestError):
    """The page does not answer this method.

    Attributes:
        allowed: those that it answers.
    """

    status = 405

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


@dataclass(frozen=True)
class Match:
    """The handler of a request and what its path says.

    Attributes:
        handler: answers it.
        model: the model's name in the path, "" without.
        version: the version in the path, "" without.
    """

    handler: Handler
    model: str = ""
    version: str = ""


class Routes:
    """Handlers by method and page; those of models by the page's last word ("infer"), "" for the model itself."""

    def __init__(
        self,
        pages: dict[tuple[str, str], Handler],
        models: dict[tuple[str, str], Handler],
        repository: dict[tuple[str, str], Handler],
    ) -> None:
        """Handlers by (method, path) or (method, action)."""
        self._pages = pages
        self._models = models
        self._repository = repository

    def match(self, method: str, path: str) -> Match:
        """The handler for a request; HEAD is answered as GET.

        Raises:
            NotFoundError: there is no such page.
            MethodError: the page answers other methods.
        """
        wanted = "GET" if method == "HEAD" else method
        if (handler := self._pages.get((wanted, path))) is not None:
            return Match(handler)
        for pattern, table in ((_MODEL, self._models), (_REPOSITORY, self._repository)):
            if found := pattern.fullmatch(path):
                parts = found.groupdict()
                action = parts["action"] or ""
                if (handler := table.get((wanted, action))) is not None:
                    return Match(handler, parts["model"], parts.get("version") or "")
                raise _wrong_method(method, path, [each for each, name in table if name == action])
        if methods := [each for each, page in self._pages if page == path]:
            raise _wrong_method(method, path, methods)
        raise NotFoundError(f"there is no page {path!r:.{_SHOWN}}; /openapi.json lists them")


def _wrong_method(method: str, path: str, allowed: list[str]) -> MethodError:
    methods = tuple(each for name in allowed for each in ((name, "HEAD") if name == "GET" else (name,)))
    return MethodError(f"{path!r:.{_SHOWN}} does not answer {method!r:.20}; it answers {', '.join(methods)}", methods)
