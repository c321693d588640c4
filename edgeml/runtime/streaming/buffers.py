"""The memory of one stream's states, bound to both graphs so that no frame copies a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.onnxruntime_loading import import_onnxruntime
from edgeml.runtime.streaming.graph_session import GraphSession
from edgeml.runtime.tvm.aligned import aligned_empty

if TYPE_CHECKING:
    import onnxruntime


class StateBuffers:
    """States and where their successors go.

    In place, a state and its successor are one buffer. Otherwise there are two sets of buffers, and after each frame
    they change places.

    Args:
        states: name, shape and dtype of each state, in order.
        successors: name of each state's successor.
        in_place: whether one set is enough.
    """

    def __init__(self, states: Sequence[TensorSpec], successors: Sequence[str], *, in_place: bool) -> None:
        self._names = tuple(spec.name for spec in states)
        self._successors = tuple(successors)
        self._sets = [[_zeros(spec) for spec in states] for _ in range(1 if in_place else 2)]
        make = import_onnxruntime().OrtValue.ortvalue_from_numpy
        self._values = [[make(array) for array in arrays] for arrays in self._sets]
        self._current = 0
        self._bindings: dict[tuple[int, int], Any] = {}

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The states by name as they are now; views of the memory that the next frame overwrites."""
        return dict(zip(self._names, self._sets[self._current], strict=True))

    def run(
        self, graph: GraphSession, feeds: Mapping[str, npt.NDArray[Any]], outputs: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Run `graph` on the states, which then are the successors.

        Args:
            graph: either file of the pair.
            feeds: the other inputs by name, C-contiguous.
            outputs: arrays by name into which the other outputs are written.

        Raises:
            Exception: whatever onnxruntime raises; some states may be overwritten by then.
        """
        make = import_onnxruntime().OrtValue.ortvalue_from_numpy
        binding = self._binding(graph.session)
        # The binding keeps no array alive: these lists do, until the run is over.
        fed = [(name, make(array)) for name, array in feeds.items()]
        made = [(name, make(array)) for name, array in outputs.items()]
        for name, value in fed:
            binding.bind_ortvalue_input(name, value)
        for name, value in made:
            binding.bind_ortvalue_output(name, value)
        graph.session.run_with_iobinding(binding)
        self._current = self._after

    @property
    def _after(self) -> int:
        return (self._current + 1) % len(self._sets)

    def _binding(self, session: onnxruntime.InferenceSession) -> Any:
        """The session's binding for the set that is current; made once, since the states never move."""
        known = self._bindings.get((id(session), self._current))
        if known is not None:
            return known
        binding = session.io_binding()
        for name, value in zip(self._names, self._values[self._current], strict=True):
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(self._successors, self._values[self._after], strict=True):
            binding.bind_ortvalue_output(name, value)
        self._bindings[id(session), self._current] = binding
        return binding


def _zeros(spec: TensorSpec) -> npt.NDArray[Any]:
    array = aligned_empty(tuple(int(axis) for axis in spec.shape), np.dtype(spec.dtype))
    array[...] = 0
    return array
