"""A made-up run on a clip whose figures are known."""

from __future__ import annotations

from edgeml.core.bench_result import Comparison
from edgeml.core.host import HostInfo
from edgeml.edge_bench.video.agreement import Agreement, Score
from edgeml.edge_bench.video.results import ClipLaunch, Form, FrameFacts, Layer, VideoContender, VideoResult

FRAMES = 8


def contender(form: Form, latency_ms: list[float]) -> VideoContender:
    stream = form == "stream"
    launches = [
        ClipLaunch(
            latency_ms=tuple(tuple(value * factor for value in latency_ms) for _ in range(2)),
            warmup=8, stable=True, load_ms=5.0, peak_memory_bytes=100 << 20,
        )
        for factor in (1.0, 1.01, 0.99)
    ]  # fmt: skip
    facts = [
        FrameFacts(
            key=index % 4 == 0,
            reason=None if index % 4 else "interval",
            changed=(0.1, 0.3) if index % 4 else (1.0, 1.0),
            active_tiles=(0.4, 0.8) if index % 4 else (1.0, 1.0),
        )
        for index in range(FRAMES)
    ]
    score = Score(value=0.9, per_frame=(0.9,) * FRAMES, moving=0.8)
    return VideoContender(
        form=form,
        files=(f"net.{form}.onnx",),
        threads=1,
        size_bytes=1000,
        launches=tuple(launches),
        facts=tuple(facts) if stream else (),
        bit_operations=(1e9,) * FRAMES,
        gated_steps=("gate", "conv") if stream else (),
        layers=(Layer(name="conv", macs=3000), Layer(name="<last>", macs=1000)) if stream else (),
        state_bytes=4096 if stream else 0,
        agreement=Agreement(metric="mIoU", with_fp32=None if form == "fp32" else score, with_truth=None),
    )


def video_result(host: HostInfo) -> VideoResult:
    return VideoResult(
        network="net",
        mode="gated",
        native_kernel="avx2",
        in_place=True,
        key_interval=4,
        clip="video:<b>clip</b></script>",
        frame_shape=(3, 32, 64),
        frames=FRAMES,
        contenders=(contender("stream", [4, 1, 1, 1] * 2), contender("dense", [3.5] * 8)),
        comparisons=(Comparison(a=0, b=1, ratio=2.0, ci95=(1.9, 2.1), verdict="faster"),),
        host=host,
        warnings=("noisy: other programs",),
    )
