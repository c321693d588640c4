"""What a report shows of a profile: time by kind of operator, and the operators that take most of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeml.core.bench_profile import OperatorTime, Profile

TOP = 12
"""Operators in the first table; the second, behind it, holds all."""

_STRIP = 1000.0
_GAP = 2.0
_LEAST_SHARE = 0.02


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The time of all operators of one kind, as a part of a strip of length 1000.

    Attributes:
        operator: the kind; "others" for what is too little to draw.
        share: of the time, in [0, 1].
        milliseconds: of a run.
        count: how many operators.
        fallback_share: of the time, of those that are not executed as asked.
        at: where it begins.
        width: how wide it is.
        shade: its opacity, less from each to the next.
    """

    operator: str
    share: float
    milliseconds: float
    count: int
    fallback_share: float
    at: float
    width: float
    shade: float


@dataclass(frozen=True, kw_only=True)
class ProfileView:
    """A profile as the report shows it.

    Attributes:
        profile: the measurement.
        strip: time by kind of operator, most first.
        kernels: what executed the operators.
        top: the operators that take most of the time, most first.
        rest_share: share of the time of those that `top` lacks.
        fallbacks: operators that are not executed as asked, most of the time first.
        fallback_share: their share of the time.
        total_macs: multiply-accumulates of a run; None where no operator's are known.
        operators_ms: time of all operators together.
    """

    profile: Profile
    strip: list[Segment]
    kernels: tuple[str, ...]
    top: list[OperatorTime]
    rest_share: float
    fallbacks: list[OperatorTime]
    fallback_share: float
    total_macs: int | None
    operators_ms: float


def profile_view(profile: Profile) -> ProfileView:
    """The profile by time."""
    by_time = sorted(profile.operators, key=lambda operator: -operator.milliseconds)
    fallbacks = [operator for operator in by_time if operator.fallback is not None]
    macs = [operator.macs for operator in profile.operators if operator.macs is not None]
    return ProfileView(
        profile=profile,
        strip=_strip(profile.operators),
        kernels=tuple(dict.fromkeys(operator.kernel for operator in profile.operators)),
        top=by_time[:TOP],
        rest_share=sum(operator.share for operator in by_time[TOP:]),
        fallbacks=fallbacks,
        fallback_share=sum(operator.share for operator in fallbacks),
        total_macs=sum(macs) if macs else None,
        operators_ms=sum(operator.milliseconds for operator in profile.operators),
    )


def _strip(operators: Sequence[OperatorTime]) -> list[Segment]:
    kinds: dict[str, list[OperatorTime]] = {}
    for operator in operators:
        kinds.setdefault(operator.operator, []).append(operator)
    shares = {kind: sum(each.share for each in members) for kind, members in kinds.items()}
    drawn = sorted((kind for kind in kinds if shares[kind] >= _LEAST_SHARE), key=lambda kind: -shares[kind])
    groups = [(kind, kinds[kind]) for kind in drawn]
    if others := [each for kind, members in kinds.items() if kind not in drawn for each in members]:
        groups.append((_others(len(kinds) - len(drawn)) if drawn else "all", others))
    total = sum(shares.values()) or 1.0
    segments: list[Segment] = []
    at = 0.0
    for index, (kind, members) in enumerate(groups):
        share = sum(each.share for each in members)
        length = _STRIP * share / total
        segments.append(
            Segment(
                operator=kind,
                share=share,
                milliseconds=sum(each.milliseconds for each in members),
                count=len(members),
                fallback_share=sum(each.share for each in members if each.fallback is not None),
                at=round(at, 2),
                width=round(max(length - _GAP, 0.5), 2),
                shade=round(max(1 - 0.15 * index, 0.2), 2),
            )
        )
        at += length
    return segments


def _others(count: int) -> str:
    return "1 other kind" if count == 1 else f"{count} other kinds"
