"""Made-up benchmark runs whose figures are known, for tests of verdicts and reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from edgeml.core.bench_result import Accuracy, BenchResult, Comparison, Contender, Launch
from edgeml.core.host import HostInfo
from edgeml.edge_bench.statistics import compare
from edgeml.edge_bench.statistics import verdicts as ratio_verdicts
from edgeml.edge_bench.verdicts.verdict import baseline_index
from edgeml.edge_bench.video.results import VideoResult
from tests.edge_bench.video_run import video_result

MakeContender = Callable[..., Contender]
MakeResult = Callable[..., BenchResult]


@pytest.fixture
def make_contender() -> MakeContender:
    """Makes a contender with this median latency in milliseconds and this accuracy (a share)."""
    generator = np.random.default_rng(0)

    def make(
        precision: str = "fp32",
        median: float = 2.0,
        accuracy: float | None = 0.9,
        *,
        model: str = "tinynet-e",
        threads: int = 2,
        size_bytes: int = 1_000_000,
        artifact: str | None = None,
        launches: int = 5,
        samples: int = 150,
        stable: bool = True,
    ) -> Contender:
        def launch() -> Launch:
            centre = median * float(np.exp(generator.normal(0, 0.005)))
            latencies = np.round(centre * np.exp(np.abs(generator.normal(0, 0.03, samples))), 6)
            return Launch(
                latency_ms=tuple(latencies.tolist()),
                block=tuple(index // 10 for index in range(samples)),
                warmup=20,
                stable=stable,
                load_ms=40.0,
                peak_memory_bytes=80 << 20,
            )

        measured = None
        if accuracy is not None:
            interval = (max(0.0, accuracy - 0.005), min(1.0, accuracy + 0.005))
            measured = Accuracy(metric="top-1", value=accuracy, ci95=interval, data="digits:test", samples=360)
        return Contender(
            artifact=artifact or f"{model}-{precision}.onnx",
            model=model,
            precision=precision,
            runtime="onnxruntime",
            device="local",
            threads=threads,
            batch=1,
            size_bytes=size_bytes,
            sha256="0" * 64,
            launches=tuple(launch() for _ in range(launches)),
            accuracy=measured,
        )

    return make


@pytest.fixture
def make_result() -> MakeResult:
    """Makes a run of contenders; comparisons are computed from their samples unless they are given."""

    def make(
        contenders: Sequence[Contender],
        comparisons: Sequence[Comparison] | None = None,
        *,
        warnings: Sequence[str] = (),
        cpu_model: str = "Example CPU",
    ) -> BenchResult:
        if comparisons is None:
            pairs = [(a, b) for a in range(len(contenders)) if (b := baseline_index(contenders, a)) != a]
            ratios = [compare(contenders[a].launches, contenders[b].launches) for a, b in pairs]
            comparisons = [
                Comparison(a=a, b=b, ratio=ratio.value, ci95=ratio.ci95, verdict=verdict)
                for (a, b), ratio, verdict in zip(pairs, ratios, ratio_verdicts(ratios), strict=True)
            ]
        host = HostInfo(
            machine="x86_64",
            system="Linux 6.1",
            cpu_model=cpu_model,
            cpu_features=("avx2",),
            logical_cores=4,
            available_cores=2,
            cgroup_cpu_quota=2.0,
            memory_bytes=8 << 30,
            governor=None,
            frequency_mhz=(),
            temperature_c=None,
            load_average=None,
            virtualized=None,
            versions=(("python", "3.11.7"), ("onnxruntime", "1.31.1")),
            time="2026-01-02T03:04:05+00:00",
        )
        return BenchResult(
            contenders=tuple(contenders), comparisons=tuple(comparisons), host=host, warnings=tuple(warnings)
        )

    return make


@pytest.fixture
def clip_result(make_result: MakeResult, make_contender: MakeContender) -> VideoResult:
    """A made-up run on a clip."""
    return video_result(make_result([make_contender()]).host)
