"""What benchmarks/video.py says of its runs: figures of one, a line of text, and settings over all clips of a kind."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.edge_bench.video.figures import residual_active_tiles, summarize
from edgeml.edge_bench.video.results import VideoContender, VideoResult


def figures(result: VideoResult) -> dict[str, Any]:
    """What one run found."""
    stream = result.contenders[0]
    shares = np.array([facts.changed for facts in stream.facts if not facts.key])
    contenders = {contender.form: contender for contender in result.contenders}
    found: dict[str, Any] = {"contenders": {form: of_contender(each) for form, each in contenders.items()}}
    for comparison in result.comparisons:
        form = result.contenders[comparison.b].form
        found[f"times_faster_than_{form}"] = round(comparison.ratio, 3)
        found[f"ci95_{form}"] = rounded(comparison.ci95)
    found["changed_pixels"] = {
        "at_the_gate": round(float(shares[:, 0].mean()), 4),
        "mean_of_steps": round(float(shares.mean()), 4),
    }
    found["active_tiles"] = residual_active_tiles(stream)
    points = {form: truth(contender) for form, contender in contenders.items()}
    for form in ("dense", "fp32"):
        ours, theirs = points["stream"], points.get(form)
        if ours is not None and theirs is not None:
            found[f"points_lost_to_{form}"] = round(100 * (theirs - ours), 3)
    found["warnings"] = list(result.warnings)
    return found


def of_contender(contender: VideoContender) -> dict[str, Any]:
    """Latencies and answers of one contender."""
    summary = summarize(contender)
    value: dict[str, Any] = {
        name: None if estimate is None else {"value": round(estimate.value, 4), "ci95": rounded(estimate.ci95, 4)}
        for name, estimate in (
            ("key_ms", summary.key),
            ("residual_ms", summary.residual),
            ("amortized_ms", summary.amortized),
            ("worst_ms", summary.worst),
            ("frames_per_second", summary.frames_per_second),
        )
    }
    if contender.agreement is not None:
        for name, score in (("fp32", contender.agreement.with_fp32), ("truth", contender.agreement.with_truth)):
            if score is not None:
                where = {} if score.moving is None else {"moving": round(score.moving, 4)}
                value[f"{contender.agreement.metric} with {name}"] = {"all": round(score.value, 4), **where}
    return value


def truth(contender: VideoContender) -> float | None:
    """The mean IoU against exact masks."""
    found = contender.agreement
    return None if found is None or found.with_truth is None else found.with_truth.value


def summary(row: dict[str, Any]) -> str:
    """One line of a run."""
    interval = "no limit" if row["key_interval"] is None else f"every {row['key_interval']}"
    lost = f", {row['points_lost_to_dense']:+.2f} points lost to int8" if "points_lost_to_dense" in row else ""
    return (
        f"{row['network']} {row['clip']}, gate {row['gate']}, key frames {interval}: "
        f"{row['times_faster_than_dense']}x int8 {row['ci95_dense']}, {row['times_faster_than_fp32']}x fp32, "
        f"{row['changed_pixels']['mean_of_steps']:.0%} changed{lost}"
    )


def over_clips(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each setting over the clips of one kind: geometric mean of ratios, mean of points."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["network"], row["kind"], row["gate"], row["key_interval"]), []).append(row)
    found = []
    for (network, kind, gate, interval), alike in groups.items():
        entry = {"network": network, "kind": kind, "gate": gate, "key_interval": interval}
        for form in ("dense", "fp32"):
            ratios = [row[f"times_faster_than_{form}"] for row in alike]
            entry[f"times_faster_than_{form}"] = round(float(np.exp(np.mean(np.log(ratios)))), 3)
            lost = [row[name] for row in alike if (name := f"points_lost_to_{form}") in row]
            entry[f"points_lost_to_{form}"] = round(float(np.mean(lost)), 3) if lost else None
        found.append(entry | {"clips": len(alike)})
    return found


def rounded(bounds: Sequence[float], digits: int = 3) -> list[float]:
    """Both ends of an interval."""
    return [round(float(bound), digits) for bound in bounds]
