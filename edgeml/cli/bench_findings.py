"""What `edgeml bench` prints below its table: answers held to the reference, energy, scenarios, sustained load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgeml.core.bench_result import Accuracy, BenchResult
    from edgeml.core.bench_scenario import ScenarioResult
    from edgeml.core.bench_sustained import Sustained

_DIFFERENCES_SHOWN = 5


def print_findings(result: BenchResult) -> None:
    """Print a line each on stdout, then the profiles."""
    from edgeml.edge_bench.verdicts.labels import contender_labels

    for label, contender in zip(contender_labels(result.contenders), result.contenders, strict=True):
        lines = []
        if contender.accuracy is not None:
            lines += _reference(contender.accuracy)
        if (energy := contender.energy) is not None:
            low, high = energy.ci95
            lines.append(
                f"{1e3 * energy.joules_per_run:#.3g} mJ a run [{1e3 * low:#.3g}, {1e3 * high:#.3g}], "
                f"{1e3 * energy.net_joules_per_run:#.3g} mJ above the idle {energy.idle_watts:#.3g} W ({energy.source})"
            )
        if contender.scenario is not None:
            lines.append(_scenario(contender.scenario))
        if contender.sustained is not None:
            lines.append(_sustained(contender.sustained))
        for line in lines:
            click.echo(f"{label}: {line}")
    if any(contender.profile is not None for contender in result.contenders):
        from edgeml.cli.bench_profile import print_profile

        print_profile(result)


def _reference(accuracy: Accuracy) -> list[str]:
    reference = accuracy.reference
    if reference is None:
        return []
    low, high = reference.ci95
    against = f"{reference.artifact} on this machine ({reference.value:.2%})"
    if not reference.differences:
        return [f"all {accuracy.samples} samples are classified as by {against}"]
    shown = ", ".join(
        f"{each.sample} (class {each.found}, not {each.expected}; labelled {each.label})"
        for each in reference.differences[:_DIFFERENCES_SHOWN]
    )
    more = len(reference.differences) - _DIFFERENCES_SHOWN
    return [
        f"{len(reference.differences)} of {accuracy.samples} samples are classified otherwise than by {against}, "
        f"{100 * reference.difference:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}]: sample {shown}"
        + (f" and {more} more, all in --json" if more > 0 else "")
    ]


def _scenario(found: ScenarioResult) -> str:
    verdict = "VALID" if found.valid else "INVALID"
    tail = found.latency_ms.get("p99")
    latency = "" if tail is None else f", p99 {tail:#.3g} ms"
    return (
        f"LoadGen {found.scenario} {verdict}: {found.metric} {found.value:.6g}, {found.queries} queries, "
        f"{found.samples_per_second:.4g} samples a second{latency}"
    )


def _sustained(found: Sustained) -> str:
    from edgeml.edge_bench.sustain import throttling_warning

    slowed = throttling_warning(found)
    first, last = found.points[0], found.points[-1]
    return slowed or (
        f"under {found.seconds:.0f} s of sustained load latency held: {first.median_ms:#.3g} ms at first, "
        f"{last.median_ms:#.3g} ms at last"
    )
