"""Reaches a device for the length of a measurement, by whatever link its address names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgeml.core.device import Device
from edgeml.core.errors import UsageError
from edgeml.edge_bench.devices.connection import Connection
from edgeml.edge_bench.devices.local import LocalConnection
from edgeml.edge_bench.devices.lock import WAIT_S, Note, measuring, note_on_stderr
from edgeml.edge_bench.devices.profiles import DeviceProfile
from edgeml.edge_bench.devices.shell import Shell


@contextmanager
def connect(
    device: Device, profile: DeviceProfile | None = None, *, wait_s: float = WAIT_S, note: Note = note_on_stderr
) -> Iterator[Connection]:
    """Take the device's lock and open the link to it; both end with the block, and what runs there as well.

    Args:
        device: the device.
        profile: how it is reached; None takes the address and the defaults.
        wait_s: how long to wait for another measurement on the device to end; 0 refuses at once.
        note: told where there is one to wait for.

    Raises:
        UsageError: the profile is of another device, or as in `DeviceProfile`.
        MissingError: the device, or what it takes to reach it, is not there.
        DeviceLostError: the link is cut.
        EdgeMLError: the device is held by another measurement, or cannot be used.
    """
    profile = DeviceProfile(name=str(device), device=device) if profile is None else profile
    if profile.device != device:
        raise UsageError(f"the profile {profile.name!r} is of the device {profile.device}, not of {device}")
    with measuring(profile.board, wait_s=wait_s, note=note):
        connection = open_connection(profile)
        try:
            yield connection
        finally:
            connection.close()


def open_connection(profile: DeviceProfile) -> Connection:
    """The link alone, without the lock; the caller closes it.

    Raises:
        EdgeMLError: of the kinds that `connect` tells.
    """
    match profile.device.scheme:
        case "local":
            return LocalConnection()
        case "qemu":
            from edgeml.edge_bench.devices.emulated import connect_emulated

            return connect_emulated(profile)
        case "rpc" | "rpc-tracker":
            from edgeml.edge_bench.devices.rpc import connect_rpc

            return connect_rpc(profile)
        case "ssh" | "adb":
            from edgeml.edge_bench.devices.posix import PosixConnection

            return PosixConnection(open_shell(profile), profile)


def open_shell(profile: DeviceProfile) -> Shell:
    """The shell of a device that has one of its own (ssh, adb); the caller closes it.

    Raises:
        EdgeMLError: of the kinds that `connect` tells.
    """
    match profile.device.scheme:
        case "ssh":
            from edgeml.edge_bench.devices.ssh import SshShell

            return SshShell(profile)
        case "adb":
            from edgeml.edge_bench.devices.adb import AdbShell

            return AdbShell(profile.device)
        case _:
            raise UsageError(f"device {profile.device} has no shell; those of ssh:// and adb:// have one")
