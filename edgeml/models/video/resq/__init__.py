"""Residual quantization of video networks: key frames in many bits, what changes since in few (Abati et al., 2023)."""
