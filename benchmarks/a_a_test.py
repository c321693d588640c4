"""How often `edgeml bench` tells a file from itself: python benchmarks/a_a_test.py

One model is measured against itself with the default settings, again and again. No difference is there, so every
"faster" or "slower" is false; at most 5% of the runs may say so. Takes about ten seconds a run.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from conv_net import write_conv_net
from record import record
from scipy import stats

from edgeml.core.device import Device
from edgeml.edge_bench.bench import bench
from edgeml.edge_bench.environment import host_info
from edgeml.edge_bench.measure import BenchSettings
from edgeml.runtime.onnx_file import open_artifact

LIMIT = 0.05


def main() -> None:
    """Measure, record, and fail above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="ONNX file; a small convolutional network by default")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=BenchSettings().seconds)
    parser.add_argument("--launches", type=int, default=BenchSettings().launches)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    host, start = host_info(), time.perf_counter()
    comparisons, noisy = [], 0
    with tempfile.TemporaryDirectory() as directory:
        model = arguments.model or write_conv_net(Path(directory) / "conv_net.onnx")
        artifact = open_artifact(model)
        for run in range(arguments.runs):
            result = bench(
                [artifact, artifact],
                device=Device("local"),
                threads=None if arguments.threads is None else [arguments.threads],
                settings=BenchSettings(seconds=arguments.seconds, launches=arguments.launches, seed=run),
            )
            comparisons.append(result.comparisons[0])
            noisy += any(warning.partition(":")[0] in {"noisy", "throttled"} for warning in result.warnings)
            found = comparisons[-1]
            print(
                f"{run + 1}: {found.ratio:.4f} [{found.ci95[0]:.4f}, {found.ci95[1]:.4f}] {found.verdict}", flush=True
            )
    claims = sum(found.verdict != "no difference shown" for found in comparisons)
    excluding = sum(not found.ci95[0] <= 1 <= found.ci95[1] for found in comparisons)
    interval = stats.binomtest(claims, len(comparisons)).proportion_ci(method="wilson")
    widths = sorted(found.ci95[1] / found.ci95[0] - 1 for found in comparisons)
    record(
        host,
        {
            "runs": len(comparisons),
            "claimed_differences": claims,
            "claimed_share": claims / len(comparisons),
            "claimed_share_ci95": [interval.low, interval.high],
            "intervals_excluding_1": excluding,
            "median_interval_width": widths[len(widths) // 2],
            "largest_ratio": max(max(found.ratio, 1 / found.ratio) for found in comparisons),
            "runs_disturbed_from_outside": noisy,
            "seconds_a_run": (time.perf_counter() - start) / len(comparisons),
            "limit": LIMIT,
        },
    )
    sys.exit(claims > LIMIT * len(comparisons))


if __name__ == "__main__":
    main()
