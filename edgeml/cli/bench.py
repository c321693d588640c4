"""`edgeml bench`: measures model files against each other and prints what may be concluded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeml.cli.output import json_option, note
from edgeml.core.errors import MissingError, UsageError

if TYPE_CHECKING:
    from edgeml.core.artifact import Artifact
    from edgeml.core.bench_result import BenchResult
    from edgeml.core.samples import Samples
    from edgeml.edge_bench.measure import Progress

_FILE = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)
_VIDEO_PREFIX = "video:"


@click.command("bench")
@click.argument("artifacts", nargs=-1, required=True, metavar="ARTIFACT...", type=_FILE)
@click.option("--device", default="local", show_default=True, help="Where to run; this release runs on local only.")
@click.option("--runtime", help="What executes the models: onnxruntime, tvm.  [default: what opens each file's format]")
@click.option(
    "--threads",
    multiple=True,
    type=_COUNT,
    help="Threads inside one operator; give it again to measure several counts.  [default: the available cores]",
)
@click.option("--batch", default=1, show_default=True, type=_COUNT, help="Samples in one run.")
@click.option("--data", help="Measure accuracy on this data, and feed it while timing: fashion-mnist, folder:DIR, ...")
@click.option("--limit", type=_COUNT, help="Use at most so many samples of the data.  [default: all]")
@click.option(
    "--key-interval",
    type=click.IntRange(min=0),
    help="Frames from one key frame to the next, with --data video:...; 0: no limit.  [default: as the files say]",
)
@click.option("--seconds", default=4.0, show_default=True, help="Running time for each contender, over all launches.")
@click.option("--samples", type=_COUNT, help="Timed runs for each contender, in place of --seconds.")
@click.option(
    "--launches", default=5, show_default=True, type=click.IntRange(min=2), help="Processes started a contender."
)
@click.option("--seed", default=0, show_default=True, help="Decides the order of contenders and random inputs.")
@click.option("--output", type=_FILE, help="Write the results, with every sample, as JSON.")
@click.option("--report", type=_FILE, help="Write an HTML report.")
@json_option
def command(
    artifacts: tuple[Path, ...],
    device: str,
    runtime: str | None,
    threads: tuple[int, ...],
    batch: int,
    data: str | None,
    limit: int | None,
    key_interval: int | None,
    seconds: float,
    samples: int | None,
    launches: int,
    seed: int,
    output: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Measure latency and accuracy of model files on a device.

    Every file runs in processes of its own and their samples are taken in turn. The same file may be given twice to see
    whether the machine is quiet enough to tell files apart. The int8 peer that a binary network's manifest names is
    measured beside it. NAME.residual.onnx is measured on a clip, --data video:FILE, as a stream beside NAME.dense.onnx
    and NAME.onnx.
    """
    from edgeml.core.device import Device
    from edgeml.edge_bench.bench import bench
    from edgeml.edge_bench.measure import BenchSettings
    from edgeml.edge_bench.peers import with_peers
    from edgeml.edge_bench.results import to_json, write_results
    from edgeml.runtime.onnx_file import open_artifact

    if limit is not None and data is None:
        raise UsageError("--limit says how many samples of the data to use; give --data too")
    if data is not None and data.startswith(_VIDEO_PREFIX):
        from edgeml.cli.bench_video import run

        run(click.get_current_context().params)
        return
    if key_interval is not None:
        raise UsageError("--key-interval is for networks for video; give --data video:FILE too")
    target = Device.parse(device)
    settings = BenchSettings(seconds=seconds, launches=launches, samples=samples, batch=batch, seed=seed)
    check_writable(output, report)
    opened, peer_remarks = with_peers([open_artifact(path) for path in artifacts], runtime=runtime)
    labelled, remarks = ([None] * len(opened), []) if data is None else _samples(opened, data, limit)
    remarks = [*peer_remarks, *remarks]
    for remark in remarks:
        note(f"edgeml: warning: {remark}")
    with progress_bar() as progress:
        result = bench(
            opened,
            device=target,
            runtime=runtime,
            threads=threads or None,
            samples=labelled,
            settings=settings,
            progress=progress,
            remarks=remarks,
        )
    if output is not None:
        write_results(result, output)
    if report is not None:
        from edgeml.edge_bench.report import write_report

        write_report([result], report)
    if as_json:
        import json

        click.echo(json.dumps(to_json(result), allow_nan=False))
    else:
        _print(result, seen=set(remarks))


def check_writable(output: Path | None, report: Path | None) -> None:
    """Refuse before the measurement what would fail after it."""
    for path in (output, report):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise UsageError(f"cannot write {path}: name a file in a directory that exists")
    if report is not None and find_spec("jinja2") is None:
        raise MissingError("jinja2 is not installed; install it with: pip install 'edgeml[report]'")


def _samples(artifacts: Sequence[Artifact], data: str, limit: int | None) -> tuple[list[Samples | None], list[str]]:
    """The data as each artifact takes it, and remarks on how that was decided where the artifact does not say."""
    from edgeml.models.datasets import open_dataset, preprocessing_of, to_samples

    dataset = open_dataset(data)
    known: dict[object, Samples] = {}
    found: list[Samples | None] = []
    remarks: list[str] = []
    for artifact in artifacts:
        preprocessing, remark = preprocessing_of(artifact, dataset)
        if remark is not None and remark not in remarks:
            remarks.append(remark)
        if preprocessing not in known:
            known[preprocessing] = to_samples(dataset, preprocessing, limit)
        found.append(known[preprocessing])
    return found, remarks


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    # Drawn twice a second: more would disturb what is being measured.
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, refresh_per_second=2
    ) as bar:
        task = bar.add_task("starting", total=1.0)

        def show(description: str, share: float) -> None:
            bar.update(task, description=description, completed=share)

        yield show


def _print(result: BenchResult, seen: set[str]) -> None:
    """The table and verdicts on stdout, the warnings on stderr."""
    from edgeml.cli.bench_table import print_table
    from edgeml.edge_bench.verdict import verdicts

    print_table(result)
    if len(result.contenders) > 1:
        for verdict in verdicts(result):
            click.echo(f"{verdict}")
    for warning in result.warnings:
        if warning not in seen:
            note(f"edgeml: warning: {warning}")
