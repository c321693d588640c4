"""One connection to TVM's RPC server with one model on it; lives in the process that `tvm_rpc` starts."""

from __future__ import annotations

import gc
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from edgeml.core.artifact import Artifact
from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, MissingError, UsageError, needs_extra
from edgeml.core.session import Feeds, SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.feeds import check_feeds
from edgeml.runtime.loopback import is_loopback
from edgeml.runtime.tvm.library import import_tvm_ffi
from edgeml.runtime.tvm.rpc import check_is_own_address
from edgeml.runtime.tvm.session import reason

if TYPE_CHECKING:
    from tvm.rpc import RPCSession

_ENTRY = "main"
_CONNECT_TIMEOUT_S = 10.0
_TRACKER_TIMEOUT_S = 60.0  # a tracker answers when a device of that key is free
_FASTEST_CORES = 1  # TVM's affinity mode: threads go to the fastest cores first
# What tvm raises: Python's exceptions by the name TVM gives them, RuntimeError for its own kinds.
_FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, OSError, AssertionError)


class RpcConnection:
    """A library on a board, loaded and ready; a Session."""

    def __init__(self, artifact: Artifact, device: Device, remote: RPCSession, options: SessionOptions) -> None:
        """Send the library, unless a file of that hash lies there already, and load it."""
        self._artifact = artifact
        self._device = device
        self._remote: RPCSession | None = remote
        self._file = f"{artifact.sha256}.so"
        self._place: Any = None
        self._library: Any = None
        self._machine: Any = None
        try:
            if not self._is_there(remote):
                remote.upload(bytearray(artifact.path.read_bytes()), self._file)
            self._load(remote, options)
        except _FAILURES as error:
            self.close()
            raise EdgeMLError(f"{artifact.path} cannot be loaded on {device}: {reason(error)}") from error

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
            EdgeMLError: the board or the link to it failed.
        """
        try:
            self._set_inputs(feeds)
            self._machine.invoke_stateful(_ENTRY)
            found = self._machine.get_outputs(_ENTRY)
            tensors = found if isinstance(found, (tuple, list)) else (found,)
            return {spec.name: tensor.numpy() for spec, tensor in zip(self.outputs, tensors, strict=True)}
        except _FAILURES as error:
            raise EdgeMLError(f"{self._artifact.path} failed on {self._device}: {reason(error)}") from error

    def device_latencies_ms(self, feeds: Feeds, runs: int) -> list[float]:
        """How long each of `runs` runs takes by the board's own clock.

        Raises:
            UsageError: the feeds do not fit the model's inputs.
            EdgeMLError: the board or the link to it failed.
        """
        try:
            self._set_inputs(feeds)
            evaluate = self._machine.time_evaluator("invoke_stateful", self._place, number=1, repeat=runs)
            return [1000.0 * seconds for seconds in evaluate(_ENTRY).results]
        except _FAILURES as error:
            raise EdgeMLError(f"{self._artifact.path} failed on {self._device}: {reason(error)}") from error

    def close(self) -> None:
        """Free the model, remove its file from the board and end the connection."""
        remote, self._remote = self._remote, None
        if remote is None:
            return
        self._machine = self._library = self._place = None
        gc.collect()  # remote objects are freed over the connection, so before it ends
        with suppress(*_FAILURES):  # a board that is gone has nothing to be removed from
            remote.remove(self._file)

    def _is_there(self, remote: RPCSession) -> bool:
        """Whether the file lies on the board already; only TVM's C++ server keeps files and can tell."""
        try:
            return self._file in remote.listdir(".").split(",")
        except AttributeError:  # no such function there
            return False

    def _load(self, remote: RPCSession, options: SessionOptions) -> None:
        from tvm.runtime.vm import VirtualMachine

        if options.threads is not None:
            remote.get_function("runtime.config_threadpool")(_FASTEST_CORES, options.threads)
        target = self._artifact.target
        self._place = remote.cuda() if target is not None and target.kind == "cuda" else remote.cpu()
        self._library = remote.load_module(self._file)
        self._machine = VirtualMachine(self._library, self._place)

    def _set_inputs(self, feeds: Feeds) -> None:
        import tvm

        if self._remote is None:
            raise EdgeMLError(f"the session of {self._artifact.path} on {self._device} is closed")
        check_feeds(feeds, self.inputs)
        self._machine.set_input(_ENTRY, *(tvm.runtime.tensor(feeds[spec.name], self._place) for spec in self.inputs))


def open_connection(artifact: Artifact, device: Device, options: SessionOptions) -> RpcConnection:
    """Connect to the device and load the library there.

    Raises:
        UsageError: an address leads out of this machine.
        MissingError: tvm is not installed, or nothing serves RPC at the address.
        EdgeMLError: the server refused, or could not load the library.
    """
    check_is_own_address(device)
    assert device.port is not None
    host = device.host.strip("[]")
    import_tvm_ffi()
    with needs_extra("tvm"):
        from tvm import rpc
    key = ""
    port = device.port
    if device.scheme == "rpc-tracker":
        host, port, key = _ask_tracker(host, port, device)
    try:
        remote = rpc.connect(host, port, key)
    except _FAILURES as error:
        raise MissingError(
            f"device {device} does not answer ({reason(error):.160}); start on the board: "
            f"python -m tvm.exec.rpc_server --host 127.0.0.1 --port {port}, and tunnel to it with ssh -N -L "
            f"{port}:127.0.0.1:{port} USER@BOARD"
        ) from error
    return RpcConnection(artifact, device, remote, options)


def _ask_tracker(host: str, port: int, device: Device) -> tuple[str, int, str]:
    """Address and match key of the next free device, from the tracker.

    TVM's own client would connect to whatever address the tracker names; here it must be this machine's.
    """
    from tvm.rpc import base

    try:
        with socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S) as connection:
            connection.settimeout(_TRACKER_TIMEOUT_S)
            connection.sendall(struct.pack("<i", base.RPC_TRACKER_MAGIC))
            if struct.unpack("<i", base.recvall(connection, 4))[0] != base.RPC_TRACKER_MAGIC:
                raise UsageError(f"device {device}: what listens there is no TVM RPC tracker")
            base.sendjson(connection, [base.TrackerCode.REQUEST, device.key, "", 1])
            code, answer = base.recvjson(connection)
    except TimeoutError as error:
        raise MissingError(
            f"device {device}: the tracker has no free device of the key {device.key!r}; list them with: "
            f"python -m tvm.exec.query_rpc_tracker --host {host} --port {port}"
        ) from error
    except (OSError, ValueError, struct.error) as error:
        raise MissingError(
            f"device {device}: no tracker answers there ({error}); start one with: "
            f"python -m tvm.exec.rpc_tracker --host 127.0.0.1 --port {port}"
        ) from error
    if code != base.TrackerCode.SUCCESS:
        raise EdgeMLError(f"device {device}: the tracker refused: {answer!s:.200}")
    address, server_port, match_key = answer
    if not is_loopback(str(address)):
        raise UsageError(
            f"device {device}: the tracker names the server {address}:{server_port}, and only this machine's own "
            "addresses are allowed; start the server with --custom-addr 127.0.0.1 and tunnel its port"
        )
    return str(address), int(server_port), str(match_key)
