"""What a file for video says of itself: its states, which steps are gated, and what each step costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from edgeml.core.errors import UsageError
from edgeml.core.json_values import choice, integer, items, mapping, string

METADATA_KEY = "edgeml.video"
_BITS_LIMIT = 64

Mode = Literal["gated", "resq"]
Role = Literal["key", "residual"]


@dataclass(frozen=True, kw_only=True)
class State:
    """A tensor that one frame leaves to the next.

    Attributes:
        name: of the graph's input.
        next: of the graph's output.
        step: of the network whose result it holds.
    """

    name: str
    next: str
    step: str


@dataclass(frozen=True, kw_only=True)
class VideoMetadata:
    """The entry `edgeml.video` of a file's metadata.

    Attributes:
        mode: "gated" computes where codes changed, "resq" computes residuals to the key frame at fewer bits.
        role: which of the two files of a pair it is.
        key_interval: frames from one key frame to the next; None for no limit.
        states: in the order of the graph's inputs.
        gated_steps: steps whose share of changed pixels the output `activity` gives, in its order.
        macs: multiplications and additions of each step on a whole frame.
        bits: of each step's weights and activations.
    """

    mode: Mode
    role: Role
    key_interval: int | None
    states: tuple[State, ...]
    gated_steps: tuple[str, ...]
    macs: Mapping[str, int]
    bits: Mapping[str, tuple[int, int]]

    def bit_operations(self, activity: Sequence[float]) -> float:
        """What one frame costs: the sum over steps of macs x weight bits x activation bits x active share.

        Args:
            activity: share of changed pixels of each gated step, in order; steps that are not gated count in full.
        """
        shares = dict(zip(self.gated_steps, activity, strict=True))
        return sum(
            macs * self.bits[step][0] * self.bits[step][1] * float(shares.get(step, 1.0))
            for step, macs in self.macs.items()
        )


def parse_metadata(text: str) -> VideoMetadata:
    """The metadata in their JSON form.

    Raises:
        UsageError: they are of another form.
    """
    try:
        values = mapping(METADATA_KEY, json.loads(text))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{METADATA_KEY} is no JSON: {error}") from error
    needed = ("mode", "role", "key_interval", "states", "gated_steps", "macs", "bits")
    if missing := [key for key in needed if key not in values]:
        raise UsageError(f"{METADATA_KEY} lacks {', '.join(missing)}")
    macs = {
        step: _not_negative(f"macs of {step!r:.80}", count) for step, count in mapping("macs", values["macs"]).items()
    }
    bits = {step: _bits(step, pair) for step, pair in mapping("bits", values["bits"]).items()}
    if unknown := sorted(macs.keys() - bits.keys()):
        raise UsageError(f"bits lacks the step {unknown[0]!r:.80}, whose macs are given")
    interval = values["key_interval"]
    return VideoMetadata(
        mode=cast("Mode", choice("mode", values["mode"], ("gated", "resq"))),
        role=cast("Role", choice("role", values["role"], ("key", "residual"))),
        key_interval=None if interval is None else check_key_interval(integer("key_interval", interval)),
        states=tuple(_state(each) for each in items("states", values["states"])),
        gated_steps=tuple(string("a gated step", each) for each in items("gated_steps", values["gated_steps"])),
        macs=macs,
        bits=bits,
    )


def check_key_interval(frames: int) -> int:
    """The same interval.

    Raises:
        UsageError: it is below 1.
    """
    if frames < 1:
        raise UsageError(f"key_interval is {frames}; it must be at least 1")
    return frames


def _state(value: object) -> State:
    values = mapping("a state", value)
    return State(**{key: string(f"{key} of a state", values.get(key)) for key in ("name", "next", "step")})


def _bits(step: str, value: Any) -> tuple[int, int]:
    pair = items(f"bits of {step!r:.80}", value)
    if len(pair) != 2:
        raise UsageError(f"bits of {step!r:.80} has {len(pair)} entries; it must be [weights, activations]")
    weights, activations = (_not_negative(f"bits of {step!r:.80}", each) for each in pair)
    if max(weights, activations) > _BITS_LIMIT:
        raise UsageError(f"bits of {step!r:.80} is {pair}; at most {_BITS_LIMIT} are allowed")
    return weights, activations


def _not_negative(name: str, value: object) -> int:
    count = integer(name, value)
    if count < 0:
        raise UsageError(f"{name} is {count}; it must be at least 0")
    return count
