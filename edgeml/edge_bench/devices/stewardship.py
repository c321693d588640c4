"""The coordinator's end of a device's steward, which looks after the run there (`steward.py`)."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any

from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError
from edgeml.edge_bench.devices.channel import Channel
from edgeml.edge_bench.devices.errors import DeviceLostError

BEAT_S = 15.0
SILENCE_S = 90.0
"""A steward that has heard nothing for so long takes the link for cut, whatever the network stack there believes."""

_ANSWER_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """What a device told of itself when the run began.

    Attributes:
        python: version of the interpreter that runs workers.
        executable: its path.
        machine: the processor's architecture ("aarch64").
        system: kernel and release.
        packages: version of each package that a worker may need, None where it is not installed.
        worker_digest: of the sources of the device's own edgeml; None where it has none.
        directory: edgeml's directory there, absolute.
        free_bytes: what its file system has left for this user.
        cores: logical cores; None where that is not told.
        time_s: the device's wall clock.
    """

    python: str
    executable: str
    machine: str
    system: str
    packages: dict[str, str | None]
    worker_digest: str | None
    directory: str
    free_bytes: int
    cores: int | None
    time_s: float


class Stewardship:
    """One steward; calls may come from several threads. It is told every 15 s that the coordinator is still there."""

    def __init__(self, device: Device, channel: Channel) -> None:
        """Take over the channel.

        Args:
            device: what messages call the far end.
            channel: the steward, started.
        """
        self._device = device
        self._channel = channel
        self._lock = threading.Lock()
        self._lost: str | None = None
        self._over = threading.Event()
        self._beat = threading.Thread(target=self._keep_telling, name=f"edgeml steward {device}", daemon=True)

    def first_words(self) -> DeviceFacts:
        """What the device tells of itself, once, at the beginning.

        Raises:
            DeviceLostError: the link is cut.
            EdgeMLError: the steward did not start; the message has its last line.
        """
        facts = DeviceFacts(**self._answer())
        self._beat.start()
        return facts

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and return its answer.

        Raises:
            DeviceLostError: the link is cut.
            EdgeMLError: the steward could not do it, or was ended.
        """
        with self._lock:
            self._tell(command, **arguments)
            answer = self._answer()
        if "error" in answer:
            raise EdgeMLError(f"{self._device}: {answer['error']}")
        result: dict[str, Any] = answer["ok"]
        return result

    def end(self) -> bool:
        """Have the run cleared up; whether the steward confirms it."""
        self._over.set()
        if self._beat.is_alive():
            self._beat.join()
        with self._lock:
            self._tell("end")
            try:
                cleared = self._lost is None and self._channel.receive(_END_TIMEOUT_S) is not None
            except TimeoutError:
                cleared = False
            self._channel.close()
        return cleared

    def _tell(self, command: str, **arguments: Any) -> None:
        self._channel.send(json.dumps({"command": command, **arguments}))

    def _answer(self) -> dict[str, Any]:
        if self._lost is not None:  # nobody waits for it twice
            raise DeviceLostError(self._lost)
        try:
            line = self._channel.receive(_ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            self._lost = f"{self._device} did not answer within {_ANSWER_TIMEOUT_S:.0f} s"
            raise DeviceLostError(self._lost) from error
        if line is None:
            cause = self._channel.ended_because().replace("the worker", "the program that looks after the run", 1)
            if self._channel.lost:
                self._lost = cause
                raise DeviceLostError(cause)
            raise EdgeMLError(f"{self._device}: {cause}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _keep_telling(self) -> None:
        while not self._over.wait(BEAT_S):
            self._tell("alive")
