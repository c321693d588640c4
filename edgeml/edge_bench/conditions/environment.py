"""Describes the machine a measurement is taken on, from what Linux tells; elsewhere most of it stays unknown."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgeml.core.host import HostInfo
from edgeml.runtime.cgroup import cgroup_directories, read_number
from edgeml.runtime.threads import available_threads, cgroup_cpu_quota

PACKAGES = ("edgeml", "numpy", "onnx", "onnxruntime", "apache-tvm", "apache-tvm-ffi", "scipy", "mlcommons-loadgen")

# Instruction-set extensions that change which inference kernels run, by the names /proc/cpuinfo gives them.
_FEATURES = frozenset(
    """
    sse4_1 sse4_2 avx avx2 fma f16c avx512f avx512bw avx512dq avx512vl avx512_vnni avx_vnni avx512_bf16 avx512_fp16
    amx_tile amx_int8 amx_bf16 neon asimd fphp asimdhp asimddp i8mm bf16 sve sve2 sme vfpv4
    """.split()  # noqa: SIM905 (a list of words reads better as words)
)

# Arm's part numbers (implementer 0x41), since /proc/cpuinfo of aarch64 has no model name.
_ARM_PARTS = {
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd40": "Neoverse-V1",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
}


def host_info(root: Path = Path("/")) -> HostInfo:
    """The machine as it is now.

    Args:
        root: the file system's root; tests give another.
    """
    cpu = _cpuinfo(root)
    found_versions = tuple((package, found) for package in PACKAGES if (found := _version(package)) is not None)
    return HostInfo(
        machine=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        cpu_model=_cpu_model(cpu, root),
        cpu_features=tuple(sorted(_FEATURES & set(f"{cpu.get('flags', '')} {cpu.get('Features', '')}".split()))),
        logical_cores=os.cpu_count() or 1,
        available_cores=available_threads(root),
        cgroup_cpu_quota=cgroup_cpu_quota(root),
        memory_bytes=_memory_limit_bytes(root),
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        frequency_mhz=frequency_mhz(root),
        temperature_c=temperature_c(root),
        load_average=os.getloadavg() if hasattr(os, "getloadavg") else None,
        virtualized=_virtualized(cpu, root),
        versions=(("python", platform.python_version()), *found_versions),
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def frequency_mhz(root: Path = Path("/")) -> tuple[float, ...]:
    """Current frequency of each core in MHz; empty where it is not told."""
    cores = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*"), key=lambda path: int(path.name[3:]))
    governed = [read_number(core / "cpufreq/scaling_cur_freq") for core in cores]
    if found := tuple(kilohertz / 1000 for kilohertz in governed if kilohertz is not None):
        return found
    lines = (_text(root / "proc/cpuinfo") or "").splitlines()
    return tuple(float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz"))


def temperature_c(root: Path = Path("/")) -> float | None:
    """The hottest thermal zone in degrees Celsius; None where there is none."""
    zones = [read_number(zone) for zone in (root / "sys/class/thermal").glob("thermal_zone*/temp")]
    return max((millidegrees / 1000 for millidegrees in zones if millidegrees is not None), default=None)


def available_memory_bytes(root: Path = Path("/")) -> int | None:
    """Memory this process can still take: what the machine has free or what its control groups leave, the lesser."""
    free = [value for value in [_meminfo("MemAvailable", root)] if value is not None]
    for directory in cgroup_directories("memory", root):
        for limit, usage in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            allowed, used = read_number(directory / limit), read_number(directory / usage)
            if allowed is not None and used is not None:
                # Cached file pages count as used but are given back on demand.
                free.append(max(0, allowed - used + _reclaimable_bytes(directory)))
    return min(free, default=None)


def _memory_limit_bytes(root: Path) -> int | None:
    limits = [_meminfo("MemTotal", root)]
    for directory in cgroup_directories("memory", root):
        limits += [read_number(directory / name) for name in ("memory.max", "memory.limit_in_bytes")]
    return min((limit for limit in limits if limit is not None), default=None)


def _reclaimable_bytes(directory: Path) -> int:
    for line in (_text(directory / "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name in {"inactive_file", "total_inactive_file"}:
            return int(value)
    return 0


def _meminfo(name: str, root: Path) -> int | None:
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return None


def _cpuinfo(root: Path) -> dict[str, str]:
    """The first value of each key in /proc/cpuinfo."""
    values: dict[str, str] = {}
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        values.setdefault(key.strip(), value.strip())
    return values


def _cpu_model(cpu: dict[str, str], root: Path) -> str:
    if "model name" in cpu:
        return cpu["model name"]
    part = cpu.get("CPU part", "")
    core = _ARM_PARTS.get(part, f"part {part}") if cpu.get("CPU implementer") == "0x41" else part
    board = _text(root / "proc/device-tree/model") or cpu.get("Model") or ""
    known = [text for text in (board.rstrip("\0"), core) if text]
    return ", ".join(known) or platform.processor() or "unknown"


def _virtualized(cpu: dict[str, str], root: Path) -> str | None:
    """The hypervisor's name as far as the firmware tells it, "none" on bare metal, None where nothing tells."""
    if name := _text(root / "sys/hypervisor/type"):
        return name
    if "dummy-virt" in (_text(root / "proc/device-tree/compatible") or ""):
        return "qemu"
    flags = cpu.get("flags")
    if flags is None:
        return None
    if "hypervisor" not in flags.split():
        return "none"
    firmware = [_text(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    return " ".join(text for text in firmware if text) or "unnamed hypervisor"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
