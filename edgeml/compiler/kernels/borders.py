"""What int32 sums start with, so that zero points cancel although taps outside the image are left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from tvm import tirx

from edgeml.compiler.kernels.vector import Expr
from edgeml.compiler.kernels.window import Axis, rows_inside

_Taps = tuple[int, int]  # first tap on the image, and the one after the last


@dataclass(frozen=True)
class Borders:
    """The cases that a window's position makes: which of its rows and columns lie on the image.

    sum((code - zero_point) * weight) over the taps inside = sum(code * weight) - zero_point * sum(weight): the second
    sum depends on the case alone, and is looked up.

    Attributes:
        rows: the window along the height.
        columns: the window along the width.
    """

    rows: Axis
    columns: Axis

    @property
    def cases(self) -> int:
        """How many there are."""
        return len(self._row_cases) * len(self._column_cases)

    def case(self, row: Expr, column: int | None) -> Expr:
        """The case of an output pixel: its row is known at run time, its column now (None: all taps inside)."""
        low, high = rows_inside(self.rows, row)
        cut = self.rows.taps - tirx.Max(high, 0)  # below 0 where the whole window lies below the image
        row_case = low * self._cuts + cut if len(self._row_cases) > 1 else 0
        return row_case * len(self._column_cases) + self._column_case(column)

    def starts(self, taps: npt.NDArray[np.int64], zero_point: int) -> npt.NDArray[np.int32]:
        """The sums' first values, (cases, channels), for weights (height, width, channels) summed over inputs."""
        rows = [taps[low:high].sum(0) for low, high in self._row_cases]
        sums = [row[low:high].sum(0) for row in rows for low, high in self._column_cases]
        return (np.stack(sums) * -zero_point).astype(np.int32)

    @cached_property
    def _cuts(self) -> int:
        """How many different numbers of rows can be missing at the end, none included."""
        return 1 + max(self.rows.taps - _inside(self.rows, row)[1] for row in range(self.rows.size_out))

    @cached_property
    def _row_cases(self) -> list[_Taps]:
        """Every pair of (missing before, missing after), which is how `case` counts them."""
        most = max(_inside(self.rows, row)[0] for row in range(self.rows.size_out))
        return [(low, self.rows.taps - cut) for low in range(most + 1) for cut in range(self._cuts)]

    @cached_property
    def _column_cases(self) -> list[_Taps]:
        found = {_inside(self.columns, column) for column in range(self.columns.size_out)}
        return [(0, self.columns.taps), *sorted(found - {(0, self.columns.taps)})]

    def _column_case(self, column: int | None) -> int:
        return 0 if column is None else self._column_cases.index(_inside(self.columns, column))


def _inside(axis: Axis, output: int) -> _Taps:
    """First tap on the image and the one after the last, for one output; `rows_inside` says the same at run time."""
    begin = axis.source(output, 0)
    low = max(-(begin // axis.dilation), 0)
    high = min(-((begin - axis.size_in) // axis.dilation), axis.taps)
    return low, max(high, 0)
