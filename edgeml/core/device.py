"""Where a model runs: this machine, or a board reached over a link. (What code is generated for is a Target.)"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from edgeml.core.errors import UsageError

Scheme = Literal["local", "ssh", "rpc", "rpc-tracker", "adb", "qemu"]

_FORMS = "local, ssh://user@host[:port], rpc://host:port, rpc-tracker://host:port/key, adb://serial, qemu://aarch64"
# Names reach command lines (ssh, adb), so none may begin like an option.
_WORD = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
_PATTERN = re.compile(
    rf"(?P<scheme>[a-z-]+)://(?:(?P<user>{_WORD})@)?(?P<host>{_WORD}|\[[0-9a-fA-F:.]+\])"
    rf"(?::(?P<port>[0-9]{{1,5}}))?(?:/(?P<key>{_WORD}))?"
)
_ADB = re.compile(r"adb://(?P<serial>[A-Za-z0-9_][A-Za-z0-9_.:-]*)")


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

    def __post_init__(self) -> None:
        if not self._is_complete():
            raise UsageError(f"device {str(self)!r} is not of its scheme's form; allowed forms: {_FORMS}")

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
        port = int(match["port"]) if match["port"] else None
        return cls(cast("Scheme", match["scheme"]), match["host"], port, match["user"], match["key"])

    def _is_complete(self) -> bool:
        given = tuple(value is not None for value in (self.user, self.port, self.key))
        if self.port is not None and not 0 < self.port < 65536:
            return False
        match self.scheme:
            case "local":
                return self.host == "" and given == (False, False, False)
            case "adb":
                return _ADB.fullmatch(str(self)) is not None and given == (False, False, False)
            case "qemu":
                return self.host == "aarch64" and given == (False, False, False)
            case "ssh":
                valid = given in {(True, True, False), (True, False, False)}
            case "rpc":
                valid = given == (False, True, False)
            case "rpc-tracker":
                valid = given == (False, True, True)
        return valid and _PATTERN.fullmatch(str(self)) is not None

    def __str__(self) -> str:
        if self.scheme == "local":
            return "local"
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port is not None else ""
        key = f"/{self.key}" if self.key else ""
        return f"{self.scheme}://{user}{self.host}{port}{key}"


LOCAL = Device("local")
