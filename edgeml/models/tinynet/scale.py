"""Finds the network of a given cost: by the tiny formula, and by EfficientNet's compound rule turned round."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgeml.core.errors import UsageError
from edgeml.models.complexity import Complexity, count
from edgeml.models.tinynet.config import BASE_RESOLUTION, TinyNetConfig
from edgeml.models.tinynet.cost import macs_of, params_of
from edgeml.models.tinynet.formula import RATIOS, SMALLEST_PUBLISHED_RATIO, Prediction, predict

Budget = Literal["macs", "params"]

_BASE = TinyNetConfig(BASE_RESOLUTION, 1.0, 1.0)
_WIDTHS = (0.1, 2.0)
# Depth, width and resolution per step of the compound coefficient (Tan and Le, ICML 2019).
_COMPOUND = (1.2, 1.1, 1.15)
_COMPOUND_COEFFICIENTS = (-10.0, 0.0)
_BISECTIONS = 40
_REACH = 0.025  # how far resolution and depth may move from the prediction, as multiples of B0's
_MISS_ALLOWED = 0.01  # nothing is moved for a smaller miss of the cost
_MISS_WEIGHT = 3.0
_WASTE = 3


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """One answer.

    Attributes:
        rule: "tiny formula" or "inverted compound rule".
        config: the network; `str(config)` is a name that every command takes.
        complexity: its cost by the counter.
        prediction: what the tiny formula's regressions say; None for the compound rule.
        extrapolated: the cost is below that of the smallest published network, TinyNet-E.
    """

    rule: str
    config: TinyNetConfig
    complexity: Complexity
    prediction: Prediction | None = None
    extrapolated: bool = False


@dataclass(frozen=True)
class _Task:
    """The classifier and the input that costs are counted with."""

    classes: int
    in_channels: int

    def macs(self, config: TinyNetConfig) -> int:
        return macs_of(config, classes=self.classes, in_channels=self.in_channels)

    def params(self, config: TinyNetConfig) -> int:
        return params_of(config, classes=self.classes, in_channels=self.in_channels)

    def counted(self, config: TinyNetConfig) -> Complexity:
        from edgeml.models.registry import find

        built = find(str(config)).build(classes=self.classes, in_channels=self.in_channels, resolution=None)
        return count(built.module, built.input_shape)


def scale(budget: Budget, amount: int, *, classes: int = 1000, in_channels: int = 3) -> tuple[Scaled, Scaled]:
    """The networks nearest to the budget, by the tiny formula and by the inverted compound rule.

    Channels and blocks come in whole steps, so the cost is met closely, not exactly: by the tiny formula mostly
    within 2%, at worst within 5% (measured over 60 budgets); by the compound rule as closely as its steps allow.

    Args:
        budget: what `amount` counts.
        amount: multiply-accumulates for one image, or parameters.
        classes: number of logits.
        in_channels: channels of the input.

    Raises:
        UsageError: no network of the family costs so much, or so little; the range is told.
        MissingError: torch or scikit-learn is not installed.
    """
    task = _Task(classes, in_channels)
    base_macs = task.macs(_BASE)
    measure = task.macs if budget == "macs" else task.params

    def by_formula(ratio: float) -> TinyNetConfig:
        return _by_formula(predict(ratio), ratio * base_macs, task)

    low, high = (measure(by_formula(ratio)) for ratio in RATIOS)
    if budget == "macs":
        low, high = (int(ratio * base_macs) for ratio in RATIOS)
    if not low <= amount <= high:
        raise UsageError(
            f"{amount} {budget} are out of the tiny formula's range; allowed for {classes} classes and {in_channels} "
            f"input channels: {short(low)} to {short(high)} {budget}"
        )
    ratio = amount / base_macs if budget == "macs" else _bisect(RATIOS, amount, lambda c: task.params(by_formula(c)))
    compound = _bisect(_COMPOUND_COEFFICIENTS, amount, lambda phi: measure(_by_compound(phi)))
    tiny, inverted = by_formula(ratio), _by_compound(compound)
    return (
        Scaled(
            rule="tiny formula",
            config=tiny,
            complexity=task.counted(tiny),
            prediction=predict(ratio),
            extrapolated=ratio < SMALLEST_PUBLISHED_RATIO,
        ),
        Scaled(rule="inverted compound rule", config=inverted, complexity=task.counted(inverted)),
    )


def short(number: int) -> str:
    """`number` with three digits and k, M or G."""
    for factor, suffix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= factor:
            return f"{number / factor:.3g}{suffix}"
    return str(number)


def _by_formula(prediction: Prediction, macs: float, task: _Task) -> TinyNetConfig:
    """The width that costs `macs`, with resolution and depth as predicted, or a little off where width's steps miss."""
    pixels = _without_waste(round(BASE_RESOLUTION * prediction.resolution))
    reach = round(_REACH * BASE_RESOLUTION)

    depths = {shift: round(prediction.depth + shift, 3) for shift in (0.0, -_REACH, _REACH)}
    widths = {shift: _widths(pixels, depth, macs, task) for shift, depth in depths.items()}
    candidates = [
        (abs(pixel_shift) / BASE_RESOLUTION + abs(shift), _config(pixels + pixel_shift, width, depths[shift]))
        for pixel_shift, shift in itertools.product(range(-reach, reach + 1), depths)
        for width in widths[shift]
    ]

    def merit(candidate: tuple[float, TinyNetConfig]) -> float:
        distance, config = candidate
        miss = abs(task.macs(config) / macs - 1)
        return distance + _MISS_WEIGHT * max(0.0, miss - _MISS_ALLOWED)

    return min(candidates, key=merit)[1]


def _widths(pixels: int, depth: float, macs: float, task: _Task) -> tuple[float, float]:
    """The widths just below and just above the step where the cost passes `macs`."""
    return _steps_around(_WIDTHS, macs, lambda width: task.macs(_config(pixels, width, depth)))


def _config(resolution: int, width: float, depth: float) -> TinyNetConfig:
    return TinyNetConfig(resolution, round(width, 3), depth)


def _without_waste(pixels: int) -> int:
    """`pixels`, or the multiple of 32 just below: the pixels above it buy a larger last map that sees hardly more."""
    return pixels - pixels % 32 if pixels > 32 and pixels % 32 <= _WASTE else pixels


def _by_compound(coefficient: float) -> TinyNetConfig:
    depth, width, resolution = (base**coefficient for base in _COMPOUND)
    return TinyNetConfig(round(BASE_RESOLUTION * resolution), round(width, 3), round(depth, 3))


def _bisect(interval: tuple[float, float], target: float, measure: Callable[[float], float]) -> float:
    """Where the rising, stepped `measure` comes nearest to `target`."""
    return min(_steps_around(interval, target, measure), key=lambda value: abs(measure(value) - target))


def _steps_around(
    interval: tuple[float, float], target: float, measure: Callable[[float], float]
) -> tuple[float, float]:
    """The two values at the step where the rising `measure` passes `target`."""
    low, high = interval
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if measure(middle) < target:
            low = middle
        else:
            high = middle
    return low, high
