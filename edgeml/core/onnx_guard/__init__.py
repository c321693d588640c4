"""Look at an ONNX file from outside before any library opens it, and refuse what could harm this machine."""

from edgeml.core.onnx_guard.check import check_onnx_file
from edgeml.core.onnx_guard.limits import ExternalFile, OnnxLimits, OnnxSummary

__all__ = ["ExternalFile", "OnnxLimits", "OnnxSummary", "check_onnx_file"]
