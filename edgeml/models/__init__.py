"""Networks, their registry, data sets and training recipes."""
