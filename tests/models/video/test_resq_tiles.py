"""The choice of bits tile by tile against trying all widths, one tile after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.core.errors import UsageError
from edgeml.models.video.resq.bits import TilePolicy
from edgeml.models.video.resq.tiles import mean_bits, quantize_tiles

pytestmark = pytest.mark.torch


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 2), st.integers(1, 3), st.integers(1, 19), st.integers(1, 19), st.integers(1, 9),
    st.sampled_from([0.5, 1.0, 3.25]), st.integers(0, 1000),
)  # fmt: skip
def test_each_tile_takes_the_fewest_bits_that_are_good_enough(
    batch: int, channels: int, height: int, width: int, tile: int, tolerance: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    # Quarters of a step, so that bounds are met exactly too.
    residual = np.rint(rng.normal(0, 1, (batch, channels, height, width)) * rng.choice([1, 8, 60, 600])) / 4
    found, bits = quantize_tiles(
        torch.from_numpy(residual.astype(np.float32) * 2), torch.tensor(2.0), TilePolicy(tile=tile, tolerance=tolerance)
    )
    weighted = 0
    for sample in range(batch):
        for row, column in np.ndindex(bits.shape[1:]):
            place = np.s_[sample, :, row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
            values = residual[place]
            tries = {b: np.clip(np.rint(values), -(2 ** max(b - 1, 0) - 1), 2 ** max(b - 1, 0) - 1) for b in (0, 4, 8)}
            good = [b for b, rounded in tries.items() if np.abs(values - rounded).max() <= tolerance]
            chosen = min(good, default=8)
            assert bits[sample, row, column] == chosen
            np.testing.assert_array_equal(found[place], 2 * tries[chosen])
            weighted += chosen * values[0].size
    assert mean_bits(bits, (height, width), tile) == pytest.approx(weighted / (batch * height * width))


def test_a_flat_value_is_one_tile() -> None:
    found, bits = quantize_tiles(torch.tensor([[0.1, 3.2], [0.0, 0.4]]), torch.tensor(1.0), TilePolicy())
    assert bits.tolist() == [[[4]], [[0]]]
    assert found.tolist() == [[0, 3], [0, 0]]


@pytest.mark.parametrize("options", [{"tile": 0}, {"step": 0.0}, {"tolerance": 0.4}, {"step": float("nan")}])
def test_policies_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        TilePolicy(**options)  # type: ignore[arg-type]
