"""Benchmark results as JSON: the figures for whoever reads the file, the raw samples for reports made from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from edgeml.core.atomic import atomic_write_text
from edgeml.core.bench_result import BenchResult, Comparison, Contender, Reading, Verdict
from edgeml.core.errors import UsageError
from edgeml.core.host import HostInfo
from edgeml.core.json_values import choice, integer, items, mapping, number, record, string
from edgeml.edge_bench.contender_json import contender_from_json, contender_to_json, interval
from edgeml.edge_bench.dataclass_json import plain, restored
from edgeml.edge_bench.verdicts.pay_off import pay_offs

SCHEMA_VERSION = 1
FILE_LIMIT_BYTES = 256 << 20

_RESULT_KEYS = ("schema_version", "contenders", "comparisons", "pay_off", "host", "warnings", "readings")
_RUNS_KEYS = ("schema_version", "runs")
_COMPARISON_KEYS = ("a", "b", "ratio", "ci95", "verdict", "accuracy_difference", "accuracy_ci95")
# Keys that some results lack: derived ones, and those that earlier releases did not write.
_LATER_KEYS: dict[str, Any] = {"pay_off": [], "readings": []}


def to_json(result: BenchResult, raw: bool = True) -> dict[str, Any]:
    """Plain values for JSON, as docs/schemas/bench.schema.json describes them.

    Args:
        result: the run.
        raw: whether to add every sample ("launches") and which samples were classified right ("correct"), without which
            `from_json` cannot read the values back.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "contenders": [contender_to_json(contender, raw=raw) for contender in result.contenders],
        "comparisons": [_comparison_json(comparison) for comparison in result.comparisons],
        "pay_off": [pay_off.to_json() for pay_off in pay_offs(result)],
        "host": json.loads(json.dumps(result.host.to_json())),  # tuples become lists
        "warnings": list(result.warnings),
        "readings": [plain(reading) for reading in result.readings],
    }


def runs_to_json(results: Sequence[BenchResult], raw: bool = True) -> dict[str, Any]:
    """Plain values for JSON of runs on several devices, under "runs"."""
    return {"schema_version": SCHEMA_VERSION, "runs": [to_json(result, raw) for result in results]}


def from_json(value: object) -> BenchResult:
    """Inverse of `to_json` with raw samples; the derived figures in it are not read but derived again.

    Raises:
        UsageError: the values are not those of benchmark results this version reads.
    """
    _check_version(value)
    values = record("the results", _LATER_KEYS | mapping("the results", value), _RESULT_KEYS)
    contenders = tuple(contender_from_json(each) for each in items("contenders", values["contenders"]))
    return BenchResult(
        contenders=contenders,
        comparisons=tuple(_comparison(each, contenders) for each in items("comparisons", values["comparisons"])),
        host=HostInfo.from_json(values["host"]),
        warnings=tuple(string("a warning", each) for each in items("warnings", values["warnings"])),
        readings=tuple(restored("a reading", each, Reading) for each in items("readings", values["readings"])),
    )


def runs_from_json(value: object) -> tuple[BenchResult, ...]:
    """Inverse of `runs_to_json` with raw samples; takes the values of a single run as well.

    Raises:
        UsageError: the values are not those of benchmark results this version reads.
    """
    if "runs" not in mapping("the results", value):
        return (from_json(value),)
    _check_version(value)
    values = record("the results", value, _RUNS_KEYS)
    if not (runs := items("runs", values["runs"])):
        raise UsageError("the results hold no runs")
    return tuple(from_json(each) for each in runs)


def write_results(result: BenchResult, path: Path) -> None:
    """Write the results with their raw samples, whole or not at all."""
    atomic_write_text(path, json.dumps(to_json(result), allow_nan=False) + "\n")


def write_runs(results: Sequence[BenchResult], path: Path) -> None:
    """Write runs on several devices with their raw samples, whole or not at all."""
    atomic_write_text(path, json.dumps(runs_to_json(results), allow_nan=False) + "\n")


def read_results(path: Path) -> BenchResult:
    """The one run in a file that `write_results` or `edgeml bench --json` wrote.

    Raises:
        UsageError: the file cannot be read, is too large, or holds something else.
    """
    runs = read_runs(path)
    if len(runs) > 1:
        raise UsageError(f"{path} holds {len(runs)} runs; a file of one run is needed here")
    return runs[0]


def read_runs(path: Path) -> tuple[BenchResult, ...]:
    """The runs in a file that `write_runs` or `edgeml bench --json` wrote: one, or one a device.

    Raises:
        UsageError: the file cannot be read, is too large, or holds something else.
    """
    value = load_json(path)
    try:
        return runs_from_json(value)
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


def _check_version(value: object) -> None:
    version = mapping("the results", value).get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(f"the results' schema_version is {version!r:.80}; this edgeml reads {SCHEMA_VERSION}")


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


def _comparison(value: object, contenders: Sequence[Contender]) -> Comparison:
    values = record("a comparison", value, _COMPARISON_KEYS)
    a, b = integer("a", values["a"]), integer("b", values["b"])
    if not (0 <= a < len(contenders) and 0 <= b < len(contenders)):
        raise UsageError(f"a comparison is of contenders {a} and {b}; there are {len(contenders)}, counted from 0")
    if not (contenders[a].launches and contenders[b].launches):
        raise UsageError(f"a comparison is of contenders {a} and {b}, and one of them has no launches")
    difference, ends = values["accuracy_difference"], values["accuracy_ci95"]
    return Comparison(
        a=a,
        b=b,
        ratio=number("ratio", values["ratio"]),
        ci95=interval("a ratio's ci95", values["ci95"]),
        verdict=cast("Verdict", choice("verdict", values["verdict"], get_args(Verdict))),
        accuracy_difference=None if difference is None else number("accuracy_difference", difference),
        accuracy_ci95=None if ends is None else interval("accuracy_ci95", ends),
    )
