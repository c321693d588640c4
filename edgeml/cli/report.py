"""`edgeml report`: make one HTML report of benchmark results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from edgeml.cli.output import json_option, print_json
from edgeml.core.errors import UsageError
from edgeml.edge_bench.verdicts.verdict import ACCURACY_TOLERANCE_POINTS

if TYPE_CHECKING:
    from edgeml.edge_bench.video.results import VideoResult


@click.command("report")
@click.argument("results", nargs=-1, required=True, metavar="RESULTS...", type=click.Path(path_type=Path))
@click.option(
    "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where the HTML file goes."
)
@click.option("--title", help="Heading of the page.  [default: the models' names]")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0, max=100),
    default=ACCURACY_TOLERANCE_POINTS,
    show_default=True,
    help="Accuracy loss, in points, up to which a faster contender pays.",
)
@json_option
@click.pass_context
def command(
    context: click.Context, results: tuple[Path, ...], output: Path, title: str | None, tolerance: float, as_json: bool
) -> None:
    """Make one HTML report of benchmark results.

    RESULTS are files written by `edgeml bench --json`. Several runs are shown side by side; contenders are judged
    within their own run. A run on a clip has a page of its own. The page needs no network and prints well.
    """
    from edgeml.core.bench_result import BenchResult
    from edgeml.edge_bench.report import write_report
    from edgeml.edge_bench.verdicts.verdict import verdicts
    from edgeml.edge_bench.video.results_reading import read_any

    found = [run for path in results for run in read_any(path)]
    runs = [run for run in found if isinstance(run, BenchResult)]
    clips = [run for run in found if not isinstance(run, BenchResult)]
    if clips:
        if len(found) > 1:
            raise UsageError(f"{len(found)} runs are given, {len(clips)} of them on a clip; give one on a clip alone")
        if context.get_parameter_source("tolerance") is not ParameterSource.DEFAULT:
            raise UsageError("--tolerance is given with results on a clip; these are not judged by accuracy")
        _report_clip(clips[0], output, title, as_json=as_json)
        return
    write_report(runs, output, title=title, tolerance_points=tolerance)
    judged = [verdict for run in runs for verdict in verdicts(run, tolerance_points=tolerance)]
    if as_json:
        print_json(
            {
                "report": str(output),
                "size_bytes": output.stat().st_size,
                "verdicts": [{"outcome": verdict.outcome, "text": str(verdict)} for verdict in judged],
            }
        )
        return
    for verdict in judged:
        click.echo(str(verdict))
    click.echo(f"report: {output}")


def _report_clip(result: VideoResult, output: Path, title: str | None, *, as_json: bool) -> None:
    from edgeml.edge_bench.video.report import write_report
    from edgeml.edge_bench.video.sentences import sentences

    write_report(result, output, title=title)
    said = sentences(result)
    if as_json:
        print_json({"report": str(output), "size_bytes": output.stat().st_size, "sentences": list(said)})
        return
    for sentence in said:
        click.echo(sentence)
    click.echo(f"report: {output}")
