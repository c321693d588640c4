"""Reads results on a clip back from JSON, which someone else may have written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

from edgeml.core.bench_result import BenchResult, Comparison, Verdict
from edgeml.core.errors import UsageError
from edgeml.core.host import HostInfo
from edgeml.core.json_values import choice, integer, items, mapping, number, record, string
from edgeml.edge_bench import results
from edgeml.edge_bench.video.agreement import Agreement, Score
from edgeml.edge_bench.video.results import ClipLaunch, Form, FrameFacts, Layer, VideoContender, VideoResult
from edgeml.edge_bench.video.results_json import SCHEMA_VERSION

_RESULT_KEYS = (
    "schema_version",
    "network",
    "mode",
    "native_kernel",
    "in_place",
    "key_interval",
    "clip",
    "contenders",
    "comparisons",
    "sentences",
    "host",
    "warnings",
)
_CONTENDER_KEYS = (
    "form",
    "files",
    "threads",
    "size_bytes",
    "latency_ms",
    "frames_per_second",
    "bit_operations",
    "key_frames",
    "activity",
    "active_tiles",
    "agreement",
    "state_bytes",
    "load_ms",
    "peak_memory_bytes",
    "launches",
)
_LAUNCH_KEYS = ("latency_ms", "warmup", "stable", "load_ms", "peak_memory_bytes")
_FASTEST_MS, _SLOWEST_MS = 1e-6, 1e9


def read_any(path: Path) -> tuple[BenchResult | VideoResult, ...]:
    """The results in a file that `edgeml bench --json` wrote: a run on a clip, or one of each device.

    Raises:
        UsageError: the file cannot be read, is too large, or holds something else.
    """
    value = results.load_json(path)
    on_clip = isinstance(value, dict) and "clip" in value
    try:
        return (from_json(value),) if on_clip else results.runs_from_json(value)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def from_json(value: object) -> VideoResult:
    """Inverse of `to_json` with raw samples; the derived figures in it are not read but derived again.

    Raises:
        UsageError: the values are not those of results on a clip that this version reads.
    """
    version = mapping("the results", value).get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(f"the results' schema_version is {version!r:.80}; this edgeml reads {SCHEMA_VERSION}")
    values = record("the results", value, _RESULT_KEYS)
    clip = record("clip", values["clip"], ("name", "frames", "frame_shape"))
    frames = _at_least("frames", clip["frames"], 2)
    shape = [_at_least("frame_shape", axis, 1) for axis in items("frame_shape", clip["frame_shape"])]
    if len(shape) != 3:
        raise UsageError(f"frame_shape has {len(shape)} values; it must be [channels, height, width]")
    contenders = tuple(_contender(each, frames) for each in items("contenders", values["contenders"]))
    if [each.form for each in contenders[:1]] != ["stream"] or len({each.form for each in contenders}) < len(
        contenders
    ):
        raise UsageError(
            f"the contenders are {[each.form for each in contenders]}; the stream is first, each form once"
        )
    interval, kernel = values["key_interval"], values["native_kernel"]
    return VideoResult(
        network=string("network", values["network"]),
        mode=choice("mode", values["mode"], ("gated", "resq")),
        native_kernel=None if kernel is None else string("native_kernel", kernel),
        in_place=_flag("in_place", values["in_place"]),
        key_interval=None if interval is None else _at_least("key_interval", interval, 1),
        clip=string("clip's name", clip["name"]),
        frame_shape=(shape[0], shape[1], shape[2]),
        frames=frames,
        contenders=contenders,
        comparisons=tuple(_comparison(each, len(contenders)) for each in items("comparisons", values["comparisons"])),
        host=HostInfo.from_json(values["host"]),
        warnings=tuple(string("a warning", each) for each in items("warnings", values["warnings"])),
    )


def _contender(value: object, frames: int) -> VideoContender:
    if "launches" not in mapping("a contender", value):
        raise UsageError("a contender lacks launches: these results were written without raw samples")
    values = record("a contender", value, _CONTENDER_KEYS)
    form = cast("Form", choice("form", values["form"], get_args(Form)))
    launches = tuple(_launch(each, frames) for each in items("launches", values["launches"]))
    if not launches:
        raise UsageError("a contender has no launches")
    changed = {
        step: _of_frames(f"activity of {step!r:.80}", shares, frames, _share)
        for step, shares in mapping("activity", values["activity"]).items()
    }
    layers, tiles = _layers(values["active_tiles"], frames)
    if form != "stream" and (changed or layers or values["key_frames"]):
        raise UsageError(f"the contender {form!r} has activity or key frames, which a stream alone has")
    costs = values["bit_operations"]
    return VideoContender(
        form=form,
        files=tuple(string("a file", each) for each in items("files", values["files"])),
        threads=_at_least("threads", values["threads"], 1),
        size_bytes=_at_least("size_bytes", values["size_bytes"], 0),
        launches=launches,
        facts=_facts(values["key_frames"], list(changed.values()), tiles, frames) if form == "stream" else (),
        bit_operations=None if costs is None else _costs(costs, frames),
        gated_steps=tuple(changed),
        layers=layers,
        state_bytes=_at_least("state_bytes", values["state_bytes"], 0),
        agreement=None if values["agreement"] is None else _agreement(values["agreement"], frames),
    )


def _launch(value: object, frames: int) -> ClipLaunch:
    values = record("a launch", value, _LAUNCH_KEYS)
    passes = tuple(
        _of_frames("latency_ms of a pass", each, frames, _latency) for each in items("latency_ms", values["latency_ms"])
    )
    if not passes:
        raise UsageError("a launch has no pass over the clip")
    return ClipLaunch(
        latency_ms=passes,
        warmup=integer("warmup", values["warmup"]),
        stable=_flag("stable", values["stable"]),
        load_ms=number("load_ms", values["load_ms"]),
        peak_memory_bytes=integer("peak_memory_bytes", values["peak_memory_bytes"]),
    )


def _facts(
    value: object, changed: Sequence[Sequence[float]], tiles: Sequence[Sequence[float]], frames: int
) -> tuple[FrameFacts, ...]:
    reasons: dict[int, str] = {}
    for each in items("key_frames", value):
        key = record("a key frame", each, ("frame", "reason"))
        index = integer("a key frame's index", key["frame"])
        if not 0 <= index < frames:
            raise UsageError(f"a key frame's index is {index}; the clip has frames 0 to {frames - 1}")
        reasons[index] = choice("reason", key["reason"], ("first", "interval", "cut", "reset"))
    return tuple(
        FrameFacts(
            key=index in reasons,
            reason=reasons.get(index),
            changed=tuple(shares[index] for shares in changed),
            active_tiles=tuple(shares[index] for shares in tiles),
        )
        for index in range(frames)
    )


def _layers(value: object, frames: int) -> tuple[tuple[Layer, ...], list[tuple[float, ...]]]:
    """The layers, and what each did in each frame."""
    if value is None:
        return (), []
    layers, tiles = [], []
    for each in items("layers", record("active_tiles", value, ("mean", "per_frame", "layers"))["layers"]):
        values = record("a layer", each, ("name", "macs", "mean", "per_frame"))
        name = string("a layer's name", values["name"])
        layers.append(Layer(name=name, macs=_at_least(f"macs of {name!r:.80}", values["macs"], 0)))
        tiles.append(_of_frames(f"per_frame of {name!r:.80}", values["per_frame"], frames, _share))
    return tuple(layers), tiles


def _costs(value: object, frames: int) -> tuple[float, ...]:
    values = record("bit_operations", value, ("amortized", "peak", "per_frame"))
    costs = _of_frames("bit_operations", values["per_frame"], frames, number)
    if min(costs) < 0:
        raise UsageError(f"bit_operations of a frame are {min(costs):g}; they are 0 or more")
    return costs


def _agreement(value: object, frames: int) -> Agreement:
    values = record("agreement", value, ("metric", "with_fp32", "with_truth"))
    return Agreement(
        metric=cast("Literal['top-1', 'mIoU']", choice("metric", values["metric"], ("top-1", "mIoU"))),
        with_fp32=_score("with_fp32", values["with_fp32"], frames),
        with_truth=_score("with_truth", values["with_truth"], frames),
    )


def _score(name: str, value: object, frames: int) -> Score | None:
    if value is None:
        return None
    values = record(name, value, ("value", "moving", "per_frame"))
    return Score(
        value=_share(f"{name}'s value", values["value"]),
        per_frame=_of_frames(f"{name}'s per_frame", values["per_frame"], frames, _share_or_none),
        moving=_share_or_none(f"{name}'s moving", values["moving"]),
    )


def _comparison(value: object, contenders: int) -> Comparison:
    values = record("a comparison", value, ("a", "b", "ratio", "ci95", "verdict"))
    a, b = integer("a", values["a"]), integer("b", values["b"])
    if a != 0 or not 0 < b < contenders:
        raise UsageError(f"a comparison is of contenders {a} and {b}; it is of the stream, 0, with one of the others")
    ends = [number("a ratio's ci95", each) for each in items("a ratio's ci95", values["ci95"])]
    ratio = number("ratio", values["ratio"])
    if len(ends) != 2 or min(ratio, *ends) <= 0:
        raise UsageError("a comparison must have a ratio above 0 and an interval of 2 values above 0")
    return Comparison(
        a=a,
        b=b,
        ratio=ratio,
        ci95=(ends[0], ends[1]),
        verdict=cast("Verdict", choice("verdict", values["verdict"], get_args(Verdict))),
    )


def _of_frames(name: str, value: object, frames: int, read: Callable[[str, Any], Any]) -> tuple[Any, ...]:
    """One value a frame."""
    values = items(name, value)
    if len(values) != frames:
        raise UsageError(f"{name} has {len(values)} values for {frames} frames")
    return tuple(read(name, each) for each in values)


def _latency(name: str, value: object) -> float:
    latency = number(name, value)
    if not _FASTEST_MS <= latency <= _SLOWEST_MS:
        raise UsageError(f"{name} is {latency:g}; it must be from {_FASTEST_MS:g} to {_SLOWEST_MS:g} ms")
    return latency


def _share(name: str, value: object) -> float:
    share = number(name, value)
    if not 0 <= share <= 1:
        raise UsageError(f"{name} is {share:g}; it must be a share from 0 to 1")
    return share


def _share_or_none(name: str, value: object) -> float | None:
    return None if value is None else _share(name, value)


def _at_least(name: str, value: object, least: int) -> int:
    count = integer(name, value)
    if count < least:
        raise UsageError(f"{name} is {count}; it must be at least {least}")
    return count


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {value!r:.80}; it must be true or false")
    return value
