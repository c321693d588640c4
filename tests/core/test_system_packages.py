import os
import platform
from pathlib import Path

import pytest

from edgeml.core.system_packages import install_command

PACKAGES = {"debian": "g++-x", "fedora": "gcc-x"}


@pytest.mark.parametrize(
    ("release", "root", "command"),
    [
        ('ID=debian\nVERSION_ID="12"\n', True, "apt-get install --yes g++-x"),
        ("NAME=Ubuntu\nID=ubuntu\nID_LIKE=debian\n", False, "sudo apt-get install --yes g++-x"),
        ('ID="linuxmint"\nID_LIKE="ubuntu debian"\n', True, "apt-get install --yes g++-x"),
        ("ID=raspbian\nID_LIKE=debian\n", True, "apt-get install --yes g++-x"),
        ("ID=fedora\n", True, "dnf install --assumeyes gcc-x"),
        ("ID=arch\n", True, "do it yourself"),
        ("ID=nixos\n", True, "do it yourself"),
        ("no such thing", True, "do it yourself"),
    ],
)
def test_the_command_is_the_distributions_own(
    release: str, root: bool, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(release)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    assert install_command(PACKAGES, otherwise="do it yourself", root=tmp_path) == command


def test_a_system_without_a_known_distribution_gets_the_general_advice(tmp_path: Path) -> None:
    assert install_command(PACKAGES, otherwise="do it yourself", root=tmp_path) == "do it yourself"
