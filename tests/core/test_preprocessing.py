import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.core.errors import UsageError
from edgeml.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

FINITE = st.floats(-10, 10)
ABOVE_0 = st.floats(1e-3, 10)


@st.composite
def preprocessings(draw: st.DrawFn) -> Preprocessing:
    channels = draw(st.integers(1, 4))
    return Preprocessing(
        height=draw(st.integers(1, 512)),
        width=draw(st.integers(1, 512)),
        mean=tuple(draw(st.lists(FINITE, min_size=channels, max_size=channels))),
        std=tuple(draw(st.lists(ABOVE_0, min_size=channels, max_size=channels))),
        interpolation=draw(st.sampled_from(["nearest", "bilinear", "bicubic"])),
        crop_fraction=draw(st.floats(0.01, 1)),
    )


@given(preprocessings())
def test_json_gives_the_preprocessing_back(preprocessing: Preprocessing) -> None:
    assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing
    assert preprocessing.channels == len(preprocessing.mean)


GOOD = Preprocessing(224, 224, IMAGENET_MEAN, IMAGENET_STD).to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"height": "224"},
        {"height": 0},
        {"width": -3},
        {"width": 1 << 40},
        {"height": 2.5},
        {"mean": "0.4"},
        {"mean": 0.4},
        {"mean": ["a", "b", "c"]},
        {"mean": [math.nan] * 3},
        {"mean": [0.0]},
        {"mean": [], "std": []},
        {"std": [0.0, 1.0, 1.0]},
        {"std": [math.inf] * 3},
        {"std": {"0": 1}},
        {"interpolation": "lanczos"},
        {"interpolation": ["bilinear"]},
        {"crop_fraction": 0},
        {"crop_fraction": math.nan},
        {"crop_fraction": 10**400},
        {"unknown": 1},
    ],
)
def test_json_of_another_form_is_a_usage_error(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Preprocessing.from_json(GOOD | change)


def test_a_missing_value_is_told_by_its_name() -> None:
    with pytest.raises(UsageError, match="lacks std"):
        Preprocessing.from_json({key: value for key, value in GOOD.items() if key != "std"})
