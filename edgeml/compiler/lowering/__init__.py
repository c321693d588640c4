"""Replaces the operators of an imported model by calls of our kernels."""
