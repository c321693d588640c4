"""How fast our CUDA library of TinyNet-C is beside the others on a GPU: python benchmarks/tvm_cuda.py

Against onnxruntime's CUDA provider where it is installed (pip install onnxruntime-gpu) and torch where it sees the GPU.
Batch 1, float32 throughout (TF32 is off on all sides), from an array in the host's memory to an array in the host's
memory. In each launch, a process of its own, the contenders take blocks of runs in turn; ratios and their intervals are
those of `edgeml bench`. All results are first compared with onnxruntime's on the CPU.

Needs an NVIDIA GPU of compute capability 7.5 or newer, its driver, nvcc 13 and: pip install -e '.[train,tvm]'
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from record import record

from edgeml.compiler.compile import compile_onnx
from edgeml.core.bench_result import Launch
from edgeml.core.target import Target
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.edge_bench.statistics import compare, median
from edgeml.export.export import export
from edgeml.export.reference_network import reference_network

NETWORK = "tinynet-c"
TOLERANCE = 1e-4  # of the largest logit
BLOCKS, RUNS, SETTLE = 20, 50, 5

Array = npt.NDArray[np.float32]
Run = Callable[[Array], Array]


def gpu() -> tuple[str, str]:
    """The GPU's name and its architecture ("sm_90")."""
    tool = shutil.which("nvidia-smi")
    query = ["--query-gpu=name,compute_cap", "--format=csv,noheader", "--id=0"]
    done = None if tool is None else subprocess.run([tool, *query], capture_output=True, text=True, check=False)
    if done is None or done.returncode or "," not in done.stdout:
        sys.exit("tvm_cuda.py: no NVIDIA GPU is here (nvidia-smi finds none); nothing was measured")
    name, capability = done.stdout.strip().rsplit(",", 1)
    return name.strip(), "sm_" + capability.strip().replace(".", "")


def tvm_run(library: Path) -> Run:
    """Our library."""
    import tvm
    from tvm import relax

    machine = relax.VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cuda())
    main = machine["main"]

    def run(image: Array) -> Array:
        result = main(tvm.runtime.tensor(image, tvm.cuda())).numpy()
        return np.asarray(result, np.float32)

    return run


def onnxruntime_run(model: Path, *, provider: str) -> Run | None:
    """A session of onnxruntime with that provider; None where it has none."""
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        return None
    options = {"use_tf32": "0"} if provider == "CUDAExecutionProvider" else {}
    session = onnxruntime.InferenceSession(model, providers=[(provider, options)])
    if session.get_providers()[0] != provider:  # it falls back to the CPU in silence
        return None
    name = session.get_inputs()[0].name
    return lambda image: np.asarray(session.run(None, {name: image})[0], np.float32)


def torch_run() -> Run | None:
    """The network that was exported, in torch; None where torch sees no GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    module = reference_network(NETWORK).module.eval().cuda()

    @torch.inference_mode()
    def run(image: Array) -> Array:
        return np.asarray(module(torch.from_numpy(image).cuda()).cpu().numpy(), np.float32)

    return run


def contenders(model: Path, library: Path) -> dict[str, Run]:
    """All that can run here, ours first."""
    found = {
        "edgeml": tvm_run(library),
        "onnxruntime": onnxruntime_run(model, provider="CUDAExecutionProvider"),
        "torch": torch_run(),
    }
    return {name: run for name, run in found.items() if run is not None}


def launch(model: Path, library: Path, seed: int) -> dict[str, Any]:
    """One launch: each contender's largest difference from the CPU's result, and its latencies by block."""
    image = np.random.default_rng(seed).standard_normal((1, *reference_network(NETWORK).input_shape)).astype(np.float32)
    cpu = onnxruntime_run(model, provider="CPUExecutionProvider")
    assert cpu is not None
    expected, runs = cpu(image), contenders(model, library)
    scale = float(np.abs(expected).max())
    differences = {name: float(np.abs(run(image) - expected).max()) / scale for name, run in runs.items()}
    for run in runs.values():
        for _ in range(10 * RUNS):
            run(image)
    latencies: dict[str, list[list[float]]] = {name: [] for name in runs}
    order = random.Random(seed)
    for _ in range(BLOCKS):
        for name in order.sample(list(runs), len(runs)):
            for _ in range(SETTLE):
                runs[name](image)
            block = []
            for _ in range(RUNS):
                start = time.perf_counter_ns()
                runs[name](image)
                block.append((time.perf_counter_ns() - start) / 1e6)
            latencies[name].append(block)
    return {"differences": differences, "latency_ms": latencies}


def as_launch(blocks: list[list[float]]) -> Launch:
    """Latencies by block as the statistics take them."""
    return Launch(
        latency_ms=tuple(sample for block in blocks for sample in block),
        block=tuple(index for index, block in enumerate(blocks) for _ in block),
        warmup=10 * RUNS,
        stable=True,
        load_ms=0.0,
        peak_memory_bytes=0,
    )


def main() -> None:
    """Measure and record; fail where a result is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=5)
    parser.add_argument("--launch", nargs=3, metavar=("MODEL", "LIBRARY", "SEED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.launch:
        model, library, seed = arguments.launch
        print(json.dumps(launch(Path(model), Path(library), int(seed))))
        return
    (name, architecture), host = gpu(), host_info()
    with tempfile.TemporaryDirectory() as directory:
        model, library = Path(directory, f"{NETWORK}.onnx"), Path(directory, f"{NETWORK}.so")
        export(reference_network(NETWORK), model, static_batch=True)
        compile_onnx(model, Target("cuda", arch=architecture, host="host"), library)
        answers = []
        for seed in range(arguments.launches):
            command = [sys.executable, __file__, "--launch", str(model), str(library), str(seed)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            answers.append(json.loads(done.stdout.splitlines()[-1]))
    differences = {each: max(answer["differences"][each] for answer in answers) for each in answers[0]["differences"]}
    launches = {each: [as_launch(answer["latency_ms"][each]) for answer in answers] for each in differences}
    figures: dict[str, Any] = {"gpu": name, "architecture": architecture, "network": NETWORK}
    figures["largest_difference"] = differences
    figures["latency_ms"] = {each: median(found).value for each, found in launches.items()}
    figures["times_faster_than"] = {}
    for other in launches:
        if other != "edgeml":
            ratio = compare(launches["edgeml"], launches[other])
            figures["times_faster_than"][other] = {"value": ratio.value, "ci95": list(ratio.ci95)}
    record(host, figures)
    wrong = [each for each, difference in differences.items() if not difference <= TOLERANCE]
    if wrong:
        sys.exit(f"tvm_cuda.py: {', '.join(wrong)} differ from onnxruntime on the CPU by more than {TOLERANCE}")


if __name__ == "__main__":
    main()
