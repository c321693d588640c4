"""Puts a report together: figures and plots into the template, style and script inlined, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeml import __version__
from edgeml.core.atomic import atomic_write_text
from edgeml.core.bench_result import BenchResult
from edgeml.core.errors import UsageError, needs_extra
from edgeml.edge_bench.report import palette, words
from edgeml.edge_bench.report.content import content
from edgeml.edge_bench.report.figures import Row, rows
from edgeml.edge_bench.report.plausible import check_plausible
from edgeml.edge_bench.report.time_plot import clock
from edgeml.edge_bench.results import runs_to_json, to_json
from edgeml.edge_bench.verdicts.verdict import ACCURACY_TOLERANCE_POINTS

SIZE_LIMIT_BYTES = 1_000_000
"""No report is larger: beyond it the raw samples stay out of the page, which then says so."""

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
        check_plausible(result)
    shown = rows(results, tolerance_points)
    for with_samples, whole in ((True, True), (False, True), (False, False)):
        page = _fill_template(
            results, shown, title or _title(shown), tolerance_points, with_samples=with_samples, whole=whole
        )
        if len(page.encode()) < SIZE_LIMIT_BYTES:
            return page
    raise UsageError(
        f"a report of {len(shown)} contenders would be larger than {SIZE_LIMIT_BYTES:,} bytes; report fewer runs"
    )


def _title(shown: Sequence[Row]) -> str:
    models = list(dict.fromkeys(row.contender.model for row in shown))
    return ", ".join(models) if len(models) <= 3 else f"{len(models)} models"


def _fill_template(
    results: Sequence[BenchResult], shown: Sequence[Row], title: str, tolerance_points: float, *,
    with_samples: bool, whole: bool,
) -> str:  # fmt: skip
    with needs_extra("report"):
        import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update({**words.FILTERS, "clock": clock})
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    style = "".join(
        environment.get_template(name).render(light_palette=palette.LIGHT, dark_palette=palette.DARK)
        for name in ("style.css", "details.css")
    )
    script = "".join((_HERE / name).read_text(encoding="utf-8") for name in ("page.js", "explore.js"))
    return environment.get_template("page.html").render(
        title=title,
        version=__version__,
        style=style,
        script=script,
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
        tolerance_points=tolerance_points,
        with_samples=with_samples,
        raw=_raw(results, with_samples=with_samples),
        **content(results, shown, whole=whole),
    )


def _raw(results: Sequence[BenchResult], *, with_samples: bool) -> dict[str, Any]:
    """What `edgeml bench --json` printed: one run, or several as those of several devices."""
    return to_json(results[0], with_samples) if len(results) == 1 else runs_to_json(results, with_samples)


def _csp_hash(text: str) -> str:
    """How a content security policy names an inline style or script it lets run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
