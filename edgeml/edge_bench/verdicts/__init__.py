"""What a run says about each contender, in sentences a reader can act on."""
