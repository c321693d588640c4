"""Measures a file that a command has just made against the one it was made from, for the command to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeml.core.artifact import Artifact
    from edgeml.core.bench_result import Verdict

_SECONDS = 2.0
_LAUNCHES = 3


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How the latency of one file compares with that of another.

    Attributes:
        milliseconds: median latency of the file.
        other_milliseconds: median latency of the other one.
        time_ratio: the first over the second (below 1: the file is faster than the other).
        ci95: 95% interval of `time_ratio`.
        verdict: "faster" or "slower" than the other only where the interval excludes 1.
        threads: threads of both.
        batch: samples in one run of both.
        warnings: what makes the figures hard to trust.
    """

    milliseconds: float
    other_milliseconds: float
    time_ratio: float
    ci95: tuple[float, float]
    verdict: Verdict
    threads: int
    batch: int
    warnings: tuple[str, ...]

    def than(self, other: str) -> str:
        """The comparison in words, `other` being the other file's name."""
        words = {"faster": "faster than", "slower": "SLOWER than", "no difference shown": "no difference shown from"}
        low, high = self.ci95
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return (
            f"{words[self.verdict]} {other}: {self.time_ratio:.2f}x its time [{low:.2f}, {high:.2f}], "
            f"{threads}, batch {self.batch}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure_speed(file: Artifact, other: Artifact, *, threads: int | None, progress: Callable[[str], None]) -> Speed:
    """`file` against `other` on this machine, in processes of their own, samples taken in turn.

    Raises:
        EdgeMLError: one of the two could not be run.
    """
    from edgeml.core.device import Device
    from edgeml.edge_bench.bench import bench
    from edgeml.edge_bench.measure import BenchSettings
    from edgeml.edge_bench.statistics import median

    result = bench(
        [other, file],
        device=Device("local"),
        threads=None if threads is None else [threads],
        settings=BenchSettings(seconds=_SECONDS, launches=_LAUNCHES),
        progress=lambda _task, share: progress(f"measuring, {share:.0%}"),
    )
    comparison = next(entry for entry in result.comparisons if entry.a == 1)
    low, high = comparison.ci95
    return Speed(
        milliseconds=median(result.contenders[1].launches).value,
        other_milliseconds=median(result.contenders[0].launches).value,
        time_ratio=1 / comparison.ratio,
        ci95=(1 / high, 1 / low),
        verdict=comparison.verdict,
        threads=result.contenders[1].threads,
        batch=result.contenders[1].batch,
        warnings=result.warnings,
    )
