"""Devices that the user gave a name, with how they are reached: one table each in `devices.toml`.

The file lies in the configuration directory and is meant to be read and written by hand as well; what edgeml changes in
it leaves the rest, comments included, as it was:

    [pi]
    device = "ssh://pi@raspberrypi.local"
    python = "/home/pi/venv/bin/python"

    [pi.environment]
    OMP_WAIT_POLICY = "passive"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeml.core.atomic import atomic_write_text
from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.json_values import mapping, pairs, string
from edgeml.core.user_directories import config_directory
from edgeml.runtime.loopback import is_loopback

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

FILE_NAME = "devices.toml"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEFAULT_DIRECTORY = "~/.cache/edgeml"
_ADB_DIRECTORY = "/data/local/tmp/edgeml"  # where Android lets its shell write and run programs
_DEFAULT_PYTHON = "python3"
# Which devices an option says something of; the others would take it and do nothing.
_SCHEMES = {
    "python": ("ssh", "adb"),
    "directory": ("ssh", "adb"),
    "identity_file": ("ssh",),
    "known_hosts": ("ssh",),
    "through": ("rpc",),
    "environment": ("ssh", "adb"),
}


@dataclass(frozen=True, kw_only=True)
class DeviceProfile:
    """A device and how it is reached.

    Attributes:
        name: what the user calls it; its address where it has no name of its own.
        device: the device.
        python: the interpreter that runs workers there, a command or a path (ssh, adb).
        directory: edgeml's own directory there; None takes `own_directory`'s default (ssh, adb).
        identity_file: private key on this machine that ssh offers, beside the agent's keys.
        known_hosts: file on this machine with the host keys that ssh trusts, in place of ~/.ssh/known_hosts.
        through: the ssh device over which a tunnel leads to the device (rpc); `device` is then its address there, and
            `identity_file` and `known_hosts` are the tunnel's.
        environment: variables of the worker (ssh, adb).
    """

    name: str
    device: Device
    python: str = _DEFAULT_PYTHON
    directory: str | None = None
    identity_file: str | None = None
    known_hosts: str | None = None
    through: Device | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_options()
        self._check_through()
        for option in ("python", "directory", "identity_file", "known_hosts"):
            value = getattr(self, option)
            if value is not None and (not value or not value.isprintable()):
                raise UsageError(f"device {self.name!r}: {option} is {value!r}; it must be a path without line breaks")
        if self.directory is not None and not self.directory.startswith(("/", "~/")):
            raise UsageError(f"device {self.name!r}: directory is {self.directory!r}; it must begin with / or ~/")
        for variable, value in self.environment.items():
            if not _VARIABLE.fullmatch(variable) or "\0" in value:
                raise UsageError(
                    f"device {self.name!r}: {variable!r} cannot be a variable of the environment; a name has letters, "
                    "digits and _, and does not begin with a digit"
                )

    @property
    def own_directory(self) -> str:
        """Where edgeml keeps its files on the device; "~/" is the home directory of the user there."""
        if self.directory is not None:
            return self.directory
        return _ADB_DIRECTORY if self.device.scheme == "adb" else _DEFAULT_DIRECTORY

    @property
    def board(self) -> Device:
        """The device whose processor the work falls on, as far as it is known: behind a tunnel, where that ends."""
        return self.device if self.through is None else self.through

    @property
    def gate(self) -> DeviceProfile:
        """The ssh device that a tunnel goes through, with the keys of this profile.

        Raises:
            UsageError: there is no tunnel.
        """
        if self.through is None:
            raise UsageError(f"device {self.name!r} is reached without a tunnel; name its ssh device in `through`")
        return DeviceProfile(
            name=str(self.through),
            device=self.through,
            identity_file=self.identity_file,
            known_hosts=self.known_hosts,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return values | {"device": str(self.device), "through": None if self.through is None else str(self.through)}

    def _check_options(self) -> None:
        for option, schemes in _SCHEMES.items():
            given = getattr(self, option) not in (None, {}, _DEFAULT_PYTHON)
            if option in {"identity_file", "known_hosts"} and self.through is not None:
                continue
            if given and self.device.scheme not in schemes:
                raise UsageError(
                    f"device {self.name!r}: {option} means nothing for {self.device}; it is for "
                    f"{' and '.join(f'{scheme}://' for scheme in schemes)} devices"
                )

    def _check_through(self) -> None:
        if self.through is None:
            return
        if self.through.scheme != "ssh":
            raise UsageError(
                f"device {self.name!r}: the tunnel goes through {self.through}; it must be ssh://user@host[:port]"
            )
        if not is_loopback(self.device.host) and self.device.host != self.through.host:
            raise UsageError(
                f"device {self.name!r}: behind the tunnel {self.device} would be spoken to in plain text over a "
                f"network; the tunnel must end on the board itself: rpc://127.0.0.1:{self.device.port} through "
                f"ssh://USER@{self.device.host}"
            )


def profiles_path() -> Path:
    """The file of named devices; it need not exist yet."""
    return config_directory() / FILE_NAME


def load_profiles() -> dict[str, DeviceProfile]:
    """The named devices, by name, in the file's order.

    Raises:
        UsageError: the file is not of its form; the message tells where.
        EdgeMLError: it cannot be read.
    """
    path = profiles_path()
    with _told_of(path):
        return {name: _from_toml(name, table) for name, table in _read(path).unwrap().items()}


def save_profile(profile: DeviceProfile, *, replace_it: bool = True) -> None:
    """Keep a device under its name.

    Args:
        profile: the device.
        replace_it: whether a device that has the name already gives way.

    Raises:
        UsageError: the name is no name or, without `replace_it`, another device's; the file is not of its form.
        EdgeMLError: the file cannot be written.
    """
    check_name(profile.name)
    known = load_profiles()  # a file that is wrong is not written over
    if profile.name in known and not replace_it:
        raise UsageError(
            f"there is a device {profile.name!r} already, {known[profile.name].device}; remove it first: edgeml device "
            f"remove {profile.name}"
        )
    document = _read(profiles_path())
    document[profile.name] = _to_toml(profile)
    _write(document)


def remove_profile(name: str) -> DeviceProfile:
    """Forget a named device; what it was.

    Raises:
        UsageError: there is none of that name, or the file is not of its form.
        EdgeMLError: the file cannot be written.
    """
    profile = _named(name, load_profiles())
    document = _read(profiles_path())
    del document[name]
    _write(document)
    return profile


def resolve_device(text: str) -> DeviceProfile:
    """The device that the user named: by the name of a profile or by its address.

    Raises:
        UsageError: it is neither, or the file of names is not of its form.
    """
    if text == "local" or "://" in text:
        return DeviceProfile(name=text, device=Device.parse(text))
    return _named(text, load_profiles())


def check_name(name: str) -> None:
    """Refuse a name that could be taken for an address or an option.

    Raises:
        UsageError: it is one of those.
    """
    if name == "local" or not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a device's name; a name has letters, digits, _ . -, begins with none of the last two, "
            "and is not 'local'"
        )


def _named(name: str, profiles: dict[str, DeviceProfile]) -> DeviceProfile:
    if name in profiles:
        return profiles[name]
    known = f"known are {', '.join(profiles)}" if profiles else "none is known yet"
    raise UsageError(
        f"unknown device {name!r}; {known}; name one with: edgeml device add NAME ADDRESS, or give an address: local, "
        "ssh://user@host[:port], adb://serial, rpc://127.0.0.1:port, qemu://aarch64"
    )


def _from_toml(name: str, table: object) -> DeviceProfile:
    check_name(name)
    values = mapping(f"device {name!r}", table)
    allowed = [each.name for each in fields(DeviceProfile) if each.name != "name"]
    if unknown := [key for key in values if key not in allowed]:
        raise UsageError(f"device {name!r} has the unknown key {unknown[0]!r}; allowed: {', '.join(allowed)}")
    if "device" not in values:
        raise UsageError(f'device {name!r} lacks its address; write it as: device = "ssh://user@host"')
    read: dict[str, Any] = {key: string(key, value) for key, value in values.items() if key != "environment"}
    for key in {"device", "through"} & read.keys():
        read[key] = Device.parse(read[key])
    return DeviceProfile(name=name, environment=dict(pairs("environment", values.get("environment", {}))), **read)


def _to_toml(profile: DeviceProfile) -> Any:
    import tomlkit

    table = tomlkit.table()
    for key, value in profile.to_json().items():
        if key == "name" or value in (None, {}) or (key, value) == ("python", _DEFAULT_PYTHON):
            continue
        table[key] = value
    return table


def _read(path: Path) -> TOMLDocument:
    import tomlkit
    from tomlkit.exceptions import ParseError

    try:
        return tomlkit.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return tomlkit.document()
    except OSError as error:
        raise EdgeMLError(f"cannot read {path}: {error.strerror or error}") from error
    except (ParseError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}; correct it or remove it") from error


def _write(document: TOMLDocument) -> None:
    path = profiles_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeMLError(f"cannot make {path.parent}: {error.strerror or error}") from error
    atomic_write_text(path, document.as_string())


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise error if str(path) in str(error) else UsageError(f"{path}: {error}") from error
