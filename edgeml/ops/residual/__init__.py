"""Operators of residual video: each recomputes only what changed since the frame before, exactly."""
