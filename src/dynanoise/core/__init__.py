"""The values that flow through the package and the formulas on them; NumPy only."""
