"""Sessions: what executes a model file."""
