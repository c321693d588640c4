"""A Session whose model runs in another process: an emulated board's, or one that holds a connection to a board."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError, UntrustedFileError, UsageError
from edgeml.core.session import Feeds, SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.array_messages import read_message, write_message
from edgeml.runtime.feeds import check_feeds

_KINDS: dict[str, type[EdgeMLError]] = {
    kind.__name__: kind for kind in (EdgeMLError, UsageError, UntrustedFileError, MissingError, CheckFailedError)
}
_TAIL_BYTES = 4096
_LINE_LIMIT = 300
_STOP_TIMEOUT_S = 30.0


class ProcessSession:
    """One model open in a process of its own; a Session."""

    def __init__(
        self,
        artifact: Artifact,
        command: Sequence[str],
        *,
        device: Device,
        opened_on: Device,
        options: SessionOptions,
        environment: Mapping[str, str],
        open_timeout_s: float,
        run_timeout_s: float,
    ) -> None:
        """Start the process and open the model in it.

        Args:
            artifact: the model, by a path that the process sees too.
            command: what runs `edgeml.runtime.session_server`.
            device: what messages call the far end.
            opened_on: the device that the process opens the model on, seen from there.
            options: of the Session.
            environment: variables of the process, beside the caller's.
            open_timeout_s: how long starting and opening may take.
            run_timeout_s: how long one run may take.

        Raises:
            EdgeMLError: of any kind: the process died, was too slow, or said why it cannot open the model.
        """
        self._artifact = artifact
        self._device = device
        self._run_timeout_s = run_timeout_s
        self._lock = threading.Lock()  # one request at a time
        # A file, not a pipe: a library may print any amount to stderr while nobody reads.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        try:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=os.environ | {"PYTHONSAFEPATH": "1", "OPENBLAS_NUM_THREADS": "1"} | dict(environment),
            )
        except OSError as error:
            self._errors.close()
            raise EdgeMLError(f"{command[0]} cannot be started: {error.strerror or error}") from error
        request = {
            "command": "open",
            "artifact": artifact.to_json(),
            "path": str(artifact.path.resolve()),
            "device": str(opened_on),
            "threads": options.threads,
            "optimize": options.optimize,
        }
        try:
            self._ask(request, (), open_timeout_s)
        except BaseException:
            self._end(wait=False)
            raise

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs, as its manifest tells them."""
        return self._artifact.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs, as its manifest tells them."""
        return self._artifact.outputs

    def run(self, feeds: Feeds) -> dict[str, npt.NDArray[Any]]:
        """Outputs by name for one batch of inputs by name.

        Raises:
            UsageError: the feeds do not fit the model's inputs.
            EdgeMLError: the run failed or took too long, or the session is closed.
        """
        _, arrays = self._ask({"command": "run"}, self._in_order(feeds), self._run_timeout_s)
        return {spec.name: array for spec, array in zip(self.outputs, arrays, strict=True)}

    def device_latencies_ms(self, feeds: Feeds, runs: int) -> list[float]:
        """How long each of `runs` runs takes by the device's own clock, without the link to it.

        Raises:
            UsageError: the feeds do not fit the model's inputs.
            EdgeMLError: the device has no clock of its own, or as in `run`.
        """
        answer, _ = self._ask({"command": "time", "runs": runs}, self._in_order(feeds), self._run_timeout_s)
        latencies: list[float] = answer["latency_ms"]
        return latencies

    def close(self) -> None:
        """End the process, which frees the model and whatever it put on the device."""
        with self._lock:
            self._end(wait=True)

    def _in_order(self, feeds: Feeds) -> list[npt.NDArray[Any]]:
        check_feeds(feeds, self.inputs)
        return [np.asarray(feeds[spec.name]) for spec in self.inputs]

    def _ask(
        self, request: dict[str, Any], arrays: Sequence[npt.NDArray[Any]], timeout_s: float
    ) -> tuple[dict[str, Any], list[npt.NDArray[Any]]]:
        with self._lock:
            process = self._process
            if process is None:
                raise EdgeMLError(f"the session of {self._artifact.path} on {self._device} is closed")
            assert process.stdin is not None
            assert process.stdout is not None
            late = threading.Event()

            def stop() -> None:
                late.set()
                process.kill()

            timer = threading.Timer(timeout_s, stop)
            timer.daemon = True
            timer.start()
            try:
                with suppress(BrokenPipeError):  # a dead process is told of below
                    write_message(process.stdin, request, arrays)
                reply = read_message(process.stdout)
            except ValueError:  # it wrote something else: as good as dead
                reply = None
            except BaseException:  # interrupted in the middle of an answer, which nobody will read to its end
                self._end(wait=False)
                raise
            finally:
                timer.cancel()
            if reply is None:
                cause = self._cause_of_death(process)
                self._end(wait=False)
                if late.is_set():
                    cause = f"{request['command']!r} was not finished within {timeout_s:.0f} s; it was stopped"
                raise EdgeMLError(f"{self._artifact.path} on {self._device}: {cause}")
            header, outputs = reply
        if "error" in header:
            raise _KINDS.get(header["kind"], EdgeMLError)(str(header["error"]))
        answer: dict[str, Any] = header["ok"]
        return answer, outputs

    def _cause_of_death(self, process: subprocess.Popen[bytes]) -> str:
        try:
            code = process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = self._errors.read().decode("utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
        ended = f"with code {code}"
        if code < 0:
            ended = f"by {signal.Signals(-code).name}" if -code in signal.valid_signals() else f"by signal {-code}"
        return f"the process that runs it ended {ended}; its last line: {last[:_LINE_LIMIT]}"

    def _end(self, *, wait: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError, OSError):
            process.stdin.close()
        try:
            process.wait(timeout=_STOP_TIMEOUT_S if wait else 0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._errors.close()
