"""What a run on a clip says, in sentences: whether the stream is faster, what it computes, whether its answers hold."""

from __future__ import annotations

import numpy as np

from edgeml.edge_bench.verdicts.words import no_speed, speed
from edgeml.edge_bench.video.figures import residual_active_tiles
from edgeml.edge_bench.video.results import Form, VideoContender, VideoResult

NAMES: dict[Form, str] = {"stream": "the stream", "dense": "int8 on every frame", "fp32": "fp32 on every frame"}


def sentences(result: VideoResult) -> tuple[str, ...]:
    """One sentence for each comparison, then what explains it: activity and answers."""
    stream = result.contenders[0]
    found = []
    for comparison in result.comparisons:
        name, other = NAMES[result.contenders[comparison.a].form], NAMES[result.contenders[comparison.b].form]
        told = speed(comparison, name, other) or no_speed(comparison, name, other)
        found.append(f"{told}, amortized over the clip")
    keys = sum(facts.key for facts in stream.facts)
    found.append(f"{keys} of {result.frames} frames were computed whole{_activity(stream)}")
    found += [_answers(contender) for contender in result.contenders if contender.agreement is not None]
    return tuple(f"{sentence[0].upper()}{sentence[1:]}." for sentence in found if sentence)


def _activity(stream: VideoContender) -> str:
    residual = [facts.changed for facts in stream.facts if not facts.key]
    if not residual or not stream.gated_steps:
        return ""
    shares = np.mean(residual, axis=0)
    told = f"; in the others {shares[0]:.1%} of the pixels changed at the first step and {shares.mean():.1%} on average"
    computed = residual_active_tiles(stream)
    if computed is None:
        return told
    return f"{told}, and {computed:.1%} of the convolutions was computed, whole tiles at a time"


def _answers(contender: VideoContender) -> str:
    found = contender.agreement
    assert found is not None
    clauses = []
    for score, reference in ((found.with_fp32, "fp32"), (found.with_truth, "the truth")):
        if score is not None:
            moving = "" if score.moving is None else f" ({score.moving:.3f} where things move)"
            clauses.append(f"{found.metric} {score.value:.3f}{moving} against {reference}")
    return f"{NAMES[contender.form]}: {', '.join(clauses)}" if clauses else ""
