from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edgeml.core.bench_result import BenchResult, Contender
from edgeml.edge_bench.context import ContextDifference, context_differences

MakeContender = Callable[..., Contender]
MakeResult = Callable[..., BenchResult]


def differences(baseline: BenchResult, judged: BenchResult) -> dict[str, tuple[str, str]]:
    pairs = list(zip(baseline.contenders, judged.contenders, strict=True))
    return {each.name: (each.baseline, each.judged) for each in context_differences(baseline, judged, pairs)}


@pytest.fixture
def run(make_contender: MakeContender, make_result: MakeResult) -> BenchResult:
    return make_result([make_contender()])


def test_a_run_shares_its_own_context(run: BenchResult) -> None:
    assert differences(run, run) == {}


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("machine", "aarch64", "machine"),
        ("cpu_model", "Cortex-A76", "processor"),
        ("available_cores", 1, "available cores"),
        ("cgroup_cpu_quota", None, "CPU quota"),
        ("governor", "powersave", "governor"),
        ("virtualized", "KVM", "virtualization"),
        ("system", "Linux 6.12", "system"),
    ],
)
def test_what_differs_in_the_machine_is_named(run: BenchResult, field: str, value: Any, name: str) -> None:
    later = replace(run, host=replace(run.host, **{field: value}))
    before, after = differences(run, later)[name]
    assert after == ("not told" if value is None else str(value))
    assert before != after
    assert len(differences(run, later)) == 1


def test_what_is_no_condition_of_the_latency_may_differ(run: BenchResult) -> None:
    host = replace(
        run.host, time="2027-01-01T00:00:00+00:00", load_average=(1.0, 1.0, 1.0), temperature_c=60.0, memory_bytes=1
    )
    assert differences(run, replace(run, host=host)) == {}


def test_versions_count_where_the_runtime_in_use_has_them(run: BenchResult) -> None:
    versions = (("python", "3.11.7"), ("onnxruntime", "1.32.0"), ("apache-tvm", "0.27.0"), ("scipy", "1.99"))
    later = replace(run, host=replace(run.host, versions=versions))
    assert differences(run, later) == {"onnxruntime": ("1.31.1", "1.32.0")}
    compiled = replace(run, contenders=(replace(run.contenders[0], runtime="tvm"),))
    assert differences(compiled, replace(later, contenders=compiled.contenders)) == {
        "apache-tvm": ("not told", "0.27.0")
    }


def test_settings_of_the_contenders_and_their_data_count(run: BenchResult) -> None:
    contender = run.contenders[0]
    changed = replace(contender, threads=1, batch=8, device="adb://board", runtime="tvm", accuracy=None)
    assert differences(run, replace(run, contenders=(changed,))) == {
        "device": ("local", "adb://board"),
        "runtime": ("onnxruntime", "tvm"),
        "threads": ("2", "1"),
        "batch": ("1", "8"),
        "data": ("360 samples of digits:test", "random values"),
    }


def test_a_difference_is_told_with_both_values() -> None:
    difference = ContextDifference(name="governor", baseline="performance", judged="powersave")
    assert str(difference) == "governor (performance, then powersave)"
