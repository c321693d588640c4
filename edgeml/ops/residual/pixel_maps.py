"""Pixel maps: which pixels' codes differ from the frame before, as uint8 (N, H, W) of 0 and 1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeml.ops.residual.codes import Codes

Mask = npt.NDArray[np.bool_]


def update(fresh: Codes, previous: Codes, active: Mask) -> tuple[Codes, Codes]:
    """The codes (N, H, W, C) and their pixel map (N, H, W): `fresh` where `active` (N, H, W), `previous` elsewhere.

    Raises:
        ValueError: the previous output has another shape than the new one.
    """
    if fresh.shape != previous.shape or fresh.shape[:3] != active.shape:
        raise ValueError(f"a previous output of {previous.shape}, where the new one has {fresh.shape}")
    codes = np.where(active[..., None], fresh, previous)
    return codes, (codes != previous).any(axis=-1).astype(np.uint8)


def require_map(codes: Codes, changed: Codes) -> None:
    """Check that a pixel map is one of these codes (N, H, W, C).

    Raises:
        ValueError: its shape is another.
    """
    if codes.shape[:3] != changed.shape:
        raise ValueError(f"a pixel map of {changed.shape}, where the codes have {codes.shape}")
