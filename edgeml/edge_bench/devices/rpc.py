"""Devices over TVM's RPC: a board with TVM's runtime and nothing of edgeml, best at the far end of an SSH tunnel.

The server on the board is TVM's own: `python -m tvm.exec.rpc_server --host 127.0.0.1 --port 9090`. It serves one
connection at a time. Its protocol is plain text and gives whoever connects full control, so it is spoken with this
machine's own addresses only: with the board itself it takes a tunnel, which `DeviceProfile.through` opens.
"""

from __future__ import annotations

import socket
import struct

from edgeml.core.device import Device
from edgeml.core.errors import MissingError, UsageError
from edgeml.edge_bench.devices.connection import Connection
from edgeml.edge_bench.devices.hosted import HostedConnection
from edgeml.edge_bench.devices.profiles import DeviceProfile
from edgeml.runtime.loopback import is_loopback
from edgeml.runtime.tvm.rpc import check_is_own_address

_ANSWER_TIMEOUT_S = 10.0
# TVM's rpc/base.py. A server answers a client whose key is not its own with "mismatch" and goes on listening, so asking
# with a key that no server has tells what listens there and disturbs nobody.
_MAGIC = 0xFF271
_MISMATCH = _MAGIC + 2
_TRACKER_MAGIC = 0x2F271
_NO_SERVERS_KEY = b"client:edgeml-asks-who-is-there"


def connect_rpc(profile: DeviceProfile) -> Connection:
    """A connection to a device over TVM's RPC, through a tunnel where the profile tells of one.

    Raises:
        UsageError: without a tunnel, the address is not this machine's own.
        MissingError: nothing serves TVM's RPC there.
        EdgeMLError: the tunnel's ssh device cannot be reached, of any kind.
    """
    if profile.through is None:
        check_is_own_address(profile.device)
        ask_server(profile.device, profile.device)
        return HostedConnection(profile.device, worker_device=profile.device, measures_latency=True)
    from edgeml.edge_bench.devices.ssh import SshShell

    shell = SshShell(profile.gate)
    try:
        assert profile.device.port is not None
        host = profile.device.host.strip("[]")
        # By whatever name the board is known here, its server listens on its own loopback address.
        port = shell.forward(host if is_loopback(profile.device.host) else "127.0.0.1", profile.device.port)
        here = Device("rpc", "127.0.0.1", port)
        ask_server(here, profile.device)
        return HostedConnection(profile.device, worker_device=here, measures_latency=True, let_go=shell.close)
    except BaseException:
        shell.close()
        raise


def ask_server(address: Device, device: Device) -> None:
    """Make sure that TVM's RPC server, or its tracker, answers at an address.

    Args:
        address: where, seen from here.
        device: what messages call it.

    Raises:
        MissingError: nothing listens there, or it is busy with another connection.
        UsageError: something else listens there.
    """
    assert address.port is not None
    tracker = device.scheme == "rpc-tracker"
    program = "rpc_tracker" if tracker else "rpc_server"
    question = struct.pack("<i", _TRACKER_MAGIC)
    if not tracker:
        question = struct.pack("<ii", _MAGIC, len(_NO_SERVERS_KEY)) + _NO_SERVERS_KEY
    try:
        with socket.create_connection((address.host.strip("[]"), address.port), _ANSWER_TIMEOUT_S) as connection:
            connection.sendall(question)
            answer = connection.recv(4, socket.MSG_WAITALL)
    except TimeoutError as error:
        raise MissingError(
            f"device {device}: nothing answered within {_ANSWER_TIMEOUT_S:.0f} s; TVM's server takes one connection at "
            "a time and may be busy with another: end that, or start the server again"
        ) from error
    except OSError as error:
        raise _silent(device, program, error.strerror or str(error)) from error
    if not answer:
        reason = "the connection was closed without an answer"
        if address != device:
            reason = (
                "the tunnel stands, but nothing listens at its far end or the ssh server forbids AllowTcpForwarding"
            )
        raise _silent(device, program, reason)
    if answer != struct.pack("<i", _TRACKER_MAGIC if tracker else _MISMATCH):
        raise UsageError(
            f"device {device}: what listens there is not TVM's {program}; start it on another port with: "
            f"python -m tvm.exec.{program} --host 127.0.0.1 --port PORT"
        )


def _silent(device: Device, program: str, reason: str) -> MissingError:
    return MissingError(
        f"device {device} does not answer ({reason}); start there: python -m tvm.exec.{program} --host 127.0.0.1 "
        f"--port {device.port}"
    )
