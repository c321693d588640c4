"""Load scenarios of MLCommons LoadGen: how a model answers queries that come one by one, at random, or all at once."""
