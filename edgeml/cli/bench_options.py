"""The options of `edgeml bench` that say where to measure, and what beside latency."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from edgeml.cli.duration import duration
from edgeml.core.bench_scenario import Scenario
from edgeml.core.errors import UsageError

if TYPE_CHECKING:
    from edgeml.edge_bench.bench_settings import Extras
    from edgeml.edge_bench.devices.profiles import DeviceProfile

F = TypeVar("F", bound=Callable[..., object])

_FILE = click.Path(path_type=Path)
_SCENARIO_OPTIONS = ("target_latency_ms", "target_qps", "samples_per_query", "min_duration")

_OPTIONS = (
    click.option(
        "--device",
        "devices",
        multiple=True,
        default=("local",),
        show_default=True,
        help="Where to run: a name from `edgeml device list`, or an address; give it again to measure on several.",
    ),
    click.option("--profile", is_flag=True, help="Tell where the time goes, operator by operator."),
    click.option("--energy", is_flag=True, help="Measure the energy of a run, where the device has a counter for it."),
    click.option(
        "--sustain",
        callback=duration,
        metavar="DURATION",
        help="Load each contender that long (90s, 30m, 2h) and tell when the device throttles.",
    ),
    click.option("--scenario", type=click.Choice(get_args(Scenario)), help="Run MLCommons LoadGen with this scenario."),
    click.option("--target-latency-ms", type=float, help="Latency bound of the scenarios server and multi-stream."),
    click.option("--target-qps", type=float, help="Samples a second of the scenarios server and offline."),
    click.option("--samples-per-query", type=click.IntRange(min=1), help="Of the scenario multi-stream.  [default: 8]"),
    click.option(
        "--min-duration",
        callback=duration,
        metavar="DURATION",
        help="Shortest time that a scenario sends queries.  [default: 60s]",
    ),
    click.option(
        "--reference",
        type=_FILE,
        help="ONNX file whose answers on this machine the device's are held to, sample by sample, with --data.  "
        "[default: on other devices than local, the file itself or what it was compiled from]",
    ),
    click.option("--store", type=_FILE, help="Keep the results in this file.  [default: the user's own store]"),
    click.option("--no-store", is_flag=True, help="Do not keep the results."),
)


def device_options(command: F) -> F:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def device_profiles(devices: tuple[str, ...]) -> list[DeviceProfile]:
    """The devices that were named, each once.

    Raises:
        UsageError: one is not known, or two names lead to the same device.
    """
    from edgeml.edge_bench.devices.profiles import resolve_device

    found = [resolve_device(text) for text in devices]
    for index, profile in enumerate(found):
        if profile.device in [other.device for other in found[:index]]:
            raise UsageError(f"device {profile.device} is given twice; two measurements would disturb each other")
    return found


def extras(options: dict[str, Any]) -> Extras:
    """What is asked for beside latency.

    Args:
        options: of the command, by name.

    Raises:
        UsageError: they do not fit together.
    """
    from edgeml.edge_bench.bench_settings import Extras
    from edgeml.edge_bench.scenarios.settings import ScenarioSettings

    scenario = None
    given = {name: options[name] for name in _SCENARIO_OPTIONS if options[name] is not None}
    if options["scenario"] is not None:
        duration_s = {"min_duration_s": given.pop("min_duration")} if "min_duration" in given else {}
        scenario = ScenarioSettings(scenario=options["scenario"], seed=options["seed"], **given, **duration_s)
    elif given:
        raise UsageError(f"--{next(iter(given)).replace('_', '-')} is for a load scenario; give --scenario too")
    return Extras(
        scenario=scenario, sustained_s=options["sustain"], profile=options["profile"], energy=options["energy"]
    )


def check_plain(options: dict[str, Any], why: str) -> None:
    """Refuse every option of this module that was given; `why` ends the message.

    Raises:
        UsageError: one was.
    """
    if options["devices"] != ("local",):
        raise UsageError(f"--device {options['devices'][0]}: {why}")
    named = ("profile", "energy", "sustain", "scenario", *_SCENARIO_OPTIONS, "reference", "store")
    for name in named:
        if options[name]:
            raise UsageError(f"--{name.replace('_', '-')}: {why}")
