"""Input cells: a keyed partition of the inputs, and the models that each training record misses."""
