"""Reads many damaged request bodies; run as `python tests/serving/fuzz_framing.py [BODIES]`.

Each body must be read, or refused with a RequestError below 500; memory must not grow. Prints what it found as JSON.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from pathlib import Path

from edgeml.serving.errors import RequestError
from edgeml.serving.protocol.compression import compress, decompress
from edgeml.serving.protocol.limits import Limits
from edgeml.serving.protocol.request_body import parse_request
from tests.serving.protocol_bodies import METADATA, damaged, some_bodies

_LIMITS = Limits(body_bytes=1 << 20)


def fuzz(bodies: int, seed: int = 0) -> dict[str, int | float]:
    """Outcomes by status (200: read), and the share by which resident memory grew after a tenth of the bodies."""
    generator = random.Random(seed)
    sources = some_bodies()
    outcomes: Counter[str] = Counter()
    baseline = 0
    for index in range(bodies):
        body, headers = damaged(*generator.choice(sources), generator)
        try:
            encoding = generator.choice(["", "", "gzip", "deflate"])
            if encoding:
                packed = bytearray(compress([body], encoding))
                if generator.random() < 0.5:
                    packed[generator.randrange(len(packed))] ^= 1 << generator.randrange(8)
                body = bytes(decompress(packed, encoding, _LIMITS.body_bytes))
            parse_request(body, model="m", version="", headers=headers, limits=_LIMITS, metadata=METADATA)
            outcomes["200"] += 1
        except RequestError as error:
            if error.status >= 500:
                raise
            outcomes[str(error.status)] += 1
        if index == bodies // 10:
            baseline = resident_pages()
    return {"bodies": bodies, **outcomes, "memory_growth": round(resident_pages() / baseline - 1, 4)}


def resident_pages() -> int:
    """Resident memory of this process in pages (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])


if __name__ == "__main__":
    print(json.dumps(fuzz(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)))
