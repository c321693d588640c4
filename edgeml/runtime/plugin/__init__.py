"""edgeml's operators for onnxruntime as a native library; models run without it too, by standard operators, slower."""
