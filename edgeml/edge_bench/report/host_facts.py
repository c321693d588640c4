"""The conditions of runs as a report shows them: one fact a line, and which of them differ between runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeml.core.host import HostInfo
from edgeml.edge_bench.report import words

_UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One condition.

    Attributes:
        name: what it is.
        values: of each run, in order.
        differs: whether runs differ in it, where that makes their figures hard to compare.
        long: whether it needs a line of its own.
    """

    name: str
    values: tuple[str, ...]
    differs: bool = False
    long: bool = False


def host_facts(hosts: Sequence[HostInfo]) -> list[Fact]:
    """Every condition of these runs; what changes from minute to minute (load, time) is not called different."""
    facts = [
        _fact("Processor", hosts, lambda host: f"{host.cpu_model}, {host.machine}"),
        _fact("Cores", hosts, _cores),
        _fact("Memory", hosts, lambda host: _UNKNOWN if host.memory_bytes is None else words.memory(host.memory_bytes)),
        _fact("System", hosts, lambda host: host.system),
        _fact("Virtualized", hosts, lambda host: host.virtualized or _UNKNOWN),
        _fact("Governor", hosts, lambda host: host.governor or _UNKNOWN),
        _fact("Frequency", hosts, _frequency, matters=False),
        _fact("Temperature", hosts, _temperature, matters=False),
        _fact("Load average", hosts, _load, matters=False),
        _fact("Time", hosts, lambda host: words.moment(host.time), matters=False),
        _fact("Instruction sets", hosts, lambda host: ", ".join(host.cpu_features) or _UNKNOWN, long=True),
    ]
    if len(hosts) == 1:
        versions = ", ".join(f"{name} {version}" for name, version in hosts[0].versions)
        return [*facts, Fact(name="Versions", values=(versions,), long=True)]
    packages = dict.fromkeys(name for host in hosts for name, _ in host.versions)
    return facts + [_fact(package, hosts, _version_of(package)) for package in packages]


def _fact(
    name: str,
    hosts: Sequence[HostInfo],
    read: Callable[[HostInfo], str],
    *,
    matters: bool = True,
    long: bool = False,
) -> Fact:
    values = tuple(read(host) for host in hosts)
    return Fact(name=name, values=values, differs=matters and len(set(values)) > 1, long=long)


def _version_of(package: str) -> Callable[[HostInfo], str]:
    return lambda host: dict(host.versions).get(package, "not installed")


def _cores(host: HostInfo) -> str:
    quota = "" if host.cgroup_cpu_quota is None else f", quota {host.cgroup_cpu_quota:g}"
    return f"{host.available_cores} available of {host.logical_cores}{quota}"


def _frequency(host: HostInfo) -> str:
    if not host.frequency_mhz:
        return _UNKNOWN
    low, high = round(min(host.frequency_mhz)), round(max(host.frequency_mhz))
    return f"{low} MHz" if low == high else f"{low} to {high} MHz"


def _temperature(host: HostInfo) -> str:
    return _UNKNOWN if host.temperature_c is None else f"{host.temperature_c:.0f} °C"


def _load(host: HostInfo) -> str:
    return _UNKNOWN if host.load_average is None else "{:.2f}, {:.2f}, {:.2f}".format(*host.load_average)
