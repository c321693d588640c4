"""`edgeml bench NAME.residual.onnx --data video:FILE`: measures a network for video on a clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgeml.cli.output import note
from edgeml.core.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt
    from rich.table import Table

    from edgeml.core.preprocessing import Preprocessing
    from edgeml.edge_bench.statistics import Estimate
    from edgeml.edge_bench.video.clip_samples import ClipSamples
    from edgeml.edge_bench.video.results import VideoContender, VideoResult

UNLIMITED = 0
"""The key interval that stands for no limit on the command line."""

_FRAMES_LIMIT_BYTES = 2 << 30


def run(options: dict[str, Any]) -> None:
    """Measure and print.

    Args:
        options: of `edgeml bench`, by name.

    Raises:
        EdgeMLError: options, files and clip do not fit together, or a model could not be run.
    """
    from edgeml.cli.bench import check_writable
    from edgeml.cli.progress import progress_bar
    from edgeml.edge_bench.video.bench import bench_video
    from edgeml.edge_bench.video.measure import VideoSettings
    from edgeml.edge_bench.video.results_json import to_json, write_results

    path = _one_network(options)
    check_writable(options["output"], options["report"])
    samples, remarks = read_clip(path, options["data"], options["limit"])
    for remark in remarks:
        note(f"edgeml: warning: {remark}")
    settings = VideoSettings(
        seconds=options["seconds"],
        launches=options["launches"],
        passes=None if options["samples"] is None else -(-options["samples"] // (len(samples) * options["launches"])),
        seed=options["seed"],
    )
    with progress_bar() as progress:
        result = bench_video(
            path,
            samples,
            threads=options["threads"][0] if options["threads"] else None,
            key_interval=_key_interval(options["key_interval"]),
            settings=settings,
            progress=progress,
            remarks=remarks,
        )
    if options["output"] is not None:
        write_results(result, options["output"])
    if options["report"] is not None:
        from edgeml.edge_bench.video.report import write_report

        write_report(result, options["report"])
    if options["as_json"]:
        import json

        click.echo(json.dumps(to_json(result), allow_nan=False))
    else:
        print_result(result, seen=set(remarks))


def _one_network(options: dict[str, Any]) -> Path:
    """The only file given; refuses options that mean nothing for a clip."""
    artifacts, threads = options["artifacts"], options["threads"]
    if len(artifacts) != 1:
        raise UsageError(f"{len(artifacts)} files are given with a clip; give NAME.residual.onnx of one network alone")
    if len(threads) > 1:
        raise UsageError(f"--threads is given {len(threads)} times with a clip; give it once")
    if options["batch"] != 1:
        raise UsageError(f"--batch is {options['batch']}; a video goes frame by frame, so it can only be 1 with a clip")
    if options["runtime"] not in {None, "onnxruntime"}:
        raise UsageError(f"--runtime is {options['runtime']!r}; networks for video run on onnxruntime")
    if not Path(artifacts[0]).is_file():
        raise UsageError(f"there is no model file {artifacts[0]}")
    return Path(artifacts[0])


def _key_interval(option: int | None) -> int | Literal["file"] | None:
    if option is None:
        return "file"
    return None if option == UNLIMITED else option


def read_clip(path: Path, data: str, limit: int | None) -> tuple[ClipSamples, list[str]]:
    """The clip's frames as the network takes them, in memory, and remarks on how that was decided.

    Raises:
        UsageError: the clip or the file is not of the form asked for, or the frames take too much memory.
        MissingError: what decodes the clip is not installed.
    """
    import itertools

    import numpy as np

    from edgeml.core.scene_cuts import SceneCuts
    from edgeml.edge_bench.video.clip_samples import ClipSamples
    from edgeml.models.video.clips.model_input import resize_mask, to_input
    from edgeml.models.video.clips.opening import open_clip

    clip = open_clip(data)
    preprocessing, remarks = _preprocessing(path)
    frames: list[npt.NDArray[np.float32]] = []
    masks: list[npt.NDArray[np.uint8]] = []
    moving: list[npt.NDArray[np.bool_]] = []
    detector = SceneCuts()
    cuts: list[int] = []
    size = 4 * preprocessing.channels * preprocessing.height * preprocessing.width
    for frame in itertools.islice(clip, limit):
        if (len(frames) + 1) * size > _FRAMES_LIMIT_BYTES:
            raise UsageError(
                f"the frames of {clip.name} take more than {_FRAMES_LIMIT_BYTES >> 30} GiB as float32; use fewer with "
                f"--limit {len(frames)}"
            )
        if detector.update(frame.pixels):
            cuts.append(len(frames))
        frames.append(to_input(frame.pixels, preprocessing)[0])
        if frame.mask is not None:
            masks.append(resize_mask(frame.mask, preprocessing))
        if frame.moving is not None:
            moving.append(resize_mask(frame.moving.astype(np.uint8), preprocessing) > 0)
    samples = ClipSamples(
        name=clip.name,
        frames=np.stack(frames),
        cuts=tuple(cuts),
        masks=np.stack(masks) if len(masks) == len(frames) else None,
        moving=np.stack(moving) if len(moving) == len(frames) else None,
    )
    return samples, remarks


def _preprocessing(path: Path) -> tuple[Preprocessing, list[str]]:
    """How a frame becomes the network's input: as a manifest of its files says, else the network's size and [0, 1]."""
    from edgeml.core.artifact import load_manifest
    from edgeml.core.preprocessing import Preprocessing
    from edgeml.core.session import SessionOptions
    from edgeml.runtime.streaming.model import StreamingModel
    from edgeml.runtime.streaming.video_files import video_files

    files = video_files(path)
    for file in (files.residual, files.key, files.dense, files.fp32):
        manifest = load_manifest(file) if file.is_file() else None
        if manifest is not None and manifest.preprocessing is not None:
            return manifest.preprocessing, []
    model = StreamingModel.open(path, SessionOptions(threads=1))
    channels, height, width = model.interface.frame_shape
    model.close()
    assumed = Preprocessing(height=height, width=width, mean=(0.0,) * channels, std=(1.0,) * channels)
    remark = (
        f"{files.name} does not say how frames become its input; assumed {channels}x{height}x{width} with values from "
        "0 to 1"
    )
    return assumed, [remark]


def print_result(result: VideoResult, *, seen: set[str]) -> None:
    """Print a row a contender, a row a layer and what may be concluded on stdout, warnings not `seen` on stderr."""
    from rich.console import Console
    from rich.table import Table

    from edgeml.edge_bench.video.figures import residual_active_tiles, summarize
    from edgeml.edge_bench.video.sentences import NAMES, sentences

    title = f"{result.network} on {result.clip}, {result.frames} frames, ms a frame [95% interval]"
    table = Table(title=title, title_justify="left")
    table.add_column("contender", no_wrap=True)
    for heading in (
        "key",
        "residual",
        "amortized",
        "worst",
        "frames/s",
        "bit-op",
        "peak",
        "computed",
        "agrees",
        "truth",
        "states",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for contender in result.contenders:
        summary = summarize(contender)
        estimates = (summary.key, summary.residual, summary.amortized, summary.worst, summary.frames_per_second)
        table.add_row(
            NAMES[contender.form],
            *map(_estimate, estimates),
            *_costs(contender),
            _share(residual_active_tiles(contender)),
            *_scores(contender),
            f"{contender.state_bytes / 1e6:.2f} MB" if contender.state_bytes else "-",
        )
    console = Console()
    if not console.is_terminal:
        console.width = 240  # a pipe has no width; rows broken at 80 columns are hard to read and to search
    console.print(table)
    if result.contenders[0].layers:
        console.print(_layer_table(result.contenders[0]))
    for sentence in sentences(result):
        click.echo(sentence)
    for warning in result.warnings:
        if warning not in seen:
            note(f"edgeml: warning: {warning}")


def _layer_table(stream: VideoContender) -> Table:
    """One row a layer: what changed in residual frames and what was computed."""
    from rich.table import Table

    from edgeml.edge_bench.video.figures import layer_activities

    table = Table(title="layers of the stream, means over residual frames", title_justify="left")
    table.add_column("layer", no_wrap=True)
    for heading in ("macs", "changed pixels", "in active tiles"):
        table.add_column(heading, justify="right", no_wrap=True)
    for activity in layer_activities(stream):
        layer = activity.layer
        table.add_row(layer.name, _amount(layer.macs), _share(activity.changed), _share(activity.active_tiles))
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    low, high = estimate.ci95
    return f"{_figure(estimate.value)} [dim]\\[{_figure(low)}, {_figure(high)}][/dim]"


def _figure(value: float) -> str:
    """Three significant digits, without an exponent where that is readable."""
    return f"{value:.0f}" if 1e3 <= value < 1e6 else f"{value:#.3g}".removesuffix(".")


def _costs(contender: VideoContender) -> tuple[str, str]:
    """Bit-operations of a frame on average and at most."""
    costs = contender.bit_operations
    if not costs:
        return "-", "-"
    return _amount(sum(costs) / len(costs)), _amount(max(costs))


def _amount(value: float) -> str:
    """A large number with its prefix: 1.23 G."""
    for prefix, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{_figure(value / factor)} {prefix}"
    return f"{value:.0f}"


def _scores(contender: VideoContender) -> tuple[str, str]:
    found = contender.agreement
    if found is None:
        return "-", "-"
    fp32, truth = (
        "-" if score is None else f"{found.metric} {score.value:.3f}" for score in (found.with_fp32, found.with_truth)
    )
    return fp32, truth
