"""The tables that `edgeml bench --profile` adds for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from edgeml.core.bench_profile import OperatorTime, Profile
    from edgeml.core.bench_result import BenchResult

_ROWS = 15
_WIDTH = 160


def print_profile(result: BenchResult) -> None:
    """Print where the time of each contender goes on stdout; nothing where it was not measured."""
    from rich.console import Console

    from edgeml.edge_bench.verdicts.labels import contender_labels

    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH  # as the table of latencies
    for label, contender in zip(contender_labels(result.contenders), result.contenders, strict=True):
        if contender.profile is not None:
            _print_operators(console, label, contender.profile)


def _print_operators(console: Console, label: str, profile: Profile) -> None:
    """The operators that take most of the time; the others in one row."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(f"{label}: time by operator ({profile.source})"), title_justify="left")
    table.add_column("operator", overflow="fold")
    table.add_column("type")
    table.add_column("by")
    table.add_column("precision")
    for heading in ("time", "share", "GOP/s", "of its roof"):
        table.add_column(heading, justify="right")
    table.add_column("not as asked", overflow="fold")
    longest = sorted(profile.operators, key=lambda each: each.milliseconds, reverse=True)
    for each in longest[:_ROWS]:
        table.add_row(
            escape(each.name),
            escape(each.operator),
            each.kernel.removesuffix("ExecutionProvider"),
            each.precision,
            _time(each.milliseconds),
            f"{each.share:.1%}",
            "-" if each.gflops is None else _rate(each.gflops),
            "-" if each.share_of_roof is None else f"{each.share_of_roof:.0%} ({each.bound})",
            each.fallback or "",
        )
    if rest := longest[_ROWS:]:
        share = sum(each.share for each in rest)
        total = _time(sum(each.milliseconds for each in rest))
        table.add_row(f"{len(rest)} more", "", "", "", total, f"{share:.1%}", "", "", "")
    console.print(table)
    for line in _totals(profile):
        console.print(line, markup=False, highlight=False)


def _totals(profile: Profile) -> list[str]:
    operators_ms = sum(each.milliseconds for each in profile.operators)
    lines = [f"operators {_time(operators_ms)}, a run while profiling {_time(profile.run_ms)}; {profile.runs} runs"]
    macs = sum(each.macs or 0 for each in profile.operators)
    if macs and operators_ms:
        lines.append(f"{macs / 1e6:,.1f} million multiply-accumulates, {_rate(2 * macs / operators_ms / 1e6)} GOP/s")
    lines += [f"{share:.1%} of the time: {reason}" for reason, share in _fallback_shares(profile.operators)]
    if profile.peaks is not None:
        peaks = profile.peaks
        int8 = "" if peaks.gops_int8 is None else f", {_rate(peaks.gops_int8)} GOP/s int8"
        memory = f"{_rate(peaks.gigabytes_per_second)} GB/s memory"
        lines.append(f"peaks {_rate(peaks.gflops_float32)} GFLOP/s float32{int8}, {memory}")
    return lines


def _fallback_shares(operators: tuple[OperatorTime, ...]) -> list[tuple[str, float]]:
    shares: dict[str, float] = {}
    for each in operators:
        if each.fallback is not None:
            shares[each.fallback] = shares.get(each.fallback, 0.0) + each.share
    return sorted(shares.items(), key=lambda item: item[1], reverse=True)


def _rate(gops: float) -> str:
    return f"{gops:,.0f}" if gops >= 100 else f"{gops:#.3g}"


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.3f} ms" if milliseconds >= 1 else f"{milliseconds * 1e3:.1f} us"
