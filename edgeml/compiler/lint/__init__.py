"""What a model holds that cannot be compiled, and the way round."""
