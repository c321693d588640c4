import math

import pytest

from edgeml.core.errors import UsageError
from edgeml.core.json_values import choice, integer, items, mapping, number, pairs, record, string


def test_values_of_the_right_kind_come_back() -> None:
    assert record("r", {"a": 1, "b": 2}, ("a", "b")) == {"a": 1, "b": 2}
    assert mapping("m", {"any": 1}) == {"any": 1}
    assert items("i", [1, "a"]) == [1, "a"]
    assert string("s", "é😀") == "é😀"
    assert choice("c", "a", ("a", "b")) == "a"
    assert pairs("p", {"numpy": "2.4"}) == (("numpy", "2.4"),)
    assert integer("n", -5) == -5
    assert number("x", 1.5) == 1.5
    assert isinstance(number("x", 2), float)


def test_a_wrong_value_is_told_with_its_name_and_what_is_allowed() -> None:
    with pytest.raises(UsageError, match="height is '224'; it must be a whole number"):
        integer("height", "224")
    with pytest.raises(UsageError, match=r"format is 'exe'; it must be one of onnx, tvm"):
        choice("format", "exe", ("onnx", "tvm"))
    with pytest.raises(UsageError, match=r"m has the unknown key 'b'; allowed: a"):
        record("m", {"a": 1, "b": 2}, ("a",))
    with pytest.raises(UsageError, match="m lacks a, b"):
        record("m", {}, ("a", "b"))


@pytest.mark.parametrize("value", [True, None, "1", [1], {}, 10**30, math.nan, math.inf])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        number("x", value)
    with pytest.raises(UsageError):
        integer("x", value)


def test_a_long_wrong_value_is_cut() -> None:
    with pytest.raises(UsageError) as caught:
        integer("x", "9" * 10_000)
    assert len(str(caught.value)) < 200
