"""edgeml's ASGI application for benchmarks/serving.py, on uvicorn or granian: whichever is the first argument.

Both with uvloop and one worker. uvicorn goes without the bounds that `edgeml serve` puts around its connections, and
granian without those that it would need, so that the two differ in nothing else.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from serving_classifier import BATCH, MODEL, settings

from edgeml.serving.engine.configuration import ModelConfiguration, ModelSource
from edgeml.serving.engine.engine import open_engine
from edgeml.serving.http.application import Application
from edgeml.serving.http.metrics import Metrics
from edgeml.serving.protocol.limits import Limits


class Lazy:
    """The application, whose engine is opened by the first request: it belongs to the loop that the server makes."""

    def __init__(self) -> None:
        self._application: Application | None = None
        self._opening = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request (ASGI 3)."""
        if self._application is None:
            async with self._opening:
                self._application = self._application or await _open()
        await self._application(scope, receive, send)


async def _open() -> Application:
    path, metrics = Path(os.environ[MODEL]), Metrics()
    configuration = ModelConfiguration(threads=1, max_batch_size=int(os.environ[BATCH]))
    source = ModelSource(name=path.stem, versions={"1": path}, configuration=configuration)
    return Application(await open_engine([source], observe=metrics.ran), metrics=metrics, limits=Limits())


application = Lazy()


def on_uvicorn(port: int) -> None:
    """Serve until killed."""
    import uvicorn

    uvicorn.run(application, host="127.0.0.1", port=port, lifespan="off", access_log=False, log_level="error")


def on_granian(port: int) -> None:
    """Serve until killed; it starts a worker that imports this file."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops

    Granian(
        "serving_asgi:application",
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        loop=Loops.uvloop,
        websockets=False,
        log_enabled=False,
        working_dir=Path(__file__).parent,
    ).serve()


if __name__ == "__main__":
    server = sys.argv.pop(1)
    (on_granian if server == "granian" else on_uvicorn)(settings()[0])
