"""The name under which ONNX files call edgeml's own operators."""

DOMAIN = "ai.edgeml"
VERSION = 1
