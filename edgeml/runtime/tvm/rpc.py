"""The devices rpc://host:port and rpc-tracker://host:port/key: compiled models on a board, through TVM's RPC.

TVM's RPC sends plain text and lets whoever connects do anything on the board, so edgeml speaks it with this machine's
own addresses only; an SSH tunnel brings a board there.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from edgeml.core.artifact import Artifact, sha256_file
from edgeml.core.device import Device
from edgeml.core.errors import CheckFailedError, MissingError, UsageError
from edgeml.core.session import SessionOptions
from edgeml.runtime.loopback import is_loopback
from edgeml.runtime.process_session import ProcessSession

_OPEN_TIMEOUT_S = 120.0
_RUN_TIMEOUT_S = 600.0


def open_rpc(artifact: Artifact, device: Device, options: SessionOptions) -> ProcessSession:
    """Send a compiled library to the device and load it there.

    The connection lives in a process of its own: it has a time limit, and it needs the whole tvm package, which would
    take seconds and much memory here. Without `options.threads` the device's TVM takes as many as it likes.

    Raises:
        UsageError: the device's address is not this machine's own.
        MissingError: the tvm package is not installed, or nothing serves RPC there.
        CheckFailedError: the library is not the one its manifest was written for.
        EdgeMLError: the device could not load it.
    """
    check_is_own_address(device)
    if find_spec("tvm") is None:
        raise MissingError("tvm is not installed; install it with: pip install 'edgeml[tvm]'")
    if (actual := sha256_file(artifact.path)) != artifact.sha256:
        raise CheckFailedError(
            f"{artifact.path} has SHA-256 {actual[:12]}..., its manifest says {artifact.sha256[:12]}...: it was not "
            "sent; compile the model again"
        )
    return ProcessSession(
        artifact,
        (sys.executable, "-m", "edgeml.runtime.session_server"),
        device=device,
        opened_on=device,
        options=options,
        environment={"TVM_USE_RUNTIME_LIB": "1"},  # the compiler is not needed to talk to a board
        open_timeout_s=_OPEN_TIMEOUT_S,
        run_timeout_s=_RUN_TIMEOUT_S,
    )


def check_is_own_address(device: Device) -> None:
    """Refuse a device whose address other machines can reach.

    Raises:
        UsageError: its host is not localhost or a loopback address.
    """
    if is_loopback(device.host):
        return
    tunnelled = Device(device.scheme, "127.0.0.1", device.port, device.user, device.key)
    raise UsageError(
        f"device {device}: TVM's RPC sends plain text and gives whoever connects full control of the board, so only "
        f"this machine's own addresses are allowed; tunnel the port with: ssh -N -L "
        f"{device.port}:127.0.0.1:{device.port} USER@{device.host}, and name the device {tunnelled}"
    )
