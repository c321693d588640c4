"""Checks what a caller feeds to a model, so that a mistake is told in the model's own terms."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from edgeml.core.errors import UsageError
from edgeml.core.session import Feeds
from edgeml.core.tensor_spec import TensorSpec


def check_feeds(feeds: Feeds, inputs: tuple[TensorSpec, ...]) -> None:
    """Hold the feeds to the model's inputs: names, dtypes, shapes, and one size for each named dynamic axis.

    Raises:
        UsageError: they differ; the message names the input, what was expected and what was found.
    """
    if len(feeds) != len(inputs) or any(spec.name not in feeds for spec in inputs):
        raise UsageError(
            f"the model's inputs are {', '.join(spec.name for spec in inputs) or 'none'}; "
            f"the feeds given are {', '.join(feeds) or 'none'}"
        )
    sizes: dict[str, int] = {}
    for spec in inputs:
        array = feeds[spec.name]
        if dtype_name(array.dtype) != spec.dtype and not (spec.dtype == "str" and array.dtype.kind in "OU"):
            raise UsageError(f"input {spec.name} takes {spec.dtype}; {array.dtype} was fed: convert it with .astype")
        if array.ndim != len(spec.shape):
            raise UsageError(f"input {spec.name} takes shape {_shown(spec)}; {array.shape} was fed")
        for axis, size in zip(spec.shape, array.shape, strict=True):
            expected = sizes.setdefault(axis, size) if isinstance(axis, str) else axis
            if expected != size:
                raise UsageError(f"input {spec.name} takes shape {_shown(spec)}; {array.shape} was fed")


@lru_cache
def dtype_name(dtype: np.dtype[Any]) -> str:
    """`dtype.name`, which numpy puts together anew each time it is asked."""
    return dtype.name


def _shown(spec: TensorSpec) -> str:
    return "(" + ", ".join(str(axis) for axis in spec.shape) + ")"
