"""Puts a report together: figures and plots into the template, style and script inlined, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeml import __version__
from edgeml.core.atomic import atomic_write_text
from edgeml.core.bench_result import BenchResult, Contender
from edgeml.core.errors import UsageError, needs_extra
from edgeml.edge_bench.report import palette, words
from edgeml.edge_bench.report.figures import Row, rows
from edgeml.edge_bench.report.spread_plot import spread_plot
from edgeml.edge_bench.report.tradeoff_plot import latency_plot, tradeoff_plot
from edgeml.edge_bench.results import to_json
from edgeml.edge_bench.verdict import ACCURACY_TOLERANCE_POINTS

SIZE_LIMIT_BYTES = 1_000_000
"""No report is larger: beyond it the raw samples stay out of the page, which then says so."""

_FASTEST_MS, _SLOWEST_MS = 1e-6, 1e9
_HERE = Path(__file__).parent


def write_report(
    results: Sequence[BenchResult],
    output: Path,
    *,
    title: str | None = None,
    tolerance_points: float = ACCURACY_TOLERANCE_POINTS,
) -> None:
    """Write the report of one or more runs to `output`, whole or not at all.

    Raises:
        UsageError: there are no results, or `output` cannot be written.
        MissingError: jinja2 is not installed.
    """
    atomic_write_text(output, render(results, title=title, tolerance_points=tolerance_points))


def render(
    results: Sequence[BenchResult],
    *,
    title: str | None = None,
    tolerance_points: float = ACCURACY_TOLERANCE_POINTS,
) -> str:
    """The report as one HTML document of less than `SIZE_LIMIT_BYTES`.

    Args:
        results: runs of `edgeml bench`; contenders are compared within a run only, since runs are not interleaved.
        title: heading of the page; by default the names of the models.
        tolerance_points: accuracy loss in percentage points up to which a faster contender pays.

    Raises:
        UsageError: there are no results, more than fit the size, or figures that no run can have.
        MissingError: jinja2 is not installed.
    """
    if not any(result.contenders for result in results):
        raise UsageError("there is nothing to report: the results hold no contender; run `edgeml bench` first")
    for result in results:
        for contender in result.contenders:
            _check_plausible(contender)
    shown = rows(results, tolerance_points)
    for with_samples in (True, False):
        page = _fill_template(results, shown, title or _title(shown), tolerance_points, with_samples=with_samples)
        if len(page.encode()) < SIZE_LIMIT_BYTES:
            return page
    raise UsageError(
        f"a report of {len(shown)} contenders would be larger than {SIZE_LIMIT_BYTES:,} bytes; report fewer runs"
    )


def _check_plausible(contender: Contender) -> None:
    """Results may come from a file someone edited; figures that no run can have would break the plots."""
    samples, accuracy = contender.latency_ms, contender.accuracy
    if not samples or min(samples) < _FASTEST_MS or max(samples) > _SLOWEST_MS:
        raise UsageError(
            f"{contender.artifact}: a latency lies outside {_FASTEST_MS:g} to {_SLOWEST_MS:g} ms; measure again"
        )
    if accuracy is not None and not all(0 <= share <= 1 for share in (accuracy.value, *accuracy.ci95)):
        raise UsageError(
            f"{contender.artifact}: accuracy {accuracy.value:g} is no share between 0 and 1; measure again"
        )


def _title(shown: Sequence[Row]) -> str:
    models = list(dict.fromkeys(row.contender.model for row in shown))
    return ", ".join(models) if len(models) <= 3 else f"{len(models)} models"


def _fill_template(
    results: Sequence[BenchResult], shown: Sequence[Row], title: str, tolerance_points: float, *, with_samples: bool
) -> str:
    with needs_extra("report"):
        import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(words.FILTERS)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    style = environment.get_template("style.css").render(light_palette=palette.LIGHT, dark_palette=palette.DARK)
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    tradeoff = [tradeoff_plot(shown), tradeoff_plot(shown, narrow=True)]
    latency = [latency_plot(shown), latency_plot(shown, narrow=True)] if tradeoff[0] is None else []
    return environment.get_template("page.html").render(
        title=title,
        version=__version__,
        style=style,
        script=script,
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
        results=results,
        rows=shown,
        runs=[[row for row in shown if row.run == number] for number in range(1, len(results) + 1)],
        tradeoff=[plot for plot in tradeoff if plot is not None],
        latency=latency,
        spread=[spread_plot(shown), spread_plot(shown, narrow=True)],
        tolerance_points=tolerance_points,
        with_samples=with_samples,
        raw=_raw(results, with_samples=with_samples),
    )


def _raw(results: Sequence[BenchResult], *, with_samples: bool) -> dict[str, Any] | list[dict[str, Any]]:
    """What `edgeml bench --json` printed: one object, or a list of them where several runs are shown."""
    documents = [to_json(result, raw=with_samples) for result in results]
    return documents[0] if len(documents) == 1 else documents


def _csp_hash(text: str) -> str:
    """How a content security policy names an inline style or script it lets run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
