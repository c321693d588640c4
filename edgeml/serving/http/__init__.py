"""The Open Inference Protocol and what operators need, over HTTP: an ASGI application on uvicorn."""
