from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from edgeml.export.int8_costs import Part, Wire, parts_and_wires
from edgeml.export.placement import cost_ns, place
from tests.export.conftest import Case


@pytest.mark.parametrize("seed", range(12))
def test_the_placement_is_the_cheapest_of_all_that_can_be_tried(seed: int) -> None:
    generator = np.random.default_rng(seed)
    parts = [
        Part(
            (str(index),),
            "Conv",
            1,
            float(generator.uniform(0, 9)),
            float(generator.uniform(0, 9)) if index % 4 else None,
        )
        for index in range(9)
    ]
    ends = [(None, 0), *((int(generator.integers(0, sink)), sink) for sink in range(1, 9)), (8, None), (2, 6)]
    wires = [Wire(source, sink, *(float(v) for v in generator.uniform(0, 3, 2))) for source, sink in ends]
    able = [index for index, part in enumerate(parts) if part.int8_ns is not None]
    best = min(
        cost_ns(parts, wires, frozenset(chosen)) for size in range(len(able) + 1) for chosen in combinations(able, size)
    )
    found = place(parts, wires)
    assert found <= set(able)
    assert cost_ns(parts, wires, found) == pytest.approx(best, rel=1e-6)


def test_a_part_kept_in_float_is_never_placed_in_int8() -> None:
    parts = [Part((str(index),), "Conv", 1, 100.0, 1.0) for index in range(3)]
    wires = [Wire(0, 1, 0.1, 0.1), Wire(1, 2, 0.1, 0.1)]
    assert place(parts, wires) == {0, 1, 2}
    assert place(parts, wires, keep_float={1}) == {0, 2}


def test_silu_is_one_part_and_macs_are_those_of_the_layers(case: Case) -> None:
    parts, _ = parts_and_wires(case.model)
    assert sum(part.kind == "SiLU" for part in parts) == 1 + 3 * 3
    stem = next(part for part in parts if part.macs)
    assert stem.macs == 8 * 8 * 8 * 9
    assert [part.macs for part in parts if part.kind == "Gemm"] == [8 * 10]
