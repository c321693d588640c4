"""Prometheus metrics of a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from edgeml.serving.engine.batch import Outcome, Pending
from edgeml.serving.errors import RequestError
from edgeml.serving.http.histogram import Histogram

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_NS = 1e-9

Waiting = Callable[[], dict[tuple[str, str], int]]


class Metrics:
    """What `/metrics` tells; a registry of its own, so that servers in one process do not mix."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        names = ["model", "version"]
        self._requests = Counter(
            "edgeml_requests", "Requests answered, by protocol and status", ["protocol", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "edgeml_inference_seconds", "Time from a request's arrival at its model to its answer", names, _SECONDS
        )
        self._queue = Histogram("edgeml_queue_seconds", "Time a request waited for an instance", names, _SECONDS)
        self._batch = Histogram("edgeml_batch_samples", "Samples of the batch that a request was run in", names, _ROWS)
        for histogram in (self._seconds, self._queue, self._batch):
            self._registry.register(histogram)
        self._failures = Counter(
            "edgeml_inference_failures", "Requests that a model failed on", names, registry=self._registry
        )
        self._by_status: dict[tuple[str, str], Counter] = {}

    def watch(self, waiting: Waiting) -> None:
        """Tell of requests that wait, too.

        Args:
            waiting: how many wait now, by model and version.
        """
        self._registry.register(_WaitingRequests(waiting))

    def answered(self, protocol: str, status: str) -> None:
        """A request was answered."""
        key = (protocol, status)
        if key not in self._by_status:  # looking a child up by labels costs more than counting
            self._by_status[key] = self._requests.labels(*key)
        self._by_status[key].inc()

    def ran(self, model: str, version: str, pending: Pending, outcome: Outcome) -> None:
        """A request was run."""
        if isinstance(outcome.result, RequestError):
            self._failures.labels(model, version).inc()
            return
        labels, execution = (model, version), outcome.execution
        queue_s = (pending.started_ns - pending.arrived_ns) * _NS
        self._queue.observe(labels, queue_s)
        self._seconds.observe(labels, queue_s + (execution.input_ns + execution.infer_ns + execution.output_ns) * _NS)
        self._batch.observe(labels, execution.rows)

    def text(self) -> str:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry).decode()


class _WaitingRequests(Collector):
    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def collect(self) -> Iterable[Metric]:
        """Read when it is asked for."""
        family = GaugeMetricFamily("edgeml_waiting_requests", "Requests that wait now", labels=["model", "version"])
        for key, count in self._waiting().items():
            family.add_metric(key, count)
        yield family
