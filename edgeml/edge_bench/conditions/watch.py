"""Keeps an eye on the device during a run: its state after each block, and what disturbed it from start to end."""

from __future__ import annotations

import time
from dataclasses import replace

from edgeml.core.bench_result import Reading
from edgeml.edge_bench.conditions.device_state import DeviceState
from edgeml.edge_bench.conditions.throttling import Conditions, condition_warnings, read_conditions


class Watch:
    """What was read during one run.

    On this machine the counters are read by this process, whose children the workers are. A device's own are read by
    the workers on it: the first reads them before it opens a model, and each tells its processor time as its last word.
    """

    def __init__(self, *, on_device: bool) -> None:
        """Begin.

        Args:
            on_device: whether the workers run on another machine than this one.
        """
        self._on_device = on_device
        self._start_s = time.monotonic()
        self._readings: list[Reading] = []
        self._first: Conditions | None = None if on_device else read_conditions()
        self._last: Conditions | None = None
        self._workers_s = 0.0

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The device's state after each block, in the order read."""
        return tuple(self._readings)

    def began(self, state: DeviceState) -> None:
        """A worker is there and has opened nothing yet."""
        if self._first is None:
            self._first = state.conditions

    def reading(self, state: DeviceState) -> Reading:
        """A block of samples was taken; what is to be kept of it once its launch is whole."""
        return Reading(
            time_s=time.monotonic() - self._start_s,
            frequency_mhz=state.frequency_mhz,
            temperature_c=state.temperature_c,
        )

    def keep(self, readings: list[Reading]) -> None:
        """Keep the readings of a launch."""
        self._readings += readings

    def ended(self, state: DeviceState) -> None:
        """A worker's last words."""
        self._last = state.conditions
        self._workers_s += state.conditions.own_s

    def link_was_cut(self) -> None:
        """Forget the counters: the device may have started anew, and what lost workers took is not known."""
        if self._on_device:
            self._first = self._last = None
            self._workers_s = 0.0

    def warnings(self) -> tuple[str, ...]:
        """What disturbed the run, a sentence each; to be asked when every worker has ended."""
        if self._first is None:
            return ()
        after = read_conditions()
        if self._on_device:
            if self._last is None:
                return ()
            # The first worker had taken some time before the first reading; it is in both sums.
            after = replace(self._last, own_s=self._workers_s)
        frequencies_mhz = [each.frequency_mhz for each in self._readings if each.frequency_mhz is not None]
        return condition_warnings(self._first, after, frequencies_mhz=frequencies_mhz)
