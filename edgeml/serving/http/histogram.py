"""A histogram for Prometheus that one thread counts in."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class _Counts:
    """What was counted under one set of labels."""

    __slots__ = ("buckets", "total")

    def __init__(self, buckets: int) -> None:
        self.buckets = [0] * buckets
        self.total = 0.0


class Histogram(Collector):
    """Counts values in buckets by labels; used on the event loop only.

    prometheus_client's own takes a lock for each of its numbers, which is a tenth of what a request costs.
    """

    def __init__(self, name: str, told: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        """Nothing is counted.

        Args:
            name: of the metric.
            told: what it says.
            labels: names of the labels.
            buckets: upper bounds, ascending; a value belongs to the first that is not below it.
        """
        self._name, self._told, self._labels = name, told, labels
        self._bounds = tuple(buckets)
        self._counts: dict[tuple[str, ...], _Counts] = {}

    def observe(self, labels: tuple[str, ...], value: float) -> None:
        """Count a value."""
        found = self._counts.get(labels)
        if found is None:
            found = self._counts[labels] = _Counts(len(self._bounds) + 1)
        found.buckets[bisect_left(self._bounds, value)] += 1
        found.total += value

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Everything that was counted."""
        family = HistogramMetricFamily(self._name, self._told, labels=self._labels)
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        for labels, found in self._counts.items():
            buckets = list(zip(bounds, map(float, accumulate(found.buckets)), strict=True))
            family.add_metric(labels, buckets, sum_value=found.total)
        yield family
