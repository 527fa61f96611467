"""Pages about the project, and the scripts that write the generated ones."""
