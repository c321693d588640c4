"""Whether edgeml's latencies are those others measure: python benchmarks/cross_check.py

Two comparisons, each of medians, taken in turns so that both sides meet the same machine; the limit is 5%.

1. `edgeml bench` against a loop around onnxruntime written here in full, in a process of its own with the same thread
   count: is anything added by edgeml's worker?
2. OpenVINO's benchmark_app (synchronous, one stream, the same thread count, latency of one request) against edgeml's
   worker loop around the same OpenVINO model: does one runtime give the same latency under both clocks? onnxruntime and
   OpenVINO are different runtimes, so their latencies are not compared with each other. Needs: pip install openvino
"""

import argparse
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from conv_net import write_conv_net
from record import record
from scipy import stats

from edgeml.core.device import Device
from edgeml.edge_bench.bench import bench
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.edge_bench.measure import BenchSettings
from edgeml.edge_bench.statistics import summarize
from edgeml.runtime.onnx_file import open_artifact

LIMIT = 0.05

# Written without edgeml on purpose.
ONNXRUNTIME_LOOP = """
import sys, time
import numpy as np, onnxruntime
path, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
shape = [axis if isinstance(axis, int) else 1 for axis in entry.shape]
feeds = {entry.name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
def run_for(duration):
    latencies, end = [], time.perf_counter() + duration
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, feeds)
        latencies.append(time.perf_counter() - start)
    return latencies
run_for(seconds / 4)
print(1e3 * np.median(run_for(seconds)))
"""

WORKER_LOOP_AROUND_OPENVINO = """
import sys
import numpy as np, openvino
from edgeml.edge_bench.worker import Worker
path, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
compiled = openvino.Core().compile_model(path, "CPU", settings)
request = compiled.create_infer_request()
shape = tuple(compiled.inputs[0].shape)
request.set_input_tensor(openvino.Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32)))
class Session:
    inputs = outputs = ()
    def run(self, feeds):
        request.infer()
        return {}
    def close(self):
        pass
worker = Worker(Session(), [{}], 1)
warm = worker.warm_up(seconds / 4)
print(np.median(worker.sample(max(1, int(seconds * 1e3 / warm["latency_ms"])), 1)["latency_ns"]) / 1e6)
"""


def main() -> None:
    """Measure, record, and fail beyond the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="ONNX file of fixed shape; a small network by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0, help="measuring time of each side in each turn")
    arguments = parser.parse_args()
    threads, seconds, host = arguments.threads, arguments.seconds, host_info()
    with tempfile.TemporaryDirectory() as directory:
        model = arguments.model or write_conv_net(Path(directory) / "conv_net.onnx")
        figures = {
            "limit": LIMIT,
            "threads": threads,
            "against_onnxruntime_loop": in_turns(
                arguments.turns,
                lambda: by_edgeml(model, threads, seconds),
                lambda: by_program(ONNXRUNTIME_LOOP, model, threads, seconds),
            ),
        }
        if find_spec("openvino") is None:
            print("openvino is not installed, so the second comparison is left out", file=sys.stderr)
        else:
            figures["against_openvino_benchmark_app"] = in_turns(
                arguments.turns,
                lambda: by_program(WORKER_LOOP_AROUND_OPENVINO, model, threads, seconds),
                lambda: by_benchmark_app(model, threads, seconds),
            )
    record(host, figures)
    sys.exit(any(isinstance(found, dict) and not found["within_limit"] for found in figures.values()))


def in_turns(turns: int, ours: Callable[[], float], theirs: Callable[[], float]) -> dict[str, Any]:
    """Medians of both sides taken alternately, and the interval of their ratio over turns."""
    pairs = []
    for turn in range(turns):
        if turn % 2:
            other = theirs()
            pairs.append((ours(), other))
        else:
            pairs.append((ours(), theirs()))
        print(f"ours {pairs[-1][0]:.4f} ms, theirs {pairs[-1][1]:.4f} ms", file=sys.stderr, flush=True)
    logs = np.log(np.array(pairs))
    differences = logs[:, 0] - logs[:, 1]
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    ratio = math.exp(differences.mean())
    return {
        "ours_ms": math.exp(logs[:, 0].mean()),
        "theirs_ms": math.exp(logs[:, 1].mean()),
        "ratio": ratio,
        "ratio_ci95": [math.exp(interval.low), math.exp(interval.high)],
        "within_limit": abs(ratio - 1) <= LIMIT,
        "turns": turns,
    }


def by_edgeml(model: Path, threads: int, seconds: float) -> float:
    """Median of `edgeml bench` in milliseconds."""
    settings = BenchSettings(seconds=seconds * 1.25, launches=2)
    result = bench([open_artifact(model)], device=Device("local"), threads=[threads], settings=settings)
    return summarize(result.contenders[0]).median.value


def by_program(program: str, model: Path, threads: int, seconds: float) -> float:
    """Median in milliseconds that a program prints, the mean of two processes since edgeml starts two as well."""
    command = [sys.executable, "-c", program, str(model), str(threads), str(seconds / 2)]
    medians = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]) for _ in range(2)
    ]
    return math.sqrt(medians[0] * medians[1])


def by_benchmark_app(model: Path, threads: int, seconds: float) -> float:
    """Median latency in milliseconds by OpenVINO's benchmark_app, the mean of two processes."""
    app = "from openvino.tools.benchmark.main import main; main()"
    options = f"-m {model} -d CPU -api sync -hint none -nthreads {threads} -nstreams 1 -t {max(1, round(seconds / 2))}"
    medians = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", app, *options.split()], check=True, capture_output=True, text=True)
        found = re.search(r"Median:\s+([\d.]+) (ms|us)", done.stdout)
        assert found is not None, done.stdout
        medians.append(float(found[1]) / (1e3 if found[2] == "us" else 1))
    return math.sqrt(medians[0] * medians[1])


if __name__ == "__main__":
    main()
