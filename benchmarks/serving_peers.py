"""Servers that benchmarks/serving.py measures beside `edgeml serve`; each takes MODEL, PORT and the largest batch.

- litserve: tensors as base64 in JSON, since it reads its requests as JSON.
- mosec: tensors as they are.
- uvicorn, granian: edgeml's own ASGI application on one and the other server, without the bounds that `edgeml serve`
  puts around uvicorn's connections, so that the two differ in nothing else.

All run the model by a Session of edgeml with one thread, in one worker.
"""

import argparse
import asyncio
import base64
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.core.device import LOCAL
from edgeml.core.session import Session, SessionOptions
from edgeml.runtime.onnx_file import open_artifact
from edgeml.runtime.registry import get_runtime

# How long a batch waits for more; edgeml's waits for nothing, which the peers have no word for.
WAIT_S = 0.001
# Worker processes are started by the servers, which hand them no arguments of ours.
_MODEL = "EDGEML_BENCHMARK_MODEL"
_BATCH = "EDGEML_BENCHMARK_BATCH"


def open_session() -> Session:
    """The model, with one thread."""
    return get_runtime("onnxruntime").open(open_artifact(Path(os.environ[_MODEL])), LOCAL, SessionOptions(threads=1))


class Classifier:
    """The model for one image or several."""

    def __init__(self) -> None:
        self._session = open_session()
        (spec,) = self._session.inputs
        self._name, self._shape = spec.name, (1, *spec.shape[1:])
        self.run([np.zeros(self._shape, np.float32)] * int(os.environ[_BATCH]))

    def read(self, data: bytes) -> Any:
        """An image from its bytes."""
        return np.frombuffer(data, np.float32).reshape(self._shape)

    def run(self, images: list[Any]) -> Any:
        """Logits, a row an image."""
        batch = images[0] if len(images) == 1 else np.concatenate(images)
        return next(iter(self._session.run({self._name: batch}).values()))


def litserve(port: int, batch: int) -> None:
    """LitServe, one worker."""
    import litserve as ls

    class Api(ls.LitAPI):  # type: ignore[misc]
        def setup(self, device: str) -> None:  # noqa: ARG002 (LitServe's signature)
            self.classifier = Classifier()

        def decode_request(self, request: dict[str, str]) -> Any:
            return self.classifier.read(base64.b64decode(request["image"]))

        def batch(self, inputs: list[Any]) -> Any:
            return inputs

        def unbatch(self, output: Any) -> Any:
            return list(output)

        def predict(self, x: Any) -> Any:
            return self.classifier.run(x if isinstance(x, list) else [x])

        def encode_response(self, output: Any) -> dict[str, str]:
            return {"logits": base64.b64encode(output.tobytes()).decode()}

    api = Api(max_batch_size=batch, batch_timeout=WAIT_S if batch > 1 else 0.0)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=False)
    server.run(host="127.0.0.1", port=port, log_level="error", generate_client_file=False)


def mosec(port: int, batch: int) -> None:
    """mosec, one worker."""
    os.environ |= {"MOSEC_ADDRESS": "127.0.0.1", "MOSEC_PORT": str(port), "MOSEC_LOG_LEVEL": "error"}
    sys.argv = sys.argv[:1]
    from mosec import Server

    server = Server()
    server.append_worker(
        MosecWorker, num=1, max_batch_size=batch, max_wait_time=round(WAIT_S * 1e3) if batch > 1 else 0
    )
    server.run()


try:
    from mosec import Worker
except ModuleNotFoundError:
    pass
else:

    class MosecWorker(Worker):  # type: ignore[misc]
        """The model; mosec starts it in a process of its own."""

        def __init__(self) -> None:
            super().__init__()
            self._classifier = Classifier()

        def deserialize(self, data: bytes) -> Any:
            """An image."""
            return self._classifier.read(data)

        def serialize(self, data: Any) -> bytes:
            """Its logits."""
            answer: bytes = data.tobytes()
            return answer

        def forward(self, data: Any) -> Any:
            """Logits of one image, or of each of several."""
            return list(self._classifier.run(data)) if isinstance(data, list) else self._classifier.run([data])


class Lazy:
    """edgeml's ASGI application, whose engine is opened by the first request: neither server needs to tell it."""

    def __init__(self) -> None:
        self._application: Any = None
        self._opening = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request (ASGI 3)."""
        if self._application is None:
            async with self._opening:
                if self._application is None:
                    self._application = await self._open()
        await self._application(scope, receive, send)

    async def _open(self) -> Any:
        from edgeml.serving.engine.configuration import ModelConfiguration, ModelSource
        from edgeml.serving.engine.engine import open_engine
        from edgeml.serving.http.application import Application
        from edgeml.serving.http.metrics import Metrics
        from edgeml.serving.protocol.limits import Limits

        path, metrics = Path(os.environ[_MODEL]), Metrics()
        configuration = ModelConfiguration(threads=1, max_batch_size=int(os.environ[_BATCH]))
        source = ModelSource(name=path.stem, versions={"1": path}, configuration=configuration)
        engine = await open_engine([source], observe=metrics.ran)
        return Application(engine, metrics=metrics, limits=Limits())


application = Lazy()


def uvicorn(port: int, batch: int) -> None:  # noqa: ARG001 (told by the environment)
    """The ASGI application on uvicorn, with httptools and uvloop."""
    import uvicorn as package

    package.run(application, host="127.0.0.1", port=port, lifespan="off", access_log=False, log_level="error")


def granian(port: int, batch: int) -> None:  # noqa: ARG001 (told by the environment)
    """The ASGI application on granian, one worker, with uvloop."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops

    Granian(
        "serving_peers:application",
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        loop=Loops.uvloop,
        websockets=False,
        log_enabled=False,
        working_dir=Path(__file__).parent,
    ).serve()


SERVERS = {"litserve": litserve, "mosec": mosec, "uvicorn": uvicorn, "granian": granian}


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--model", type=Path, required=True, help="ONNX file with one image as input")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1, help="most images that are run together")
    arguments = parser.parse_args()
    os.environ |= {_MODEL: str(arguments.model.resolve()), _BATCH: str(arguments.batch)}
    SERVERS[arguments.server](arguments.port, arguments.batch)


if __name__ == "__main__":
    main()
