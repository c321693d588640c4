"""Says what this machine can build and run, and proves a target's tool chain by using it."""
