"""mosec for benchmarks/serving.py, with one worker; bodies are the tensors as they are."""

import os
import sys
from typing import Any

from mosec import Server, Worker
from serving_classifier import WAIT_S, Classifier, settings


class Model(Worker):  # type: ignore[misc]
    """The model; mosec starts it in a process of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._classifier = Classifier()

    def deserialize(self, data: bytes) -> Any:
        """A sample."""
        return self._classifier.read(data)

    def forward(self, data: Any) -> Any:
        """Outputs of one sample, or of each of several."""
        return list(self._classifier.run(data)) if isinstance(data, list) else self._classifier.run([data])

    def serialize(self, data: Any) -> bytes:
        """A row."""
        row: bytes = data.tobytes()
        return row


def main() -> None:
    """Serve until killed."""
    port, batch = settings()
    os.environ |= {"MOSEC_ADDRESS": "127.0.0.1", "MOSEC_PORT": str(port), "MOSEC_LOG_LEVEL": "error"}
    sys.argv = sys.argv[:1]  # which mosec reads, too
    server = Server()
    wait_ms = round(WAIT_S * 1e3) if batch > 1 else 0
    server.append_worker(Model, num=1, max_batch_size=batch, max_wait_time=wait_ms)
    server.run()


if __name__ == "__main__":
    main()
