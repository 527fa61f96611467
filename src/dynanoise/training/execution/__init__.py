"""Training jobs in this process, in several, or on a Ray cluster."""
