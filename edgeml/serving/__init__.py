"""Serving: models over HTTP and gRPC by the Open Inference Protocol, version 2."""
