"""Results in pictures."""
