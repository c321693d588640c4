"""Writes networks for video as ONNX files that keep their state from frame to frame."""
