"""Deals a number of tuning trials out to functions by the time each of them takes."""

from __future__ import annotations

from collections.abc import Mapping

LEAST_TRIALS = 4
"""Fewer trials than this are not worth starting a search for."""


def share_trials(trials: int, seconds: Mapping[str, float]) -> dict[str, int]:
    """How many of `trials` each function gets, by name: in proportion to its share of the time of all.

    Functions whose share comes to less than `LEAST_TRIALS` get none, smallest first, and what they would have had goes
    to the others; the slowest always has its share. Fractions are rounded so that the sum is `trials`, by the largest
    remainder.

    Args:
        trials: how many there are.
        seconds: time of all calls of each function in one run of the model.
    """
    shares = dict.fromkeys(seconds, 0)
    kept = sorted(seconds, key=lambda name: (-seconds[name], name))
    while len(kept) > 1 and trials * seconds[kept[-1]] < LEAST_TRIALS * sum(seconds[name] for name in kept):
        kept.pop()
    total = sum(seconds[name] for name in kept)
    if not total:
        return shares
    exact = {name: trials * seconds[name] / total for name in kept}
    shares |= {name: int(value) for name, value in exact.items()}
    left = trials - sum(shares.values())
    for name in sorted(kept, key=lambda name: (shares[name] - exact[name], name))[:left]:
        shares[name] += 1
    return shares
