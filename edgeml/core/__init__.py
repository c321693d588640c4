"""Ground floor: plain values, errors and file handling that every stage shares."""
