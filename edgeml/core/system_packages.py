"""The one command that installs a program on this machine, by its distribution's package manager."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

# The distribution family (ID or ID_LIKE in os-release) -> its command.
_COMMANDS = {
    "debian": "apt-get install --yes",
    "ubuntu": "apt-get install --yes",
    "fedora": "dnf install --assumeyes",
    "arch": "pacman -S --noconfirm",
}


def install_command(packages: Mapping[str, str], *, otherwise: str, root: Path = Path("/")) -> str:
    """The command that installs a package here, or `otherwise` where no package of that name is known.

    Args:
        packages: package name by distribution family: "debian", "fedora", "arch"; Ubuntu takes Debian's.
        otherwise: what to do on every other system.
        root: the file system's root; tests give another.
    """
    for family in _families(root):
        package = packages.get("debian" if family == "ubuntu" else family)
        if package is not None:
            return f"{'' if _is_root() else 'sudo '}{_COMMANDS[family]} {package}"
    return otherwise


def _families(root: Path) -> tuple[str, ...]:
    """The distribution's name, then those it says it is like, as far as their commands are known."""
    if platform.system() != "Linux":
        return ()
    values: dict[str, str] = {}
    for path in (root / "etc/os-release", root / "usr/lib/os-release"):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        values = {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}
        break
    names = [values.get("ID", ""), *values.get("ID_LIKE", "").split()]
    return tuple(name for name in names if name in _COMMANDS)


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
