"""Rewrites a model while it is loaded, so that activations between binary layers stay packed bits."""
