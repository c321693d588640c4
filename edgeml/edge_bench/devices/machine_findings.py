"""What a board tells of itself through its shell alone, before anything is installed on it.

The script keeps to POSIX and to what Linux shows in /proc and /sys, so that busybox and Android's toybox run it too.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from edgeml.core.errors import EdgeMLError
from edgeml.core.finding import Finding
from edgeml.edge_bench.devices.shell import Completed

Run = Callable[[str], Completed]
"""Runs a script of the POSIX shell there."""

CLOCK_LIMIT_S = 60.0
"""A clock that is further off makes dates in results misleading, and certificates invalid."""

_HOT_C = 75.0  # a Raspberry Pi 4 or 5 begins to throttle at 80 degrees
_SCRIPT = r"""
say() { printf '%s=%s\n' "$1" "$(printf '%s' "$2" | tr '\n\0' '  ')"; }
cpu=/sys/devices/system/cpu
say now "$(date +%s)"
say machine "$(uname -m)"
say system "$(uname -sr)"
say model "$(tr -d '\0' < /proc/device-tree/model || getprop ro.product.model)"
say cores "$(nproc || getconf _NPROCESSORS_ONLN || grep -c ^processor /proc/cpuinfo)"
say memory "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
say governors "$(cat $cpu/cpu[0-9]*/cpufreq/scaling_governor | sort -u)"
say frequencies "$(cat $cpu/cpu[0-9]*/cpufreq/scaling_cur_freq | sort -n)"
say told "$(grep -i -c '^cpu mhz' /proc/cpuinfo)"
say temperatures "$(cat /sys/class/thermal/thermal_zone*/temp | sort -n)"
"""


def machine_findings(run: Run) -> tuple[Finding, ...]:
    """Processor, cores, memory, governor, frequency, temperature and clock of a board; none of them is needed.

    Raises:
        DeviceLostError: the link is cut.
        EdgeMLError: there is no POSIX shell.
    """
    mark = secrets.token_hex(8)  # a shell's start file may print before
    before = time.time()
    done = run(f"{{ echo {mark}; {_SCRIPT} }} 2>/dev/null")
    after = time.time()
    told = done.stdout.decode("utf-8", errors="replace").partition(f"{mark}\n")[2]
    values = {key: value.strip() for key, _, value in (line.partition("=") for line in told.splitlines())}
    if not values.get("machine"):
        raise EdgeMLError("its shell does not run POSIX scripts; a board needs sh, uname and cat")
    return (
        _machine(values),
        _cores(values),
        _governor(values.get("governors", "").split()),
        _frequency(values),
        _temperature(_numbers(values.get("temperatures", ""))),
        _clock(values.get("now", ""), before, after),
    )


def _machine(values: dict[str, str]) -> Finding:
    named = [text for text in (values.get("model"), values["machine"], values.get("system")) if text]
    return Finding("machine", "ok", ", ".join(named), needed=False)


def _cores(values: dict[str, str]) -> Finding:
    if not values.get("cores", "").isdigit():
        return Finding("cores", "skipped", "the system does not tell them", needed=False)
    memory = values.get("memory", "")
    size = f", {int(memory) / (1 << 20):.1f} GiB of memory" if memory.isdigit() else ""
    return Finding("cores", "ok", f"{values['cores']}{size}", needed=False)


def _governor(governors: list[str]) -> Finding:
    if not governors:
        return Finding("governor", "skipped", "the system tells of none, as virtual machines do", needed=False)
    detail = ", ".join(governors)
    if governors != ["performance"]:
        detail += (
            "; figures scatter less with: echo performance | sudo tee "
            "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    return Finding("governor", "ok", detail, needed=False)


def _frequency(values: dict[str, str]) -> Finding:
    kilohertz = _numbers(values.get("frequencies", ""))
    if kilohertz:
        low, high = f"{kilohertz[0] / 1e3:,.0f}", f"{kilohertz[-1] / 1e3:,.0f}"
        return Finding("frequency", "ok", f"{high if low == high else f'{low} to {high}'} MHz now", needed=False)
    if values.get("told", "0") not in {"", "0"}:
        return Finding("frequency", "ok", "read from /proc/cpuinfo", needed=False)
    return Finding("frequency", "skipped", "not told, so throttling shows in latencies alone", needed=False)


def _temperature(millidegrees: list[float]) -> Finding:
    if not millidegrees:
        return Finding("temperature", "skipped", "not told, so heat is not seen beside throttling", needed=False)
    hottest = millidegrees[-1] / 1e3
    detail = f"{hottest:.0f} degrees Celsius, the hottest of {len(millidegrees)} zones"
    if hottest >= _HOT_C:
        detail += "; let it cool down first, or give it a fan"
    return Finding("temperature", "ok", detail, needed=False)


def _clock(now: str, before: float, after: float) -> Finding:
    if not now.isdigit():
        return Finding("clock", "skipped", "the system does not tell the time", needed=False)
    # It was read between the two, and its second began up to a second before.
    earliest, latest = int(now) - after, int(now) + 1 - before
    if earliest <= 0 <= latest:
        return Finding("clock", "ok", f"agrees with this machine's within {max(-earliest, latest):.1f} s", needed=False)
    off = earliest if earliest > 0 else latest
    detail = f"{abs(off):,.0f} s {'ahead' if off > 0 else 'behind'}"
    if abs(off) <= CLOCK_LIMIT_S:
        return Finding("clock", "ok", detail, needed=False)
    return Finding("clock", "failed", f"{detail}; set it, on systemd with: sudo timedatectl set-ntp true", needed=False)


def _numbers(text: str) -> list[float]:
    """The whole numbers among the words, in their order."""
    return [float(word) for word in text.split() if word.removeprefix("-").isdigit()]
