"""Where randomness comes from: one file a source."""
