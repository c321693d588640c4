"""`edgeml report`: make one HTML report of benchmark results."""

from __future__ import annotations

from pathlib import Path

import click

from edgeml.cli.output import json_option, print_json
from edgeml.edge_bench.verdict import ACCURACY_TOLERANCE_POINTS


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
def command(results: tuple[Path, ...], output: Path, title: str | None, tolerance: float, as_json: bool) -> None:
    """Make one HTML report of benchmark results.

    RESULTS are files written by `edgeml bench --json`. Several runs are shown side by side; contenders are judged
    within their own run. The page needs no network and prints well.
    """
    from edgeml.edge_bench.report import write_report
    from edgeml.edge_bench.results import read_results
    from edgeml.edge_bench.verdict import verdicts

    runs = [read_results(path) for path in results]
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
