"""Binary convolutions and networks against float32 and int8 ones: python benchmarks/bnn.py

One thread. For each shape, a 3x3 convolution with as many output as input channels: float32 Conv, int8 (static QDQ),
the usual export of a binary one (Sign, then a float32 Conv with weights of +1 and -1), and ai.edgeml::BinaryConv by the
native kernels, by those for AVX2, and by onnxruntime alone; all with float32 in and out. Networks: the Bi-Real ones and
QuickNet, with layers fused and apart, against ResNet-18 in float32 and int8. Contenders of a row are measured in one
run, their samples taken in turn. `times_faster` is the other's time over the binary one's.

Packed activations in and out are timed in a program of their own (native/benchmarks), where a loop of as many xors,
popcounts and additions on registers takes turns with the kernel; on processors without AVX-512 VPOPCNTDQ that part is
left out. Run it on an idle machine; it takes about 12 minutes. `--quick` proves that everything runs; records nothing.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from int8_placement import Reader, forms
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from record import record

from edgeml.core.artifact import Artifact
from edgeml.core.samples import Samples
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.edge_bench.link import local_link
from edgeml.edge_bench.measure import BenchSettings, Entry, measure
from edgeml.edge_bench.statistics import compare, median
from edgeml.export.export import export
from edgeml.export.reference_network import reference_network
from edgeml.ops.attach import attach_functions
from edgeml.ops.binary_conv import node as binary_conv
from edgeml.ops.bits import pack_signs
from edgeml.runtime.onnx_file import open_artifact

ROOT = Path(__file__).resolve().parent.parent
SHAPES = ((64, 56), (128, 28), (256, 14), (512, 7))
NETWORKS = ("birealnet18", "birealnet18-light", "quicknet")
FLOAT_NETWORK = "timm:resnet18"
WORKER = (sys.executable, str(Path(__file__).with_name("plugin_worker.py")))
OPSET, IR_VERSION = 20, 10
ROUNDS = 2000

Contender = tuple[Artifact, str]  # a file and what runs it


def operators(channels: int, size: int, directory: Path) -> dict[str, Contender]:
    """One convolution in every form."""
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((channels, channels, 3, 3)).astype(np.float32)
    signs = np.where(weights < 0, -1, 1).astype(np.float32)
    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    parameters = {"threshold": zeros, "scale": ones / np.float32(channels), "bias": zeros}
    packed = {"W": pack_signs(signs.reshape(channels, -1)), **parameters}
    written = {
        "float": ([helper.make_node("Conv", ["input", "W"], ["Y"], **conv)], {"W": weights}),
        "sign": (
            [helper.make_node("Sign", ["input"], ["S"]), helper.make_node("Conv", ["S", "W"], ["Y"], **conv)],
            {"W": signs},
        ),
        "binary": (
            [binary_conv(["input", *packed], "Y", kernel_shape=(3, 3), channels=channels, pads=(1, 1, 1, 1))],
            packed,
        ),
    }
    files = {}
    for form, (nodes, constants) in written.items():
        model = one_operator(nodes, constants, channels, size)
        attach_functions(model)
        files[form] = directory / f"{form}-{channels}.onnx"
        onnx.save(model, files[form])
    files["int8"] = directory / f"int8-{channels}.onnx"
    inputs = generator.standard_normal((32, channels, size, size)).astype(np.float32)
    quantize_static(
        files["float"],
        files["int8"],
        Reader(Samples("noise:train", inputs, np.zeros(len(inputs), np.int64), ("any",))),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    artifacts = {form: open_artifact(path) for form, path in files.items()}
    return {
        "binary": (artifacts["binary"], "onnxruntime"),
        "binary, avx2": (artifacts["binary"], "avx2"),
        "binary, stock onnxruntime": (artifacts["binary"], "stock"),
        "float32": (artifacts["float"], "onnxruntime"),
        "int8 QDQ": (artifacts["int8"], "onnxruntime"),
        "Sign and float32": (artifacts["sign"], "onnxruntime"),
    }


def one_operator(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Any], channels: int, size: int
) -> onnx.ModelProto:
    """A model of one image."""
    image = [1, channels, size, size]
    graph = helper.make_graph(
        nodes,
        "operator",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, image)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def networks(names: Sequence[str], directory: Path) -> dict[str, Contender]:
    """The binary networks, fused and apart, and ResNet-18."""
    found = {}
    for name in names:
        artifact = export(reference_network(name), directory / f"{name}.onnx").artifact
        found[name] = (artifact, "onnxruntime")
        found[f"{name}, unfused"] = (artifact, "unfused")
    names_of = {"fp32": "ResNet-18 float32", "int8 everywhere": "ResNet-18 int8"}
    for form, artifact in forms(FLOAT_NETWORK, directory).items():
        if form in names_of:
            found[names_of[form]] = (artifact, "onnxruntime")
    return found


def compared(contenders: Mapping[str, Contender], ours: Sequence[str], settings: BenchSettings) -> list[dict[str, Any]]:
    """How many times faster each of `ours` is than every other contender."""
    entries = [
        Entry(artifact=artifact, runtime=runtime, threads=1, samples=None, logits=None)
        for artifact, runtime in contenders.values()
    ]
    with local_link(WORKER) as link:
        measured = measure(entries, settings, lambda text, _share: print(text, file=sys.stderr), link)
    launches = dict(zip(contenders, measured.launches, strict=True))
    rows = []
    for name in ours:
        for other in contenders:
            if other != name and other.split(",")[0] not in set(ours) - {name.split(",")[0]}:
                ratio = compare(launches[name], launches[other])
                rows.append(
                    {
                        "contender": name,
                        "median_ms": round(median(launches[name]).value, 4),
                        "against": other,
                        "their_median_ms": round(median(launches[other]).value, 4),
                        "times_faster": round(ratio.value, 3),
                        "ci95": [round(bound, 3) for bound in ratio.ci95],
                    }
                )
                print(rows[-1], flush=True)
    return rows


def packed(rounds: int, directory: Path) -> list[dict[str, Any]]:
    """Packed convolutions as shares of what xor, popcount and addition allow; nothing where they cannot be built."""
    build = directory / "native"
    configure = ["cmake", "-S", str(ROOT), "-B", str(build), "-DEDGEML_BUILD_BENCHMARKS=ON"]
    for command in (configure, ["cmake", "--build", str(build), "--target", "packed_conv"]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    program = subprocess.run([str(build / "packed_conv"), str(rounds)], capture_output=True, text=True, check=False)
    if program.returncode:
        print(program.stderr, file=sys.stderr)
        return []
    times: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
    for line in program.stdout.splitlines():
        name, channels, _size, microseconds = line.split()
        times[int(channels), name].append(float(microseconds))
    rows = []
    for channels, size in SHAPES:
        bound = np.array(times[channels, "bound"])
        for name in ("bits-to-bits", "bits-to-sums-and-bits"):
            taken = np.array(times[channels, name])
            rows.append(
                {
                    "shape": f"{channels}x{size}x{size}",
                    "form": name,
                    "median_us": round(float(np.median(taken)), 1),
                    "bound_us": round(float(np.median(bound)), 1),
                    "share_of_bound": round(float(np.median(bound) / np.median(taken)), 3),
                    "ci95": share_interval(bound, taken),
                }
            )
            print(rows[-1], flush=True)
    return rows


def share_interval(bound: np.ndarray[Any, Any], taken: np.ndarray[Any, Any]) -> list[float]:
    """95% interval of the ratio of medians, by bootstrap over blocks of neighbouring rounds."""
    blocks = [part for part in np.array_split(np.arange(len(taken)), 40) if len(part)]
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(1000):
        chosen = np.concatenate([blocks[index] for index in generator.integers(0, len(blocks), len(blocks))])
        shares.append(np.median(bound[chosen]) / np.median(taken[chosen]))
    return [round(float(value), 3) for value in np.percentile(shares, [2.5, 97.5])]


def main() -> None:
    """Measure operators, packed kernels and networks, and record them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one shape, one network, few samples; records nothing")
    arguments = parser.parse_args()
    settings = BenchSettings(seconds=1.0, launches=2) if arguments.quick else BenchSettings(seconds=8.0)
    shapes = SHAPES[:1] if arguments.quick else SHAPES
    host, found = host_info(), []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for channels, size in shapes:
            rows = compared(operators(channels, size, directory), ["binary", "binary, avx2"], settings)
            found += [{"shape": f"{channels}x{size}x{size}", **row} for row in rows]
        kernels = packed(ROUNDS // 20 if arguments.quick else ROUNDS, directory)
        names = NETWORKS[:1] if arguments.quick else NETWORKS
        whole = compared(networks(names, directory), names, settings)
    if not arguments.quick:
        versions = {name: version(name) for name in ("onnxruntime", "torch", "timm")}
        record(host, {"versions": versions, "operators": found, "packed": kernels, "networks": whole})


if __name__ == "__main__":
    main()
