"""Sweeps: every combination of models, precisions, runtimes, threads and devices, built and measured by one command."""
