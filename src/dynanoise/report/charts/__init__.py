"""Charts of results as SVG, one kind a file, in one style."""
