import os
import platform
from pathlib import Path

import pytest

from edgeml.core.host import HostInfo
from edgeml.edge_bench.conditions.environment import available_memory_bytes, host_info
from edgeml.edge_bench.conditions.throttling import Conditions, condition_warnings, read_conditions

RASPBERRY_PI = {
    "proc/cpuinfo": (
        "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid asimdhp asimddp\n"
        "CPU implementer\t: 0x41\nCPU part\t: 0xd0b\n\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"
    ),
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/meminfo": "MemTotal:        8000000 kB\nMemAvailable:    6000000 kB\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "2400000\n",
    "sys/class/thermal/thermal_zone0/temp": "51500\n",
    "proc/self/cgroup": "0::/job\n",
    "proc/self/mountinfo": "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "sys/fs/cgroup/job/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/job/memory.max": "1000000000\n",
    "sys/fs/cgroup/job/memory.current": "600000000\n",
    "sys/fs/cgroup/job/memory.stat": "anon 1\ninactive_file 100000000\n",
    "sys/fs/cgroup/job/cpu.stat": "usage_usec 1\nnr_throttled 4\nthrottled_usec 2500000\n",
    "proc/stat": "cpu  1000 10 200 90000 5 3 2 40 0 0\ncpu0 1 1\n",
}
VIRTUAL_MACHINE = {
    "proc/cpuinfo": (
        "processor\t: 0\nmodel name\t: Example Xeon\ncpu MHz\t\t: 2600.000\n"
        "flags\t\t: fpu avx2 fma avx512_vnni hypervisor\n\n"
        "processor\t: 1\nmodel name\t: Example Xeon\ncpu MHz\t\t: 2500.000\n"
    ),
    "sys/class/dmi/id/sys_vendor": "QEMU\n",
    "sys/class/dmi/id/product_name": "Standard PC\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "2\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "3\n",
}


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_raspberry_pi_is_described(tmp_path: Path) -> None:
    found = host_info(machine(tmp_path, RASPBERRY_PI))
    assert found.cpu_model == "Raspberry Pi 5 Model B Rev 1.0, Cortex-A76"
    assert found.cpu_features == ("asimd", "asimddp", "asimdhp")
    assert found.governor == "ondemand"
    assert found.frequency_mhz == (1500.0, 2400.0)
    assert found.temperature_c == 51.5
    assert found.cgroup_cpu_quota == 1.5
    assert found.available_cores == min(2, len(os.sched_getaffinity(0)))
    assert found.memory_bytes == 1_000_000_000
    assert found.virtualized is None


def test_memory_left_counts_what_the_page_cache_gives_back(tmp_path: Path) -> None:
    assert available_memory_bytes(machine(tmp_path, RASPBERRY_PI)) == 500_000_000


def test_a_virtual_machine_is_described(tmp_path: Path) -> None:
    found = host_info(machine(tmp_path, VIRTUAL_MACHINE))
    assert found.cpu_model == "Example Xeon"
    assert found.cpu_features == ("avx2", "avx512_vnni", "fma")
    assert found.frequency_mhz == (2600.0, 2500.0)
    assert found.virtualized == "QEMU Standard PC"
    assert found.temperature_c is None


def test_a_machine_that_tells_nothing_is_described_by_what_python_knows(tmp_path: Path) -> None:
    found = host_info(tmp_path)
    assert found.machine == platform.machine()
    assert (found.governor, found.frequency_mhz, found.memory_bytes) == (None, (), None)
    assert available_memory_bytes(tmp_path) is None


def test_this_machine_survives_json() -> None:
    import json

    found = host_info()
    assert HostInfo.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert {"python", "edgeml", "onnxruntime", "numpy"} <= dict(found.versions).keys()


def test_counters_are_read(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    found = read_conditions(machine(tmp_path, RASPBERRY_PI))
    assert found.busy_s == (1000 + 10 + 200 + 3 + 2) / ticks
    assert found.stolen_s == 40 / ticks
    assert found.quota_stops_s == 2.5
    assert found.heat_stops is None
    assert read_conditions(machine(tmp_path, VIRTUAL_MACHINE)).heat_stops == 5


def conditions(**values: float | None) -> Conditions:
    base: dict[str, object] = {
        "time_s": 0.0,
        "busy_s": 100.0,
        "own_s": 1.0,
        "stolen_s": 1.0,
        "quota_stops_s": 1.0,
        "heat_stops": 0,
    }
    return Conditions(**(base | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "word"),
    [
        ({"busy_s": 113.0, "own_s": 11.0}, "other programs took 30% of a core"),
        ({"stolen_s": 1.5}, "hypervisor took away 5%"),
        ({"quota_stops_s": 2.0}, "throttled: the control group's CPU quota stopped the run for 10%"),
        ({"heat_stops": 3}, "throttled: cores slowed down for heat 3 times"),
    ],
)
def test_disturbances_between_two_readings_are_told(after: dict[str, float], word: str) -> None:
    (found,) = condition_warnings(
        conditions(), conditions(**({"time_s": 10.0, "own_s": 11.0, "busy_s": 110.0} | after))
    )
    assert word in found


def test_a_quiet_run_and_an_unknown_machine_give_no_warning() -> None:
    assert condition_warnings(conditions(), conditions(time_s=10.0, own_s=11.0, busy_s=110.5)) == ()
    unknown = {"busy_s": None, "stolen_s": None, "heat_stops": None}
    assert condition_warnings(conditions(**unknown), conditions(**unknown)) == ()


def test_a_falling_frequency_is_told() -> None:
    steady = condition_warnings(conditions(), conditions(), frequencies_mhz=[2400, 2390, 2400, 2410, 2400, 2380])
    assert steady == ()
    (fallen,) = condition_warnings(conditions(), conditions(), frequencies_mhz=[2400, 2400, 2000, 1900, 1500, 1500])
    assert "frequency fell by 38%" in fallen
