"""Many requests while models are replaced under them: python tests/serving/soak.py --requests 200000

`edgeml serve` runs as a process of its own over the repository of soak_models.py, whose files are replaced every few
seconds. Clients keep their connections open and check every answer: status, id, version, and that the numbers are those
of one file that may have answered. A request whose answer is another, or that gets none, fails the run, and so does
resident memory that grows by more than 5% after the warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.serving.soak_models import SoakModel, Vectors, make_repository

GROWTH = 0.05
# Share of the run after which memory is to be flat.
WARM_UP = 0.2
_SAMPLES = 20
_JSON_EVERY = 8
_START_S = 60.0
_ANSWER_S = 30.0
_SETTLE_S = 20.0
_VECTORS = 32
_LISTENS = re.compile(r"serving at http://127\.0\.0\.1:([0-9]+)")


@dataclass
class Report:
    """What a run saw.

    Attributes:
        requests: that were sent.
        answers: that were right.
        faults: what was wrong with the others, of each kind the first.
        seconds: that it lasted.
        reloads: times that every model was replaced.
        generations: of each model and version, those that answered, and those that were written.
        resident_mib: of the server, with the requests answered by then.
        growth: of resident memory over all that follows the warm-up, as a share; None where too little was seen.
        exit_code: of the server after SIGTERM.
    """

    requests: int = 0
    answers: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    reloads: int = 0
    generations: dict[str, tuple[int, int]] = field(default_factory=dict)
    resident_mib: list[tuple[int, float]] = field(default_factory=list)
    growth: float | None = None
    exit_code: int | None = None


def soak(
    directory: Path,
    *,
    requests: int,
    clients: int,
    replace_s: float,
    look_s: float,
    reloads: int = 0,
    wide: int = 3 * 106 * 106,
) -> Report:
    """Run it.

    Args:
        directory: an empty one, for the repository.
        requests: to send, at least.
        clients: connections at once.
        replace_s: seconds between replacements of all models.
        look_s: seconds between the server's looks at the repository.
        reloads: times that all models are replaced, at least.
        wide: elements of the model with large inputs.
    """
    models = make_repository(directory, wide)
    report = Report()
    with _server(directory, look_s, report) as (process, port):
        stop = threading.Event()
        watchers = [
            threading.Thread(target=_replace, args=(models, replace_s, stop, report)),
            threading.Thread(target=_watch, args=(process.pid, stop, report)),
        ]
        for watcher in watchers:
            watcher.start()
        began = time.monotonic()
        try:
            asyncio.run(_send_all(port, models, clients, report, lambda: _go_on(report, requests, reloads)))
        finally:
            report.seconds = time.monotonic() - began
            stop.set()
            for watcher in watchers:
                watcher.join()
        asyncio.run(_settle(port, models, report))
    for model in models:
        report.generations[f"{model.name} {model.version}".strip()] = (model.seen, model.written)
    report.growth = _growth(report.resident_mib)
    return report


@contextmanager
def _server(repository: Path, look_s: float, report: Report) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`edgeml serve`, ended by SIGTERM."""
    options = ["--port", "0", "--no-grpc", "--threads", "1", "--reload", str(look_s), "--log", f"{repository}.log"]
    command = [sys.executable, "-m", "edgeml.cli.main", "serve", str(repository), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = _LISTENS.search(line)
            assert found is not None, line
            yield process, int(found[1])
            process.send_signal(signal.SIGTERM)
            report.exit_code = process.wait(_SETTLE_S)
        finally:
            process.kill()


def _replace(models: list[SoakModel], every_s: float, stop: threading.Event, report: Report) -> None:
    while not stop.wait(every_s):
        for model in models:
            model.next()
        report.reloads += 1


def _watch(pid: int, stop: threading.Event, report: Report) -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    while not stop.wait(0.25):
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
        report.resident_mib.append((report.answers, round(resident / 2**20, 2)))


def _growth(resident_mib: list[tuple[int, float]]) -> float | None:
    """By the straight line through what was seen after the warm-up: every reload goes up and down by some percent."""
    after = [mib for _, mib in resident_mib[int(WARM_UP * len(resident_mib)) :]]
    if len(after) < _SAMPLES:
        return None
    slope, start = np.polyfit(np.arange(len(after)), after, 1)
    return float(slope * (len(after) - 1) / start)


def _go_on(report: Report, requests: int, reloads: int) -> bool:
    return report.requests < requests or report.reloads < reloads


async def _send_all(
    port: int, models: list[SoakModel], clients: int, report: Report, go_on: Callable[[], bool]
) -> None:
    await _until_ready(port)
    generator = np.random.default_rng(0)
    vectors = [
        [generator.integers(-1000, 1000, (1, model.elements)).astype(np.float32) for _ in range(_VECTORS)]
        for model in models
    ]

    async def client(index: int) -> None:
        connection = await _Connection.open(port)
        while go_on():
            report.requests += 1
            number = report.requests
            which = (number + index) % len(models)
            await _one(connection, models[which], vectors[which][number % _VECTORS], number, report)
        connection.close()

    await asyncio.gather(*(client(index) for index in range(clients)))


async def _one(connection: _Connection, model: SoakModel, x: Vectors, number: int, report: Report) -> None:
    """Send one request and check its answer."""
    least = model.answered
    try:
        in_json = number % _JSON_EVERY == 0 and model.elements < 100
        found, y = await asyncio.wait_for(connection.infer(model, x, str(number), in_json=in_json), _ANSWER_S)
        fault = model.check(x, y, found["model_version"], least)
        if not fault and found.get("id") != str(number):
            fault = f"{model.name} answered with the id {found.get('id')}; it is {number}"
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, _StatusError) as error:
        fault = f"{model.name}: {type(error).__name__} {error}"
    if fault:
        report.faults.append(fault)
    else:
        report.answers += 1


