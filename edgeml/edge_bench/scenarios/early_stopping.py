"""How many queries a percentile takes by LoadGen's rule, so that a run is planned for them.

The rule: with 99% confidence (one-sided, binomial) no more than 1 - percentile of all queries exceed the bound (MLPerf
Inference rules, "Early stopping criterion"). scipy is not used: the program that measures runs on devices without it.
"""

from __future__ import annotations

CONFIDENCE = 0.99


def fewest_queries(percentile: float) -> int:
    """The fewest queries from which LoadGen estimates a percentile: 64 for 0.90, 662 for 0.99.

    One of them, the largest, may lie above the estimate or the bound.

    Args:
        percentile: in (0, 1).
    """
    count = 1
    while percentile**count + count * (1 - percentile) * percentile ** (count - 1) > 1 - CONFIDENCE:
        count += 1
    return count
