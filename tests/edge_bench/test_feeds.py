import numpy as np
import pytest

from edgeml.core.errors import UsageError
from edgeml.core.tensor_spec import TensorSpec
from edgeml.edge_bench.feeds import DISTINCT_FEEDS, batch_of, random_feeds, sample_feeds

IMAGE = TensorSpec("image", ("batch", 1, 2, 2), "float32")


def test_the_models_own_batch_comes_before_the_one_asked_for() -> None:
    assert batch_of([IMAGE], 3) == 3
    assert batch_of([TensorSpec("image", (4, 1, 2, 2), "float32")], 3) == 4


def test_random_feeds_are_the_same_for_the_same_seed() -> None:
    specs = [IMAGE, TensorSpec("ids", ("batch", 5), "int64"), TensorSpec("mask", ("batch",), "bool")]
    first, again, other = (random_feeds(specs, 2, seed) for seed in (0, 0, 1))
    assert len(first) == DISTINCT_FEEDS
    assert first[0]["image"].shape == (2, 1, 2, 2)
    assert {name: array.dtype.name for name, array in first[0].items()} == {
        "image": "float32",
        "ids": "int64",
        "mask": "bool",
    }
    np.testing.assert_array_equal(first[3]["image"], again[3]["image"])
    assert (first[3]["image"] != other[3]["image"]).any()
    assert set(np.unique([feeds["ids"] for feeds in first])) == {0, 1}


def test_samples_are_fed_in_order_and_begin_again() -> None:
    samples = np.arange(5, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 2, 2), np.float32)
    feeds = sample_feeds([TensorSpec("image", ("batch", 1, 2, 2), "float16")], samples, 2)
    assert [list(each["image"][:, 0, 0, 0]) for each in feeds[:3]] == [[0, 1], [2, 3], [4, 0]]
    assert feeds[0]["image"].dtype == np.float16


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([IMAGE, IMAGE], "one input; this one has 2"),
        ([TensorSpec("pixels", ("batch", 1, 2, 2), "uint8")], "float inputs only"),
    ],
)
def test_samples_that_the_model_cannot_take_are_refused(inputs: list[TensorSpec], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sample_feeds(inputs, np.zeros((4, 1, 2, 2), np.float32), 1)


def test_inputs_without_random_values_are_refused() -> None:
    with pytest.raises(UsageError, match="dynamic axis 'length'"):
        random_feeds([TensorSpec("tokens", ("batch", "length"), "int64")], 1, 0)
    with pytest.raises(UsageError, match="takes str"):
        random_feeds([TensorSpec("text", ("batch",), "str")], 1, 0)
