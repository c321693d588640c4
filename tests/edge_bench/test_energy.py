"""Energy is what the counter or the sensor says, by device; devices without one give none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeml.core.bench_profile import Energy
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.edge_bench.energy.measurement import SEGMENTS, measure_energy
from edgeml.edge_bench.energy.sensors import find_sensor, why_no_sensor

RANGE_UJ = 10_000_000


def write(path: Path, text: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")
    return path


def write_rapl(root: Path, *names: str) -> list[Path]:
    counters = []
    for index, name in enumerate(names):
        zone = root / f"sys/class/powercap/intel-rapl:{index}"
        write(zone / "name", name)
        write(zone / "max_energy_range_uj", RANGE_UJ)
        counters.append(write(zone / "energy_uj", 0))
    return counters


class Device:
    """A made-up device: 2 W while idle, 5 W for the 0.1 s that a run takes; its clock moves only with both."""

    def __init__(self, root: Path, spend: Callable[[float, float], None]) -> None:
        self.root, self.spend, self.now_s = root, spend, 0.0

    def pass_time(self, watts: float, seconds: float) -> None:
        self.now_s += seconds
        self.spend(watts, seconds)

    def measure(self, seconds: float = 4.0) -> Energy | None:
        return measure_energy(
            lambda: self.pass_time(5, 0.1),
            seconds,
            root=self.root,
            sleep=lambda idle_s: self.pass_time(2, idle_s),
            clock=lambda: self.now_s,
        )


def counting(*counters: Path) -> Callable[[float, float], None]:
    """Adds energy to counters that begin anew at their range."""

    def spend(watts: float, seconds: float) -> None:
        for counter in counters:
            value = int(counter.read_text()) + round(watts * seconds * 1e6)
            whole = counter.with_name("whole")  # a reading never finds it half written
            whole.write_text(str(value % RANGE_UJ))
            whole.replace(counter)

    return spend


def test_a_counter_that_begins_anew_gives_joules_of_a_run(tmp_path: Path) -> None:
    (counter,) = write_rapl(tmp_path, "package-0")
    found = Device(tmp_path, counting(counter)).measure()  # 20 J under load: twice around
    assert found is not None
    assert found.source == "RAPL package-0"
    assert found.joules_per_run == pytest.approx(0.5)
    assert found.ci95 == pytest.approx((0.5, 0.5))
    assert found.idle_watts == pytest.approx(2.0)
    assert found.net_joules_per_run == pytest.approx(0.3)
    assert found.seconds == pytest.approx(4.0, abs=0.1 * SEGMENTS)


def test_all_packages_and_memory_are_added_up_and_parts_of_them_left_out(tmp_path: Path) -> None:
    names = ("package-0", "core", "dram", "psys", "package-1")
    counters = dict(zip(names, write_rapl(tmp_path, *names), strict=True))
    write(tmp_path / "sys/class/powercap/intel-rapl-mmio:0/name", "package-0")
    found = Device(tmp_path, counting(*counters.values())).measure()
    assert found is not None
    assert found.source == "RAPL package-0 + package-1 + dram"
    assert found.joules_per_run == pytest.approx(1.5)


def test_the_interval_is_students_over_segments(tmp_path: Path) -> None:
    from scipy import stats

    (counter,) = write_rapl(tmp_path, "package-0")
    device, joules = Device(tmp_path, counting(counter)), [0.4, 0.6, 0.5, 0.5, 0.45, 0.55, 0.5, 0.7, 0.3, 0.5]
    order = iter(joules)

    def run() -> None:
        device.pass_time(next(order) / 0.5, 0.5)  # longer than a segment: one run in each

    found = measure_energy(run, 1.0, root=tmp_path, sleep=lambda s: device.pass_time(2, s), clock=lambda: device.now_s)
    assert found is not None
    low, high = stats.t.interval(0.95, 9, loc=0.5, scale=stats.sem(joules))
    assert found.ci95 == pytest.approx((low, high), rel=1e-4)


def write_ina3221(root: Path) -> list[Path]:
    """A Jetson's monitor: the input of the board, and one rail behind it."""
    chip = root / "sys/class/hwmon/hwmon3"
    write(chip / "name", "ina3221")
    for number, label in ((1, "VDD_CPU_GPU_CV"), (2, "VDD_IN")):
        write(chip / f"in{number}_label", label)
        write(chip / f"in{number}_input", 5000)
        write(chip / f"curr{number}_input", 400)
    return [chip / "curr2_input"]


