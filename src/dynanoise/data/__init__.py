"""Data sets and splits: a name or a path becomes arrays."""
