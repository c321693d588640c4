"""The histogram against prometheus_client's own."""

from __future__ import annotations

from typing import Any

import pytest

client: Any = pytest.importorskip("prometheus_client")


def test_it_tells_what_prometheus_clients_own_tells() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    from edgeml.serving.http.histogram import Histogram

    buckets = (0.001, 0.5, 1.0, 20.0)
    ours, theirs = client.CollectorRegistry(), client.CollectorRegistry()
    own = Histogram("seconds", "How long", ["model", "version"], buckets)
    ours.register(own)
    reference = client.Histogram("seconds", "How long", ["model", "version"], buckets=buckets, registry=theirs)
    for labels in (("a", "1"), ("b", "2")):
        for value in (0, 0.001, 0.0011, 0.5, 1.0, 3, 20, 20.5, 1e9):
            own.observe(labels, value)
            reference.labels(*labels).observe(value)

    def key(sample: Any) -> Any:
        return (sample[0], sorted(sample[1].items()))

    def ordered(registry: Any) -> list[Any]:
        text = client.generate_latest(registry).decode()
        found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sorted((tuple(each)[:3] for each in found if not each.name.endswith("_created")), key=key)

    assert ordered(ours) == ordered(theirs)
    assert len(ordered(ours)) == 2 * (len(buckets) + 1 + 2)
