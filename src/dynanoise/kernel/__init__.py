"""DynaNoise's answers compiled by numba: the whole pipeline in one pass over a few rows."""
