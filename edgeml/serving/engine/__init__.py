"""Holds the models that are served and runs them: queues, batches, instances, sequences. Knows no protocol."""
