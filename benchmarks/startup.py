"""How long `edgeml --help` takes: python benchmarks/startup.py

The goal is 0.25 s. Every run is a new process, timed from its start to its end; the first few, which fill the file
cache, are dropped.
"""

import argparse
import statistics
import subprocess
import sys
import time

from record import record

from edgeml.edge_bench.conditions.environment import host_info

LIMIT_S = 0.25


def main() -> None:
    """Measure, record, and fail above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    arguments = parser.parse_args()
    host = host_info()
    command = [sys.executable, "-m", "edgeml.cli.main", "--help"]
    seconds = []
    for _ in range(arguments.runs + 3):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    kept = seconds[3:]
    median = statistics.median(kept)
    record(host, {"median_s": median, "max_s": max(kept), "limit_s": LIMIT_S, "runs": len(kept)})
    sys.exit(median > LIMIT_S)


if __name__ == "__main__":
    main()
