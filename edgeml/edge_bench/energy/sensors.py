"""Finds what tells of power or energy on this device, from files that Linux keeps.

In this order, the whole device first:

- a board's input rail, by a monitor on it (INA3221 on Jetson boards and others of its kind; ACPI power meters);
- a processor's own counter: RAPL of Intel and AMD, by Linux's powercap (packages, and memory where it has a counter);
- a battery's gauge, while it is discharged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

# hwmon's names of monitors that sit on supply rails; a graphics card's or a disk's sensor does not tell of the device.
_MONITORS = frozenset(
    """
    ina209 ina219 ina220 ina226 ina230 ina231 ina233 ina238 ina260 ina3221 ltc2945 ltc2947 ltc2990 pac1934 power_meter
    """.split()  # noqa: SIM905 (a list of words reads better as words)
)
# Labels of rails that feed a whole board; on a monitor of several rails only these are trusted.
_INPUTS = frozenset({"VDD_IN", "VIN_SYS_5V0", "POM_5V_IN", "POM_5V0_IN", "SYS_VIN_HV", "VIN", "VDD_5V_IN", "power1"})
_RAIL_PERIOD_S = 0.02
_COUNTER_PERIOD_S = 2.0
_GAUGE_PERIOD_S = 0.5


class Sensor(Protocol):
    """Something that tells of power or energy.

    Attributes:
        name: what it is.
        period_s: the longest time between two readings from which the energy between them can still be told.
    """

    name: str
    period_s: float

    def advance(self, now_s: float) -> float:
        """Joules since the last call; what the first one gives means nothing.

        Raises:
            OSError: it cannot be read.
            ValueError: it holds no number.
        """
        ...


class PowerSensor:
    """Instantaneous power, integrated by the trapezoid rule."""

    def __init__(self, name: str, factors: Sequence[Path], watts: float, period_s: float) -> None:
        """Make it of the files whose numbers' product, times `watts`, is the power in watts."""
        self.name, self.period_s = name, period_s
        self._factors, self._scale = factors, watts
        self._last: tuple[float, float] | None = None

    def advance(self, now_s: float) -> float:
        """Joules since the last call."""
        watts = self._scale
        for factor in self._factors:
            watts *= abs(_number(factor))  # gauges differ in what sign a discharge has
        last_s, last_watts = self._last or (now_s, watts)
        self._last = now_s, watts
        return (now_s - last_s) * (watts + last_watts) / 2


class EnergyCounters:
    """Counters of microjoules that begin anew at their range, added up."""

    def __init__(self, name: str, counters: Sequence[tuple[Path, int]], period_s: float) -> None:
        """Make it of files and the range of each."""
        self.name, self.period_s = name, period_s
        self._counters = counters
        self._last: list[int] | None = None

    def advance(self, now_s: float) -> float:  # noqa: ARG002 (counters keep the time themselves)
        """Joules since the last call, in which each counter began anew at most once."""
        values = [_number(path) for path, _ in self._counters]
        last, self._last = self._last or values, values
        steps = [
            value - before if value >= before else value - before + limit
            for value, before, (_, limit) in zip(values, last, self._counters, strict=True)
        ]
        return sum(steps) / 1e6


def find_sensor(root: Path = Path("/")) -> Sensor | None:
    """The best sensor that can be read; None where there is none.

    Args:
        root: the file system's root; tests give another.
    """
    return next((sensor for sensor in _sensors(root) if _is_readable(sensor)), None)


def why_no_sensor(root: Path = Path("/")) -> str:
    """Why `find_sensor` found none, in one line with the mend where there is one."""
    for zone in _zones(root, "package"):
        counter = zone / "energy_uj"
        try:
            counter.read_text()
        except PermissionError:
            return (
                f"{counter} can be read by root only; allow it with: sudo chmod a+r {counter.parent.parent}/*/energy_uj"
            )
        except OSError:
            continue
    return "this device has no counter or sensor of energy that Linux shows (powercap, hwmon, a discharging battery)"


def _sensors(root: Path) -> Iterator[Sensor]:
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        yield from _rails(chip)
    yield from _old_jetson_rails(root)
    if packages := _zones(root, "package"):
        zones = [*packages, *_zones(root, "dram")]
        counters = [(zone / "energy_uj", limit) for zone in zones if (limit := _range(zone)) is not None]
        names = " + ".join(dict.fromkeys(_text(zone / "name") or "" for zone in zones))
        if counters:
            yield EnergyCounters(f"RAPL {names}", counters, _COUNTER_PERIOD_S)
    for supply in sorted((root / "sys/class/power_supply").glob("*")):
        if _text(supply / "type") == "Battery" and _text(supply / "status") == "Discharging":
            name = f"battery {supply.name}"
            yield PowerSensor(name, [supply / "power_now"], 1e-6, _GAUGE_PERIOD_S)
            yield PowerSensor(name, [supply / "voltage_now", supply / "current_now"], 1e-12, _GAUGE_PERIOD_S)


def _rails(chip: Path) -> Iterator[Sensor]:
    """The input rails of a hwmon chip: power in microwatts, or millivolts and milliamperes."""
    kind = _text(chip / "name")
    if kind not in _MONITORS:
        return
    for power in sorted([*chip.glob("power[0-9]*_input"), *chip.glob("power[0-9]*_average")]):
        label = _text(power.with_name(power.name.split("_")[0] + "_label")) or power.name.split("_")[0]
        if label in _INPUTS:
            yield PowerSensor(f"{kind.upper()} {label}", [power], 1e-6, _RAIL_PERIOD_S)
    for current in sorted(chip.glob("curr[0-9]*_input")):
        number = current.name.removeprefix("curr").removesuffix("_input")
        rail = _text(chip / f"in{number}_label")
        if rail in _INPUTS:
            yield PowerSensor(f"{kind.upper()} {rail}", [current, chip / f"in{number}_input"], 1e-6, _RAIL_PERIOD_S)


def _old_jetson_rails(root: Path) -> Iterator[Sensor]:
    """The same monitor as NVIDIA's Linux 4.9 shows it (Jetson Nano, TX2, Xavier): milliwatts by channel."""
    for name in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*/rail_name_[0-9]*")):
        rail = _text(name)
        if rail in _INPUTS:
            power = name.with_name(f"in_power{name.name.removeprefix('rail_name_')}_input")
            yield PowerSensor(f"INA3221 {rail}", [power], 1e-3, _RAIL_PERIOD_S)


def _zones(root: Path, name: str) -> list[Path]:
    """Directories of RAPL's zones whose name begins so, without the copies that a second interface (MMIO) shows."""
    zones = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
    return [zone for zone in zones if (_text(zone / "name") or "").startswith(name)]


def _range(zone: Path) -> int | None:
    with suppress(OSError, ValueError):
        return _number(zone / "max_energy_range_uj")
    return None


def _is_readable(sensor: Sensor) -> bool:
    """Whether it can be read now; the reading begins its first interval."""
    try:
        sensor.advance(0.0)
    except (OSError, ValueError):
        return False
    return True


def _number(path: Path) -> int:
    return int(path.read_text())


def _text(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return None
