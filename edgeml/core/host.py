"""The machine a measurement was taken on, so that figures are never read without their conditions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
        """Inverse of `to_json`."""
        load = value["load_average"]
        return cls(
            **(
                value
                | {
                    "cpu_features": tuple(value["cpu_features"]),
                    "frequency_mhz": tuple(value["frequency_mhz"]),
                    "load_average": None if load is None else (load[0], load[1], load[2]),
                    "versions": tuple(value["versions"].items()),
                }
            )
        )
