"""The state of the machine that measures: what it is, and what disturbed or slowed it."""
