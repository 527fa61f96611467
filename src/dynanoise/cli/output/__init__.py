"""Output of commands: the terminal, and the folder of --out."""
