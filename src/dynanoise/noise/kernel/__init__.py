"""Defended answers compiled by numba."""
