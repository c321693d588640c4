"""How often `edgeml bench` tells a file from itself: python benchmarks/a_a_test.py

One model is measured against itself with the default settings, again and again. No difference is there, so every
"faster" or "slower" is false; at most 5% of the runs may say so. Each run is also compared with the one before, as
`edgeml compare` does it: what differs between runs but not within one makes such claims more frequent. The noise found
is fitted (launch_noise.py), for the simulations of calibration.py. Takes about ten seconds a run.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
from conv_net import write_conv_net
from launch_noise import fit
from record import record
from scipy import stats

from edgeml.core.device import Device
from edgeml.edge_bench.bench import bench
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.edge_bench.measure import BenchSettings
from edgeml.edge_bench.statistics import verdicts
from edgeml.edge_bench.statistics_apart import compare_apart
from edgeml.runtime.onnx_file import open_artifact

LIMIT = 0.05


def main() -> None:
    """Measure, record, and fail above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="ONNX file; a small convolutional network by default")
    parser.add_argument("--runs", type=int, default=40, help="at least 2")
    parser.add_argument("--seconds", type=float, default=BenchSettings().seconds)
    parser.add_argument("--launches", type=int, default=BenchSettings().launches)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    host, start = host_info(), time.perf_counter()
    comparisons, runs, noisy = [], [], 0
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
            runs.append((result.contenders[0], result.contenders[1]))
            noisy += any(warning.partition(":")[0] in {"noisy", "throttled"} for warning in result.warnings)
            found = comparisons[-1]
            print(
                f"{run + 1}: {found.ratio:.4f} [{found.ci95[0]:.4f}, {found.ci95[1]:.4f}] {found.verdict}", flush=True
            )
    claims = sum(found.verdict != "no difference shown" for found in comparisons)
    excluding = sum(not found.ci95[0] <= 1 <= found.ci95[1] for found in comparisons)
    interval = stats.binomtest(claims, len(comparisons)).proportion_ci(method="wilson")
    between = [compare_apart([later[0].launches], [earlier[0].launches]) for earlier, later in pairwise(runs)]
    claims_between = sum(verdicts([ratio]) != ("no difference shown",) for ratio in between)
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
            "comparisons_of_successive_runs": len(between),
            "claimed_between_runs": claims_between,
            "largest_ratio_between_runs": max(max(ratio.value, 1 / ratio.value) for ratio in between),
            "samples_a_launch": int(np.median([len(each.latency_ms) for run in runs for each in run[0].launches])),
            "noise": asdict(fit(runs)),
            "runs_disturbed_from_outside": noisy,
            "seconds_a_run": (time.perf_counter() - start) / len(comparisons),
            "limit": LIMIT,
        },
    )
    sys.exit(claims > LIMIT * len(comparisons))


if __name__ == "__main__":
    main()
