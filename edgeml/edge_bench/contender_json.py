"""One contender of a benchmark run as JSON: its figures for readers, its raw samples for reports made from them."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from typing import Any

from edgeml.core.bench_profile import Energy, Profile
from edgeml.core.bench_result import Accuracy, Contender, Launch, Reference
from edgeml.core.bench_scenario import ScenarioResult
from edgeml.core.bench_sustained import Sustained
from edgeml.core.errors import UsageError
from edgeml.core.json_values import integer, items, mapping, number, record, string
from edgeml.edge_bench.dataclass_json import plain, restored
from edgeml.edge_bench.statistics import LatencySummary, summarize

_KEYS = (
    "artifact",
    "model",
    "precision",
    "runtime",
    "device",
    "threads",
    "batch",
    "latency_ms",
    "accuracy",
    "size_bytes",
    "sha256",
    "load_ms",
    "peak_memory_bytes",
    "binary",
    "int8_peer",
    "scenario",
    "sustained",
    "profile",
    "energy",
    "launches",
)
# Keys that results of earlier releases lack, with what their absence means.
_LATER_KEYS: dict[str, Any] = {
    "binary": False,
    "int8_peer": None,
    "scenario": None,
    "sustained": None,
    "profile": None,
    "energy": None,
}
_LAUNCH_KEYS = ("latency_ms", "block", "warmup", "stable", "load_ms", "peak_memory_bytes")
_ACCURACY_KEYS = ("metric", "value", "ci95", "data", "samples", "correct", "reference")


def contender_to_json(contender: Contender, *, raw: bool) -> dict[str, Any]:
    """Plain values for JSON.

    Args:
        contender: what was measured.
        raw: whether to add every sample ("launches") and which samples were classified right ("correct"), without which
            `contender_from_json` cannot read the values back.
    """
    launches = contender.launches
    value: dict[str, Any] = {
        "artifact": contender.artifact,
        "model": contender.model,
        "precision": contender.precision,
        "runtime": contender.runtime,
        "device": contender.device,
        "threads": contender.threads,
        "batch": contender.batch,
        "latency_ms": _latency_json(contender),
        "accuracy": None if contender.accuracy is None else _accuracy_json(contender.accuracy, raw),
        "size_bytes": contender.size_bytes,
        "sha256": contender.sha256,
        "load_ms": statistics.median(launch.load_ms for launch in launches) if launches else None,
        "peak_memory_bytes": max((launch.peak_memory_bytes for launch in launches), default=None),
        "binary": contender.binary,
        "int8_peer": contender.int8_peer,
        "scenario": plain(contender.scenario),
        "sustained": plain(contender.sustained),
        "profile": plain(contender.profile),
        "energy": plain(contender.energy),
    }
    if raw:
        value["launches"] = [_launch_json(launch) for launch in launches]
    return value


def contender_from_json(value: object) -> Contender:
    """Inverse of `contender_to_json` with raw samples; derived figures are not read but derived again.

    Raises:
        UsageError: the values are not those of a contender this version reads.
    """
    if "launches" not in mapping("a contender", value):
        raise UsageError("a contender lacks launches: these results were written without raw samples")
    values = record("a contender", _LATER_KEYS | mapping("a contender", value), _KEYS)

    def optional(name: str, kind: type[Any]) -> Any:
        return None if values[name] is None else restored(name, values[name], kind)

    return Contender(
        artifact=string("artifact", values["artifact"]),
        model=string("model", values["model"]),
        precision=string("precision", values["precision"]),
        runtime=string("runtime", values["runtime"]),
        device=string("device", values["device"]),
        threads=integer("threads", values["threads"]),
        batch=integer("batch", values["batch"]),
        size_bytes=integer("size_bytes", values["size_bytes"]),
        sha256=string("sha256", values["sha256"]),
        launches=tuple(_launch(each) for each in items("launches", values["launches"])),
        accuracy=None if values["accuracy"] is None else _accuracy(values["accuracy"]),
        binary=_flag("binary", values["binary"]),
        int8_peer=None if values["int8_peer"] is None else string("int8_peer", values["int8_peer"]),
        scenario=optional("scenario", ScenarioResult),
        sustained=optional("sustained", Sustained),
        profile=optional("profile", Profile),
        energy=optional("energy", Energy),
    )


def interval(name: str, value: object) -> tuple[float, float]:
    """The two ends of an interval.

    Raises:
        UsageError: the value is no list of two numbers.
    """
    ends: Sequence[Any] = items(name, value)
    if len(ends) != 2:
        raise UsageError(f"{name} has {len(ends)} values; an interval has 2")
    return number(name, ends[0]), number(name, ends[1])


def _latency_json(contender: Contender) -> dict[str, Any] | None:
    summary = summarize(contender)
    if summary is None:
        return None
    return {
        "median": summary.median.value,
        "ci95": list(summary.median.ci95),
        **_percentile_json("p90", summary),
        **_percentile_json("p95", summary),
        **_percentile_json("p99", summary),
        "samples": summary.samples,
    }


def _percentile_json(name: str, summary: LatencySummary) -> dict[str, Any]:
    estimate = {"p90": summary.p90, "p95": summary.p95, "p99": summary.p99}[name]
    return {
        name: None if estimate is None else estimate.value,
        f"{name}_ci95": None if estimate is None else list(estimate.ci95),
        f"{name}_needs": summary.needs(name),
    }


def _launch_json(launch: Launch) -> dict[str, Any]:
    return {
        "latency_ms": list(launch.latency_ms),
        "block": list(launch.block),
        "warmup": launch.warmup,
        "stable": launch.stable,
        "load_ms": launch.load_ms,
        "peak_memory_bytes": launch.peak_memory_bytes,
    }


def _accuracy_json(accuracy: Accuracy, raw: bool) -> dict[str, Any]:
    value: dict[str, Any] = {
        "metric": accuracy.metric,
        "value": accuracy.value,
        "ci95": list(accuracy.ci95),
        "data": accuracy.data,
        "samples": accuracy.samples,
        "reference": plain(accuracy.reference),
    }
    if raw:
        value["correct"] = "".join("1" if flag else "0" for flag in accuracy.correct)
    return value


def _launch(value: object) -> Launch:
    values = record("a launch", value, _LAUNCH_KEYS)
    samples = tuple(number("a latency", each) for each in items("latency_ms", values["latency_ms"]))
    blocks = tuple(integer("a block", each) for each in items("block", values["block"]))
    if not samples or len(samples) != len(blocks) or min(samples) <= 0:
        raise UsageError("a launch must have positive latencies and one block index for each")
    return Launch(
        latency_ms=samples,
        block=blocks,
        warmup=integer("warmup", values["warmup"]),
        stable=_flag("stable", values["stable"]),
        load_ms=number("load_ms", values["load_ms"]),
        peak_memory_bytes=integer("peak_memory_bytes", values["peak_memory_bytes"]),
    )


def _accuracy(value: object) -> Accuracy:
    values = record("accuracy", {"reference": None} | mapping("accuracy", value), _ACCURACY_KEYS)
    correct = string("correct", values["correct"])
    if not re.fullmatch("[01]*", correct):
        raise UsageError("correct must be a string of 0 and 1, one a sample")
    reference = values["reference"]
    return Accuracy(
        metric=string("metric", values["metric"]),
        value=number("accuracy", values["value"]),
        ci95=interval("accuracy's ci95", values["ci95"]),
        data=string("data", values["data"]),
        samples=integer("samples", values["samples"]),
        correct=tuple(flag == "1" for flag in correct),
        reference=None if reference is None else restored("the accuracy's reference", reference, Reference),
    )


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {value!r:.80}; it must be true or false")
    return value
