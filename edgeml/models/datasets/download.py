"""Fetches one file over HTTP: bounded in size and time, checked, and in place whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from pathlib import Path

from edgeml.core.atomic import atomic_write
from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError

_TIMEOUT_S = 20.0


def download(url: str, path: Path, *, md5: str, limit_bytes: int) -> None:
    """Fetch `url` to `path`, creating its directory.

    Args:
        url: http or https address.
        path: where the file goes.
        md5: hex digest the publisher gives; it catches damage, and the reader checks a SHA-256 of the content.
        limit_bytes: more than this is not read.

    Raises:
        MissingError: the address could not be reached, or sends something longer.
        CheckFailedError: what arrived is not the published file.
        EdgeMLError: the file could not be written.
    """
    if not url.startswith(("http://", "https://")):
        raise MissingError(f"cannot fetch {url}: only http and https are fetched")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:  # noqa: S310  scheme checked above
            content = response.read(limit_bytes + 1)
            promised = int(response.headers.get("Content-Length", len(content)))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise MissingError(f"cannot fetch {url}: {getattr(error, 'reason', None) or error}") from error
    if len(content) > limit_bytes:
        raise MissingError(f"cannot fetch {url}: it sends more than {limit_bytes} bytes")
    if len(content) < promised:
        raise MissingError(f"cannot fetch {url}: the connection ended after {len(content)} of {promised} bytes")
    actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if actual != md5:
        raise CheckFailedError(
            f"{url} sent {len(content)} bytes with MD5 {actual}, published is {md5}; nothing was kept"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeMLError(f"cannot create {path.parent}: {error.strerror or error}") from error
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
