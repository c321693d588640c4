import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgeml.core.bench_profile import Energy, OperatorTime, Peaks, Profile
from edgeml.core.bench_result import (
    Accuracy,
    BenchResult,
    Comparison,
    Contender,
    Difference,
    Launch,
    Reading,
    Reference,
)
from edgeml.core.bench_scenario import ScenarioResult
from edgeml.core.bench_sustained import Sustained, SustainedPoint, Throttling
from edgeml.core.errors import UsageError
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.edge_bench.results import from_json, read_results, read_runs, to_json, write_results, write_runs

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/bench.schema.json").read_text(encoding="utf-8"))


def launch(offset: float) -> Launch:
    latencies = tuple(1.0 + offset + index / 1000 for index in range(20))
    return Launch(
        latency_ms=latencies,
        block=(0,) * 10 + (1,) * 10,
        warmup=5,
        stable=True,
        load_ms=3.25,
        peak_memory_bytes=1 << 26,
    )


def contender(name: str, accuracy: Accuracy | None) -> Contender:
    return Contender(
        artifact=f"{name}.onnx",
        model="tinynet-e",
        precision="int8",
        runtime="onnxruntime",
        device="local",
        threads=2,
        batch=1,
        size_bytes=1000,
        sha256="ab" * 32,
        launches=tuple(launch(index / 100) for index in range(4)),
        accuracy=accuracy,
    )


ACCURACY = Accuracy(
    metric="top-1", value=2 / 3, ci95=(0.2, 0.9), data="toy:test", samples=3, correct=(True, False, True)
)
RESULT = BenchResult(
    contenders=(contender("a", ACCURACY), contender("b", None)),
    comparisons=(
        Comparison(a=1, b=0, ratio=1.1, ci95=(1.0, 1.2), verdict="no difference shown"),
        Comparison(
            a=0,
            b=1,
            ratio=2.5,
            ci95=(2.0, 3.0),
            verdict="faster",
            accuracy_difference=-0.001,
            accuracy_ci95=(-0.01, 0.008),
        ),
    ),
    host=host_info(),
    warnings=("noisy: other programs took 30% of a core during the run",),
)

FULL = replace(
    RESULT,
    contenders=(
        replace(
            RESULT.contenders[0],
            device="ssh://pi@board",
            accuracy=replace(
                ACCURACY,
                reference=Reference(
                    artifact="a.onnx",
                    runtime="onnxruntime",
                    value=1.0,
                    difference=-1 / 3,
                    ci95=(-0.8, 0.2),
                    differences=(Difference(sample=1, label=4, found=-1, expected=4),),
                ),
            ),
            scenario=ScenarioResult(
                scenario="server",
                valid=False,
                reasons=("too few queries",),
                metric="Scheduled samples per second",
                value=99.5,
                queries=12,
                samples_per_second=99.0,
                latency_ms={"p50": 1.0, "p99.9": 3.5, "mean": 1.1},
                early_stopping=None,
                settings={"target_qps": 100.0},
                version="6.0",
            ),
            sustained=Sustained(
                seconds=20.0,
                points=(
                    SustainedPoint(
                        time_s=10.0, runs=9, median_ms=1.0, p90_ms=None, frequency_mhz=1500.0, temperature_c=None
                    ),
                    SustainedPoint(
                        time_s=20.0, runs=90, median_ms=1.5, p90_ms=1.75, frequency_mhz=1000.0, temperature_c=81.0
                    ),
                ),
                throttling=Throttling(
                    time_s=10.0, slowdown=1.5, frequency_drop=1 / 3, temperature_c=None, cause="heat"
                ),
            ),
            profile=Profile(
                source="onnxruntime's profiler",
                runs=20,
                run_ms=1.25,
                operators=(
                    OperatorTime(
                        name="conv0",
                        operator="Conv",
                        kernel="CPUExecutionProvider",
                        precision="float32",
                        milliseconds=1.0,
                        share=1.0,
                        calls=1,
                        macs=1_000_000,
                        bytes_moved=4096,
                        gflops=2.0,
                        share_of_roof=0.5,
                        bound="compute",
                    ),
                ),
                peaks=Peaks(gflops_float32=4.0, gops_int8=None, gigabytes_per_second=3.0, method="a matrix product"),
            ),
            energy=Energy(
                source="RAPL package-0",
                joules_per_run=0.01,
                ci95=(0.009, 0.011),
                net_joules_per_run=0.005,
                idle_watts=3.0,
                seconds=10.0,
            ),
        ),
        replace(RESULT.contenders[1], launches=()),
    ),
    comparisons=(),
    readings=(
        Reading(time_s=0.5, frequency_mhz=None, temperature_c=None),
        Reading(time_s=1.5, frequency_mhz=1500.0, temperature_c=60.5),
    ),
)


