"""Where a model runs: this machine, or a board reached over a link. (What code is generated for is a Target.)"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from edgeml.core.errors import UsageError

Scheme = Literal["local", "ssh", "rpc", "rpc-tracker", "adb", "qemu"]

_FORMS = "local, ssh://user@host[:port], rpc://host:port, rpc-tracker://host:port/key, adb://serial, qemu://aarch64"
_PATTERN = re.compile(
    r"(?P<scheme>[a-z-]+)://(?:(?P<user>[\w.-]+)@)?(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\])(?::(?P<port>\d+))?(?:/(?P<key>[\w.-]+))?"
)
_ADB = re.compile(r"adb://(?P<serial>[\w.:-]+)")


@dataclass(frozen=True)
class Device:
    """A place to run on. `parse` and `str` are inverses.

    Attributes:
        scheme: the kind of link.
        host: host name or address (ssh, rpc, rpc-tracker), serial number (adb), architecture (qemu), "" for local.
        port: TCP port, None for the scheme's default.
        user: login name (ssh).
        key: device key at the tracker (rpc-tracker).
    """

    scheme: Scheme
    host: str = ""
    port: int | None = None
    user: str | None = None
    key: str | None = None

    @classmethod
    def parse(cls, text: str) -> Device:
        """The device that `text` names.

        Raises:
            UsageError: the text has none of the documented forms.
        """
        if text == "local":
            return cls("local")
        if adb := _ADB.fullmatch(text):
            return cls("adb", adb["serial"])
        match = _PATTERN.fullmatch(text)
        if match is None or match["scheme"] not in get_args(Scheme):
            raise UsageError(f"unknown device {text!r}; allowed forms: {_FORMS}")
        scheme = cast("Scheme", match["scheme"])
        port = int(match["port"]) if match["port"] else None
        device = cls(scheme, match["host"], port, match["user"], match["key"])
        if not device._is_complete():
            raise UsageError(f"device {text!r} is not of its scheme's form; allowed forms: {_FORMS}")
        return device

    def _is_complete(self) -> bool:
        valid_port = self.port is None or 0 < self.port < 65536
        match self.scheme:
            case "ssh":
                return valid_port and self.user is not None and self.key is None
            case "rpc":
                return valid_port and self.port is not None and self.user is None and self.key is None
            case "rpc-tracker":
                return valid_port and self.port is not None and self.user is None and self.key is not None
            case "qemu":
                return self.host == "aarch64" and (self.port, self.user, self.key) == (None, None, None)
            case _:
                return False

    def __str__(self) -> str:
        if self.scheme == "local":
            return "local"
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port is not None else ""
        key = f"/{self.key}" if self.key else ""
        return f"{self.scheme}://{user}{self.host}{port}{key}"


LOCAL = Device("local")
