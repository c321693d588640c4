"""The Open Inference Protocol over HTTP: bodies to requests, answers to bodies. No sockets here."""
