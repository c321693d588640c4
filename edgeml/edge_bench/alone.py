"""What is measured of a contender alone on the device: energy, a load scenario, a profile, minutes of load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeml.core.bench_profile import Energy, Profile
from edgeml.core.bench_scenario import ScenarioResult
from edgeml.core.bench_sustained import Sustained
from edgeml.edge_bench.bench_settings import ENERGY_S, PROFILE_RUNS, Extras
from edgeml.edge_bench.dataclass_json import restored
from edgeml.edge_bench.running import Running
from edgeml.edge_bench.sustain import sustained

_TIMEOUT_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found; None where it was not asked for.

    Attributes:
        energy: also None where the device has no counter.
        no_energy: why there is none though it was asked for.
        scenario: LoadGen's result.
        profile: where the time goes.
        sustained: minutes of load.
    """

    energy: Energy | None = None
    no_energy: str | None = None
    scenario: ScenarioResult | None = None
    profile: Profile | None = None
    sustained: Sustained | None = None


def measure_alone(running: Running, extras: Extras, tell: Callable[[str], None]) -> Findings:
    """Measure what was asked for; the longest load comes last, since it leaves the device hot.

    Args:
        running: open and warm.
        extras: what is asked for.
        tell: told what is being measured.

    Raises:
        MissingError: a package that it takes is not installed on the device.
        EdgeMLError: the worker refused or died, or its device was lost.
    """
    energy = no_energy = scenario = profile = endurance = None
    # A run may take as long as it likes: what has a number of runs to do gets the time of twice as many.
    slack_s = _TIMEOUT_S + 2 * PROFILE_RUNS * running.latency_ms / 1e3
    if extras.energy:
        tell("energy")
        answer = running.ask("energy", timeout_s=slack_s + 10 * ENERGY_S, seconds=ENERGY_S)
        energy = None if answer["energy"] is None else restored("energy", answer["energy"], Energy)
        no_energy = answer.get("why")
    if extras.scenario is not None:
        tell(f"scenario {extras.scenario.scenario}")
        answer = running.ask("scenario", timeout_s=extras.scenario.timeout_s, **extras.scenario.to_json())
        scenario = restored("scenario", answer["scenario"], ScenarioResult)
    if extras.profile:
        tell("profile")
        answer = running.ask("profile", timeout_s=slack_s, runs=PROFILE_RUNS)
        profile = restored("profile", answer["profile"], Profile)
    if extras.sustained_s is not None:
        tell(f"{extras.sustained_s:.0f} s of load")
        endurance = sustained(running, extras.sustained_s)
    return Findings(energy=energy, no_energy=no_energy, scenario=scenario, profile=profile, sustained=endurance)
