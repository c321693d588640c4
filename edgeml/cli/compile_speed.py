"""Measures a fresh library against onnxruntime on the file it was compiled from, for `edgeml compile` to tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeml.core.artifact import Artifact
from edgeml.core.bench_result import Verdict

if TYPE_CHECKING:
    from edgeml.compiler.process.compiler_process import Progress

_SECONDS = 2.0
_LAUNCHES = 3


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How the library's time compares with onnxruntime's.

    Attributes:
        time_ratio: latency of the library over that of onnxruntime (below 1: the library is faster), of medians.
        ci95: 95% interval of `time_ratio`.
        verdict: "faster" or "slower" than onnxruntime only where the interval excludes 1.
        threads: threads of both.
        batch: samples in one run of both.
        warnings: what makes the figures hard to trust.
    """

    time_ratio: float
    ci95: tuple[float, float]
    verdict: Verdict
    threads: int
    batch: int
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        words = {"faster": "faster than", "slower": "SLOWER than", "no difference shown": "no difference shown from"}
        low, high = self.ci95
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return (
            f"{words[self.verdict]} onnxruntime: {self.time_ratio:.2f}x its time [{low:.2f}, {high:.2f}], "
            f"{threads}, batch {self.batch}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure_speed(source: Path, library: Artifact, *, threads: int | None, progress: Progress) -> Speed:
    """The library against onnxruntime on this machine, in processes of their own, samples taken in turn.

    Raises:
        EdgeMLError: one of the two could not be run.
    """
    from edgeml.core.device import Device
    from edgeml.edge_bench.bench import bench
    from edgeml.edge_bench.measure import BenchSettings
    from edgeml.runtime.onnx_file import open_artifact

    result = bench(
        [open_artifact(source), library],
        device=Device("local"),
        threads=None if threads is None else [threads],
        settings=BenchSettings(seconds=_SECONDS, launches=_LAUNCHES),
        progress=lambda _task, share: progress(f"measuring against onnxruntime, {share:.0%}"),
    )
    comparison = next(entry for entry in result.comparisons if entry.a == 1)
    low, high = comparison.ci95
    return Speed(
        time_ratio=1 / comparison.ratio,
        ci95=(1 / high, 1 / low),
        verdict=comparison.verdict,
        threads=result.contenders[1].threads,
        batch=result.contenders[1].batch,
        warnings=result.warnings,
    )
