"""`edgeml serve` from its command line to its exit code."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgeml.cli.main import COMMANDS
from edgeml.cli.serve import command
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.serving import server
from edgeml.serving.http.authorization import Tokens
from edgeml.serving.repository.directory import DirectoryRepository
from edgeml.serving.repository.files import FileRepository

WriteConvNet = Callable[..., Path]
NOBODY = Tokens()


def invoke(*arguments: object) -> str:
    """Run the command in this process; what it wrote to stderr."""
    result = CliRunner().invoke(
        command, [str(each) for each in arguments], catch_exceptions=False, standalone_mode=False
    )
    return result.stderr


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, server.ServerSettings]]:
    """What would have been served, in place of serving it."""
    found: list[tuple[Any, server.ServerSettings]] = []

    async def serve(repository: Any, settings: server.ServerSettings, listening: server.Listening) -> None:
        found.append((repository, settings))
        listening(1234, None if settings.grpc_port is None else 5678)

    monkeypatch.setattr(server, "serve", serve)
    return found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file that nothing loads."""
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no model")
    return path


def test_the_help_line_is_the_group_s() -> None:
    assert command.get_short_help_str(200) == COMMANDS["serve"][1]


def test_by_default_only_this_machine_is_served(model: Path, started: list[Any]) -> None:
    assert invoke(model) == "edgeml: serving at http://127.0.0.1:1234, gRPC at 127.0.0.1:5678\n"
    ((repository, settings),) = started
    assert isinstance(repository, FileRepository)
    assert not settings.tokens
    assert replace(settings, tokens=NOBODY) == server.ServerSettings(tokens=NOBODY)


def test_every_option_reaches_the_server(tmp_path: Path, started: list[Any]) -> None:
    for file in ("cert.pem", "key.pem"):
        (tmp_path / file).write_text("")
    (tmp_path / "tokens").write_text("0123456789abcdef\n")
    told = invoke(
        tmp_path, "--host", "::1", "--port", 1, "--no-grpc", "--threads", 2, "--instances", 3, "--max-batch", 4,
        "--batch-delay-us", 5, "--queue", 6, "--timeout", 7, "--max-body", "8k", "--reload", 9, "--rate-limit", 10,
        "--token-file", tmp_path / "tokens", "--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem",
        "--log", tmp_path / "log", "--log-format", "json", "--log-requests",
    )  # fmt: skip
    assert told == "edgeml: serving at https://[::1]:1234\n"
    ((repository, settings),) = started
    assert isinstance(repository, DirectoryRepository)
    defaults = repository._defaults
    assert (defaults.threads, defaults.instances, defaults.max_batch_size, defaults.max_queue_delay_us) == (2, 3, 4, 5)
    assert (settings.host, settings.port, settings.grpc_port, settings.reload_s) == ("::1", 1, None, 9)
    limits = settings.limits
    assert (limits.queue, limits.request_s, limits.body_bytes) == (6, 7, 8192)
    assert (settings.requests_per_second, settings.log_requests, bool(settings.tokens)) == (10, True, True)
    assert (settings.certificate, settings.key) == (tmp_path / "cert.pem", tmp_path / "key.pem")
    assert (tmp_path / "log").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "board.example"])
def test_a_server_that_others_reach_is_warned_of(model: Path, started: list[Any], host: str) -> None:
    told = invoke(model, "--host", host)
    assert f"warning: {host} can be reached by others; consider --token-file and --tls-cert and --tls-key" in told
    assert started


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_is_not_warned_of(model: Path, started: list[Any], host: str) -> None:
    assert "warning" not in invoke(model, "--host", host)
    assert started


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--max-body", "lots"], "--max-body is 'lots'"),
        (["--max-body", "0"], "--max-body is '0'"),
        (["--tls-cert", "cert.pem"], "TLS takes a certificate and its key"),
        (["--tls-cert", "cert.pem", "--tls-key", "key.pem"], r"there is no file cert\.pem"),
        (["--token-file", "none"], "cannot read tokens from none"),
        (["--log", "none/log"], "cannot write the log"),
        (["gone.onnx"], r"there is no model file gone\.onnx"),
        (["--instances", "1000"], "instances is 1000"),
    ],
)
def test_options_that_cannot_be_used_are_one_line(
    model: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(model.parent)
    with pytest.raises(UsageError, match=reason):
        invoke(model, *arguments)
    assert not started


def test_a_port_that_is_taken_is_one_line(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EdgeMLError, match=f"cannot listen at 127.0.0.1 port {port}"):
            invoke(model, "--port", port, "--no-grpc")


def test_files_that_cannot_be_loaded_end_the_server_with_the_first_error(model: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(EdgeMLError, match=r"net\.onnx") as caught:
        invoke(model, f"other={model}", "--port", 0, "--grpc-port", 0, "--log", log, "--log-format", "json")
    faults = [json.loads(line) for line in log.read_text().splitlines()]
    assert [fault["model"] for fault in faults if fault["event"] == "not served"] == ["net", "other"]
    assert faults[0]["reason"] == str(caught.value)


def serve(*arguments: object) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "edgeml.cli.main", "serve", *map(str, arguments), "--port", "0", "--grpc-port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_exit_code_is_the_error_s(model: Path) -> None:
    process = serve(model, "--log", model.with_name("log"))
    _, told = process.communicate(timeout=60)
    assert process.returncode == UsageError.exit_code
    assert re.fullmatch(r"edgeml: .*net\.onnx.*", told.splitlines()[-1])
    assert "Traceback" not in told


def test_a_directory_is_served_in_spite_of_faults_until_the_signal(
    write_conv_net: WriteConvNet, tmp_path: Path
) -> None:
    for name, content in (("net", write_conv_net().read_bytes()), ("bad", b"no model")):
        (tmp_path / "models" / name / "1").mkdir(parents=True)
        (tmp_path / "models" / name / "1" / "model.onnx").write_bytes(content)
    process = serve(tmp_path / "models", "--log-format", "json", "--threads", 1)
    assert process.stderr is not None
    try:
        address = re.search(r"http://127\.0\.0\.1:(\d+)", process.stderr.readline())
        assert address
        events: list[dict[str, Any]] = []
        while not events or events[-1]["event"] != "ready":
            events.append(json.loads(process.stderr.readline()))
        assert [(event["event"], event.get("model")) for event in events] == [
            ("not served", "bad"),
            ("loaded", "net"),
            ("ready", None),
        ]
        connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=30)
        body = {"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.5] * 64}]}
        connection.request("POST", "/v2/models/net/infer", json.dumps(body))
        answer = connection.getresponse()
        assert answer.status == 200
        assert len(json.loads(answer.read())["outputs"][0]["data"]) == 10
        connection.close()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0
        assert [json.loads(line)["event"] for line in told.splitlines()] == ["stopping", "stopped"]
    finally:
        process.kill()
        process.wait()
