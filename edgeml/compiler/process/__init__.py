"""The child process that TVM works in, its limits, and the parent's end of it."""
