"""`edgeml bench`: measures model files against each other and prints what may be concluded."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeml.cli.bench_options import check_plain, device_options, device_profiles, extras
from edgeml.cli.output import json_option, note
from edgeml.cli.progress import progress_bars
from edgeml.core.errors import EdgeMLError, MissingError, UsageError

if TYPE_CHECKING:
    from edgeml.core.artifact import Artifact
    from edgeml.core.bench_result import BenchResult
    from edgeml.core.samples import Samples
    from edgeml.edge_bench.devices.profiles import DeviceProfile

_FILE = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)
_VIDEO_PREFIX = "video:"


@click.command("bench")
@click.argument("artifacts", nargs=-1, required=True, metavar="ARTIFACT...", type=_FILE)
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
@device_options
@click.option("--output", type=_FILE, help="Write the results, with every sample, as JSON.")
@click.option("--report", type=_FILE, help="Write an HTML report.")
@json_option
def command(**options: Any) -> None:
    """Measure latency and accuracy of model files on a device.

    Every file runs in processes of its own and their samples are taken in turn. The same file may be given twice to see
    whether the machine is quiet enough to tell files apart. The int8 peer that a binary network's manifest names is
    measured beside it. Several devices are measured at the same time, each for itself. NAME.residual.onnx is measured
    on a clip, --data video:FILE, as a stream beside NAME.dense.onnx and NAME.onnx.
    """
    from edgeml.edge_bench.measure import BenchSettings
    from edgeml.edge_bench.verdicts.peers import with_peers
    from edgeml.runtime.onnx_file import open_artifact

    data, limit, runtime, reference = (options[name] for name in ("data", "limit", "runtime", "reference"))
    if limit is not None and data is None:
        raise UsageError("--limit says how many samples of the data to use; give --data too")
    profiles = device_profiles(options["devices"])
    if data is not None and data.startswith(_VIDEO_PREFIX):
        from edgeml.cli.bench_video import run

        check_plain(options, "networks for video are measured on this machine, and their latency and agreement alone")
        run(options)
        return
    if options["key_interval"] is not None:
        raise UsageError("--key-interval is for networks for video; give --data video:FILE too")
    if reference is not None and data is None:
        raise UsageError("--reference says what the answers to the data are held to; give --data too")
    settings = BenchSettings(**{name: options[name] for name in ("seconds", "launches", "samples", "batch", "seed")})
    wanted = extras(options)
    check_writable(options["output"], options["report"])
    opened, peer_remarks = with_peers([open_artifact(path) for path in options["artifacts"]], runtime=runtime)
    labelled, remarks = ([None] * len(opened), []) if data is None else _samples(opened, data, limit)
    remarks = [*peer_remarks, *remarks]
    for remark in remarks:
        note(f"edgeml: warning: {remark}")
    _check_store(options)
    results, errors = _measure(
        profiles,
        opened,
        runtime=runtime,
        threads=options["threads"] or None,
        samples=labelled,
        reference=None if reference is None else open_artifact(reference),
        settings=settings,
        extras=wanted,
        remarks=remarks,
    )
    if results:
        _hand_over(results, options, several=len(profiles) > 1, seen=set(remarks))
    for error in errors[1:]:
        note(f"edgeml: error: {error}")
    if errors:
        raise errors[0]


def _measure(
    profiles: Sequence[DeviceProfile], artifacts: Sequence[Artifact], **arguments: Any
) -> tuple[list[BenchResult], list[EdgeMLError]]:
    """One result a device, and the errors of those that gave none; they are measured at the same time."""
    from functools import partial

    from edgeml.edge_bench.bench import bench
    from edgeml.edge_bench.several import at_once, stopping

    stop = threading.Event()
    with progress_bars() as add:
        jobs = [
            partial(
                bench,
                artifacts,
                device=profile.device,
                profile=profile,
                progress=stopping(add(profile.name if len(profiles) > 1 else ""), stop),
                **arguments,
            )
            for profile in profiles
        ]
        found = [jobs[0]()] if len(jobs) == 1 else at_once(jobs, stop)
    return (
        [each for each in found if not isinstance(each, EdgeMLError)],
        [each for each in found if isinstance(each, EdgeMLError)],
    )


def _hand_over(results: Sequence[BenchResult], options: dict[str, Any], *, several: bool, seen: set[str]) -> None:
    """Write, print and keep the results, in the order of what the user would miss most."""
    import json

    from edgeml.edge_bench.results import runs_to_json, to_json, write_results, write_runs

    if (output := options["output"]) is not None:
        if several:
            write_runs(results, output)
        else:
            write_results(results[0], output)
    if options["as_json"]:
        value = runs_to_json(results) if several else to_json(results[0])
        click.echo(json.dumps(value, allow_nan=False))
    else:
        for result in results:
            _print(result, seen=seen)
    if (report := options["report"]) is not None:
        from edgeml.edge_bench.report import write_report

        write_report(results, report)
    if not options["no_store"]:
        from edgeml.edge_bench.store.store import Store

        with Store.open(options["store"]) as store:
            for result in results:
                store.append(result)


def _check_store(options: dict[str, Any]) -> None:
    """Refuse before the measurement what would fail after it."""
    from edgeml.edge_bench.store.store import Store

    if options["no_store"]:
        if options["store"] is not None:
            raise UsageError("--store and --no-store are given; give one of them")
        return
    with Store.open(options["store"]):
        pass


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


def _print(result: BenchResult, seen: set[str]) -> None:
    """The tables and verdicts on stdout, the warnings on stderr."""
    from edgeml.cli.bench_findings import print_findings
    from edgeml.cli.bench_table import print_table
    from edgeml.edge_bench.verdicts.verdict import verdicts

    print_table(result)
    print_findings(result)
    if len(result.contenders) > 1:
        for verdict in verdicts(result):
            click.echo(f"{verdict}")
    for warning in result.warnings:
        if warning not in seen:
            note(f"edgeml: warning: {warning}")
