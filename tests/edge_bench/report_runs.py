"""Made-up runs that hold all a report can show: two boards, an emulator, load, profiles, energy, a reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

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
from edgeml.core.host import HostInfo
from edgeml.edge_bench.statistics import compare, verdicts
from edgeml.edge_bench.verdicts.verdict import baseline_index

PEAKS = Peaks(
    gflops_float32=28.4, gops_int8=91.0, gigabytes_per_second=4.1, method="a matrix product and a copy, 4 threads"
)
_PI, _X86, _EMULATED = "ssh://pi@board", "local", "qemu://aarch64"


def launches(median: float, *, seed: int = 0, bimodal: bool = False, samples: int = 150) -> tuple[Launch, ...]:
    """Five launches around a median in milliseconds; bimodal ones gather a quarter of their samples 20% higher."""
    generator = np.random.default_rng(seed)

    def launch() -> Launch:
        centre = median * float(np.exp(generator.normal(0, 0.004)))
        noise = np.exp(np.abs(generator.normal(0, 0.01, samples)))
        slow = generator.random(samples) < (0.25 if bimodal else 0.0)
        latencies = np.round(centre * noise * np.where(slow, 1.2, 1.0), 6)
        return Launch(
            latency_ms=tuple(latencies.tolist()), block=tuple(index // 30 for index in range(samples)), warmup=20,
            stable=True, load_ms=41.0, peak_memory_bytes=82 << 20,
        )  # fmt: skip

    return tuple(launch() for _ in range(5))


def host(
    cpu_model: str = "Cortex-A72", machine: str = "aarch64", *, onnxruntime: str = "1.23.0", governor: str = "ondemand"
) -> HostInfo:
    """A board's conditions."""
    return HostInfo(
        machine=machine, system="Linux 6.6.31", cpu_model=cpu_model, cpu_features=("asimd", "asimddp"), logical_cores=4,
        available_cores=4, cgroup_cpu_quota=None, memory_bytes=4 << 30, governor=governor,
        frequency_mhz=(1500.0, 1800.0), temperature_c=52.4, load_average=(0.4, 0.2, 0.1), virtualized="none",
        versions=(("python", "3.11.9"), ("onnxruntime", onnxruntime)), time="2026-03-04T05:06:07+00:00",
    )  # fmt: skip


def reference(accuracy: float) -> Reference:
    """A host that classifies seven of the samples differently."""
    differences = tuple(
        Difference(
            sample=13 * index + 5, label=index, found=index if index < 2 else 9, expected=9 if index < 2 else index
        )
        for index in range(7)
    )
    return Reference(
        artifact="tinynet-e-fp32.onnx", runtime="onnxruntime", value=accuracy + 0.0013, difference=-0.0013,
        ci95=(-0.0031, 0.0006), differences=differences,
    )  # fmt: skip


def sustained(*, throttles: bool) -> Sustained:
    """Half an hour of load; one that throttles does so after ten minutes and fifteen seconds."""
    generator = np.random.default_rng(7)
    points = []
    for index in range(180):
        time_s = 10.0 * (index + 1)
        hot = throttles and time_s > 615
        median = 12.4 * (1.31 if hot else 1.0) * float(np.exp(generator.normal(0, 0.008)))
        points.append(
            SustainedPoint(
                time_s=time_s, runs=round(10_000 / median), median_ms=round(median, 4),
                p90_ms=round(median * (1.06 + 0.02 * float(generator.random())), 4),
                frequency_mhz=1370.0 if hot else 1800.0,
                temperature_c=round(52 + 30 * (1 - float(np.exp(-time_s / 320))) + float(generator.normal(0, 0.3)), 1),
            )
        )  # fmt: skip
    throttling = Throttling(time_s=615.0, slowdown=1.31, frequency_drop=0.239, temperature_c=79.2, cause="heat")
    return Sustained(seconds=1800.0, points=tuple(points), throttling=throttling if throttles else None)


