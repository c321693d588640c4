import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.edge_bench.client import WorkerClient
from edgeml.edge_bench.devices.connection import Connection
from edgeml.edge_bench.devices.ending import ending, shell_ending
from edgeml.edge_bench.devices.errors import DeviceLostError
from edgeml.edge_bench.devices.local import LocalChannel, LocalConnection


def program(source: str) -> LocalChannel:
    return LocalChannel((sys.executable, "-c", source))


def test_lines_go_both_ways_until_the_program_ends() -> None:
    channel = program("import sys\nfor line in sys.stdin: print('got', line, end='', flush=True)")
    channel.send("ä")
    assert channel.receive(30) == "got ä"
    with pytest.raises(TimeoutError):
        channel.receive(0.05)
    os.kill(channel.process_id, 9)
    assert channel.receive(30) is None
    assert channel.receive(30) is None
    channel.send("nobody reads this")
    assert not channel.lost
    assert channel.ended_because() == (
        "the worker was ended by SIGKILL (the kernel may have ended it for want of memory); its last line: "
        "it printed nothing"
    )
    channel.close()
    channel.close()


def test_a_program_that_does_not_go_is_ended_by_force() -> None:
    channel = program("import time; time.sleep(600)")
    began = time.monotonic()
    channel.close(force=True)
    assert time.monotonic() - began < 4
    with pytest.raises(ProcessLookupError):
        os.kill(channel.process_id, 0)


@pytest.mark.parametrize(
    ("clause", "found"),
    [
        (ending(3, b"first\nno such library \n\n"), "ended with code 3; its last line: no such library"),
        (ending(-4, b""), "was ended by SIGILL (the model is compiled for a processor with instructions that this one"),
        (ending(-99, b""), "was ended by signal 99; its last line: it printed nothing"),
        (shell_ending(137, b"Killed"), "was ended by SIGKILL (the kernel may have"),
        (shell_ending(127, b"sh: python3: not found"), "ended with code 127; its last line: sh: python3: not found"),
        (ending(1, b"x" * 9000), "ended with code 1; its last line: " + "x" * 300),
    ],
)
def test_an_ending_is_put_into_words(clause: str, found: str) -> None:
    assert clause.startswith(f"the worker {found}")
    assert len(clause) < 420


class LostChannel:
    lost = True

    def send(self, line: str) -> None:
        pass

    def receive(self, timeout_s: float) -> str | None:
        return None

    def ended_because(self) -> str:
        return "the link to ssh://pi@x was cut"

    def close(self, *, force: bool = False) -> None:
        self.force = force


def test_a_lost_device_has_an_error_of_its_own() -> None:
    channel = LostChannel()
    with (
        pytest.raises(DeviceLostError, match=r"^net\.onnx: the link to ssh://pi@x was cut$"),
        WorkerClient(channel, "net.onnx") as worker,
    ):
        worker.ask("memory", timeout_s=1)
    assert channel.force


@pytest.mark.parametrize("answer", ["hello", "[]", "{}", '{"ok": 1}', "[" * 100_000])
def test_an_answer_that_is_none_is_refused(answer: str) -> None:
    source = f"print({answer[:1]!r} * {len(answer)} if {len(answer)} > 100 else {answer[:100]!r}, flush=True)"
    with (
        pytest.raises(EdgeMLError, match=r"net\.onnx: the worker's answer is not of its form: '"),
        WorkerClient(program(source), "net.onnx") as worker,
    ):
        worker.ask("memory", timeout_s=30)


def test_this_machine_is_a_device_whose_files_stay_where_they_are(
    tmp_path: Path, write_conv_net: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    local = LocalConnection()
    connection: Connection = local
    assert (str(connection.device), connection.worker_device) == ("local", "local")
    assert connection.measures_latency
    path = write_conv_net()
    monkeypatch.chdir(path.parent)
    assert connection.put(Path(path.name)) == str(path)
    scratch = Path(connection.scratch("logits.npy"))
    assert connection.scratch("logits.npy") == str(scratch)
    scratch.write_bytes(b"values")
    connection.fetch(str(scratch), tmp_path / "here.npy")
    assert (tmp_path / "here.npy").read_bytes() == b"values"
    with pytest.raises(EdgeMLError, match="the worker left no file"):
        connection.fetch(connection.scratch("other"), tmp_path / "other")
    assert not (tmp_path / "other").exists()
    for name in ("", "..", "a/b"):
        with pytest.raises(UsageError, match="not a plain file name"):
            connection.scratch(name)
    channel = connection.start("net.onnx")
    channel.send('{"command": "memory"}')
    assert "peak_memory_bytes" in (channel.receive(60) or "")
    assert isinstance(channel, LocalChannel)
    connection.close()
    assert not scratch.parent.exists()
    with pytest.raises(ProcessLookupError), suppress(PermissionError):
        os.kill(channel.process_id, 0)
