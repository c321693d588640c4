"""Runs the compiled model of this bundle; needs Python 3.10, numpy and apache-tvm-ffi.

    python run_model.py                              random inputs: prints the outputs
    python run_model.py --input image.npy --runs 200     a file for the one input, and latency
    python run_model.py --input feeds.npz --save outputs.npz

As a module:

    from run_model import Model
    model = Model(threads=2)
    outputs = model.run({"image": array})
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ALIGNMENT_BYTES = 64  # compiled code loads whole vectors from its inputs
PERCENTILES = ((50, 1), (90, 64), (99, 662))  # each with the fewest samples it may be told from


class Model:
    """The bundle's compiled model. One run at a time.

    Attributes:
        inputs: name, shape and dtype of each input; a string in a shape is an axis of any size.
        outputs: the same of each output.
    """

    def __init__(self, directory: Path = HERE, *, threads: int | None = None, verify: bool = True) -> None:
        """Load the model.

        Args:
            directory: the unpacked bundle.
            threads: threads inside one operator; None takes the cores this process may use. The first model loaded
                into a process decides it for all.
            verify: check the SHA-256 of what is loaded first: loading a shared library executes it.
        """
        bundle = json.loads((directory / "bundle.json").read_text(encoding="utf-8"))
        if verify:
            loaded = {bundle["model"], bundle["manifest"]}
            digests = bundle["sha256"].items()
            _verify(directory, {name: value for name, value in digests if name in loaded or name.startswith("lib/")})
        manifest = json.loads((directory / bundle["manifest"]).read_text(encoding="utf-8"))
        self.inputs: list[dict[str, Any]] = manifest["inputs"]
        self.outputs: list[dict[str, Any]] = manifest["outputs"]
        # Read by TVM when it starts threads: how many; bound to no core; asleep soon after a run.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        os.environ["TVM_NUM_THREADS"] = str(threads or cores)
        os.environ.setdefault("TVM_BIND_THREADS", "0")
        os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "2000")
        import tvm_ffi

        ctypes.CDLL(str(directory / "lib" / "libtvm_runtime.so"), ctypes.RTLD_GLOBAL)
        self._from_dlpack = tvm_ffi.from_dlpack
        self._tensor = tvm_ffi.Tensor
        self._machine = tvm_ffi.load_module(str(directory / bundle["model"]))["vm_load_executable"]()
        # Device type, index and kind of memory: the processor with pooled memory, as the device and as the host.
        self._machine["vm_initialization"](1, 0, 2, 1, 0, 2)
        self._main = self._machine["main"]

    def run(self, feeds: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name for one batch of inputs by name.

        Raises:
            ValueError: the feeds do not fit the model's inputs.
        """
        names = [spec["name"] for spec in self.inputs]
        if sorted(feeds) != sorted(names):
            raise ValueError(f"the model's inputs are {', '.join(names)}; the feeds given are {', '.join(feeds)}")
        arrays = [_fitting(spec, feeds[spec["name"]]) for spec in self.inputs]
        result = self._main(*(self._from_dlpack(_readable(array)) for array in arrays))
        tensors = [result] if isinstance(result, self._tensor) else list(result)
        # Copied, since an output may be an input or a constant of the model itself.
        return {spec["name"]: np.from_dlpack(each).copy() for spec, each in zip(self.outputs, tensors, strict=True)}

    def random_feeds(self, batch: int = 1, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
        """Standard normal numbers for float inputs, zeros for others; every axis of any size is `batch`."""
        generator = np.random.default_rng(seed)
        feeds = {}
        for spec in self.inputs:
            shape = [batch if isinstance(axis, str) else axis for axis in spec["shape"]]
            values = generator.standard_normal(shape) if spec["dtype"].startswith("float") else np.zeros(shape)
            feeds[spec["name"]] = _readable(values.astype(spec["dtype"]))
        return feeds


def _verify(directory: Path, digests: dict[str, str]) -> None:
    for name, expected in digests.items():
        if hashlib.sha256((directory / name).read_bytes()).hexdigest() != expected:
            raise ValueError(f"{directory / name} is not the file that was bundled: unpack the bundle again")


def _fitting(spec: dict[str, Any], array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shape = spec["shape"]
    fits = len(shape) == array.ndim and all(
        isinstance(axis, str) or axis == size for axis, size in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != spec["dtype"]:
        wanted = f"{spec['dtype']} ({', '.join(map(str, shape))})"
        raise ValueError(f"input {spec['name']} takes {wanted}; {array.dtype} {array.shape} was fed")
    return array


def _readable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array itself where TVM can read it in place, else an aligned copy."""
    flags = array.flags
    if flags.c_contiguous and flags.writeable and array.__array_interface__["data"][0] % ALIGNMENT_BYTES == 0:
        return array
    memory = np.empty(array.nbytes + ALIGNMENT_BYTES, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT_BYTES
    copy: np.ndarray[Any, Any] = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _read_feeds(model: Model, path: Path) -> dict[str, np.ndarray[Any, Any]]:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        if len(model.inputs) != 1:
            raise ValueError(f"the model has {len(model.inputs)} inputs: give them by name in one .npz file")
        return {model.inputs[0]["name"]: loaded}
    return {name: loaded[name] for name in loaded.files}


def _latencies_ms(model: Model, feeds: dict[str, np.ndarray[Any, Any]], runs: int) -> list[float]:
    for _ in range(max(3, runs // 10)):  # warm-up
        model.run(feeds)
    found = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        model.run(feeds)
        found.append((time.perf_counter_ns() - start) / 1e6)
    return found


def _lines(outputs: dict[str, np.ndarray[Any, Any]], latencies_ms: list[float]) -> list[str]:
    found = []
    for name, array in outputs.items():
        first = " ".join(f"{value:.6g}" for value in array.reshape(-1)[:5])
        found.append(f"{name} {array.shape}: {first}{' ...' if array.size > 5 else ''}")
    if latencies_ms:
        told = [(share, fewest) for share, fewest in PERCENTILES if len(latencies_ms) >= fewest]
        shown = ", ".join(f"p{share} {np.percentile(latencies_ms, share):.3f}" for share, _ in told)
        found.append(f"latency in ms over {len(latencies_ms)} runs: {shown}")
    return found


def main() -> int:
    """Run the model as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="run_model.py", description="Run the compiled model of this bundle.")
    parser.add_argument("--input", type=Path, help=".npy for the one input, or .npz with an array for each")
    parser.add_argument("--save", type=Path, help="write the outputs as .npz")
    parser.add_argument("--batch", type=int, default=1, help="size of the random inputs' dynamic axes (1)")
    parser.add_argument("--runs", type=int, default=0, help="also time so many runs")
    parser.add_argument("--threads", type=int, help="threads inside one operator (the available cores)")
    options = parser.parse_args()
    try:
        model = Model(threads=options.threads)
        feeds = model.random_feeds(options.batch) if options.input is None else _read_feeds(model, options.input)
        outputs = model.run(feeds)
        if options.save is not None:
            np.savez(options.save, **outputs)  # type: ignore[arg-type]
        latencies_ms = _latencies_ms(model, feeds, options.runs) if options.runs > 0 else []
    except ImportError as error:
        message = f"{error}; install with: python -m pip install numpy apache-tvm-ffi (the version is in README.md)"
    except (OSError, ValueError, RuntimeError) as error:
        message = str(error)
    else:
        sys.stdout.write("\n".join(_lines(outputs, latencies_ms)) + "\n")
        return 0
    sys.stderr.write(f"run_model: {' '.join(message.split())}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
