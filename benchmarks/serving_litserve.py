"""LitServe for benchmarks/serving.py, with one worker. It reads requests as JSON, so tensors go as base64 in it."""

import base64
from typing import Any

import litserve
from serving_classifier import WAIT_S, Classifier, settings


class Api(litserve.LitAPI):  # type: ignore[misc]
    """The model; LitServe starts it in a process of its own."""

    def setup(self, device: str) -> None:  # noqa: ARG002 (LitServe's signature)
        """Load it."""
        self.classifier = Classifier()

    def decode_request(self, request: dict[str, str]) -> Any:
        """A sample."""
        return self.classifier.read(base64.b64decode(request["image"]))

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Samples as they are; the classifier joins them."""
        return inputs

    def predict(self, x: Any) -> Any:
        """Outputs of one sample, or of each of several."""
        return self.classifier.run(x if isinstance(x, list) else [x])

    def unbatch(self, output: Any) -> list[Any]:
        """A row each."""
        return list(output)

    def encode_response(self, output: Any) -> dict[str, str]:
        """A row."""
        return {"output": base64.b64encode(output.tobytes()).decode()}


def main() -> None:
    """Serve until killed."""
    port, batch = settings()
    api = Api(max_batch_size=batch, batch_timeout=WAIT_S if batch > 1 else 0.0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=False)
    server.run(host="127.0.0.1", port=port, log_level="error", generate_client_file=False)


if __name__ == "__main__":
    main()
