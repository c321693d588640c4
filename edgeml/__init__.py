"""edgeml: from training a compact neural network to a measured deployment on an edge device."""

import os

# onnxruntime reads this when it is imported; child processes inherit it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
