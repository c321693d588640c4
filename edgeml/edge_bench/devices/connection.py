"""An open link to a device for the length of a measurement: workers are started on it and files brought to it."""

from pathlib import Path
from typing import Protocol

from edgeml.core.device import Device
from edgeml.edge_bench.devices.channel import Channel


class Connection(Protocol):
    """One device, reached and checked. `edgeml.edge_bench.devices.connect.connect` makes one."""

    @property
    def device(self) -> Device:
        """The device it leads to."""
        ...

    @property
    def measures_latency(self) -> bool:
        """Whether times taken there mean anything; False on an emulator."""
        ...

    @property
    def worker_device(self) -> str:
        """What the worker's "open" gets as its device.

        "local" where the worker runs on the device itself; the device's address where the worker runs here and its
        Session reaches out.
        """
        ...

    def start(self, label: str) -> Channel:
        """Start the program `edgeml.edge_bench.worker`.

        Args:
            label: what messages call it: the model file.

        Raises:
            DeviceLostError: the link is cut.
            EdgeMLError: the device refused to start it.
        """
        ...

    def put(self, path: Path) -> str:
        """Bring a file to the device, once for each content; its path as the worker sees it.

        Raises:
            DeviceLostError: the link is cut.
            EdgeMLError: the device refused the file (no space, no permission).
        """
        ...

    def scratch(self, name: str) -> str:
        """A path that the worker may write to, the same for the same name; the file is removed by `close`.

        Args:
            name: a plain file name.
        """
        ...

    def fetch(self, remote: str, local: Path) -> None:
        """Bring a file that a worker wrote to a scratch path here; `local` appears whole or not at all.

        Raises:
            DeviceLostError: the link is cut.
            EdgeMLError: there is no such file.
        """
        ...

    def close(self) -> None:
        """End what still runs there and remove this run's files; files brought by `put` stay for the next run."""
        ...
