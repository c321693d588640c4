"""Everything the template of a report shows, computed from the results before any of it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeml.core.bench_result import BenchResult
from edgeml.edge_bench.report.cumulative_plot import TABLE_SHARES, cumulative_plot
from edgeml.edge_bench.report.encoding import encode
from edgeml.edge_bench.report.figures import Row, timed
from edgeml.edge_bench.report.host_facts import host_facts
from edgeml.edge_bench.report.load_view import readings_views, sustained_views
from edgeml.edge_bench.report.profile_view import profile_view
from edgeml.edge_bench.report.reference_view import reference_view
from edgeml.edge_bench.report.roofline_plot import roofline_plot
from edgeml.edge_bench.report.spread_plot import spread_bands
from edgeml.edge_bench.report.tradeoff_plot import latency_plot, tradeoff_plot
from edgeml.edge_bench.statistics import minimum_samples

DISTRIBUTIONS = 24
"""Distributions drawn at most in a report that would else be too large."""

_WIDTHS = (("wide", False), ("narrow", True))


def content(results: Sequence[BenchResult], shown: Sequence[Row], *, whole: bool) -> dict[str, Any]:
    """The template's variables.

    Args:
        results: the runs.
        shown: their contenders.
        whole: False leaves out what repeats at length: distributions beyond the first `DISTRIBUTIONS`, and operators
            beyond the first of each profile.
    """
    quick = timed(shown)
    drawn = [row for row, _ in quick] if whole else [row for row, _ in quick[:DISTRIBUTIONS]]
    tradeoff = [(tradeoff_plot(shown, narrow=narrow), kind) for kind, narrow in _WIDTHS]
    has_tradeoff = tradeoff[0][0] is not None
    latency = [(latency_plot(shown, narrow=narrow), kind) for kind, narrow in _WIDTHS if not has_tradeoff]
    cumulative = [(cumulative_plot(drawn, narrow=narrow), kind) for kind, narrow in _WIDTHS]
    devices = list(dict.fromkeys(row.device for row in shown))
    _, legend = encode([row.contender for row in shown], [row.device for row in shown])
    energies = [row.contender.energy.joules_per_run for row in shown if row.contender.energy is not None]
    variables: dict[str, Any] = {
        "results": results,
        "rows": shown,
        "runs": [[row for row in shown if row.run == number] for number in range(1, len(results) + 1)],
        "several_devices": len(devices) > 1,
        "legend": legend,
        "choices": _choices(shown),
        "tradeoff": [(plot, kind) for plot, kind in tradeoff if plot is not None],
        "latency": [(plot, kind) for plot, kind in latency if plot is not None],
        "spread": list(zip(spread_bands(drawn), spread_bands(drawn, narrow=True), strict=True)),
        "undrawn": len(quick) - len(drawn),
        "any_timed": bool(quick),
        "cumulative": [(plot, kind) for plot, kind in cumulative if plot is not None],
        "table_shares": TABLE_SHARES,
        "few_samples": any(latency.p90 is None or latency.p99 is None for _, latency in quick),
        "needs": {"p90": minimum_samples(0.90), "p99": minimum_samples(0.99)},
        "sustained": sustained_views(shown),
        "readings": readings_views(results),
        "scenario_versions": sorted({row.contender.scenario.version for row in shown if row.contender.scenario}),
        "profiles": _profiles(shown),
        "all_operators": whole,
        "most_joules": max(energies, default=0.0) or 1.0,
        "has_energy": bool(energies),
        "references": _references(shown),
        "facts": host_facts([result.host for result in results]),
        "ink": {"colour": "ink"},
    }
    return variables | {"contents": _contents(variables)}


def _profiles(shown: Sequence[Row]) -> list[dict[str, Any]]:
    found = []
    for row in shown:
        profile = row.contender.profile
        if profile is not None:
            plots = [(roofline_plot(profile, narrow=narrow), kind) for kind, narrow in _WIDTHS]
            rooflines = [(plot, kind) for plot, kind in plots if plot is not None]
            found.append({"row": row, "view": profile_view(profile), "rooflines": rooflines})
    return found


def _references(shown: Sequence[Row]) -> list[dict[str, Any]]:
    found = []
    for row in shown:
        view = None if row.contender.accuracy is None else reference_view(row.contender.accuracy)
        if view is not None:
            found.append({"row": row, "view": view})
    return found


def _choices(shown: Sequence[Row]) -> dict[str, Any]:
    """What contenders can be chosen by: only where there is a choice."""
    facets = [row.facets for row in shown]
    found: dict[tuple[int, ...], tuple[str, list[str]]] = {}
    for name in facets[0]:
        options = list(dict.fromkeys(each[name] for each in facets))
        # Two facets that divide the contenders alike (a device and its run) are one choice.
        found.setdefault(tuple(options.index(each[name]) for each in facets), (name, options))
    return {
        "facets": {name: options for name, options in found.values() if len(options) > 1},
        "rows": [{"label": row.label, "facets": each} for row, each in zip(shown, facets, strict=True)],
    }


def _contents(variables: dict[str, Any]) -> list[tuple[str, str]]:
    """Names of the sections that the page has, as (id, name)."""
    sections = (
        ("tradeoff", "Accuracy and latency", variables["tradeoff"]),
        ("latency", "Latency", variables["latency"]),
        ("spread", "Spread", variables["spread"]),
        ("figures", "Figures", True),
        ("load", "Sustained load", variables["sustained"]),
        ("scenarios", "Load scenarios", variables["scenario_versions"]),
        ("profile", "Where the time goes", variables["profiles"]),
        ("energy", "Energy", variables["has_energy"]),
        ("reference", "Device against host", variables["references"]),
        ("readings", "The device", variables["readings"]),
        ("host", "Conditions", True),
    )
    return [(identifier, name) for identifier, name, present in sections if present]
