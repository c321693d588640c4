"""Bodies compressed by gzip or deflate, both ways; what they may grow to is bounded while they grow."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from edgeml.serving.errors import InvalidRequestError, TooLargeError

ENCODINGS = ("gzip", "deflate")
# zlib's window bits: 32 added, the header tells gzip from zlib; 16 added, gzip.
_EITHER, _GZIP, _ZLIB, _BARE = 47, 31, 15, -15
# Fast: a tensor of floats shrinks little more at higher levels, and takes ten times as long.
_LEVEL = 1


def decompress(body: bytes | bytearray, encoding: str, limit_bytes: int) -> bytes | bytearray:
    """A body as it was before its Content-Encoding.

    HTTP's "deflate" is the zlib format (RFC 9110, 8.4.1.2); the bare one that some clients send is taken too.

    Args:
        body: as it came.
        encoding: the header's value; "" and "identity" leave the body as it is.
        limit_bytes: most bytes it may grow to.

    Raises:
        InvalidRequestError: another encoding, damaged data, or data behind its end.
        TooLargeError: it would grow beyond the limit.
    """
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return body
    if encoding not in ENCODINGS:
        raise InvalidRequestError(f"Content-Encoding is {encoding!r:.40}; allowed: gzip, deflate, identity")
    bare = encoding == "deflate" and not _has_zlib_header(body)
    decompressor = zlib.decompressobj(_BARE if bare else _EITHER)
    try:
        found = decompressor.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise InvalidRequestError(f"the body is no {encoding} data: {error}") from error
    if len(found) > limit_bytes:
        raise TooLargeError(f"the body grows beyond {limit_bytes} bytes when decompressed")
    if not decompressor.eof:
        raise InvalidRequestError(f"the {encoding} data of the body breaks off")
    if decompressor.unused_data:
        raise InvalidRequestError(f"{len(decompressor.unused_data)} bytes follow the {encoding} data of the body")
    return found


def accepted_encoding(header: str) -> str | None:
    """The encoding to answer in, by the request's Accept-Encoding (RFC 9110, 12.5.3); None for none.

    The one of the highest weight is taken, of equals gzip.
    """
    weights: dict[str, float] = {}
    for entry in header.lower().split(","):
        name, _, parameters = entry.strip().partition(";")
        weight = parameters.strip().removeprefix("q=") if parameters else "1"
        try:
            weights[name.strip()] = float(weight)
        except ValueError:
            weights[name.strip()] = 0.0
    weighed = [(weights.get(encoding, weights.get("*", 0.0)), encoding) for encoding in ENCODINGS]
    best, chosen = max(weighed, key=lambda each: each[0])
    return chosen if best > 0 else None


def compress(parts: Iterable[bytes | memoryview], encoding: str) -> bytes:
    """The parts of a body joined and compressed.

    Args:
        parts: of the body.
        encoding: "gzip" or "deflate".
    """
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP if encoding == "gzip" else _ZLIB)
    return b"".join([*(compressor.compress(part) for part in parts), compressor.flush()])


def _has_zlib_header(body: bytes | bytearray) -> bool:
    """RFC 1950: method 8, and the two bytes of the header are a multiple of 31."""
    return len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
