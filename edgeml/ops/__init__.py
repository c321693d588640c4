"""Operators that ONNX lacks: each with its schema, a body in standard ONNX operators and a numpy reference."""
