"""Turns the tensors that a compiled model returns into arrays of the caller's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


class Outputs:
    """Turns a run's tensors into arrays that nothing else writes to.

    A tensor computed by the run is handed over as it is. One that is the model's input, a constant of the model, or the
    same tensor as another output is copied. Which ones are is learnt in the first two runs, while the first run's
    tensors are kept: what lies at the same address in the second run then was computed in neither.
    """

    def __init__(self) -> None:
        self._first: list[npt.NDArray[Any]] | None = None
        self._copied: frozenset[int] | None = None

    def of(self, tensors: Sequence[Any], inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """The arrays of one run's tensors, which were computed from these inputs."""
        arrays = [np.from_dlpack(tensor) for tensor in tensors]
        if self._first is None and self._copied is None:
            self._first = arrays
            return [array.copy() for array in arrays]
        if self._copied is None:
            self._copied = self._shared(arrays, inputs)
            self._first = None
        for index in self._copied:
            arrays[index] = arrays[index].copy()
        return arrays

    def _shared(self, arrays: list[npt.NDArray[Any]], inputs: Sequence[npt.NDArray[Any]]) -> frozenset[int]:
        assert self._first is not None
        return frozenset(
            index
            for index, array in enumerate(arrays)
            if any(np.may_share_memory(array, other) for other in (*inputs, *arrays[:index], *self._first))
        )
