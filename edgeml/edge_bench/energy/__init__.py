"""Energy of a run, from the counters and sensors that a device has."""
