"""The device qemu://aarch64: computes what a board computes, and says nothing of its speed."""

from __future__ import annotations

from edgeml.edge_bench.devices.connection import Connection
from edgeml.edge_bench.devices.hosted import HostedConnection
from edgeml.edge_bench.devices.profiles import DeviceProfile
from edgeml.runtime.emulated.machine import emulated_machine


def connect_emulated(profile: DeviceProfile) -> Connection:
    """A connection to the emulated device; compiled libraries run on it.

    Raises:
        MissingError: the emulated machine is not set up; the message holds the command that does it.
    """
    emulated_machine()
    return HostedConnection(profile.device, worker_device=profile.device, measures_latency=False)
