"""Code for NVIDIA GPUs, made without one."""
