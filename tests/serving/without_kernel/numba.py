"""Stands before the package of this name: gateways start sooner without it, and answer the same."""

raise ImportError("numba is left out")
