"""Compiled libraries against onnxruntime and OpenVINO on this machine: python benchmarks/tvm_host.py

Every network is measured in float32 and in int8 as `edgeml export` places it; the network without SiLU and gates with
every operator quantized as well. All contenders of a network run in one measurement, their samples taken in turn. A
ratio is the library's time over the other's: below 1 the library is faster. Before anything is timed the outputs must
agree with onnxruntime's: float32 to 1e-4 of the largest, int8 to 20 dB of signal to noise.

Weights and inputs are random: latency does not depend on them. Run it on an idle machine; it takes about three minutes
a network. `--quick` takes one minute for one network, proves that everything runs, and records nothing.
OpenVINO (float32 only) is left out where it is not installed.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from int8_placement import forms
from record import record

from edgeml.compiler.compile import compile_onnx
from edgeml.core.artifact import Artifact
from edgeml.core.parity import sqnr_db
from edgeml.core.target import Target
from edgeml.edge_bench.client import start_worker
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.edge_bench.link import local_link
from edgeml.edge_bench.measure import BenchSettings, Entry, measure
from edgeml.edge_bench.statistics import compare, median

NETWORKS = (
    "tinynet-a",
    "tinynet-c",
    "tinynet-e",
    "timm:efficientnet_b0",
    "timm:resnet18",
    "timm:efficientnet_lite0",
)
# ReLU6 and no gates: int8 can hold from end to end, so it is measured that way too.
QUANTIZED_EVERYWHERE = frozenset({"timm:efficientnet_lite0"})
WORKER = (sys.executable, str(Path(__file__).with_name("openvino_worker.py")))
FLOAT_TOLERANCE = 1e-4
INT8_SQNR_DB = 20.0
CHECKED_SAMPLES = 4
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Contender:
    """A form of a network and what runs it."""

    form: str
    runtime: str
    artifact: Artifact

    def __str__(self) -> str:
        return f"{self.form}, {'edgeml' if self.runtime == 'tvm' else self.runtime}"


def contenders_of(network: str, directory: Path) -> list[Contender]:
    """Every form of the network as each runtime takes it."""
    found = []
    for form, artifact in forms(network, directory).items():
        if form == "int8 everywhere" and network not in QUANTIZED_EVERYWHERE:
            continue
        library = compile_onnx(artifact.path, Target.parse("host"), artifact.path.with_suffix(".so"))
        kept = {operator.name for operator in library.float_operators}
        print(f"{network}, {form}: {library.kernels} of {len(library.operators)} layers have kernels", file=sys.stderr)
        if kept:
            print(f"  in float32: {len(kept)} layers", file=sys.stderr)
        found += [Contender(form, "tvm", library.artifact), Contender(form, "onnxruntime", artifact)]
        if form == "fp32" and find_spec("openvino") is not None:
            found.append(Contender(form, "openvino", artifact))
    return found


def check(network: str, contenders: Sequence[Contender], directory: Path) -> list[dict[str, Any]]:
    """How near each contender's outputs are to onnxruntime's of the same form; ends the program where they are not."""
    shape = contenders[0].artifact.inputs[0].shape[1:]
    samples = np.random.default_rng(1).standard_normal((CHECKED_SAMPLES, *shape)).astype(np.float32)
    np.save(directory / "samples.npy", samples)
    outputs = {(each.form, each.runtime): outputs_of(each, directory) for each in contenders}
    found = []
    for (form, runtime), output in outputs.items():
        if runtime == "onnxruntime":
            continue
        expected = outputs[form, "onnxruntime"]
        difference = float(np.abs(output - expected).max() / np.abs(expected).max())
        noise = sqnr_db(expected, output)
        agrees = difference <= FLOAT_TOLERANCE if form == "fp32" else noise >= INT8_SQNR_DB
        if not agrees:
            sys.exit(f"{network}, {form}: {runtime} differs from onnxruntime by {difference:.1e} ({noise:.1f} dB)")
        row = {"network": network, "form": form, "runtime": runtime, "largest_difference": float(f"{difference:.2g}")}
        found.append(row | {"sqnr_db": round(min(noise, 200.0), 1)})
    return found


def outputs_of(contender: Contender, directory: Path) -> npt.NDArray[np.float32]:
    """The first output for every sample, computed by a worker as it is measured later."""
    path, artifact = directory / "outputs.npy", contender.artifact
    with start_worker(str(contender), WORKER) as process:
        process.ask(
            "open",
            timeout_s=_TIMEOUT_S,
            artifact=artifact.to_json(),
            path=str(artifact.path),
            runtime=contender.runtime,
            threads=1,
            batch=1,
            seed=0,
            samples=None,
        )
        process.ask("predict", timeout_s=_TIMEOUT_S, samples=str(directory / "samples.npy"), output=str(path))
    return np.asarray(np.load(path), np.float32)


def compared(contenders: Sequence[Contender]) -> list[tuple[Contender, Contender]]:
    """Each library against the other runtimes of its form, and against the float32 library."""
    pairs = []
    for ours in contenders:
        for other in contenders:
            same_form = other.form == ours.form and other.runtime != "tvm"
            own_float = other.runtime == "tvm" and other.form == "fp32" and ours.form != "fp32"
            if ours.runtime == "tvm" and (same_form or own_float):
                pairs.append((ours, other))
    return pairs


def rows(
    network: str, contenders: Sequence[Contender], threads: Sequence[int], settings: BenchSettings
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Medians of all contenders, and ratios of those that are compared."""
    keys = [(each, count) for count in threads for each in contenders]
    entries = [
        Entry(artifact=each.artifact, runtime=each.runtime, threads=count, samples=None, logits=None)
        for each, count in keys
    ]
    with local_link(WORKER) as link:
        measured = measure(entries, settings, lambda text, _share: print(f"{network}: {text}", file=sys.stderr), link)
    launches = dict(zip(keys, measured.launches, strict=True))
    medians = [
        {
            "network": network,
            "form": each.form,
            "runtime": each.runtime,
            "threads": count,
            "median_ms": round(median(launches[each, count]).value, 4),
        }
        for each, count in keys
    ]
    ratios = []
    for count in threads:
        for ours, other in compared(contenders):
            ratio = compare(launches[other, count], launches[ours, count])
            ratios.append(
                {
                    "network": network,
                    "form": ours.form,
                    "against": str(other),
                    "threads": count,
                    "time_ratio": round(ratio.value, 3),
                    "ci95": [round(bound, 3) for bound in ratio.ci95],
                }
            )
    return medians, ratios


