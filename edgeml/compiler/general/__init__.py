"""The schedule of every operator that has no kernel of its own."""
