"""Does a binary network pay? Judged against an int8 network of equal accuracy on the same data, or not at all.

A binary network is nearly always faster than its own architecture in float32, and nearly always less accurate, so that
comparison answers nothing. What it must beat is the int8 network one would use in its stead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgeml.core.bench_result import BenchResult, Comparison, Contender
from edgeml.edge_bench.verdicts.comparisons import comparison_between
from edgeml.edge_bench.verdicts.labels import contender_labels
from edgeml.edge_bench.verdicts.words import no_speed, points, speed

PayOffOutcome = Literal["pays", "does not pay", "not shown", "unknown"]


@dataclass(frozen=True, kw_only=True)
class PayOff:
    """The judgement on one binary network.

    Attributes:
        contender: index of the binary network in the run.
        peer: index of its int8 peer; None where the run has none.
        outcome: "pays" where the binary network is faster and as accurate, or faster and more accurate; "does not pay"
            where it is slower and as accurate, or slower and less accurate; "not shown" where latency or accuracy is
            not known, the latencies cannot be told apart, or one network is faster and the other more accurate;
            "unknown" where there is no peer.
        sentence: the judgement with its figures, without a full stop.
    """

    contender: int
    peer: int | None
    outcome: PayOffOutcome
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def pay_offs(result: BenchResult, *, labels: Sequence[str] | None = None) -> tuple[PayOff, ...]:
    """One judgement a binary contender, in the order of the contenders.

    Args:
        result: the run.
        labels: what to call each contender; by default the shortest names that tell them apart.
    """
    names = contender_labels(result.contenders) if labels is None else labels
    return tuple(_judge(result, index, names) for index, each in enumerate(result.contenders) if each.binary)


def peer_index(contenders: Sequence[Contender], index: int) -> int | None:
    """The int8 peer of a binary contender, measured with the same threads and batch; None where there is none.

    The peer's runtime may be another one; where several ran it, the contender's own is taken.
    """
    contender = contenders[index]
    if not contender.binary or contender.int8_peer is None:
        return None
    alike = [
        other
        for other, candidate in enumerate(contenders)
        if candidate.sha256 == contender.int8_peer
        and not candidate.binary
        and (candidate.device, candidate.threads, candidate.batch)
        == (contender.device, contender.threads, contender.batch)
    ]
    return min(alike, key=lambda other: contenders[other].runtime != contender.runtime, default=None)


def _judge(result: BenchResult, index: int, names: Sequence[str]) -> PayOff:
    peer = peer_index(result.contenders, index)
    if peer is None:
        named = result.contenders[index].int8_peer is not None
        reason = "its int8 peer was not measured in this run" if named else "it names no int8 peer of equal accuracy"
        return PayOff(
            contender=index,
            peer=None,
            outcome="unknown",
            sentence=f"whether {names[index]} pays is unknown: {reason}",
        )
    comparison = comparison_between(result, index, peer)
    if comparison is None:
        sentence = f"{names[index]} was not compared with its int8 peer {names[peer]}: pay-off not shown"
        return PayOff(contender=index, peer=peer, outcome="not shown", sentence=sentence)
    outcome, sentence = _sentence(comparison, names[index], names[peer])
    return PayOff(contender=index, peer=peer, outcome=outcome, sentence=sentence)


def _sentence(comparison: Comparison, name: str, peer: str) -> tuple[PayOffOutcome, str]:
    told = speed(comparison, name, f"its int8 peer {peer}")
    latency = told or no_speed(comparison, name, f"its int8 peer {peer}")
    difference, interval = points(comparison.accuracy_difference), comparison.accuracy_ci95
    if difference is None or interval is None:
        return "not shown", f"{latency}, but their accuracies were not measured on the same data: pay-off not shown"
    low, high = (100 * end for end in interval)
    if low > 0 or high < 0:
        better, worse = (name, peer) if difference > 0 else (peer, name)
        ends = (low, high) if difference > 0 else (-high, -low)
        digits = 1
        while digits < 6 and float(f"{ends[0]:.{digits}f}") == 0:
            digits += 1
        amount = f"{abs(difference):.{digits}f} points [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"
        # Better in both, or worse in both, needs no peer of equal accuracy: one would only widen the gap.
        if told is not None and (comparison.verdict == "faster") == (difference > 0):
            wins = difference > 0
            verdict = "it pays" if wins else "it does not pay"
            return "pays" if wins else "does not pay", (
                f"{latency}, and {better} is more accurate than {worse} by {amount}: {verdict}"
            )
        return "not shown", (
            f"{latency}, but {better} is more accurate than {worse} by {amount}: pay-off not shown, since it takes an "
            "int8 peer of equal accuracy"
        )
    alike = f" at equal accuracy ({difference:+.1f} points [{low:+.1f}, {high:+.1f}])"
    if told is None:
        return "not shown", f"{latency}{alike}: pay-off not shown"
    if comparison.verdict == "faster":
        return "pays", f"{latency}{alike}: it pays"
    return "does not pay", f"{latency}{alike}: it does not pay"
