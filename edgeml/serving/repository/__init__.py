"""Where served models come from: files, or a directory laid out as Triton's model repository."""
