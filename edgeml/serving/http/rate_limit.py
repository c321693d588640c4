"""How many requests a second each client may send: a token bucket for each."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from edgeml.serving.errors import TooManyRequestsError

_CLIENTS = 10_000


class RateLimit:
    """A second's worth of requests may come at once, then so many a second."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Nobody has sent anything yet.

        Args:
            per_second: requests of one client; 0 for no limit.
            clock: monotonic seconds.
        """
        self._rate = per_second
        self._burst = max(1.0, per_second)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, client: str) -> None:
        """Count a request.

        Raises:
            TooManyRequestsError: the client has sent too many.
        """
        if not self._rate:
            return
        now = self._clock()
        left, then = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        if len(self._buckets) > _CLIENTS:  # the one heard of least recently has a full bucket, or soon
            self._buckets.popitem(last=False)
        if not allowed:
            raise TooManyRequestsError(
                f"this server takes {self._rate:g} requests a second from one client",
                retry_after_s=math.ceil((1 - left) / self._rate),
            )
