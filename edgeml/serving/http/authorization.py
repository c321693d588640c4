"""Bearer tokens (RFC 6750): who may use a server."""

from __future__ import annotations

import hmac
from pathlib import Path

from edgeml.core.errors import UsageError
from edgeml.serving.errors import UnauthorizedError

_SHORTEST = 16


class Tokens:
    """The tokens that this server accepts; without any, everybody is let in."""

    def __init__(self, tokens: tuple[str, ...] = ()) -> None:
        self._tokens = tuple(token.encode() for token in tokens)

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """One token a line; empty lines and lines that begin with # are passed over.

        Raises:
            UsageError: the file cannot be read, holds no token, or one that is too short.
        """
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read tokens from {path}: {error}") from error
        tokens = tuple(line for line in lines if line and not line.startswith("#"))
        if not tokens:
            raise UsageError(f"{path} holds no token; write one a line, for example from: openssl rand -hex 32")
        if any(len(token) < _SHORTEST or not token.isascii() or not token.isprintable() for token in tokens):
            raise UsageError(
                f"a token in {path} is shorter than {_SHORTEST} characters or not of ASCII; make one with: "
                "openssl rand -hex 32"
            )
        return cls(tokens)

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def check(self, authorization: str) -> str:
        """Let in whoever has a token.

        Args:
            authorization: the request's Authorization header or gRPC metadata, "" without.

        Returns:
            Which token it is, for counting; "" where none is asked for, whatever the header holds.

        Raises:
            UnauthorizedError: it holds no token of ours.
        """
        if not self._tokens:
            return ""
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode()
        # All are compared, so that the time taken tells nothing.
        known = [hmac.compare_digest(given, each) for each in self._tokens]
        if scheme.lower() != "bearer" or not any(known):
            raise UnauthorizedError("this server asks for a token; send the header: Authorization: Bearer TOKEN")
        return f"token {known.index(True)}"
