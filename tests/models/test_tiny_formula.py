"""The tiny formula, against the published networks it stands for."""

from __future__ import annotations

import pytest

from edgeml.core.errors import UsageError
from edgeml.models.registry import find
from edgeml.models.tinynet.config import TinyNetConfig
from edgeml.models.tinynet.family import CONFIGS
from edgeml.models.tinynet.formula import RATIOS, predict
from edgeml.models.tinynet.scale import scale, short

pytestmark = pytest.mark.torch

# FLOPs ratio to EfficientNet-B0, resolution, depth (methods as published), MACs by the counter.
FRONT = [
    (0.873, 0.86, 1.2, 336_867_712),
    (0.520, 0.84, 1.1, 200_709_360),
    (0.258, 0.825, 0.85, 99_536_432),
    (0.134, 0.68, 0.695, 51_580_656),
    (0.063, 0.475, 0.60, 24_356_848),
]


@pytest.mark.parametrize(("ratio", "resolution", "depth", "macs"), FRONT)
def test_the_published_ratios_give_the_published_networks(
    ratio: float, resolution: float, depth: float, macs: int
) -> None:
    prediction = predict(ratio)
    assert prediction.resolution == pytest.approx(resolution, abs=0.03)
    assert prediction.depth == pytest.approx(depth, abs=0.03)
    tiny, _ = scale("macs", macs)
    assert tiny.complexity.macs == pytest.approx(macs, rel=0.02)
    assert tiny.config.resolution / 224 == pytest.approx(resolution, abs=0.03)
    assert tiny.config.depth == pytest.approx(depth, abs=0.03)


@pytest.mark.parametrize(("letter", "params"), [("a", 6_187_972), ("b", 3_730_562), ("d", 2_338_446)])
def test_the_width_found_is_near_the_published_one(letter: str, params: int) -> None:
    published = CONFIGS[f"tinynet-{letter}"]
    macs = dict(zip("abcde", (row[3] for row in FRONT), strict=True))[letter]
    tiny, _ = scale("macs", macs)
    assert tiny.config.width == pytest.approx(published.width, abs=0.03)
    assert tiny.complexity.params == pytest.approx(params, rel=0.02)


def test_the_course_between_and_below_the_published_networks_does_not_swing() -> None:
    ratios = [RATIOS[0] * (RATIOS[1] / RATIOS[0]) ** (step / 60) for step in range(61)]
    below = [predict(ratio) for ratio in ratios if ratio < 0.25]
    assert [each.resolution for each in below] == sorted(each.resolution for each in below)
    assert [each.depth for each in below] == sorted(each.depth for each in below)
    for each in map(predict, ratios):
        assert 0.3 < each.resolution < 1.02
        assert 0.4 < each.depth < 1.3


@pytest.mark.parametrize("macs", [12_000_000, 19_800_000, 50_000_000, 57_600_000, 117_400_000, 250_000_000])
def test_any_budget_in_range_is_met_within_a_few_percent(macs: int) -> None:
    tiny, _ = scale("macs", macs)
    assert tiny.complexity.macs == pytest.approx(macs, rel=0.05)
    assert tiny.extrapolated == (macs < 24_300_000)


@pytest.mark.parametrize("params", [2_000_000, 2_500_000, 4_000_000])
def test_a_budget_of_parameters_is_met(params: int) -> None:
    tiny, compound = scale("params", params)
    assert tiny.complexity.params == pytest.approx(params, rel=0.03)
    assert compound.complexity.params == pytest.approx(params, rel=0.05)


def test_what_is_found_can_be_built_by_its_name() -> None:
    tiny, compound = scale("macs", 30_000_000, classes=10, in_channels=1)
    for answer in (tiny, compound):
        assert TinyNetConfig.parse(str(answer.config)) == answer.config
        network = find(str(answer.config)).build(classes=10, in_channels=1, resolution=None)
        assert sum(each.numel() for each in network.module.parameters()) == answer.complexity.params


def test_the_compound_rule_shrinks_all_three_together() -> None:
    _, compound = scale("macs", 24_000_000)
    assert compound.config.resolution / 224 < compound.config.width < 1
    assert compound.config.depth < compound.config.width
    assert compound.prediction is None


@pytest.mark.parametrize(("budget", "amount"), [("macs", 1_000), ("macs", 10**12), ("params", 10), ("params", 10**9)])
def test_a_budget_out_of_range_is_refused_with_the_range(budget: str, amount: int) -> None:
    with pytest.raises(UsageError, match=rf"out of .* range; allowed .*: \S+M to \S+M {budget}"):
        scale(budget, amount)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "text"), [(5, "5"), (1200, "1.2k"), (24_400_000, "24.4M"), (3_000_000_000, "3G"), (386_000_000, "386M")]
)
def test_numbers_are_shortened_to_three_digits(number: int, text: str) -> None:
    assert short(number) == text