def test_what_a_device_tells_comes_back_and_is_of_the_published_schema(tmp_path: Path) -> None:
    value = to_json(FULL)
    jsonschema.validate(value, SCHEMA)
    assert from_json(value) == FULL
    assert value["contenders"][1]["latency_ms"] is None
    assert value["contenders"][1]["load_ms"] is None
    assert value["contenders"][0]["latency_ms"]["p99_needs"] == 662
    assert value["contenders"][0]["latency_ms"]["p90_needs"] is None
    write_runs([FULL, RESULT], tmp_path / "runs.json")
    jsonschema.validate(json.loads((tmp_path / "runs.json").read_text()), SCHEMA)
    assert read_runs(tmp_path / "runs.json") == (FULL, RESULT)
    with pytest.raises(UsageError, match="holds 2 runs"):
        read_results(tmp_path / "runs.json")
    write_results(FULL, tmp_path / "run.json")
    assert read_runs(tmp_path / "run.json") == (FULL,)
    assert read_results(tmp_path / "run.json") == FULL


def test_results_of_an_earlier_release_are_read() -> None:
    value = to_json(RESULT)
    del value["readings"], value["pay_off"]
    for each in value["contenders"]:
        for key in ("scenario", "sustained", "profile", "energy", "binary", "int8_peer"):
            del each[key]
    del value["contenders"][0]["accuracy"]["reference"]
    assert from_json(value) == RESULT


def test_results_come_back_as_they_went(tmp_path: Path) -> None:
    assert from_json(to_json(RESULT)) == RESULT
    assert from_json(json.loads(json.dumps(to_json(RESULT)))) == RESULT
    write_results(RESULT, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == RESULT


@pytest.mark.parametrize("raw", [True, False])
def test_the_json_is_what_the_published_schema_says(raw: bool) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(to_json(RESULT, raw=raw), SCHEMA)


def test_the_figures_readers_rely_on_are_there() -> None:
    value = to_json(RESULT, raw=False)
    assert list(value) == [
        "schema_version",
        "contenders",
        "comparisons",
        "pay_off",
        "host",
        "warnings",
        "readings",
    ]
    first = value["contenders"][0]
    assert {
        "artifact",
        "model",
        "precision",
        "runtime",
        "device",
        "threads",
        "latency_ms",
        "accuracy",
        "size_bytes",
        "load_ms",
        "peak_memory_bytes",
    } <= first.keys()
    assert first["latency_ms"]["samples"] == 80
    assert first["latency_ms"]["p90"] is not None
    assert first["latency_ms"]["p99"] is None
    assert first["load_ms"] == 3.25
    assert "launches" not in first


def test_results_without_raw_samples_cannot_be_read_back() -> None:
    with pytest.raises(UsageError, match="without raw samples"):
        from_json(to_json(RESULT, raw=False))


def _set(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(value: Any) -> None:
        for key in keys[:-1]:
            value = value[key]
        value[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("schema_version", to=99), "schema_version is 99; this edgeml reads 1"),
        (_set("extra", to=1), "unknown key 'extra'"),
        (_set("contenders", to={}), "contenders"),
        (_set("contenders", 0, "launches", to=[]), "one of them has no launches"),
        (_set("contenders", 0, "launches", 0, "latency_ms", 0, to=-1.0), "positive latencies"),
        (_set("contenders", 0, "launches", 0, "block", to=[0]), "one block index for each"),
        (_set("contenders", 0, "launches", 0, "stable", to=1), "true or false"),
        (_set("contenders", 0, "accuracy", "correct", to="10x"), "string of 0 and 1"),
        (_set("contenders", 0, "threads", to="2"), "threads"),
        (_set("comparisons", 0, "a", to=7), "contenders 7 and 0; there are 2"),
        (_set("comparisons", 0, "verdict", to="better"), "verdict"),
        (_set("comparisons", 0, "ci95", to=[1.0]), "an interval has 2"),
        (_set("host", to=None), "host"),
    ],
)
def test_results_of_another_form_are_refused(change: Callable[[dict[str, Any]], None], message: str) -> None:
    value = copy.deepcopy(to_json(RESULT))
    change(value)
    with pytest.raises(UsageError, match=message):
        from_json(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("readings", to=[{"time_s": 1.0}]), "a reading is not of the form"),
        (_set("readings", 0, "time_s", to=float("nan")), "a reading is not of the form"),
        (_set("contenders", 0, "scenario", "scenario", to="rush hour"), "scenario is not of the form"),
        (_set("contenders", 0, "profile", "operators", 0, "flops", to=1), "unknown key 'flops'"),
        (_set("contenders", 0, "energy", "seconds", to="long"), "energy is not of the form"),
        (_set("contenders", 0, "accuracy", "reference", "differences", 0, "sample", to=0.5), "reference is not"),
        (_set("contenders", 0, "sustained", "points", to={}), "sustained is not"),
    ],
)
def test_what_a_device_tells_in_another_form_is_refused(change: Callable[[dict[str, Any]], None], message: str) -> None:
    value = copy.deepcopy(to_json(FULL))
    change(value)
    with pytest.raises(UsageError, match=message):
        from_json(value)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"schema_version": 1}'])
def test_a_file_of_something_else_gives_one_line_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"results\.json"):
        read_results(path)
    with pytest.raises(UsageError, match=r"none\.json"):
        read_results(tmp_path / "none.json")


def test_a_result_without_accuracy_flags_survives() -> None:
    bare = replace(RESULT, contenders=(contender("a", replace(ACCURACY, correct=())), contender("b", None)))
    assert from_json(to_json(bare)) == bare
