"""The machine a measurement was taken on, so that figures are never read without their conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from edgeml.core.errors import UsageError
from edgeml.core.json_values import integer, items, number, pairs, record, string

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class HostInfo:
    """Conditions of a run; None where the machine does not tell.

    Attributes:
        machine: instruction set ("x86_64", "aarch64").
        system: operating system and kernel.
        cpu_model: the processor's own name.
        cpu_features: instruction-set extensions that matter for inference ("avx512_vnni", "asimddp", ...).
        logical_cores: cores of the machine.
        available_cores: cores this process may use (affinity and cgroup quota).
        cgroup_cpu_quota: cores granted by the cgroup's quota.
        memory_bytes: memory this process may use (the cgroup's limit or the machine's memory).
        governor: CPU frequency governor.
        frequency_mhz: current frequency of each core.
        temperature_c: hottest thermal zone.
        load_average: 1, 5 and 15 minutes.
        virtualized: name of the hypervisor, "none" on bare metal.
        versions: Python's and the packages' versions.
        time: start of the run, ISO 8601 with zone.
    """

    machine: str
    system: str
    cpu_model: str
    cpu_features: tuple[str, ...]
    logical_cores: int
    available_cores: int
    cgroup_cpu_quota: float | None
    memory_bytes: int | None
    governor: str | None
    frequency_mhz: tuple[float, ...]
    temperature_c: float | None
    load_average: tuple[float, float, float] | None
    virtualized: str | None
    versions: tuple[tuple[str, str], ...]
    time: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"versions": dict(self.versions)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> HostInfo:
        """Inverse of `to_json`.

        Raises:
            UsageError: the values are not those of a HostInfo.
        """
        values = record("host", value, [field.name for field in fields(cls)])
        load = values["load_average"]
        if load is not None and len(items("load_average", load)) != 3:
            raise UsageError(f"load_average has {len(load)} values; it must have 3")
        return cls(
            machine=string("machine", values["machine"]),
            system=string("system", values["system"]),
            cpu_model=string("cpu_model", values["cpu_model"]),
            cpu_features=tuple(string("a CPU feature", each) for each in items("cpu_features", values["cpu_features"])),
            logical_cores=integer("logical_cores", values["logical_cores"]),
            available_cores=integer("available_cores", values["available_cores"]),
            cgroup_cpu_quota=_optional(number, "cgroup_cpu_quota", values),
            memory_bytes=_optional(integer, "memory_bytes", values),
            governor=_optional(string, "governor", values),
            frequency_mhz=tuple(
                number("a frequency", each) for each in items("frequency_mhz", values["frequency_mhz"])
            ),
            temperature_c=_optional(number, "temperature_c", values),
            load_average=None
            if load is None
            else (number("load", load[0]), number("load", load[1]), number("load", load[2])),
            virtualized=_optional(string, "virtualized", values),
            versions=pairs("versions", values["versions"]),
            time=string("time", values["time"]),
        )


def _optional(read: Callable[[str, object], T], name: str, values: dict[str, Any]) -> T | None:
    return None if values[name] is None else read(name, values[name])
