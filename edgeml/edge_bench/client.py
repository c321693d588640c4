"""The coordinator's end of a worker: sends commands, and tells in one line when it dies or its device is lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError, UntrustedFileError, UsageError
from edgeml.edge_bench.devices.channel import Channel
from edgeml.edge_bench.devices.errors import DeviceLostError
from edgeml.edge_bench.devices.local import WORKER_COMMAND, LocalChannel

_KINDS: dict[str, type[EdgeMLError]] = {
    kind.__name__: kind for kind in (EdgeMLError, UsageError, UntrustedFileError, MissingError, CheckFailedError)
}


class WorkerClient:
    """A worker at the far end of a channel; use it as a context manager, which ends the worker."""

    def __init__(self, channel: Channel, label: str) -> None:
        """Take over the channel.

        Args:
            channel: the worker, started.
            label: what messages call it: the model file.
        """
        self._channel = channel
        self._label = label

    def ask(self, command: str, *, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        """Send a command and return its answer.

        Raises:
            DeviceLostError: the link to the worker's device was cut.
            EdgeMLError: the worker refused (with its own kind of error), died, or took longer than `timeout_s`.
        """
        self._channel.send(json.dumps({"command": command, **arguments}))
        try:
            line = self._channel.receive(timeout_s)
        except TimeoutError as error:
            raise EdgeMLError(
                f"{self._label}: the worker did not finish {command!r} within {timeout_s:.0f} s; it was stopped"
            ) from error
        if line is None:
            kind = DeviceLostError if self._channel.lost else EdgeMLError
            raise kind(f"{self._label}: {self._channel.ended_because()}")
        reply = self._parsed(line)
        if "error" in reply:
            message = str(reply["error"])
            prefix = "" if self._label in message else f"{self._label}: "
            raise _KINDS.get(str(reply.get("kind")), EdgeMLError)(prefix + message)
        answer: dict[str, Any] = reply["ok"]
        return answer

    def close(self) -> None:
        """End the worker: by asking, then by force."""
        self._channel.close()

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # After an error it may be in the middle of a long run, and nobody waits for that any more.
        self._channel.close(force=kind is not None)

    def _parsed(self, line: str) -> dict[str, Any]:
        try:
            reply = json.loads(line)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict) or not ("error" in reply or isinstance(reply.get("ok"), dict)):
            raise EdgeMLError(f"{self._label}: the worker's answer is not of its form: {line[:80]!r}")
        return reply


def start_worker(label: str, command: Sequence[str] = WORKER_COMMAND) -> WorkerClient:
    """A worker as a child process, apart from any connection.

    Args:
        label: what messages call it: the model file.
        command: the program.
    """
    return WorkerClient(LocalChannel(command), label)
