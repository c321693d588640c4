"""Vector kernels for processors, written instruction by instruction with TVMScript's IRBuilder."""
