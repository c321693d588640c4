"""Opening data by name, and what calibration may use."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.core.errors import UsageError
from edgeml.models.datasets import calibration_split, open_dataset


def test_measuring_is_the_default_and_learning_can_be_asked_for() -> None:
    assert open_dataset("digits").name == "digits:test"
    assert open_dataset("digits", default_split="train").name == "digits:train"
    assert open_dataset("digits:test", default_split="train").name == "digits:test"


def test_calibration_uses_the_training_split() -> None:
    assert calibration_split("digits").split == "train"
    assert calibration_split("digits:train").split == "train"


def test_calibration_on_the_test_split_is_refused() -> None:
    with pytest.raises(UsageError, match=r"would tune the model on its test split; use 'digits'"):
        calibration_split("digits:test")


def test_samples_spread_over_sorted_data_keep_all_classes() -> None:
    data = open_dataset("digits:train")
    assert len(data.spread(None)) == len(data)
    assert len(data.spread(10**9)) == len(data)
    assert data.spread(0).tolist() == []
    spread = data.spread(100)
    assert len(np.unique(spread)) == 100
    assert spread[0] == 0
    assert spread[-1] >= len(data) * 0.98