async def _until_ready(port: int) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        connection = await _Connection.open(port)
        try:
            await connection.call(b"GET /v2/health/ready HTTP/1.1\r\nHost: soak\r\n\r\n")
        except _StatusError:
            await asyncio.sleep(0.05)
        else:
            return
        finally:
            connection.close()
    raise AssertionError(f"the server was not ready after {_START_S:g} s")


async def _settle(port: int, models: list[SoakModel], report: Report) -> None:
    """What was written last must be what is served in the end."""
    connection = await _Connection.open(port)
    until = time.monotonic() + _SETTLE_S
    for model in models:
        while model.answered < model.written and time.monotonic() < until:
            report.requests += 1
            await _one(connection, model, np.ones((1, model.elements), np.float32), report.requests, report)
            await asyncio.sleep(0.05)
        if model.answered < model.written:
            report.faults.append(f"{model.name} still answers by generation {model.answered} of {model.written}")
    connection.close()


class _StatusError(Exception):
    """A status other than 200, and the answer."""


class _Connection:
    """A connection that is kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> _Connection:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def infer(self, model: SoakModel, x: Vectors, identity: str, *, in_json: bool) -> tuple[Any, Vectors]:
        """The answer's JSON and its one output, for x sent as JSON or in binary."""
        tensor: dict[str, Any] = {"name": "x", "shape": x.shape, "datatype": "FP32"}
        if in_json:
            tensor["data"] = x.ravel().tolist()
            raw = b""
        else:
            tensor["parameters"] = {"binary_data_size": x.nbytes}
            raw = x.tobytes()
        asked = {"id": identity, "inputs": [tensor], "parameters": {"binary_data_output": not in_json}}
        header = json.dumps(asked).encode()
        version = f"/versions/{model.version}" if model.version else ""
        head = (
            f"POST /v2/models/{model.name}{version}/infer HTTP/1.1\r\nHost: soak\r\n"
            f"Inference-Header-Content-Length: {len(header)}\r\nContent-Length: {len(header) + len(raw)}\r\n\r\n"
        )
        headers, body = await self.call(head.encode() + header + raw)
        length = int(headers.get("inference-header-content-length", len(body)))
        found = json.loads(body[:length])
        (output,) = found["outputs"]
        values = output["data"] if in_json else np.frombuffer(body[length:], np.float32)
        return found, np.asarray(values, np.float32).reshape(output["shape"])

    async def call(self, request: bytes) -> tuple[dict[str, str], bytes]:
        """Headers, names in lower case, and body of the answer to a request."""
        self._writer.write(request)
        await self._writer.drain()
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        body = await self._reader.readexactly(int(headers["content-length"]))
        if status.split()[1] != "200":
            raise _StatusError(f"{status} {body[:200]!r}")
        return headers, body

    def close(self) -> None:
        """Close it."""
        self._writer.close()


def main() -> None:
    """Run it and print what was seen; fail where an answer was wrong or lost, or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--replace", type=float, default=5.0, help="seconds between replacements")
    parser.add_argument("--reloads", type=int, default=24, help="replacements at least; requests go on meanwhile")
    parser.add_argument("--look", type=float, default=0.5, help="seconds between the server's looks")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report = soak(
            Path(directory) / "models",
            requests=arguments.requests,
            clients=arguments.clients,
            replace_s=arguments.replace,
            look_s=arguments.look,
            reloads=arguments.reloads,
        )
    shown = asdict(report) | {
        "faults": {"count": len(report.faults), "first": report.faults[:10]},
        "resident_mib": report.resident_mib[:: max(1, len(report.resident_mib) // 40)],
    }
    print(json.dumps(shown, indent=2))
    flat = report.growth is not None and report.growth <= GROWTH
    sys.exit(bool(report.faults) or not flat or report.exit_code != 0)


if __name__ == "__main__":
    main()