def print_table(ratios: Sequence[dict[str, Any]], medians: Sequence[dict[str, Any]]) -> None:
    """The ratios, with the library's median in milliseconds."""
    ours = {(each["network"], each["form"], each["threads"]): each for each in medians if each["runtime"] == "tvm"}
    print(f"{'network':24} {'form':16} {'threads':>7} {'ms':>8}  {'against':30} {'ratio':>6}  95% interval")
    for each in ratios:
        milliseconds = ours[each["network"], each["form"], each["threads"]]["median_ms"]
        low, high = each["ci95"]
        print(
            f"{each['network']:24} {each['form']:16} {each['threads']:7} {milliseconds:8.3f}  {each['against']:30} "
            f"{each['time_ratio']:6.3f}  [{low:.3f}, {high:.3f}]"
        )


def main() -> None:
    """Export, compile, check, measure and record each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", help=f"by default {' '.join(NETWORKS)}")
    parser.add_argument("--threads", nargs="+", type=int, help="by default 1 2")
    parser.add_argument("--quick", action="store_true", help="one network, one thread, few samples; records nothing")
    arguments = parser.parse_args()
    networks = arguments.networks or (["tinynet-e"] if arguments.quick else NETWORKS)
    threads = arguments.threads or ([1] if arguments.quick else [1, 2])
    settings = BenchSettings(seconds=1.0, launches=2) if arguments.quick else BenchSettings(seconds=10.0)
    # The same worker with one more runtime; edge_bench itself starts the one that users have.
    host = host_info()
    outputs: list[dict[str, Any]] = []
    medians: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    for network in networks:
        with tempfile.TemporaryDirectory() as directory:
            contenders = contenders_of(network, Path(directory))
            outputs += check(network, contenders, Path(directory))
            more_medians, more_ratios = rows(network, contenders, threads, settings)
        medians, ratios = medians + more_medians, ratios + more_ratios
    if not arguments.quick:
        packages = [name for name in ("apache-tvm", "onnxruntime", "openvino") if find_spec(_module(name))]
        versions = {name: version(name) for name in packages}
        figures = {"versions": versions, "agreement": outputs, "medians": medians, "ratios": ratios}
        record(host, figures)
    print_table(ratios, medians)


def _module(package: str) -> str:
    return {"apache-tvm": "tvm"}.get(package, package)


if __name__ == "__main__":
    main()
