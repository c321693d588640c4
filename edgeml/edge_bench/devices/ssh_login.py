"""Logs in to a device by SSH: with the user's keys and agent, to a host whose key is known, and without questions."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, MissingError, UsageError, needs_extra

if TYPE_CHECKING:
    import asyncssh

    from edgeml.edge_bench.devices.profiles import DeviceProfile

KEEPALIVE_S = 15.0
"""The server is asked for a sign of life so often; after three without an answer the link counts as cut."""

_KEEPALIVES = 3
_LOGIN_TIMEOUT_S = 30.0
_PORT = 22


async def open_connection(profile: DeviceProfile) -> asyncssh.SSHClientConnection:
    """A connection, logged in. `~/.ssh/config` is read; passwords and passphrases are never asked for.

    Raises:
        MissingError: asyncssh is not installed, the device is not reached, its host key is not the known one, or none
            of the user's keys is accepted.
        UsageError: a file of keys or configuration cannot be read.
    """
    with needs_extra("devices"):
        import asyncssh
    device, host = profile.device, _host(profile.device)
    identity = _existing(profile, "identity_file", profile.identity_file)
    known_hosts = _existing(profile, "known_hosts", profile.known_hosts)
    shown: list[tuple[str, str, int, asyncssh.SSHKey]] = []

    class Client(asyncssh.SSHClient):
        def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
            shown.append((host, addr, port, key))
            return False

    try:
        # What is not given here comes from ~/.ssh/config, then from OpenSSH's usual places.
        options = asyncssh.SSHClientConnectionOptions(
            username=device.user if device.user is not None else (),
            client_keys=[str(identity)] if identity is not None else (),
            ignore_encrypted=True,  # the agent may hold the key
            known_hosts=str(known_hosts) if known_hosts is not None else (),
            password_auth=False,
            kbdint_auth=False,
            gss_auth=False,
            gss_kex=False,
            keepalive_interval=KEEPALIVE_S,
            keepalive_count_max=_KEEPALIVES,
            connect_timeout=_LOGIN_TIMEOUT_S,
            login_timeout=_LOGIN_TIMEOUT_S,
            request_pty=False,
        )
        return await asyncssh.connect(
            host,
            device.port if device.port is not None else (),
            client_factory=Client,
            options=options,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise MissingError(_host_key_line(device, known_hosts, shown) or f"{device}: {error}") from error
    except asyncssh.PermissionDenied as error:
        offered = "the keys of your agent and ~/.ssh" if identity is None else f"{identity} and the keys of your agent"
        raise MissingError(
            f"{device} accepts none of {offered}; allow one there with: {_command('ssh-copy-id', device)} (a key with "
            "a passphrase must be in the agent: ssh-add FILE)"
        ) from error
    except (asyncssh.KeyImportError, asyncssh.ConfigParseError) as error:
        raise UsageError(f"{device}: a key or ~/.ssh/config cannot be read: {error}") from error
    except (asyncio.TimeoutError, TimeoutError) as error:
        raise MissingError(
            f"{device} did not answer within {_LOGIN_TIMEOUT_S:.0f} s; is it on, and on this network?"
        ) from error
    except OSError as error:
        raise MissingError(
            f"{device} cannot be reached: {error.strerror or error}; is it on, and does its SSH server listen on port "
            f"{device.port or _PORT}?"
        ) from error
    except asyncssh.Error as error:
        raise EdgeMLError(f"{device}: the login failed: {error}") from error


def _host(device: Device) -> str:
    return device.host.strip("[]")


def _existing(profile: DeviceProfile, option: str, name: str | None) -> Path | None:
    if name is None:
        return None
    path = Path(name).expanduser()
    if not path.is_file():
        raise UsageError(f"device {profile.name!r}: {option} is {name!r}, which is no file")
    return path


def _host_key_line(
    device: Device, known_hosts: Path | None, shown: list[tuple[str, str, int, asyncssh.SSHKey]]
) -> str | None:
    """What is wrong with the key that the host has shown; None where it has shown none."""
    import asyncssh

    if not shown:
        return None
    host, address, port, key = shown[-1]  # as ~/.ssh/config has it, where it has
    file = known_hosts if known_hosts is not None else Path("~/.ssh/known_hosts").expanduser()
    other = None if port == _PORT else port
    known = asyncssh.match_known_hosts(str(file), host, address, other)[0] if file.is_file() else ()
    described = f"{key.get_algorithm()} {key.get_fingerprint()}"
    if known:
        name = host if other is None else f"[{host}]:{other}"
        return (
            f"{device} shows another host key ({described}) than the one in {file}: another computer may be posing as "
            f"it; if it was set up anew, forget the old key with: ssh-keygen -f {shlex.quote(str(file))} -R '{name}'"
        )
    scan = f"ssh-keyscan {'' if other is None else f'-p {other} '}{host} >> {shlex.quote(str(file))}"
    return (
        f"{device} is not known: its host key ({described}) is not in {file}; compare it with what the device itself "
        f"tells (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then trust it with: {scan}"
    )


def _command(program: str, device: Device) -> str:
    port = "" if device.port is None else f"-p {device.port} "
    user = "" if device.user is None else f"{device.user}@"
    return f"{program} {port}{user}{_host(device)}"
