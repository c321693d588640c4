"""Binary neural networks: layers that compute with signs only, networks of them, and their packed form."""
