"""Decides which parts of a graph gain from 8 bits, changes of type included: a minimum cut, so the best there is.

Each part goes to one of two sides, float32 or int8. It costs what it costs on its side, and every tensor that crosses
costs its conversion. The cheapest assignment is the minimum cut of a flow network (Boykov, Veksler and Zabih, 2001).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from edgeml.export.int8_costs import Part, Wire

_CAPACITY = 1 << 30  # scipy's flow works in 32-bit integers


def place(parts: Sequence[Part], wires: Sequence[Wire], keep_float: Collection[int] = ()) -> frozenset[int]:
    """Indices of the parts that are cheapest in int8, all conversions counted.

    Args:
        parts: what is placed.
        wires: tensors between parts.
        keep_float: indices of parts that must stay in float32.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    int8, float32 = len(parts), len(parts) + 1  # source and sink of the flow
    edges: dict[tuple[int, int], float] = {}

    def add(start: int, end: int, cost: float) -> None:
        edges[start, end] = edges.get((start, end), 0.0) + cost

    total = sum(part.float_ns + (part.int8_ns or 0.0) for part in parts)
    total += sum(wire.to_int8_ns + wire.to_float_ns for wire in wires)
    for index, part in enumerate(parts):
        add(int8, index, part.float_ns)  # cut when the part is on the float side
        fixed = part.int8_ns is None or index in keep_float
        add(index, float32, total if fixed or part.int8_ns is None else part.int8_ns)
    for wire in wires:
        source = float32 if wire.source is None else wire.source
        sink = float32 if wire.sink is None else wire.sink
        add(source, sink, wire.to_float_ns)  # cut when source is int8 and sink is float
        add(sink, source, wire.to_int8_ns)
    scale = _CAPACITY / max(total * 2, 1.0)
    rows, columns = zip(*edges, strict=True)
    capacities = np.array([round(cost * scale) for cost in edges.values()], dtype=np.int32)
    network = csr_matrix((capacities, (rows, columns)), shape=(len(parts) + 2, len(parts) + 2))
    flow = maximum_flow(network, int8, float32).flow
    residual = csr_matrix(network - flow)
    residual.data = np.maximum(residual.data, 0)
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, int8, return_predecessors=False)
    return frozenset(int(index) for index in reached if index < len(parts))


def cost_ns(parts: Sequence[Part], wires: Sequence[Wire], in_int8: Collection[int]) -> float:
    """Estimated cost of one placement."""
    total = 0.0
    for index, part in enumerate(parts):
        total += part.int8_ns or 0.0 if index in in_int8 else part.float_ns
    for wire in wires:
        source, sink = wire.source in in_int8, wire.sink in in_int8
        total += wire.to_float_ns if source and not sink else wire.to_int8_ns if sink and not source else 0.0
    return total
