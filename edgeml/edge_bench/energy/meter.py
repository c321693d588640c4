"""Adds up what a sensor tells: reads it often enough, from a thread of its own, while something else runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from edgeml.core.errors import EdgeMLError
from edgeml.edge_bench.energy.sensors import Sensor


class EnergyMeter:
    """The energy since its start; use it as a context manager, which ends its thread."""

    def __init__(self, sensor: Sensor, clock: Callable[[], float]) -> None:
        """Make it of a sensor and a monotonic clock in seconds."""
        self._sensor = sensor
        self._clock = clock
        self._lock = threading.Lock()
        self._joules = 0.0
        self._failure: OSError | ValueError | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def read(self) -> tuple[float, float]:
        """Joules since the start, and the moment by the clock.

        Raises:
            EdgeMLError: the sensor cannot be read any more.
        """
        self._take()
        with self._lock:
            if self._failure is not None:
                raise EdgeMLError(f"{self._sensor.name} cannot be read any more: {self._failure}") from self._failure
            return self._joules, self._now_s

    def __enter__(self) -> EnergyMeter:
        self._take()
        self._joules = 0.0
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(self._sensor.period_s):
            self._take()

    def _take(self) -> None:
        with self._lock:
            self._now_s = self._clock()
            if self._failure is None:
                try:
                    self._joules += self._sensor.advance(self._now_s)
                except (OSError, ValueError) as error:
                    self._failure = error
