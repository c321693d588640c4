"""What a report shows of a device beside the reference on the host: how often they differ, and who was right."""

from __future__ import annotations

from dataclasses import dataclass

from edgeml.core.bench_result import Accuracy, Difference, Reference
from edgeml.edge_bench.verdicts.words import points, signed

LISTED = 200
"""Differing samples in the page at most; the results hold all of them."""


@dataclass(frozen=True, kw_only=True)
class ReferenceView:
    """A reference as the report shows it.

    Attributes:
        reference: the measurement.
        difference: accuracy on the device less the reference's, in points with its sign.
        interval: its 95% interval.
        device_right: samples that only the device classifies right.
        reference_right: samples that only the reference classifies right.
        both_wrong: samples that both classify wrong, differently.
        agreement: share of all samples that both classify alike, in [0, 1].
        listed: the first of the differing samples.
    """

    reference: Reference
    difference: str
    interval: str
    device_right: int
    reference_right: int
    both_wrong: int
    agreement: float
    listed: tuple[Difference, ...]


def reference_view(accuracy: Accuracy) -> ReferenceView | None:
    """The accuracy's reference, counted; None where there is none."""
    reference = accuracy.reference
    if reference is None:
        return None
    differences = reference.differences
    device_right = sum(each.found == each.label for each in differences)
    reference_right = sum(each.expected == each.label for each in differences)
    low, high = (signed(100 * bound, 2) for bound in reference.ci95)
    return ReferenceView(
        reference=reference,
        difference=signed(points(reference.difference) or 0.0, 2),
        interval=f"[{low},\N{NO-BREAK SPACE}{high}]",
        device_right=device_right,
        reference_right=reference_right,
        both_wrong=len(differences) - device_right - reference_right,
        agreement=1 - len(differences) / max(accuracy.samples, 1),
        listed=differences[:LISTED],
    )
