"""Benchmark results as JSON: the figures for whoever reads the file, the raw samples for reports made from it."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from edgeml.core.atomic import atomic_write_text
from edgeml.core.bench_result import Accuracy, BenchResult, Comparison, Contender, Launch, Verdict
from edgeml.core.errors import UsageError
from edgeml.core.host import HostInfo
from edgeml.core.json_values import choice, integer, items, mapping, number, record, string
from edgeml.edge_bench.pay_off import pay_offs
from edgeml.edge_bench.statistics import Estimate, summarize

SCHEMA_VERSION = 1
FILE_LIMIT_BYTES = 256 << 20

_RESULT_KEYS = ("schema_version", "contenders", "comparisons", "pay_off", "host", "warnings")
_CONTENDER_KEYS = (
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
    "launches",
)
# Keys that results of earlier releases lack, with what their absence means.
_LATER_KEYS: dict[str, Any] = {"binary": False, "int8_peer": None}
_LAUNCH_KEYS = ("latency_ms", "block", "warmup", "stable", "load_ms", "peak_memory_bytes")
_ACCURACY_KEYS = ("metric", "value", "ci95", "data", "samples", "correct")
_COMPARISON_KEYS = ("a", "b", "ratio", "ci95", "verdict", "accuracy_difference", "accuracy_ci95")


def to_json(result: BenchResult, raw: bool = True) -> dict[str, Any]:
    """Plain values for JSON, as docs/schemas/bench.schema.json describes them.

    Args:
        result: the run.
        raw: whether to add every sample ("launches") and which samples were classified right ("correct"), without which
            `from_json` cannot read the values back.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "contenders": [_contender_json(contender, raw) for contender in result.contenders],
        "comparisons": [_comparison_json(comparison) for comparison in result.comparisons],
        "pay_off": [pay_off.to_json() for pay_off in pay_offs(result)],
        "host": json.loads(json.dumps(result.host.to_json())),  # tuples become lists
        "warnings": list(result.warnings),
    }


def from_json(value: object) -> BenchResult:
    """Inverse of `to_json` with raw samples; the derived figures in it are not read but derived again.

    Raises:
        UsageError: the values are not those of benchmark results this version reads.
    """
    version = mapping("the results", value).get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(f"the results' schema_version is {version!r:.80}; this edgeml reads {SCHEMA_VERSION}")
    values = record("the results", {"pay_off": []} | mapping("the results", value), _RESULT_KEYS)
    contenders = tuple(_contender(each) for each in items("contenders", values["contenders"]))
    comparisons = tuple(_comparison(each, len(contenders)) for each in items("comparisons", values["comparisons"]))
    return BenchResult(
        contenders=contenders,
        comparisons=comparisons,
        host=HostInfo.from_json(values["host"]),
        warnings=tuple(string("a warning", each) for each in items("warnings", values["warnings"])),
    )


def write_results(result: BenchResult, path: Path) -> None:
    """Write the results with their raw samples, whole or not at all."""
    atomic_write_text(path, json.dumps(to_json(result), allow_nan=False) + "\n")


def read_results(path: Path) -> BenchResult:
    """The results in a file that `write_results` or `edgeml bench --json` wrote.

    Raises:
        UsageError: the file cannot be read, is too large, or holds something else.
    """
    value = load_json(path)
    try:
        return from_json(value)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def load_json(path: Path) -> Any:
    """What a file of results holds, as plain values.

    Raises:
        UsageError: the file cannot be read, is too large, or is no JSON.
    """
    try:
        if path.stat().st_size > FILE_LIMIT_BYTES:
            raise UsageError(f"{path} is larger than {FILE_LIMIT_BYTES} bytes, so it holds no benchmark results")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read benchmark results from {path}: {error}") from error


