"""Classifies an array with a served model, over HTTP and over gRPC, with NVIDIA's client.

pip install 'tritonclient[all]'
python classify.py tinynet-e image.npy
"""

from __future__ import annotations

import argparse
from types import ModuleType
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http


def classify(protocol: ModuleType, client: Any, model: str, image: np.ndarray[Any, Any]) -> list[str]:
    """The three likeliest classes, each as "value:index" with the class's name behind it where the server knows it.

    Args:
        protocol: tritonclient.http or tritonclient.grpc.
        client: connected to the server.
        model: its name.
        image: float32 (batch, channels, height, width), as the model takes it.
    """
    metadata = client.get_model_metadata(model) if protocol is tritonclient.http else _grpc_metadata(client, model)
    tensor = protocol.InferInput(metadata["inputs"][0]["name"], list(image.shape), "FP32")
    tensor.set_data_from_numpy(image)
    output = metadata["outputs"][0]["name"]
    result = client.infer(model, [tensor], outputs=[protocol.InferRequestedOutput(output, class_count=3)])
    return [label.decode() for label in result.as_numpy(output).reshape(-1)]


def _grpc_metadata(client: Any, model: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get_model_metadata(model, as_json=True)
    return found


def main() -> None:
    """Ask over both protocols and print what each answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name of the model")
    parser.add_argument("image", help=".npy file with one array as the model takes it")
    parser.add_argument("--http", default="127.0.0.1:8000")
    parser.add_argument("--grpc", default="127.0.0.1:8001")
    given = parser.parse_args()
    image = np.load(given.image).astype(np.float32)
    for protocol, address in ((tritonclient.http, given.http), (tritonclient.grpc, given.grpc)):
        client = protocol.InferenceServerClient(address)
        print(protocol.__name__, *classify(protocol, client, given.model, image))
        client.close()


if __name__ == "__main__":
    main()
