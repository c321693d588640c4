import getpass
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeml.core.device import Device
from edgeml.core.errors import MissingError, UsageError
from edgeml.edge_bench.devices.ssh import SshShell
from tests.edge_bench.devices.conftest import SshDevice
from tests.edge_bench.devices.ssh_servers import Link, device_at, make_keys


def test_a_host_that_is_not_known_is_refused_with_the_mend(ssh_device: SshDevice, home: Path) -> None:
    with pytest.raises(MissingError, match=r"is not known: its host key \(ssh-ed25519 SHA256:.*ssh-keyscan -p \d+ 127"):
        SshShell(ssh_device.changed(known_hosts=None))
    other = make_keys(home / "other").write_known_hosts(ssh_device.port)
    with pytest.raises(MissingError, match=r"shows another host key .*ssh-keygen -f .* -R '\[127.0.0.1\]:\d+'"):
        SshShell(ssh_device.changed(known_hosts=str(other)))
    (home / ".ssh").mkdir()
    (home / ".ssh" / "known_hosts").write_text(Path(str(ssh_device.profile.known_hosts)).read_text())
    SshShell(ssh_device.changed(known_hosts=None)).close()


def test_keys_that_are_not_accepted_or_not_there_are_told_of(ssh_device: SshDevice, home: Path) -> None:
    with pytest.raises(MissingError, match=r"accepts none of .*other/user and .*ssh-copy-id -p \d+ "):
        SshShell(ssh_device.changed(identity_file=str(make_keys(home / "other").identity)))
    with pytest.raises(MissingError, match="accepts none of the keys of your agent"):
        SshShell(ssh_device.changed(identity_file=None))
    with pytest.raises(UsageError, match=r"identity_file is '/no/key', which is no file"):
        SshShell(ssh_device.changed(identity_file="/no/key"))
    (home / "text").write_text("no key")
    with pytest.raises(UsageError, match=r"a key .*cannot be read"):
        SshShell(ssh_device.changed(identity_file=str(home / "text")))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", home / "locked"], check=True)
    with pytest.raises(MissingError, match="ssh-add"):
        SshShell(ssh_device.changed(identity_file=str(home / "locked")))


def test_the_users_configuration_is_read(ssh_device: SshDevice, home: Path) -> None:
    profile = ssh_device.changed(
        device=Device("ssh", "board", None, getpass.getuser()), known_hosts=None, identity_file=None
    )
    (home / ".ssh").mkdir()
    lines = ["Host board", "HostName 127.0.0.1", f"Port {ssh_device.port}", f"IdentityFile {ssh_device.keys.identity}"]
    (home / ".ssh" / "config").write_text("\n".join(lines) + "\n")
    with pytest.raises(MissingError, match=rf"@board is not known: .*ssh-keyscan -p {ssh_device.port} 127.0.0.1"):
        SshShell(profile)
    (home / ".ssh" / "known_hosts").write_text(Path(str(ssh_device.profile.known_hosts)).read_text())
    SshShell(profile).close()


def test_a_device_that_is_not_there_is_told_of(ssh_device: SshDevice, link_to: Callable[[int], Link]) -> None:
    link = link_to(ssh_device.port)
    link.close()
    with pytest.raises(MissingError, match=rf"cannot be reached: .*listen on port {link.port}\?"):
        SshShell(ssh_device.changed(device=device_at(link.port)))
