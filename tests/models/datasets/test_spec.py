"""How a user names data."""

from __future__ import annotations

import pytest

from edgeml.core.errors import UsageError
from edgeml.models.datasets.spec import DatasetSpec


@pytest.mark.parametrize(
    "text",
    ["fashion-mnist", "fashion-mnist:test", "digits:train", "folder:photos", "folder:a:b:train", "npz:C:/x.npz:test"],
)
def test_parse_and_str_are_inverses(text: str) -> None:
    assert str(DatasetSpec.parse(text)) == text


def test_a_split_is_told_from_a_location() -> None:
    assert DatasetSpec.parse("folder:train") == DatasetSpec("folder", "train")
    assert DatasetSpec.parse("folder:train:test") == DatasetSpec("folder", "train", "test")


@pytest.mark.parametrize(
    "text", ["", "mnist", "fashion-mnist:val", "digits:", "folder:", "folder", "npz::test", ":test"]
)
def test_other_texts_are_refused_with_the_allowed_forms(text: str) -> None:
    with pytest.raises(UsageError, match="allowed: fashion-mnist, digits, folder:DIR"):
        DatasetSpec.parse(text)
