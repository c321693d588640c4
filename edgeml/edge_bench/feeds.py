"""Makes what is fed to a model while it is measured: real samples where there are any, else seeded random ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.core.errors import UsageError
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.tvm.aligned import aligned_copy

Arrays = dict[str, npt.NDArray[Any]]

DISTINCT_FEEDS = 8
"""Feeds taken in turn while measuring, so that no single input's values decide the latency."""


def batch_of(inputs: Sequence[TensorSpec], asked: int) -> int:
    """The batch a model is measured at: its own where that is fixed, else the one asked for."""
    first = inputs[0].shape[0] if inputs and inputs[0].shape else asked
    return first if isinstance(first, int) else asked


def random_feeds(inputs: Sequence[TensorSpec], batch: int, seed: int) -> list[Arrays]:
    """Seeded feeds: standard normal numbers, whole numbers of 0 and 1 (safe as indices), random truth values.

    All feeds begin at a multiple of 64 bytes, so that no runtime has to copy what another reads where it lies.

    Raises:
        UsageError: an input has a dynamic axis beside the batch, or takes text or bfloat16.
    """
    generator = np.random.default_rng(seed)
    return [{spec.name: _random(spec, batch, generator) for spec in inputs} for _ in range(DISTINCT_FEEDS)]


def sample_feeds(inputs: Sequence[TensorSpec], samples: npt.NDArray[np.float32], batch: int) -> list[Arrays]:
    """Feeds of the first samples in order, beginning again where there are too few.

    Args:
        inputs: the model's inputs, exactly one.
        samples: float32 (sample, channels, height, width).
        batch: samples a feed.

    Raises:
        UsageError: the samples do not fit the model.
    """
    spec = only_input(inputs)
    rows = np.arange(DISTINCT_FEEDS * batch) % len(samples)
    return [
        {spec.name: aligned_copy(as_input(spec, samples[rows[start : start + batch]]))}
        for start in range(0, len(rows), batch)
    ]


def only_input(inputs: Sequence[TensorSpec]) -> TensorSpec:
    """The input that samples are fed to.

    Raises:
        UsageError: the model has another number of inputs than one.
    """
    if len(inputs) != 1:
        raise UsageError(
            f"data can be fed to a model with one input; this one has {len(inputs)}: measure it without data"
        )
    return inputs[0]


def as_input(spec: TensorSpec, batch: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """A batch of samples in the dtype the model takes.

    Raises:
        UsageError: the model takes no floating-point numbers, so normalized samples mean nothing to it.
    """
    if not spec.dtype.startswith("float"):
        raise UsageError(f"input {spec.name} takes {spec.dtype}; normalized samples can be fed to float inputs only")
    return batch.astype(spec.dtype, copy=False)


def _random(spec: TensorSpec, batch: int, generator: np.random.Generator) -> npt.NDArray[Any]:
    shape = spec.with_batch(batch)
    if spec.dtype.startswith("float"):
        return aligned_copy(generator.standard_normal(shape).astype(spec.dtype))
    if not spec.dtype.startswith(("int", "uint", "bool")):
        raise UsageError(f"input {spec.name} takes {spec.dtype}, for which edgeml makes no random values")
    return aligned_copy(generator.integers(0, 2, shape).astype(spec.dtype))
