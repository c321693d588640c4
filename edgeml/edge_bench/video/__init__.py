"""Measures networks for video: streams against the same network run on every frame, block by block in turn."""
