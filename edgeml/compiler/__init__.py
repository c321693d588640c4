"""Compiles an ONNX model to a library for a Target, with Apache TVM and kernels of our own."""
