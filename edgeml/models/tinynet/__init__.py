"""TinyNet and EfficientNet-B0: one network, made smaller along resolution, width and depth."""
