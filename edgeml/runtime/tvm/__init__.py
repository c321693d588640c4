"""Runs compiled libraries with TVM's runtime: here, and at the far end of its RPC."""