def test_a_boards_input_rail_is_integrated_and_preferred_to_the_processors_counter(tmp_path: Path) -> None:
    write_rapl(tmp_path, "package-0")
    (current,) = write_ina3221(tmp_path)

    def spend(watts: float, _: float) -> None:
        whole = tmp_path / "whole"  # a reading never finds it half written
        whole.write_text(str(round(watts / 5 * 1000)))  # milliamperes at 5 V
        whole.replace(current)

    device = Device(tmp_path, spend)
    found = device.measure()
    assert found is not None
    assert found.source == "INA3221 VDD_IN"
    # Each reading joins its neighbours by a line, so only the step from idle to load is smeared.
    assert found.joules_per_run == pytest.approx(0.5, rel=0.05)
    assert found.idle_watts == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("files", "name", "watts"),
    [
        (
            {"sys/class/hwmon/hwmon0/name": "ina226", "sys/class/hwmon/hwmon0/power1_input": 3_000_000},
            "INA226 power1",
            3,
        ),
        (
            {"sys/class/hwmon/hwmon0/name": "power_meter", "sys/class/hwmon/hwmon0/power1_average": 90_000_000},
            "POWER_METER power1",
            90,
        ),
        (
            {
                "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN",
                "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": 2500,
            },
            "INA3221 POM_5V_IN",
            2.5,
        ),
        (
            {
                "sys/class/power_supply/BAT0/type": "Battery",
                "sys/class/power_supply/BAT0/status": "Discharging",
                "sys/class/power_supply/BAT0/power_now": 8_000_000,
            },
            "battery BAT0",
            8,
        ),
        (
            {
                "sys/class/power_supply/battery/type": "Battery",
                "sys/class/power_supply/battery/status": "Discharging",
                "sys/class/power_supply/battery/voltage_now": 4_000_000,
                "sys/class/power_supply/battery/current_now": -500_000,
            },
            "battery battery",
            2,
        ),
    ],
)
def test_sensors_of_power_are_read_in_their_units(
    tmp_path: Path, files: dict[str, object], name: str, watts: float
) -> None:
    for path, text in files.items():
        write(tmp_path / path, text)
    sensor = find_sensor(tmp_path)
    assert sensor is not None
    assert sensor.name == name
    sensor.advance(10.0)
    assert sensor.advance(14.0) == pytest.approx(4 * watts)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"sys/class/hwmon/hwmon0/name": "amdgpu", "sys/class/hwmon/hwmon0/power1_average": 9_000_000},
        {"sys/class/power_supply/BAT0/type": "Battery", "sys/class/power_supply/BAT0/status": "Charging"},
        {"sys/class/powercap/intel-rapl:0/name": "package-0", "sys/class/powercap/intel-rapl:0/energy_uj": "soon"},
    ],
)
def test_where_nothing_tells_there_is_no_figure(tmp_path: Path, files: dict[str, object]) -> None:
    for path, text in files.items():
        write(tmp_path / path, text)
    assert measure_energy(lambda: None, 1.0, root=tmp_path) is None
    assert "no counter or sensor of energy" in why_no_sensor(tmp_path)


def test_a_counter_for_root_only_is_told_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (counter,) = write_rapl(tmp_path, "package-0")
    read_text = Path.read_text

    def refuse(path: Path, *arguments: object, **keywords: object) -> str:
        if path == counter:
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", refuse)
    assert find_sensor(tmp_path) is None
    assert "can be read by root only; allow it with: sudo chmod a+r" in why_no_sensor(tmp_path)


def test_a_sensor_lost_in_the_middle_is_told_in_one_line(tmp_path: Path) -> None:
    (counter,) = write_rapl(tmp_path, "package-0")
    device = Device(tmp_path, lambda watts, seconds: counter.unlink(missing_ok=True))
    with pytest.raises(EdgeMLError, match="RAPL package-0 cannot be read any more"):
        device.measure()


def test_a_counter_that_stands_still_is_no_measurement(tmp_path: Path) -> None:
    write_rapl(tmp_path, "package-0")
    with pytest.raises(EdgeMLError, match="RAPL package-0 did not move within"):
        Device(tmp_path, lambda watts, seconds: None).measure()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_the_time_must_be_above_0(seconds: float) -> None:
    with pytest.raises(UsageError, match="must be above 0"):
        measure_energy(lambda: None, seconds)
