"""A name or a path becomes a data set and a split."""
