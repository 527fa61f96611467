"""Results and samples in files."""
