"""Tells where a model's time goes: per-operator times by each runtime's own means, under the device's roofline."""