def profile(*, int8: bool = False) -> Profile:
    """Some forty operators; of the int8 one two are in float."""
    generator = np.random.default_rng(3)
    kind = "QLinearConv" if int8 else "Conv"
    drafts: list[tuple[str, str, str, float, int | None, int | None, str | None]] = []
    for index in range(14):
        pixels = 49 * 4 ** (3 - index // 4)
        wide = pixels * 24 * 96 * (1 + index // 4)
        precision = "uint8" if int8 else "float32"
        size = 1 if int8 else 4
        traffic = (pixels * 120 + 24 * 96) * size
        time = 2 * wide / (1e6 * float(generator.uniform(8, 22) * (2.4 if int8 else 1.0)))
        drafts.append((f"blocks.{index}/conv_pw", kind, precision, time, wide, traffic, None))
        deep = pixels * 96 * 9
        drafts.append(
            (f"blocks.{index}/conv_dw", kind, precision, 2 * deep / (1e6 * 3.1), deep, pixels * 200 * size, None)
        )
    if int8:
        drafts.append(
            ("blocks.3/act/HardSwish", "HardSwish", "float32", 0.34, None, 150_000, "float32 in an int8 model")
        )
        drafts.append(("head/Conv", "Conv", "float32", 0.61, 1_200_000, 240_000, "float32 in an int8 model"))
    drafts.append(("classifier/Gemm", "Gemm", "float32", 0.16, 128_000, 516_000, None))
    drafts.append(("pool/ReduceMean", "ReduceMean", "float32", 0.03, None, 60_000, None))
    total = sum(draft[3] for draft in drafts)
    operators = []
    for name, operator, precision, time, macs, traffic, fallback in drafts:
        gflops = None if macs is None else 2 * macs / (time * 1e6)
        roof = bound = None
        if gflops is not None and macs is not None and traffic is not None:
            peak = (PEAKS.gops_int8 or 0.0) if precision == "uint8" else PEAKS.gflops_float32
            slope = 2 * macs / traffic * PEAKS.gigabytes_per_second
            roof, bound = gflops / min(peak, slope), "compute" if peak < slope else "memory"
        operators.append(
            OperatorTime(
                name=name, operator=operator, kernel="CPUExecutionProvider", precision=precision,
                milliseconds=time, share=time / total, calls=1, macs=macs, bytes_moved=traffic, gflops=gflops,
                share_of_roof=roof, bound=bound, fallback=fallback,
            )
        )  # fmt: skip
    return Profile(
        source="onnxruntime's profiler", runs=50, run_ms=1.08 * total, operators=tuple(operators), peaks=PEAKS
    )


def scenario(name: Literal["single-stream", "offline"] = "single-stream", *, valid: bool = True) -> ScenarioResult:
    """A LoadGen run."""
    offline = name == "offline"
    return ScenarioResult(
        scenario=name, valid=valid,
        reasons=() if valid else ("Min duration satisfied : NO", "Increase the expected QPS"),
        metric="Samples per second" if offline else "90th percentile latency (ns)",
        value=81.3 if offline else 13_210_000.0,
        queries=1 if offline else 4861, samples_per_second=81.3,
        latency_ms={} if offline else {"p50": 12.31, "p90": 13.21, "p95": 13.6, "p99": 14.8, "mean": 12.5},
        early_stopping=None if offline else 13.34, settings={"min_duration_s": 60.0}, version="6.0.0",
    )  # fmt: skip


def energy(joules: float) -> Energy:
    """Energy by a sensor on the board."""
    return Energy(
        source="INA3221 VDD_IN", joules_per_run=joules, ci95=(0.97 * joules, 1.03 * joules),
        net_joules_per_run=0.58 * joules, idle_watts=2.31, seconds=30.0,
    )  # fmt: skip


def contender(
    precision: str, median: float | None, accuracy: float | None, *, device: str = _PI, model: str = "tinynet-e",
    runtime: str = "onnxruntime", seed: int = 0, bimodal: bool = False,
) -> Contender:  # fmt: skip
    """A contender; without a median it was not timed."""
    measured = None
    if accuracy is not None:
        measured = Accuracy(
            metric="top-1", value=accuracy, ci95=(accuracy - 0.006, accuracy + 0.006), data="fashion-mnist:test",
            samples=2000,
        )  # fmt: skip
    size = {"fp32": 8_200_000, "fp16": 4_100_000, "int8": 2_200_000}[precision]
    return Contender(
        artifact=f"{model}-{precision}{'.so' if runtime == 'tvm' else '.onnx'}", model=model, precision=precision,
        runtime=runtime, device=device, threads=4, batch=1, size_bytes=size, sha256=f"{seed:064d}",
        launches=() if median is None else launches(median, seed=seed, bimodal=bimodal), accuracy=measured,
    )  # fmt: skip


def run(
    contenders: list[Contender], info: HostInfo, *, readings: int = 0, warnings: tuple[str, ...] = ()
) -> BenchResult:
    """A run of these; those that were timed are compared with their baseline."""
    pairs = [
        (a, b)
        for a in range(len(contenders))
        if (b := baseline_index(contenders, a)) != a and contenders[a].launches and contenders[b].launches
    ]
    ratios = [compare(contenders[a].launches, contenders[b].launches) for a, b in pairs]
    comparisons = []
    for (a, b), ratio, verdict in zip(pairs, ratios, verdicts(ratios), strict=True):
        ours, theirs = contenders[a].accuracy, contenders[b].accuracy
        both = ours is not None and theirs is not None
        difference = ours.value - theirs.value if ours is not None and theirs is not None else None
        comparisons.append(
            Comparison(
                a=a, b=b, ratio=ratio.value, ci95=ratio.ci95, verdict=verdict, accuracy_difference=difference,
                accuracy_ci95=((difference or 0.0) - 0.003, (difference or 0.0) + 0.003) if both else None,
            )
        )  # fmt: skip
    return BenchResult(
        contenders=tuple(contenders), comparisons=tuple(comparisons), host=info, warnings=warnings,
        readings=tuple(
            Reading(time_s=2.5 * index, frequency_mhz=1500.0 + 100 * (index % 4), temperature_c=48.0 + 0.3 * index)
            for index in range(readings)
        ),
    )  # fmt: skip


def full_run() -> BenchResult:
    """One board with all that can be measured of a contender."""
    fp32 = contender("fp32", 12.4, 0.9140, seed=1)
    int8 = contender("int8", 6.1, 0.9115, seed=2, bimodal=True)
    assert fp32.accuracy is not None
    assert int8.accuracy is not None
    fp32 = replace(
        fp32, accuracy=replace(fp32.accuracy, reference=reference(0.9140)), sustained=sustained(throttles=True),
        profile=profile(), scenario=scenario(), energy=energy(0.0614),
    )  # fmt: skip
    int8 = replace(
        int8, accuracy=replace(int8.accuracy, reference=reference(0.9115)), sustained=sustained(throttles=False),
        profile=profile(int8=True), scenario=scenario("offline", valid=False), energy=energy(0.0281),
    )  # fmt: skip
    tvm = contender("int8", 4.9, 0.9118, runtime="tvm", seed=3)
    warnings = ("int8, onnxruntime: bimodal: latency gathers at 6.15 ms and at 7.38 ms",)
    return run([fp32, contender("fp16", 12.9, 0.9139, seed=4), int8, tvm], host(), readings=40, warnings=warnings)


def many_devices() -> list[BenchResult]:
    """Two models in two precisions on two machines."""
    board = [
        contender(precision, median, accuracy, model=model, seed=seed)
        for seed, (model, precision, median, accuracy) in enumerate(
            (("tinynet-e", "fp32", 12.4, 0.914), ("tinynet-e", "int8", 6.1, 0.911),
             ("resnet18", "fp32", 61.0, 0.931), ("resnet18", "int8", 24.0, 0.928))
        )
    ]  # fmt: skip
    board.append(contender("int8", 4.7, 0.9112, runtime="tvm", seed=9))
    desk = [
        contender(precision, median, accuracy, model=model, seed=20 + seed, device=_X86)
        for seed, (model, precision, median, accuracy) in enumerate(
            (("tinynet-e", "fp32", 1.9, 0.914), ("tinynet-e", "int8", 1.1, 0.9112),
             ("resnet18", "fp32", 8.2, 0.931), ("resnet18", "int8", 4.4, 0.9282))
        )
    ]  # fmt: skip
    desk_host = host("Example CPU at 3 GHz", "x86_64", onnxruntime="1.23.1", governor="performance")
    return [run(board, host(), readings=20), run(desk, desk_host)]


def emulated_run() -> BenchResult:
    """An emulator: accuracy against the host, and no latency."""
    emulated = contender("int8", None, 0.9115, device=_EMULATED)
    assert emulated.accuracy is not None
    emulated = replace(emulated, accuracy=replace(emulated.accuracy, reference=reference(0.9115)))
    warning = "qemu://aarch64 is emulated: its latencies mean nothing and were not measured"
    return run([emulated], host(), warnings=(warning,))