def _contender_json(contender: Contender, raw: bool) -> dict[str, Any]:
    summary = summarize(contender)
    value: dict[str, Any] = {
        "artifact": contender.artifact,
        "model": contender.model,
        "precision": contender.precision,
        "runtime": contender.runtime,
        "device": contender.device,
        "threads": contender.threads,
        "batch": contender.batch,
        "latency_ms": {
            "median": summary.median.value,
            "ci95": list(summary.median.ci95),
            **_percentile_json("p90", summary.p90),
            **_percentile_json("p95", summary.p95),
            **_percentile_json("p99", summary.p99),
            "samples": summary.samples,
        },
        "accuracy": None if contender.accuracy is None else _accuracy_json(contender.accuracy, raw),
        "size_bytes": contender.size_bytes,
        "sha256": contender.sha256,
        "load_ms": statistics.median(launch.load_ms for launch in contender.launches),
        "peak_memory_bytes": max(launch.peak_memory_bytes for launch in contender.launches),
        "binary": contender.binary,
        "int8_peer": contender.int8_peer,
    }
    if raw:
        value["launches"] = [_launch_json(launch) for launch in contender.launches]
    return value


def _percentile_json(name: str, estimate: Estimate | None) -> dict[str, Any]:
    return {
        name: None if estimate is None else estimate.value,
        f"{name}_ci95": None if estimate is None else list(estimate.ci95),
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
    }
    if raw:
        value["correct"] = "".join("1" if flag else "0" for flag in accuracy.correct)
    return value


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "a": comparison.a,
        "b": comparison.b,
        "ratio": comparison.ratio,
        "ci95": list(comparison.ci95),
        "verdict": comparison.verdict,
        "accuracy_difference": comparison.accuracy_difference,
        "accuracy_ci95": None if comparison.accuracy_ci95 is None else list(comparison.accuracy_ci95),
    }


def _contender(value: object) -> Contender:
    if "launches" not in mapping("a contender", value):
        raise UsageError("a contender lacks launches: these results were written without raw samples")
    values = record("a contender", _LATER_KEYS | mapping("a contender", value), _CONTENDER_KEYS)
    launches = tuple(_launch(each) for each in items("launches", values["launches"]))
    if not launches:
        raise UsageError("a contender has no launches")
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
        launches=launches,
        accuracy=None if values["accuracy"] is None else _accuracy(values["accuracy"]),
        binary=_flag("binary", values["binary"]),
        int8_peer=None if values["int8_peer"] is None else string("int8_peer", values["int8_peer"]),
    )


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
    values = record("accuracy", value, _ACCURACY_KEYS)
    correct = string("correct", values["correct"])
    if not re.fullmatch("[01]*", correct):
        raise UsageError("correct must be a string of 0 and 1, one a sample")
    return Accuracy(
        metric=string("metric", values["metric"]),
        value=number("accuracy", values["value"]),
        ci95=_interval("accuracy's ci95", values["ci95"]),
        data=string("data", values["data"]),
        samples=integer("samples", values["samples"]),
        correct=tuple(flag == "1" for flag in correct),
    )


def _comparison(value: object, contenders: int) -> Comparison:
    values = record("a comparison", value, _COMPARISON_KEYS)
    a, b = integer("a", values["a"]), integer("b", values["b"])
    if not (0 <= a < contenders and 0 <= b < contenders):
        raise UsageError(f"a comparison is of contenders {a} and {b}; there are {contenders}, counted from 0")
    difference, interval = values["accuracy_difference"], values["accuracy_ci95"]
    return Comparison(
        a=a,
        b=b,
        ratio=number("ratio", values["ratio"]),
        ci95=_interval("a ratio's ci95", values["ci95"]),
        verdict=cast("Verdict", choice("verdict", values["verdict"], get_args(Verdict))),
        accuracy_difference=None if difference is None else number("accuracy_difference", difference),
        accuracy_ci95=None if interval is None else _interval("accuracy_ci95", interval),
    )


def _interval(name: str, value: object) -> tuple[float, float]:
    ends: Sequence[Any] = items(name, value)
    if len(ends) != 2:
        raise UsageError(f"{name} has {len(ends)} values; an interval has 2")
    return number(name, ends[0]), number(name, ends[1])


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {value!r:.80}; it must be true or false")
    return value
