"""DynaNoise outputs compiled by numba; imported only where numba is installed."""
