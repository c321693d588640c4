"""Runs a network on a video frame by frame, computing only what changed since the frame before."""
