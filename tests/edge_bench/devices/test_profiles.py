"""Named devices: what is kept, what is refused, and that the user's own file survives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.core.device import Device
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.edge_bench.devices import profiles
from edgeml.edge_bench.devices.profiles import (
    DeviceProfile,
    load_profiles,
    profiles_path,
    remove_profile,
    resolve_device,
    save_profile,
)

PI = Device.parse("ssh://pi@raspberrypi.local:2222")
LOOPBACK = Device.parse("rpc://127.0.0.1:9090")


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "edgeml" / "devices.toml"


def test_a_device_is_kept_found_by_name_and_forgotten(configuration: Path) -> None:
    pi = DeviceProfile(
        name="pi",
        device=PI,
        python="/home/pi/venv/bin/python",
        directory="~/bench",
        identity_file="/home/me/.ssh/id_pi",
        known_hosts="/home/me/hosts",
        environment={"OMP_WAIT_POLICY": "passive", "EMPTY": ""},
    )
    tunnelled = DeviceProfile(name="pi-rpc", device=LOOPBACK, through=PI, identity_file="/home/me/.ssh/id_pi")
    assert profiles_path() == configuration
    assert load_profiles() == {}
    save_profile(pi)
    save_profile(tunnelled)
    assert load_profiles() == {"pi": pi, "pi-rpc": tunnelled}
    assert list(tomlkit.parse(configuration.read_text())["pi-rpc"]) == ["device", "identity_file", "through"]
    assert resolve_device("pi") == pi
    assert remove_profile("pi") == pi
    assert load_profiles() == {"pi-rpc": tunnelled}
    with pytest.raises(UsageError, match="unknown device 'pi'; known are pi-rpc; name one with: edgeml device add"):
        resolve_device("pi")


def test_an_address_is_its_own_profile() -> None:
    for text in ("local", "ssh://pi@x", "adb://1234", "rpc://127.0.0.1:9090", "qemu://aarch64"):
        assert resolve_device(text) == DeviceProfile(name=text, device=Device.parse(text))
    with pytest.raises(UsageError, match="unknown device 'telnet://x'; allowed forms"):
        resolve_device("telnet://x")
    with pytest.raises(UsageError, match="unknown device 'pi'; none is known yet"):
        resolve_device("pi")


def test_what_the_user_wrote_into_the_file_stays(configuration: Path) -> None:
    configuration.parent.mkdir(parents=True)
    configuration.write_text('# my boards\n[board]  # the loud one\ndevice = "adb://1234"\n')
    save_profile(DeviceProfile(name="pi", device=PI))
    text = configuration.read_text()
    assert "# my boards" in text
    assert "# the loud one" in text
    assert list(load_profiles()) == ["board", "pi"]
    with pytest.raises(UsageError, match="there is a device 'pi' already, ssh://pi@raspberrypi"):
        save_profile(DeviceProfile(name="pi", device=LOOPBACK), replace_it=False)
    save_profile(DeviceProfile(name="pi", device=LOOPBACK))
    assert load_profiles()["pi"].device == LOOPBACK


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[pi\n", "is not TOML"),
        ("\xff", "is not TOML"),
        ("pi = 3\n", "device 'pi' is int; it must be an object"),
        ("[pi]\n", "device 'pi' lacks its address"),
        ('[pi]\ndevice = "telnet://x"\n', "unknown device 'telnet://x'"),
        ("[pi]\ndevice = 3\n", "device is int; it must be a string"),
        ('[pi]\ndevice = "ssh://u@x"\npyhton = "python3"\n', "has the unknown key 'pyhton'; allowed: device, python"),
        ('[pi]\ndevice = "ssh://u@x"\n[pi.environment]\nA = 1\n', "environment of 'A' is int; it must be a string"),
        ('["a b"]\ndevice = "ssh://u@x"\n', "'a b' cannot be a device's name"),
        ('[local]\ndevice = "ssh://u@x"\n', "'local' cannot be a device's name"),
    ],
)
def test_a_file_that_is_wrong_is_told_of_and_not_written_over(configuration: Path, text: str, told: str) -> None:
    configuration.parent.mkdir(parents=True)
    configuration.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"devices\.toml") as refused:
        load_profiles()
    assert told in str(refused.value)
    with pytest.raises(UsageError):
        save_profile(DeviceProfile(name="other", device=PI))
    assert configuration.read_bytes() == text.encode("latin-1")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"device": PI, "through": PI}, "through means nothing for ssh://"),
        ({"device": Device.parse("adb://1"), "identity_file": "/k"}, "identity_file means nothing for adb://1"),
        (
            {"device": LOOPBACK, "python": "python3.12"},
            "python means nothing for rpc://.*; it is for ssh:// and adb://",
        ),
        ({"device": Device("local"), "environment": {"A": "b"}}, "environment means nothing for local"),
        ({"device": LOOPBACK, "through": LOOPBACK}, "it must be ssh://user@host"),
        (
            {"device": Device.parse("rpc://other:9090"), "through": PI},
            r"in plain text over a network; .* rpc://127\.0\.0\.1:9090 through ssh://USER@other",
        ),
        ({"device": PI, "python": ""}, "python is ''"),
        ({"device": PI, "python": "a\nb"}, "it must be a path without line breaks"),
        ({"device": PI, "directory": "bench"}, "it must begin with /"),
        ({"device": PI, "environment": {"1A": ""}}, "'1A' cannot be a variable"),
        ({"device": PI, "environment": {"A": "\0"}}, "'A' cannot be a variable"),
    ],
)
def test_options_that_do_not_fit_the_device_are_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        DeviceProfile(name="x", **values)


def test_where_edgeml_keeps_its_files_and_on_which_board_the_work_falls() -> None:
    assert DeviceProfile(name="x", device=PI).own_directory == "~/.cache/edgeml"
    assert DeviceProfile(name="x", device=Device("adb", "1")).own_directory == "/data/local/tmp/edgeml"
    assert DeviceProfile(name="x", device=PI, directory="/srv/edgeml").own_directory == "/srv/edgeml"
    tunnelled = DeviceProfile(name="x", device=LOOPBACK, through=PI, known_hosts="/hosts")
    assert (tunnelled.board, tunnelled.gate.device, tunnelled.gate.known_hosts) == (PI, PI, "/hosts")
    by_name = Device.parse("rpc://raspberrypi.local:9090")
    assert DeviceProfile(name="x", device=by_name, through=PI).board == PI
    with pytest.raises(UsageError, match="reached without a tunnel"):
        _ = DeviceProfile(name="x", device=LOOPBACK).gate


def test_a_directory_that_cannot_be_written_is_told(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration.parent.parent.mkdir(parents=True)
    configuration.parent.write_text("a file in the way")
    monkeypatch.setattr(profiles, "load_profiles", dict)
    with pytest.raises(EdgeMLError, match="cannot"):
        save_profile(DeviceProfile(name="pi", device=PI))


@settings(max_examples=25, deadline=None)
@given(
    environment=st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        max_size=3,
    ),
    name=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True).filter(lambda name: name != "local"),
)
def test_a_profile_is_read_as_it_was_written(environment: dict[str, str], name: str) -> None:
    profile = DeviceProfile(name=name, device=PI, environment=environment)
    save_profile(profile)
    try:
        assert load_profiles() == {name: profile}
    finally:
        remove_profile(name)
