"""Keeps web pages of others from using a server that their visitor's browser can reach."""

from __future__ import annotations

from collections.abc import Mapping

from edgeml.serving.errors import RequestError


class CrossSiteError(RequestError):
    """A browser sent the request for a page of another site."""

    status = 403
    grpc_status = "PERMISSION_DENIED"


def check_origin(headers: Mapping[str, str]) -> None:
    """Refuse what a page of another site makes a browser send.

    A browser lets any page post to 127.0.0.1, and only keeps the answer from it; that would be enough to unload a
    model. Browsers say so in Sec-Fetch-Site (W3C Fetch Metadata), older ones in Origin; programs send neither.

    Args:
        headers: of a request that changes something, names in lower case.

    Raises:
        CrossSiteError: it comes from another site.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        foreign = site not in {"same-origin", "none"}
    else:
        origin = headers.get("origin")
        foreign = origin is not None and origin.rpartition("//")[2].lower() != headers.get("host", "").lower()
    if foreign:
        raise CrossSiteError("this request comes from a web page of another site, which may not use this server")
