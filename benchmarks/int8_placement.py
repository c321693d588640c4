"""Whether int8 pays on TinyNets, and what choosing its place is worth: python benchmarks/int8_placement.py

Three forms of each network, one thread, in one run: float32; int8 as `edgeml export` places it; int8 with every
operator that onnxruntime's quantizer knows (the usual static quantization). Weights and inputs are random: latency does
not depend on them, and accuracy is not looked at. Takes about two minutes a network.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from record import record

from edgeml.core.artifact import Artifact
from edgeml.core.device import LOCAL
from edgeml.core.samples import Samples
from edgeml.edge_bench.bench import bench
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.export.export import export, export_onnx
from edgeml.export.reference_network import reference_network
from edgeml.runtime.onnx_file import open_artifact

CALIBRATION_SAMPLES = 32


class Reader(CalibrationDataReader):
    """Hands the samples to onnxruntime one by one."""

    def __init__(self, samples: Samples) -> None:
        self._feeds = iter([{"input": sample[None]} for sample in samples.inputs])

    def get_next(self) -> dict[str, Any] | None:
        """The next feed, None at the end."""
        return next(self._feeds, None)


def forms(name: str, directory: Path) -> dict[str, Artifact]:
    """The network's three forms as files."""
    network = reference_network(name)
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((CALIBRATION_SAMPLES, *network.input_shape)).astype(np.float32)
    noise = Samples("noise:train", inputs, np.zeros(len(inputs), np.int64), ("any",))
    fp32, placed, everything = (directory / f"{name}-{form}.onnx" for form in ("fp32", "placed", "everything"))
    float_artifact = export(network, fp32).artifact
    placed_artifact = export_onnx(fp32, placed, precision="int8", calibration=noise).artifact
    quantize_static(
        fp32,
        everything,
        Reader(noise),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return {"fp32": float_artifact, "int8 placed": placed_artifact, "int8 everywhere": open_artifact(everything)}


def main() -> None:
    """Measure each network and record ratios of fp32's latency to that of the other forms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["tinynet-a", "tinynet-c", "tinynet-e"])
    arguments = parser.parse_args()
    host, found = host_info(), []
    with tempfile.TemporaryDirectory() as directory:
        for name in arguments.networks:
            contenders = forms(name, Path(directory))
            result = bench(list(contenders.values()), device=LOCAL, threads=[1])
            for comparison in result.comparisons:
                found.append(
                    {
                        "network": name,
                        "form": list(contenders)[comparison.a],
                        "against": list(contenders)[comparison.b],
                        "times_faster": round(comparison.ratio, 3),
                        "ci95": [round(bound, 3) for bound in comparison.ci95],
                        "verdict": comparison.verdict,
                    }
                )
                print(found[-1], flush=True)
    record(host, {"comparisons": found})


if __name__ == "__main__":
    main()
