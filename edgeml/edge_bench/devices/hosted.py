"""A device whose workers run on this machine: it is the Session in them that reaches out to the device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeml.core.device import Device
from edgeml.edge_bench.devices.channel import Channel
from edgeml.edge_bench.devices.local import LocalConnection


class HostedConnection:
    """Workers here for a device elsewhere; a `Connection`.

    Attributes:
        device: the device.
        measures_latency: whether times taken on it mean anything.
        worker_device: the device's address as the worker's Session takes it.
    """

    def __init__(
        self,
        device: Device,
        *,
        worker_device: Device,
        measures_latency: bool,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a directory for this run's files.

        Args:
            device: the device.
            worker_device: the same by the address that it has here, at this end of a tunnel, say.
            measures_latency: False on an emulator.
            let_go: called once when the workers have ended; closes the tunnel.
        """
        self.device: Device = device
        self.measures_latency: bool = measures_latency
        self.worker_device: str = str(worker_device)
        self._here = LocalConnection()
        self._let_go: Callable[[], None] | None = let_go

    def start(self, label: str) -> Channel:
        """Start a worker as a child process."""
        return self._here.start(label)

    def put(self, path: Path) -> str:
        """The file's own absolute path: the Session sends the model itself."""
        return self._here.put(path)

    def scratch(self, name: str) -> str:
        """A path in this run's directory on this machine."""
        return self._here.scratch(name)

    def fetch(self, remote: str, local: Path) -> None:
        """Copy a scratch file to its place."""
        self._here.fetch(remote, local)

    def close(self) -> None:
        """End the workers that still run, remove this run's directory and let go of the link."""
        let_go, self._let_go = self._let_go, None
        try:
            self._here.close()
        finally:
            if let_go is not None:
                let_go()
