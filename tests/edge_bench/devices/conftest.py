"""Devices on this machine that are reached by SSH, and the check that a run leaves nothing on them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeml.edge_bench.devices.profiles import DeviceProfile
from tests.edge_bench.devices.ssh_servers import (
    SSHD,
    Keys,
    Link,
    device_at,
    in_process_server,
    litter,
    make_keys,
    openssh_server,
)


@dataclass(frozen=True, kw_only=True)
class SshDevice:
    """A device: its server's keys and port, its directory, and how it is reached."""

    keys: Keys
    port: int
    directory: Path
    profile: DeviceProfile

    def changed(self, **changes: Any) -> DeviceProfile:
        known = {name: getattr(self.profile, name) for name in self.profile.__dataclass_fields__}
        return DeviceProfile(**known | changes)

    def through(self, link: Link) -> DeviceProfile:
        known_hosts = self.keys.write_known_hosts(link.port, "known_through_link")
        return self.changed(device=device_at(link.port), known_hosts=str(known_hosts))


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("ssh") / "keys")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without SSH keys, agent and configuration of their own."""
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return path


@pytest.fixture
def ssh_device(keys: Keys, home: Path, tmp_path: Path) -> Iterator[SshDevice]:
    """A device with a server in this process; afterwards nothing of a run may be left there."""
    with in_process_server(keys, home) as port:
        yield _device(keys, port, tmp_path / "device")
        _assert_no_litter(tmp_path / "device")


@pytest.fixture
def start_openssh(keys: Keys, home: Path, tmp_path: Path) -> Iterator[Callable[..., SshDevice]]:
    """Starts OpenSSH's own server with more lines of configuration; afterwards nothing of a run may be left there."""
    from contextlib import ExitStack

    if not SSHD.is_file():
        pytest.skip("OpenSSH's server is not installed")
    with ExitStack() as stack:

        def start(*options: str) -> SshDevice:
            return _device(keys, stack.enter_context(openssh_server(keys, home, options)), tmp_path / "device")

        yield start
        _assert_no_litter(tmp_path / "device")


@pytest.fixture
def link_to() -> Iterator[Callable[[int], Link]]:
    """Makes links that can be cut."""
    links: list[Link] = []

    def make(port: int) -> Link:
        links.append(Link(port))
        return links[-1]

    yield make
    for link in links:
        link.close()


def _device(keys: Keys, port: int, directory: Path) -> SshDevice:
    device = device_at(port)
    profile = DeviceProfile(
        name=str(device),
        device=device,
        python=sys.executable,
        directory=str(directory),
        identity_file=str(keys.identity),
        known_hosts=str(keys.write_known_hosts(port)),
    )
    return SshDevice(keys=keys, port=port, directory=directory, profile=profile)


def _assert_no_litter(directory: Path) -> None:
    until = time.monotonic() + 15
    while any((found := litter(directory)).values()) and time.monotonic() < until:
        time.sleep(0.05)
    assert found == {"processes": [], "runs": []}
