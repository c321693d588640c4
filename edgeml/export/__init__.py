"""torch -> ONNX, graph clean-up, quantization, parity."""
