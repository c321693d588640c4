"""Accuracy against the share of differing bits: python benchmarks/mst_curve.py WEIGHTS [--epochs 3] [--data NAME]

Starts from one trained network each time, fine-tunes it with the tree loss at several weights (0 first, the fair
comparison: as many more epochs without the loss), and takes accuracy, mean edge, storage and bit-operations of each.
Accuracies are on the test split, reported and not chosen by. A run of 3 epochs takes about a third of the training.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from record import record

from edgeml.core.preprocessing import Preprocessing
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.models.binary.mst_loss import layer_statistics, mean_edge
from edgeml.models.datasets import default_preprocessing, open_dataset
from edgeml.models.source import load_source
from edgeml.models.training.recipe import get_recipe
from edgeml.models.training.run import train

WEIGHTS = (0.0, 1e-3, 2e-3, 4e-3, 6e-3, 1e-2)


def storage(module: torch.nn.Module) -> dict[str, Any]:
    """Bits and bit-operations of all binary convolutions together, and the deepest tree."""
    layers = layer_statistics(module).values()
    return {
        "mean_edge": round(mean_edge(module), 4),
        "dense_bits": sum(layer.dense_storage_bits for layer in layers),
        "tree_bits": sum(layer.tree_storage_bits for layer in layers),
        "stored_bits": sum(layer.stored_bits for layer in layers),
        "position_bits": sum(layer.position_storage_bits for layer in layers),
        "dense_bit_operations_a_pixel": sum(layer.dense_bit_operations for layer in layers),
        "tree_bit_operations_a_pixel": sum(layer.tree_bit_operations for layer in layers),
        "depth": max(layer.depth for layer in layers),
    }


def main() -> None:
    """Fine-tune at each weight of the loss and record the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="model.safetensors of a trained binarynet-small")
    parser.add_argument("--network", default="binarynet-small")
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--tree-weights", type=float, nargs="+", default=WEIGHTS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    host = host_info()
    torch.set_num_threads(arguments.threads)
    training, test = (open_dataset(f"{arguments.data}:{split}") for split in ("train", "test"))
    recipe = get_recipe("binary", epochs=arguments.epochs, learning_rate=arguments.learning_rate)
    recipe = replace(recipe, zero_classifier=False, real_weight_epochs=0)
    curve: list[dict[str, Any]] = []
    before: dict[str, Any] = {}
    for weight in arguments.tree_weights:
        torch.manual_seed(0)
        network = load_source(
            arguments.network,
            classes=len(training.classes),
            in_channels=training.channels,
            resolution=None,
            weights=arguments.weights,
        )
        before = before or storage(network.module)
        preprocessing: Preprocessing = network.preprocessing or default_preprocessing(training)
        with tempfile.TemporaryDirectory() as output:
            result = train(
                network.module,
                network=network.name,
                preprocessing=preprocessing,
                training=training,
                test=test,
                recipe=replace(recipe, tree_weight=weight),
                output=Path(output) / "run",
            )
        curve.append({"tree_weight": weight, "top1": result.top1, "seconds": round(result.seconds, 1)})
        curve[-1] |= storage(network.module)
        print(curve[-1], flush=True)
    record(host, {"start": before, "epochs": arguments.epochs, "threads": arguments.threads, "curve": curve})


if __name__ == "__main__":
    main()
