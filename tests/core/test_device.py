import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.core.device import LOCAL, Device
from edgeml.core.errors import UsageError

WORDS = st.from_regex(re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}"), fullmatch=True)
HOSTS = WORDS | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(lambda address: f"[{address}]")
PORTS = st.integers(1, 65535)
SERIALS = st.from_regex(re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,12}"), fullmatch=True)

DEVICES = st.one_of(
    st.just(LOCAL),
    st.just(Device("qemu", "aarch64")),
    st.builds(Device, st.just("ssh"), HOSTS, st.none() | PORTS, WORDS),
    st.builds(Device, st.just("rpc"), HOSTS, PORTS),
    st.builds(Device, st.just("rpc-tracker"), HOSTS, PORTS, st.none(), WORDS),
    st.builds(Device, st.just("adb"), SERIALS),
)


@given(DEVICES)
def test_parse_undoes_str(device: Device) -> None:
    assert Device.parse(str(device)) == device


@given(st.text() | st.from_regex(r"(local|ssh|rpc|rpc-tracker|adb|qemu)://[ -~]{0,20}", fullmatch=True))
def test_any_text_is_a_device_that_str_gives_back_or_a_usage_error(text: str) -> None:
    try:
        device = Device.parse(text)
    except UsageError:
        return
    assert Device.parse(str(device)) == device


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("local", LOCAL),
        ("ssh://pi@raspberry.local", Device("ssh", "raspberry.local", None, "pi")),
        ("ssh://pi@[fe80::1]:2222", Device("ssh", "[fe80::1]", 2222, "pi")),
        ("rpc://10.0.0.7:9090", Device("rpc", "10.0.0.7", 9090)),
        ("rpc-tracker://10.0.0.7:9190/rpi4", Device("rpc-tracker", "10.0.0.7", 9190, None, "rpi4")),
        ("adb://192.168.1.5:5555", Device("adb", "192.168.1.5:5555")),
        ("qemu://aarch64", Device("qemu", "aarch64")),
    ],
)
def test_the_documented_forms_are_read(text: str, device: Device) -> None:
    assert Device.parse(text) == device
    assert str(device) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Local",
        "local://",
        "ssh://raspberry",
        "ssh://pi@host/key",
        "ssh://pi@-oProxyCommand",
        "ssh://-lroot@host",
        "ssh://pi@host:0",
        "ssh://pi@host:65536",
        "ssh://pi@host:\u0662\u0662",
        "ssh://pi@host\n",
        "rpc://host",
        "rpc://user@host:1",
        "rpc-tracker://host:1",
        "adb://",
        "adb://-s",
        "adb://a/b",
        "qemu://mips",
        "qemu://aarch64:1",
        "http://host:80",
    ],
)
def test_other_forms_are_refused_with_the_allowed_ones(text: str) -> None:
    with pytest.raises(UsageError, match=r"allowed forms: local, ssh://user@host"):
        Device.parse(text)


def test_a_device_that_has_no_text_form_cannot_be_made() -> None:
    with pytest.raises(UsageError, match="not of its scheme's form"):
        Device("ssh", "host; reboot", None, "pi")
    with pytest.raises(UsageError, match="not of its scheme's form"):
        Device("local", "host")
