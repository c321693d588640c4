import numpy as np
import pytest

from edgeml.core.errors import UsageError
from edgeml.core.samples import Samples


def samples(count: int) -> Samples:
    return Samples("set", np.zeros((count, 1, 4, 4), np.float32), np.arange(count, dtype=np.int64), ("a", "b"))


def test_the_head_keeps_inputs_and_labels_together() -> None:
    head = samples(5).head(3)
    assert len(head) == 3
    assert head.inputs.shape == (3, 1, 4, 4)
    assert head.labels.tolist() == [0, 1, 2]
    assert head.classes == ("a", "b")


def test_a_head_longer_than_the_samples_is_all_of_them() -> None:
    assert len(samples(2).head(10)) == 2


def test_inputs_and_labels_that_do_not_fit_are_told() -> None:
    with pytest.raises(UsageError, match="do not fit"):
        Samples("set", np.zeros((2, 1, 4, 4), np.float32), np.zeros(3, np.int64), ())
    with pytest.raises(UsageError, match="do not fit"):
        Samples("set", np.zeros((2, 16), np.float32), np.zeros(2, np.int64), ())
