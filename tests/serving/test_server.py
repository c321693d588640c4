"""A server's life: it starts, stops without losing an answer, is killed and starts again, and its log may fail."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.serving import server as server_module
from edgeml.serving.engine.configuration import ModelConfiguration
from edgeml.serving.protocol.limits import Limits
from edgeml.serving.server import ServerSettings
from tests.edge_bench.chromium import PROGRAM, TROUBLES, Chromium
from tests.serving.servers import Doubler, Echo, Server, Wire, infer_body, request, running

WriteConvNet = Callable[..., Path]
INFER = "/v2/models/m/infer"
QUIET = ModelConfiguration(warm_up=False)


def test_requests_that_were_accepted_are_answered_before_the_end() -> None:
    model = Doubler()
    with running({"m": model}, {"m": QUIET}) as server:
        model.gate.clear()
        wires = [Wire(server.port) for _ in range(8)]
        for value, wire in enumerate(wires):
            wire.send(request("POST", INFER, infer_body(value)))
        assert model.entered.wait(10)
        slow, idle = Wire(server.port), Wire(server.port)
        late = request("POST", INFER, infer_body(9))
        slow.send(late[:-5])
        idle.ask("GET", "/v2")
        time.sleep(0.05)
        server.stop()
        assert idle.is_closed()
        with pytest.raises(OSError, match="refused"):
            Wire(server.port)
        slow.send(late[-5:])
        model.gate.set()
        for value, wire in enumerate(wires):
            answer = wire.read()
            assert answer.headers["connection"] == "close"
            assert answer.json["outputs"][0]["data"] == [2 * value] * 3
        assert slow.read().json["outputs"][0]["data"] == [18] * 3
        for wire in (*wires, slow, idle):
            wire.__exit__()
        server.join()


def test_grpc_calls_that_were_accepted_are_answered_before_the_end() -> None:
    client = pytest.importorskip("tritonclient.grpc")
    model = Doubler()
    with running({"m": model}, {"m": QUIET}) as server, client.InferenceServerClient(server.grpc) as triton:
        model.gate.clear()
        x = client.InferInput("x", (1, 3), "FP32")
        x.set_data_from_numpy(np.ones((1, 3), np.float32))
        answers: list[Any] = []
        for _ in range(8):
            triton.async_infer("m", [x], lambda result, error: answers.append((result, error)))
        assert model.entered.wait(10)
        time.sleep(0.1)
        server.stop()
        time.sleep(0.1)
        model.gate.set()
        server.join()
        while len(answers) < 8:
            time.sleep(0.01)
        assert [error for _, error in answers] == [None] * 8


def test_a_model_that_hangs_does_not_keep_the_server_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "DRAIN_S", 0.7)
    model = Doubler()
    try:
        with running({"m": model}, {"m": QUIET}) as server, Wire(server.port) as wire:
            model.gate.clear()
            wire.send(request("POST", INFER, infer_body()))
            assert model.entered.wait(10)
            began = time.monotonic()
            server.stop()
            server.join()
            assert time.monotonic() - began < 15  # not the 30 s of the request's deadline
            assert wire.is_closed()
    finally:
        model.gate.set()


def test_a_port_that_is_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EdgeMLError, match=f"cannot listen at 127.0.0.1 port {port}: Address already in use"):
            running({"m": Doubler()}, {"m": QUIET}, port=port).__enter__()


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "edgeml test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory = tmp_path_factory.mktemp("tls")
    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (directory / "cert.pem").write_bytes(made.public_bytes(pem))
    (directory / "key.pem").write_bytes(key.private_bytes(pem, plain, serialization.NoEncryption()))
    locked = serialization.BestAvailableEncryption(b"secret")
    (directory / "locked.pem").write_bytes(key.private_bytes(pem, plain, locked))
    return directory / "cert.pem", directory / "key.pem"


def test_both_protocols_are_served_over_tls(certificate: tuple[Path, Path]) -> None:
    grpc_client = pytest.importorskip("tritonclient.grpc")
    cert, key = certificate
    with running({"m": Doubler()}, {"m": QUIET}, certificate=cert, key=key) as server:
        context = ssl.create_default_context(cafile=cert)
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=30)
        for _ in range(1000):
            connection.request("GET", "/v2/health/ready")
            if (status := connection.getresponse()).read() == b"" and status.status == 200:
                break
            time.sleep(0.01)
        connection.request("POST", INFER, infer_body(3))
        assert json.loads(connection.getresponse().read())["outputs"][0]["data"] == [6] * 3
        assert connection.sock.version() == "TLSv1.3"
        connection.close()
        with grpc_client.InferenceServerClient(server.grpc, ssl=True, root_certificates=str(cert)) as triton:
            x = grpc_client.InferInput("x", (1, 3), "FP32")
            x.set_data_from_numpy(np.ones((1, 3), np.float32))
            assert triton.infer("m", [x]).as_numpy("y").tolist() == [[2, 2, 2]]
        with Wire(server.port) as plain:  # without TLS, and a server that goes on
            plain.send(request("GET", "/v2"))
            assert plain.socket.recv(100)[:4] != b"HTTP"
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.load_verify_locations(cert)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", server.port)) as connected, pytest.raises((ssl.SSLError, OSError)):
            old.wrap_socket(connected, server_hostname="127.0.0.1")


def test_a_certificate_that_cannot_be_used_is_told(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    (tmp_path / "empty.pem").write_bytes(b"")
    for pair in ((cert, cert), (tmp_path / "empty.pem", key), (cert, cert.parent / "locked.pem")):
        with pytest.raises(UsageError, match="cannot be used"):
            running({"m": Doubler()}, {"m": QUIET}, certificate=pair[0], key=pair[1]).__enter__()
    with pytest.raises(UsageError, match="only one of the two"):
        ServerSettings(certificate=cert)
    with pytest.raises(UsageError, match="no file"):
        ServerSettings(certificate=cert, key=tmp_path / "none")


# As a process


BOUNDED = """
import resource, sys
largest = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
from edgeml.cli.main import main
main()
"""


class Process:
    """`edgeml serve` as a process."""

    def __init__(self, *arguments: object, stderr: Any = subprocess.PIPE, largest_file: int | None = None) -> None:
        command = [
            sys.executable,
            # The bound is set in the child itself: a function between fork and exec would run gRPC's fork handlers.
            *(("-c", BOUNDED, str(largest_file)) if largest_file is not None else ("-m", "edgeml.cli.main")),
            "serve",
            *map(str, arguments),
            "--no-grpc",
            "--threads",
            "1",
        ]
        self.process = subprocess.Popen(command, stderr=stderr, text=True)
        self.port = 0
        if self.process.stderr is not None:
            self.line = self.process.stderr.readline()
            match = re.search(r"serving at http://127\.0\.0\.1:(\d+)", self.line)
            if match is None:
                self.process.kill()
                raise AssertionError(self.line + self.process.communicate()[1])
            self.port = int(match[1])
            # What follows is read as it comes, or the pipe would fill.
            self.rest: list[str] = []
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.rest += self.process.stderr

    def wait_until_ready(self, port: int = 0) -> None:
        for _ in range(3000):
            try:
                with Wire(port or self.port) as wire:
                    if wire.ask("GET", "/v2/health/ready").status == 200:
                        return
            except OSError:
                pass
            time.sleep(0.01)
        raise AssertionError("it did not become ready")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def process(*arguments: object, **options: Any) -> Iterator[Process]:
    found = Process(*arguments, **options)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
        found.process.wait(30)
        if found.process.stderr is not None:
            found._reader.join(30)
            found.process.stderr.close()


def ask_until_cut(port: int, image: np.ndarray[Any, Any], outcomes: list[str]) -> None:
    """Infer over and over on one connection; what became of each request."""
    body = json.dumps(
        {"inputs": [{"name": "image", "shape": list(image.shape), "datatype": "FP32", "data": image.ravel().tolist()}]}
    ).encode()
    message = request("POST", "/v2/models/net/infer", body)
    with Wire(port) as wire:
        while True:
            try:
                wire.send(message)
                answer = wire.read()
            except OSError:  # it was not accepted: the connection was closed while the request was on its way
                outcomes.append("cut")
                return
            outcomes.append(str(answer.status))
            if answer.headers.get("connection") == "close":
                return


@pytest.mark.slow
def test_sigterm_under_load_answers_what_was_accepted_and_ends_with_0(write_conv_net: WriteConvNet) -> None:
    net = write_conv_net(layers=4, channels=32, size=32)
    with process(net, "--port", 0, "--log-format", "json", "--log-requests") as served:
        served.wait_until_ready()
        outcomes: list[list[str]] = [[] for _ in range(16)]
        image = np.random.default_rng(0).random((4, 1, 32, 32), np.float32)
        threads = [threading.Thread(target=ask_until_cut, args=(served.port, image, each)) for each in outcomes]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        began = time.monotonic()
        assert served.end() == 0
        took = time.monotonic() - began
        for thread in threads:
            thread.join()
    assert took < 10
    found = [outcome for each in outcomes for outcome in each]
    assert found.count("200") == len(found) > 16
    lines = [json.loads(line) for line in served.rest]
    assert [line["event"] for line in lines if line["event"] != "answered"][-2:] == ["stopping", "stopped"]
    answered = sum(line["event"] == "answered" and line["path"].endswith("infer") for line in lines)
    assert answered == len(found)


@pytest.mark.slow
def test_it_starts_again_at_its_port_after_it_was_killed(write_conv_net: WriteConvNet) -> None:
    net = write_conv_net()
    with process(net, "--port", 0) as served:
        served.wait_until_ready()
        wires = [Wire(served.port) for _ in range(4)]
        for wire in wires:
            wire.ask("GET", "/v2")
        assert served.end(signal.SIGKILL) == -signal.SIGKILL
    with process(net, "--port", served.port) as again:
        again.wait_until_ready()
        assert again.end(signal.SIGINT) == 0
    for wire in wires:
        wire.__exit__()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_log_on_a_full_disk_does_not_stop_it(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    net = write_conv_net()
    port = free_port()
    with Path("/dev/full").open("w") as full, process(net, "--port", port, "--log-requests", stderr=full) as served:
        served.wait_until_ready(port)
        with Wire(port) as wire:
            for _ in range(20):
                assert wire.ask("GET", "/v2").status == 200
        assert served.end() == 0
    with process(net, "--port", 0, "--log-requests", "--log", "/dev/full") as served:
        served.wait_until_ready()
        assert served.end() == 0


@pytest.mark.slow
def test_a_file_that_may_not_grow_does_not_stop_it(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with process(write_conv_net(), "--port", 0, "--log-requests", "--log", log, largest_file=2000) as served:
        served.wait_until_ready()
        with Wire(served.port) as wire:
            for _ in range(100):
                assert wire.ask("GET", "/v2").status == 200
        assert served.end() == 0
    assert 1000 < log.stat().st_size <= 2000


# The status page


@pytest.fixture(scope="module")
def shown() -> Iterator[Server]:
    models: dict[str, Any] = {"tinynet-e": Doubler(), "words<b>": Echo("str")}
    quiet = dict.fromkeys(models, QUIET)
    with running(models, quiet, grpc_port=None, limits=Limits()) as server:
        with Wire(server.port) as wire:
            for _ in range(3):
                wire.ask("POST", "/v2/models/tinynet-e/infer", infer_body())
            wire.ask("POST", "/v2/repository/models/words<b>/unload")
        yield server


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    if PROGRAM is None:
        pytest.skip("no Chromium on this machine; `make system-packages` installs it")
    with Chromium(PROGRAM) as browser:
        yield browser


@pytest.mark.chromium
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_status_page_fits_and_asks_for_nothing(chromium: Chromium, shown: Server, width: int, dark: bool) -> None:
    url = f"http://{shown.http}/"
    chromium.show_as(dark=dark)
    chromium.send(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
    )
    chromium.events.clear()
    chromium.send("Page.navigate", url=url)
    chromium.evaluate(
        "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))"
    )
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.evaluate("document.querySelectorAll('tbody tr').length") == 2
    assert chromium.evaluate("document.querySelector('tbody').innerText.includes('words<b>')")
    assert chromium.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light dark"
    assert chromium.evaluate("""(() => {
        const cells = [...document.querySelectorAll("tbody tr:first-child td")];
        return cells.every(cell => cell.getBoundingClientRect().right <= innerWidth);
    })()""")
    asked = {event["params"]["request"]["url"] for event in chromium.events if event["method"].endswith("WillBeSent")}
    assert {each for each in asked if not each.startswith("data:")} == {url}
    assert [event for event in chromium.events if event["method"] in TROUBLES] == []
    if directory := os.environ.get("EDGEML_SCREENSHOTS"):
        (Path(directory) / f"status-{width}-{'dark' if dark else 'light'}.png").write_bytes(chromium.screenshot())
