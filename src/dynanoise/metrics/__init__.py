"""Metrics: scores and true membership become numbers with intervals."""
